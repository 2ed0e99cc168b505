//! Pages for people: home, Swagger UI, forgotten passwords, the problems. All of it comes from the
//! binary.

use std::{
    io::Write,
    sync::{Arc, LazyLock, OnceLock},
};

use askama::Template;
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use hyper::body::Bytes;
use poem::{
    Request, Response, Route,
    endpoint::make_sync,
    get,
    http::{HeaderValue, StatusCode, header},
};

use crate::{
    app::Gateway,
    error::{Code, Error},
    http::openapi::{document, problem},
};

/// Of everything that is shown here: nothing is loaded, framed or sent, unless a page's own policy
/// says so.
const POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// What a page with scripts may do beside: ask the gateway that it came from.
const ASKS: &str = "; connect-src 'self'";

/// Swagger UI draws its icons from its style.
const ICONS: &str = "; img-src data:";

/// All pages.
pub fn routes() -> Route {
    Route::new()
        .at("/", get(make_sync(|request| home(&request))))
        .at("/docs", get(make_sync(|request| swagger_page(&request))))
        .at(
            "/openapi.json",
            get(make_sync(|request| DOCUMENT.answer(&request))),
        )
        .at("/forgot", get(make_sync(|request| forgot(&request))))
        .at(
            "/problems",
            get(make_sync(|_| html(&ProblemList { codes: Code::ALL }))),
        )
        .at(
            "/problems/:code",
            get(make_sync(|request| problem_page(&request))),
        )
}

/// The first page.
fn home(request: &Request) -> Response {
    let gateway: &Arc<Gateway> = request.data().expect("the edge sets it");
    html(&Home {
        signup: gateway.signup_is_open(),
        version: crate::VERSION,
    })
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    signup: bool,
    version: &'static str,
}

/// The page for a new password, with the settings of this server.
fn forgot(request: &Request) -> Response {
    let gateway: &Arc<Gateway> = request.data().expect("the edge sets it");
    let config = gateway.config();
    let asset = FORGOT.get_or_init(|| {
        let page = Forgot {
            password_min: config.password_min,
            apps: &config.cors_origins.0.join(" "),
        };
        let page = page.render().expect("writing to memory works");
        let policy = policy_of(&page) + ASKS;
        Asset::new("text/html; charset=utf-8", page, policy)
    });
    asset.answer(request)
}

#[derive(Template)]
#[template(path = "forgot.html")]
struct Forgot<'a> {
    password_min: usize,
    /// Origins that the page may link back to.
    apps: &'a str,
}

#[derive(Template)]
#[template(path = "not_found.html")]
struct NotFound;

/// The 404 of unknown paths for browsers.
pub fn not_found() -> Response {
    let mut response = html(&NotFound);
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
    /// A response with the code.
    example: String,
    /// The standard that defines the status or the error.
    standard: &'static str,
}

fn problem_page(request: &Request) -> Response {
    let named = request.raw_path_param("code");
    match Code::ALL.iter().find(|code| named == Some(code.slug())) {
        Some(code) => {
            let body = problem::example_body(&problem::example(*code));
            html(&ProblemPage {
                code: *code,
                example: format!("{:#}", body.unwrap_or_default()),
                standard: standard(*code),
            })
        }
        None => problem::respond(&Error::NotFound),
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

/// A page of our own.
fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, &*PLAIN)
            .body(text),
        Err(error) => problem::respond(&Error::internal(error)),
    }
}

/// Something large that never changes while the process runs: compressed once, and known by its
/// tag.
struct Asset {
    content_type: &'static str,
    policy: String,
    plain: Bytes,
    compressed: Bytes,
    etag: String,
}

static DOCUMENT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("application/json", document::json(), POLICY.to_owned()));
static SWAGGER: LazyLock<Asset> = LazyLock::new(|| swagger(false));
static LOCAL_SWAGGER: LazyLock<Asset> = LazyLock::new(|| swagger(true));
static FORGOT: OnceLock<Asset> = OnceLock::new();

/// The policy of our own pages without scripts, which share one style.
static PLAIN: LazyLock<String> =
    LazyLock::new(|| policy_of(&ProblemList { codes: &[] }.to_string()));

