//! HTML pages: start page, Swagger UI, password reset, and error codes. The binary contains all of
//! their content. The file `security.txt` is also here.

mod asset;
mod password_reset;
mod security_txt;
mod swagger;

use std::sync::{Arc, LazyLock};

use askama::Template;
use base64::{Engine, engine::general_purpose::STANDARD};
use poem::{
    IntoResponse, Request, Response, Route,
    endpoint::make_sync,
    get,
    http::{StatusCode, header},
};

use crate::{
    app::App,
    error::{Code, Error},
    http::{document, openapi::problem},
};
use asset::Asset;
use password_reset::PasswordResetPage;
use security_txt::SecurityTxt;

/// Base content security policy: nothing is loaded, framed, or sent. Pages add what they require.
const BASE_POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Policy of pages with scripts: requests to this server are allowed.
const ALLOW_SAME_ORIGIN_REQUESTS: &str = "; connect-src 'self'";

/// The routes of all pages, with the settings of this server.
pub fn routes(app: &App) -> Route {
    let config = &app.config;
    let password_reset = PasswordResetPage::new(config.password_min, &config.cors_origins.0);
    let routes = Route::new()
        .at("/", get(make_sync(|request| serve_home_page(&request))))
        .at(
            "/docs",
            get(make_sync(|request| swagger::serve_page(&request))),
        )
        .at(
            "/docs/:asset",
            get(make_sync(|request| swagger::serve_asset(&request))),
        )
        .at(
            "/openapi.json",
            get(make_sync(|request| DOCUMENT.respond(&request))),
        )
        .at(
            "/forgot",
            get(make_sync(move |request| password_reset.respond(&request))),
        )
        .at(
            "/problems",
            get(make_sync(|_| {
                render_page(&ProblemList { codes: Code::ALL })
            })),
        )
        .at(
            "/problems/:code",
            get(make_sync(|request| serve_problem_page(&request))),
        );
    match SecurityTxt::new(app) {
        Some(file) => routes.at(security_txt::PATH, get(make_sync(move |_| file.respond()))),
        None => routes,
    }
}

fn serve_home_page(request: &Request) -> Response {
    let app: &Arc<App> = request.data().expect("the request middleware sets it");
    render_page(&Home {
        signup: app.accounts.is_signup_open(),
        version: crate::VERSION,
    })
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    signup: bool,
    version: &'static str,
}

#[derive(Template)]
#[template(path = "not_found.html")]
struct NotFound;

/// The 404 response to browsers for unknown paths.
pub fn not_found() -> Response {
    let mut response = render_page(&NotFound);
    response.set_status(StatusCode::NOT_FOUND);
    response
}

#[derive(Template)]
#[template(path = "problems.html")]
struct ProblemList {
    codes: &'static [Code],
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    code: Code,
    /// Example response with the code.
    example: String,
    /// The standard that defines the status or the error.
    standard: &'static str,
}

fn serve_problem_page(request: &Request) -> Response {
    let slug = request.raw_path_param("code");
    match Code::ALL.iter().find(|code| slug == Some(code.slug())) {
        Some(code) => {
            let body = problem::example_body(&problem::example(*code));
            render_page(&ProblemPage {
                code: *code,
                example: format!("{:#}", body.unwrap_or_default()),
                standard: standard(*code),
            })
        }
        // The request middleware converts it to a page or to an error response.
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The standard that defines the status or the error.
const fn standard(code: Code) -> &'static str {
    match code {
        Code::InvalidToken | Code::TokenExpired | Code::TokenRevoked | Code::InsufficientScope => {
            "RFC 6750, section 3.1"
        }
        Code::InvalidRefreshToken | Code::RefreshTokenReused => "RFC 9700, section 4.14.2",
        Code::Csrf => "W3C Fetch Metadata Request Headers",
        other => match other.status() {
            400 => "RFC 9110, section 15.5.1",
            401 => "RFC 9110, section 15.5.2",
            403 => "RFC 9110, section 15.5.4",
            404 => "RFC 9110, section 15.5.5",
            405 => "RFC 9110, section 15.5.6",
            406 => "RFC 9110, section 15.5.7",
            409 => "RFC 9110, section 15.5.10",
            412 => "RFC 9110, section 15.5.13",
            413 => "RFC 9110, section 15.5.14",
            415 => "RFC 9110, section 15.5.16",
            429 => "RFC 6585, section 4",
            501 => "RFC 9110, section 15.6.2",
            503 => "RFC 9110, section 15.6.4",
            _internal => "RFC 9110, section 15.6.1",
        },
    }
}

/// Renders a page without scripts.
fn render_page(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, &*SCRIPTLESS_POLICY)
            .body(text),
        Err(error) => problem::respond(&Error::internal(error)),
    }
}

static DOCUMENT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("application/json", document::json(), BASE_POLICY.to_owned()));

/// Policy of pages without scripts, which share one style.
static SCRIPTLESS_POLICY: LazyLock<String> =
    LazyLock::new(|| build_policy(&ProblemList { codes: &[] }.to_string()));

/// Returns the content security policy of a page.
///
/// The policy allows the inline style and the inline scripts of the page by their hashes.
fn build_policy(page: &str) -> String {
    let hash = |text: &str| format!(" 'sha256-{}'", sha256_base64(text.as_bytes()));
    let styles: String = elements(page, "style").take(1).map(hash).collect();
    let scripts: String = elements(page, "script").map(hash).collect();
    let scripts = if scripts.is_empty() {
        scripts
    } else {
        format!("; script-src{scripts}")
    };
    format!("{BASE_POLICY}; style-src{styles}{scripts}")
}

/// Returns the contents of the elements with this name.
///
/// Scripts can contain tags in their text, so only the first `style` element is reliable.
fn elements<'a>(page: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (opening, closing) = (format!("<{name}"), format!("</{name}>"));
    let mut rest = page;
    std::iter::from_fn(move || {
        let (_, tag) = rest.split_once(&opening)?;
        let (_, text) = tag.split_once('>')?;
        let (element, after) = text.split_once(&closing)?;
        rest = after;
        Some(element)
    })
}

fn sha256_base64(bytes: &[u8]) -> String {
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}
