//! HTML pages: start page, Swagger UI, password reset, and error codes. The binary contains all of
//! their content.

mod password_reset;

use std::{
    io::Write,
    sync::{Arc, LazyLock},
};

use askama::Template;
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use hyper::body::Bytes;
use poem::{
    IntoResponse, Request, Response, Route,
    endpoint::make_sync,
    get,
    http::{HeaderValue, StatusCode, header},
};

use crate::{
    app::App,
    error::{Code, Error},
    http::{document, openapi::problem},
};
use password_reset::PasswordResetPage;

/// Base content security policy: nothing is loaded, framed, or sent. Pages add what they require.
const BASE_POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Policy of pages with scripts: requests to this server are allowed.
const ALLOW_SAME_ORIGIN_REQUESTS: &str = "; connect-src 'self'";

/// Policy of Swagger UI: its style contains icons as data URLs.
const ALLOW_DATA_IMAGES: &str = "; img-src data:";

/// The routes of all pages, with the settings of this server.
pub fn routes(app: &App) -> Route {
    let config = &app.config;
    let password_reset = PasswordResetPage::new(config.password_min, &config.cors_origins.0);
    Route::new()
        .at("/", get(make_sync(|request| serve_home_page(&request))))
        .at(
            "/docs",
            get(make_sync(|request| serve_swagger_page(&request))),
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
        )
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

/// Content that doesn't change while the process runs, compressed once and identified by an ETag.
struct Asset {
    content_type: &'static str,
    policy: String,
    plain: Bytes,
    compressed: Bytes,
    etag: String,
}

static DOCUMENT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("application/json", document::json(), BASE_POLICY.to_owned()));
static SWAGGER: LazyLock<Asset> = LazyLock::new(|| render_swagger(false));
static LOCAL_SWAGGER: LazyLock<Asset> = LazyLock::new(|| render_swagger(true));

/// Policy of pages without scripts, which share one style.
static SCRIPTLESS_POLICY: LazyLock<String> =
    LazyLock::new(|| build_policy(&ProblemList { codes: &[] }.to_string()));

impl Asset {
    fn new(content_type: &'static str, plain: String, policy: String) -> Asset {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder
            .write_all(plain.as_bytes())
            .expect("writing to memory succeeds");
        let compressed = encoder.finish().expect("writing to memory succeeds");
        // Weak, because it identifies the content before compression (RFC 9110 section 8.8.3).
        let etag = format!("W/\"{}\"", &sha256_base64(plain.as_bytes())[..16]);
        Asset {
            content_type,
            policy,
            plain: plain.into(),
            compressed: compressed.into(),
            etag,
        }
    }

    fn respond(&self, request: &Request) -> Response {
        let header_value = |name| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let response = Response::builder()
            .content_type(self.content_type)
            .header(header::ETAG, &self.etag)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::VARY, "Accept-Encoding")
            .header(header::CONTENT_SECURITY_POLICY, &self.policy);
        if header_value(header::IF_NONE_MATCH).contains(&self.etag) {
            response.status(StatusCode::NOT_MODIFIED).finish()
        } else if accepts_gzip(header_value(header::ACCEPT_ENCODING)) {
            response
                .header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
                .body(self.compressed.clone())
        } else {
            response.body(self.plain.clone())
        }
    }
}

/// Whether `Accept-Encoding` contains `gzip` with a weight other than 0 (RFC 9110 section 12.5.3).
fn accepts_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
    })
}

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

/// Additional head of Swagger UI. The empty icon prevents a request for `/favicon.ico`.
const SWAGGER_HEAD: &str = r#"<meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Latchkey API</title>
    <link rel="icon" href="data:,">"#;

/// Settings of Swagger UI: operations are listed, and schemas are hidden.
const SWAGGER_SETTINGS: &str = r#"deepLinking: true,
        docExpansion: "list",
        defaultModelsExpandDepth: -1,"#;

/// Focuses the username field of *Authorize*. By default, Swagger UI focuses the last scheme.
const SWAGGER_FOCUS: &str = r#"
        plugins: [() => ({ statePlugins: { auth: { wrapActions: {
            showDefinitions: (show) => (definitions) => {
                const action = show(definitions);
                setTimeout(() => document.getElementById("oauth_username")?.focus());
                return action;
            },
        } } } })],"#;

/// Stores the credentials of *Authorize* in the browser.
const SWAGGER_PERSISTENCE: &str = "
        persistAuthorization: true,";

/// Serves Swagger UI.
///
/// It stores credentials only on a developer's machine, where the issuer is a loopback URL.
fn serve_swagger_page(request: &Request) -> Response {
    let app: &Arc<App> = request.data().expect("the request middleware sets it");
    if app.config.issuer.is_loopback() {
        LOCAL_SWAGGER.respond(request)
    } else {
        SWAGGER.respond(request)
    }
}

/// Renders Swagger UI with the patched OpenAPI document.
fn render_swagger(is_local: bool) -> Asset {
    let service = document::service();
    // Escaped, so that no text in the document can end the script element.
    let document = document::json().replace('<', "\\u003c");
    let persistence = if is_local { SWAGGER_PERSISTENCE } else { "" };
    let settings = format!("{SWAGGER_SETTINGS}{SWAGGER_FOCUS}{persistence}");
    // The settings are replaced first, because the document could contain the same text.
    let page = service
        .swagger_ui_html()
        .replacen("deepLinking: true,", &settings, 1);
    let page = page.replace(&service.spec(), &document);
    let page = page
        .replacen(
            "<html charset=\"UTF-8\">",
            "<!doctype html>\n<html lang=\"en\">",
            1,
        )
        .replace("<title>Swagger UI</title>", SWAGGER_HEAD);
    let policy = build_policy(&page) + ALLOW_SAME_ORIGIN_REQUESTS + ALLOW_DATA_IMAGES;
    Asset::new("text/html; charset=utf-8", page, policy)
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
