//! Pages for people: home, Swagger UI, forgotten passwords, the problems, and in `dev` the mailbox. All of it comes from the binary.

use std::{
    io::Write,
    sync::{Arc, LazyLock},
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

use super::{document, problem};
use crate::{
    error::{Code, Error},
    gateway::Gateway,
};

/// Style of our own pages; nothing else is loaded.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// All pages.
pub fn routes() -> Route {
    Route::new()
        .at("/", get(make_sync(|request| home(&request))))
        .at("/docs", get(make_sync(|request| SWAGGER.answer(&request))))
        .at("/openapi.json", get(make_sync(|request| DOCUMENT.answer(&request))))
        .at("/forgot", get(make_sync(|request| FORGOT.answer(&request))))
        .at("/problems", get(make_sync(|_| html(&ProblemList { codes: Code::ALL }))))
        .at("/problems/:code", get(make_sync(|request| problem_page(&request))))
}

/// The first page.
fn home(request: &Request) -> Response {
    let gateway: &Arc<Gateway> = request.data().expect("the edge sets it");
    let (mailbox, signup) = (has_mailbox(gateway), gateway.signup_is_open());
    html(&Home { mailbox, signup, version: crate::VERSION })
}

#[cfg(feature = "dev")]
fn has_mailbox(gateway: &Gateway) -> bool {
    gateway.mailbox().is_some()
}

#[cfg(not(feature = "dev"))]
fn has_mailbox(_: &Gateway) -> bool {
    false
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    mailbox: bool,
    signup: bool,
    version: &'static str,
}

#[derive(Template)]
#[template(path = "forgot.html")]
struct Forgot;

#[derive(Template)]
#[template(path = "problems.html")]
struct ProblemList {
    codes: &'static [Code],
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    code: Code,
}

fn problem_page(request: &Request) -> Response {
    let named = request.raw_path_param("code");
    match Code::ALL.iter().find(|code| named == Some(code.slug())) {
        Some(code) => html(&ProblemPage { code: *code }),
        None => problem::respond(&Error::NotFound),
    }
}

/// A page of our own.
pub fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            .body(text),
        Err(error) => problem::respond(&Error::internal(error)),
    }
}

/// Something large that never changes while the process runs: compressed once, and known by its tag.
struct Asset {
    content_type: &'static str,
    policy: String,
    plain: Bytes,
    compressed: Bytes,
    etag: String,
}

static DOCUMENT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("application/json", document::json(), POLICY.to_owned()));
static SWAGGER: LazyLock<Asset> = LazyLock::new(swagger);
static FORGOT: LazyLock<Asset> = LazyLock::new(|| {
    let page = Forgot.render().expect("it has nothing to fill in");
    let policy = policy_of(&page);
    Asset::new("text/html; charset=utf-8", page, policy)
});

impl Asset {
    fn new(content_type: &'static str, plain: String, policy: String) -> Asset {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain.as_bytes()).expect("writing to memory works");
        let compressed = encoder.finish().expect("writing to memory works");
        let etag = format!("\"{}\"", &digest(plain.as_bytes())[..16]);
        Asset { content_type, policy, plain: plain.into(), compressed: compressed.into(), etag }
    }

    fn answer(&self, request: &Request) -> Response {
        let says = |name, word: &str| {
            request.headers().get(name).and_then(|field| field.to_str().ok()).is_some_and(|field| field.contains(word))
        };
        let answer = Response::builder()
            .content_type(self.content_type)
            .header(header::ETAG, &self.etag)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::VARY, "Accept-Encoding")
            .header(header::CONTENT_SECURITY_POLICY, &self.policy);
        if says(header::IF_NONE_MATCH, &self.etag) {
            answer.status(StatusCode::NOT_MODIFIED).finish()
        } else if says(header::ACCEPT_ENCODING, "gzip") {
            answer.header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip")).body(self.compressed.clone())
        } else {
            answer.body(self.plain.clone())
        }
    }
}

/// What a page with scripts may do. They stand in the page, so the policy names their hashes; styles are set by script,
/// which only `unsafe-inline` allows.
fn policy_of(page: &str) -> String {
    let scripts: Vec<String> = scripts(page).map(|script| format!("'sha256-{}'", digest(script.as_bytes()))).collect();
    format!(
        "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        scripts.join(" ")
    )
}

/// Swagger UI with the mended document.
fn swagger() -> Asset {
    let service = document::service();
    let page = service.swagger_ui_html().replace(&service.spec(), &document::json());
    let page = page
        .replacen("<html charset=\"UTF-8\">", "<!doctype html>\n<html lang=\"en\">", 1)
        .replace("<title>Swagger UI</title>", "<title>Latchkey</title>");
    let policy = policy_of(&page);
    Asset::new("text/html; charset=utf-8", page, policy)
}

/// The texts of the page's scripts, which may speak of scripts themselves.
fn scripts(page: &str) -> impl Iterator<Item = &str> {
    let mut rest = page;
    std::iter::from_fn(move || {
        let (_, tag) = rest.split_once("<script")?;
        let (_, text) = tag.split_once('>')?;
        let (script, after) = text.split_once("</script>")?;
        rest = after;
        Some(script)
    })
}

fn digest(bytes: &[u8]) -> String {
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}
