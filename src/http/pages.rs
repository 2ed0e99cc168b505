//! HTML pages: sign-in, sign-up, password reset, account, error codes, and Swagger UI. The binary
//! contains all of their content. The file `security.txt` is also here.
//!
//! The pages for users are plain forms, which work without JavaScript. Their handlers call the same
//! use cases as the operations of the API.

mod account;
mod application_site;
mod asset;
mod context;
mod continuation;
mod error_page;
mod form;
mod frame;
mod home;
mod invitation;
mod note;
mod page_check;
mod password_reset;
mod problems;
mod rejection;
mod security_txt;
mod sign_in;
mod sign_out;
mod sign_up;
mod site;
mod swagger;
mod texts;
mod verify_email;

use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use poem::{
    Endpoint, IntoResponse, Request, Response, Route,
    endpoint::make_sync,
    get,
    http::{HeaderValue, Method, StatusCode, header},
};

use crate::{
    app::App,
    error::Error,
    http::{document, forward_auth},
};
use application_site::ApplicationSite;
use asset::Asset;
use context::Context;
use page_check::PageCheck;
use security_txt::SecurityTxt;
pub use site::Site;

/// Base content security policy: nothing is loaded, framed, or sent. Pages add what they require.
const BASE_POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// A page: its path, the fields of its form, and its handler.
pub struct Page {
    pub path: &'static str,
    /// The fields of the form; `None` if the page has no form.
    pub fields: Option<&'static [&'static str]>,
    handle: fn(Context) -> Handling,
}

type Handling = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>;

/// Declares pages.
macro_rules! pages {
    ($(#[doc = $doc:literal])* $name:ident: $($path:literal $handler:path $(, $fields:expr)?;)*) => {
        $(#[doc = $doc])*
        pub const $name: &[Page] = &[$(Page {
            path: $path,
            fields: pages!(@fields $($fields)?),
            handle: |context| Box::pin($handler(context)),
        }),*];
    };
    (@fields $fields:expr) => { Some($fields) };
    (@fields) => { None };
}

pages! {
    /// The pages for users. `LATCHKEY_WEB=off` removes them.
    USER_PAGES:
    "/sign-in" sign_in::handle, sign_in::FIELDS;
    "/sign-out" sign_out::handle, sign_out::FIELDS;
    "/sign-up" sign_up::handle, sign_up::FIELDS;
    "/sign-up/confirm" sign_up::confirm, sign_up::CONFIRM_FIELDS;
    "/forgot" password_reset::request, password_reset::REQUEST_FIELDS;
    "/reset-password" password_reset::reset, password_reset::FIELDS;
    "/invitation" invitation::handle, invitation::FIELDS;
    "/verify-email" verify_email::handle, verify_email::FIELDS;
    "/account" account::profile::handle, account::profile::FIELDS;
    "/account/security" account::security::handle, account::security::FIELDS;
    "/account/email" account::email::handle, account::email::FIELDS;
    "/account/sessions" account::sessions::handle, account::sessions::FIELDS;
    "/account/tokens" account::tokens::handle, account::tokens::FIELDS;
    "/account/tokens/new" account::new_token::handle, account::new_token::FIELDS;
    "/account/activity" account::activity::handle;
    "/account/delete" account::delete::handle, account::delete::FIELDS;
}

pages! {
    /// The pages for developers.
    DEVELOPER_PAGES:
    "/" home::handle;
    "/problems" problems::list;
    "/problems/:code" problems::show;
}

/// The pages for the paths of operations that browsers open, although only clients use them.
const PAGES_OF_OPERATIONS: [(&str, &str); 3] = [
    ("/login", "/sign-in"),
    ("/signup", "/sign-up"),
    ("/logout", "/sign-out"),
];

/// The path at which password managers find the page that changes a password (W3C, A Well-Known URL
/// for Changing Passwords).
pub const CHANGE_PASSWORD_PATH: &str = "/.well-known/change-password";

/// The routes of all pages, with the settings of this server.
pub fn routes(app: &App, site: &Arc<Site>) -> Route {
    let assets = site.clone();
    let session_cookie = app.cookie_names.session().to_owned();
    let document = LazyLock::new(move || {
        let document = document::json_with_cookie(&session_cookie);
        Asset::new("application/json", document, BASE_POLICY.to_owned())
    });
    let routes = Route::new()
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
            get(make_sync(move |request| document.respond(&request))),
        )
        .at(
            "/assets/:name",
            get(make_sync(move |request| serve_asset(&assets, &request))),
        )
        .at("/robots.txt", get(make_sync(|_| serve_robots_txt())))
        .at(forward_auth::PAGE_PATH, PageCheck::new(site.clone()));
    let user_pages = if site.has_user_pages { USER_PAGES } else { &[] };
    let routes = user_pages
        .iter()
        .chain(DEVELOPER_PAGES)
        .fold(routes, |routes, page| {
            let site = site.clone();
            routes.at(page.path, PageEndpoint { page, site })
        });
    let routes = if site.has_user_pages {
        let url = site.url("/account/security");
        routes
            .at(
                CHANGE_PASSWORD_PATH,
                get(make_sync(move |_| context::found(&url))),
            )
            .at(application_site::ROUTE, ApplicationSite::new(site.clone()))
    } else {
        routes
    };
    match SecurityTxt::new(app) {
        Some(file) => routes.at(security_txt::PATH, get(make_sync(move |_| file.respond()))),
        None => routes,
    }
}

/// Serves a page. Every error is a page, too.
struct PageEndpoint {
    page: &'static Page,
    site: Arc<Site>,
}

impl Endpoint for PageEndpoint {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let fields = match (request.method(), self.page.fields) {
            (&Method::GET | &Method::HEAD, _) => &[],
            (&Method::POST, Some(fields)) => fields,
            _other => return Ok(StatusCode::METHOD_NOT_ALLOWED.into_response()),
        };
        let (request, body) = request.split();
        let context = Context::read(request, body, self.site.clone(), fields).await;
        let response = match context {
            Ok(context) => (self.page.handle)(context).await,
            Err(error) => Err(error),
        };
        Ok(match response {
            Ok(response) => response,
            // The request middleware converts it to a page or to an error response.
            Err(Error::NotFound) => StatusCode::NOT_FOUND.into_response(),
            Err(error) => error_page::respond(&self.site, &error),
        })
    }
}

