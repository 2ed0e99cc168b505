//! Swagger UI: the page `/docs`, and its script and style below `/docs/`.
//!
//! The page is small. It loads the OpenAPI document from `/openapi.json`. The names of the script
//! and the style contain a hash of their content, so that browsers cache them without revalidation.
//! Both change only with the bundled version of Swagger UI or with `swagger.css`.

use std::sync::{Arc, LazyLock};

use askama::Template;
use poem::{IntoResponse, Request, Response, http::StatusCode};

use super::{
    BASE_POLICY,
    asset::{Asset, HashedAsset},
    sha256_base64,
};
use crate::{app::App, http::document};

/// Policy of the page: requests to this server are allowed.
const ALLOW_SAME_ORIGIN_REQUESTS: &str = "; connect-src 'self'";

/// Policy of the page: its style contains icons as data URLs.
const ALLOW_DATA_IMAGES: &str = "; img-src data:";

/// The dark color scheme. Swagger UI 5.17 has none.
const DARK_SCHEME: &str = include_str!("swagger.css");

static PAGE: LazyLock<Asset> = LazyLock::new(|| render_page(false));
static LOCAL_PAGE: LazyLock<Asset> = LazyLock::new(|| render_page(true));
static SCRIPT: LazyLock<HashedAsset> = LazyLock::new(|| {
    let script = extract_element("script");
    HashedAsset::new("swagger-ui", "js", "text/javascript; charset=utf-8", script)
});
static STYLE: LazyLock<HashedAsset> = LazyLock::new(|| {
    let style = format!("{}\n{DARK_SCHEME}", extract_element("style"));
    HashedAsset::new("swagger-ui", "css", "text/css; charset=utf-8", style)
});

#[derive(Template)]
#[template(path = "pages/swagger.html")]
struct SwaggerPage<'a> {
    script: &'a str,
    style: &'a str,
    /// Whether Swagger UI stores the credentials of *Authorize* in the browser.
    stores_credentials: bool,
}

/// Serves the page.
///
/// It stores credentials only on a developer's machine, where the issuer is a loopback URL.
pub fn serve_page(request: &Request) -> Response {
    let app: &Arc<App> = request.data().expect("the request middleware sets it");
    if app.config.issuer.is_loopback() {
        LOCAL_PAGE.respond(request)
    } else {
        PAGE.respond(request)
    }
}

/// Serves the script or the style.
pub fn serve_asset(request: &Request) -> Response {
    let name = request.raw_path_param("asset");
    match [&SCRIPT, &STYLE]
        .into_iter()
        .find(|file| name == Some(file.name.as_str()))
    {
        Some(file) => file.asset.respond(request),
        // The request middleware converts it to a page or to an error response.
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn render_page(stores_credentials: bool) -> Asset {
    let page = SwaggerPage {
        script: &SCRIPT.name,
        style: &STYLE.name,
        stores_credentials,
    };
    let page = page.render().expect("writing to memory succeeds");
    let start_script = elements(&page, "script").last().unwrap_or_default();
    let policy = format!(
        "{BASE_POLICY}; style-src 'self'; script-src 'self' 'sha256-{}'\
         {ALLOW_SAME_ORIGIN_REQUESTS}{ALLOW_DATA_IMAGES}",
        sha256_base64(start_script.as_bytes())
    );
    Asset::new("text/html; charset=utf-8", page, policy)
}

/// Returns the content of the first element with this name in the framework's page, which contains
/// Swagger UI.
fn extract_element(name: &str) -> String {
    let page = document::service().swagger_ui_html();
    let content = elements(&page, name).next();
    content.expect("an inline element").to_owned()
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