impl Asset {
    fn new(content_type: &'static str, plain: String, policy: String) -> Asset {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder
            .write_all(plain.as_bytes())
            .expect("writing to memory works");
        let compressed = encoder.finish().expect("writing to memory works");
        // Weak: it names the bytes before they are compressed (RFC 9110 section 8.8.3).
        let etag = format!("W/\"{}\"", &digest(plain.as_bytes())[..16]);
        Asset {
            content_type,
            policy,
            plain: plain.into(),
            compressed: compressed.into(),
            etag,
        }
    }

    fn answer(&self, request: &Request) -> Response {
        let field = |name| {
            request
                .headers()
                .get(name)
                .and_then(|field| field.to_str().ok())
                .unwrap_or_default()
        };
        let answer = Response::builder()
            .content_type(self.content_type)
            .header(header::ETAG, &self.etag)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::VARY, "Accept-Encoding")
            .header(header::CONTENT_SECURITY_POLICY, &self.policy);
        if field(header::IF_NONE_MATCH).contains(&self.etag) {
            answer.status(StatusCode::NOT_MODIFIED).finish()
        } else if takes_gzip(field(header::ACCEPT_ENCODING)) {
            answer
                .header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))
                .body(self.compressed.clone())
        } else {
            answer.body(self.plain.clone())
        }
    }
}

/// Whether `Accept-Encoding` lists it, and not to refuse it (RFC 9110 section 12.5.3).
fn takes_gzip(field: &str) -> bool {
    field.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
    })
}

/// What a page may do: use the style and run the scripts that stand in it, which the policy names
/// by their hashes.
fn policy_of(page: &str) -> String {
    let hash = |text: &str| format!(" 'sha256-{}'", digest(text.as_bytes()));
    let styles: String = elements(page, "style").take(1).map(hash).collect();
    let scripts: String = elements(page, "script").map(hash).collect();
    let scripts = if scripts.is_empty() {
        scripts
    } else {
        format!("; script-src{scripts}")
    };
    format!("{POLICY}; style-src{styles}{scripts}")
}

/// Head of Swagger UI beside its style: for small screens, and an empty icon that is not requested.
const HEAD: &str = r#"<meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Latchkey API</title>
    <link rel="icon" href="data:,">"#;

/// Settings of Swagger UI: the operations are listed, and the schemas are not.
const SWAGGER_SETTINGS: &str = r#"deepLinking: true,
        docExpansion: "list",
        defaultModelsExpandDepth: -1,"#;

/// Puts the cursor of *Authorize* into the username field. Swagger UI puts it into the last scheme.
const SWAGGER_FOCUS: &str = r#"
        plugins: [() => ({ statePlugins: { auth: { wrapActions: {
            showDefinitions: (show) => (definitions) => {
                const action = show(definitions);
                setTimeout(() => document.getElementById("oauth_username")?.focus());
                return action;
            },
        } } } })],"#;

/// Keeps the credentials of *Authorize* in the browser.
const SWAGGER_PERSISTENCE: &str = "
        persistAuthorization: true,";

/// Swagger UI. It stores credentials only on a developer's machine, where the issuer is a loopback
/// address.
fn swagger_page(request: &Request) -> Response {
    let gateway: &Arc<Gateway> = request.data().expect("the edge sets it");
    if gateway.config().issuer.is_loopback() {
        LOCAL_SWAGGER.answer(request)
    } else {
        SWAGGER.answer(request)
    }
}

/// Swagger UI with the patched document.
fn swagger(is_local: bool) -> Asset {
    let service = document::service();
    // Within a script no text may end it.
    let document = document::json().replace('<', "\\u003c");
    let persistence = if is_local { SWAGGER_PERSISTENCE } else { "" };
    let settings = format!("{SWAGGER_SETTINGS}{SWAGGER_FOCUS}{persistence}");
    // The settings first: the document could contain their text.
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
        .replace("<title>Swagger UI</title>", HEAD);
    let policy = policy_of(&page) + ASKS + ICONS;
    Asset::new("text/html; charset=utf-8", page, policy)
}

/// The texts of a page's elements of this name. Scripts may speak of elements themselves; the one
/// style stands before them.
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

fn digest(bytes: &[u8]) -> String {
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}