/// The media type of pages.
pub const MEDIA_TYPE: &str = "text/html";

/// Whether the path is one of a page.
pub fn is_page(path: &str) -> bool {
    let mut pages = USER_PAGES.iter().chain(DEVELOPER_PAGES);
    pages.any(|page| page.path == path) || path.starts_with("/problems/")
}

/// Returns an error as a page, for a browser that opens a path.
pub fn respond_error(site: &Site, error: &Error) -> Response {
    error_page::respond(site, error)
}

/// Redirects a browser from the path of an operation to the page for the same task.
pub fn redirect_to_page(site: &Site, path: &str) -> Option<Response> {
    let (_, page) = PAGES_OF_OPERATIONS
        .iter()
        .find(|(operation, _)| site.has_user_pages && *operation == path)?;
    Some(context::see_other(&site.url(page)))
}

fn serve_asset(site: &Site, request: &Request) -> Response {
    let name = request.raw_path_param("name");
    let mut assets = site.assets.iter();
    match assets.find(|file| name == Some(file.name.as_str())) {
        Some(file) => file.asset.respond(request),
        // The request middleware converts it to a page or to an error response.
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// No page is of interest to search engines.
fn serve_robots_txt() -> Response {
    Response::builder()
        .content_type("text/plain; charset=utf-8")
        .header(
            header::CACHE_CONTROL,
            HeaderValue::from_static("max-age=86400"),
        )
        .body("User-agent: *\nDisallow: /\n")
}

fn sha256_base64(bytes: &[u8]) -> String {
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_lists_every_page_for_users() {
        let document = include_str!("../../docs/reference/pages.md");
        for page in USER_PAGES {
            let row = format!("| `{}` |", page.path);
            assert!(document.contains(&row), "{}", page.path);
        }
    }
}
