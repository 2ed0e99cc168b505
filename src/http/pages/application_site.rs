//! Pages of this server at the host of an application, below `/.latchkey/`, and messages that the
//! proxy shows there. The proxy forwards requests below this path without a check.

use std::sync::Arc;

use askama::Template;
use latchkey_domain::{application_token::APPLICATION_PATH, web_origin::WebOrigin};
use poem::{
    Endpoint, IntoResponse, Request, Response,
    http::{HeaderName, Method, StatusCode, header},
};

use super::{
    context::{find_parameter, see_other},
    error_page,
    site::Site,
    texts::Texts,
};
use crate::{
    app::App,
    error::Error,
    http::{
        auth::application_cookie::ApplicationCookies,
        context::{client_address::ClientAddress, response_headers::DeferredHeaders},
        forward_auth::Target,
        openapi::problem,
    },
};

/// The parameter with a ticket.
pub const TICKET: &str = "ticket";

/// The route of all paths below the path of the server.
pub const ROUTE: &str = "/.latchkey/*path";

const CALLBACK: &str = "callback";

const SIGN_OUT: &str = "sign-out";

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// A message to the user of an application.
pub enum ApplicationMessage<'a> {
    /// The check has failed for another reason than the credential.
    Error(&'a Error),
    /// A form was sent after the sign-out.
    SignedOutForm,
    /// The ticket is invalid, or the nonce cookie is missing.
    InvalidTicket,
    /// The application cookie was lost.
    CookieLost,
}

#[derive(Template)]
#[template(path = "pages/application_message.html")]
struct MessagePage<'a> {
    site: &'a Site,
    texts: &'static Texts,
    title: &'a str,
    text: String,
    link_text: Option<&'a str>,
}

impl ApplicationMessage<'_> {
    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            ApplicationMessage::Error(error) => error_page::status(error),
            ApplicationMessage::SignedOutForm => StatusCode::UNAUTHORIZED,
            ApplicationMessage::InvalidTicket | ApplicationMessage::CookieLost => {
                StatusCode::BAD_REQUEST
            }
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            ApplicationMessage::Error(error) => error.retry_after(),
            _other => None,
        }
    }

    fn page<'a>(&self, site: &'a Site) -> MessagePage<'a> {
        let texts = &site.texts.application_pages;
        let try_again = Some(texts.try_again);
        let (title, text, link_text) = match self {
            ApplicationMessage::SignedOutForm => (
                texts.signed_out_title,
                texts.signed_out_form.to_owned(),
                None,
            ),
            ApplicationMessage::InvalidTicket => (
                texts.sign_in_failed_title,
                texts.invalid_ticket.to_owned(),
                try_again,
            ),
            ApplicationMessage::CookieLost => (
                texts.sign_in_failed_title,
                texts.cookie_lost.to_owned(),
                try_again,
            ),
            ApplicationMessage::Error(Error::Forbidden(_) | Error::InsufficientScope(_)) => {
                (texts.no_access_title, texts.no_access.to_owned(), None)
            }
            ApplicationMessage::Error(Error::Csrf(_)) => (
                texts.no_access_title,
                site.texts.cross_site.to_owned(),
                None,
            ),
            ApplicationMessage::Error(error) => (
                texts.unavailable_title,
                error_page::text(site.texts, error),
                try_again,
            ),
        };
        MessagePage {
            site,
            texts: site.texts,
            title,
            text,
            link_text,
        }
    }

    /// Returns the message as a page without script, which contains its styles.
    pub fn respond(&self, site: &Site) -> Response {
        let text = match self.page(site).render() {
            Ok(text) => text,
            Err(error) => return problem::respond(&Error::internal(error)),
        };
        let response = Response::builder()
            .status(self.status())
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, &site.inline_policy)
            .header(
                PERMISSIONS_POLICY,
                "camera=(), geolocation=(), microphone=()",
            )
            .body(text);
        error_page::with_retry_after(response, self.retry_after())
    }
}

/// Returns the URL at which an application receives a ticket.
pub fn callback_url(application: &WebOrigin, ticket: &str) -> String {
    let origin = application.as_str();
    format!("{origin}{APPLICATION_PATH}{CALLBACK}?{TICKET}={ticket}")
}

/// Serves the paths below `/.latchkey/` of every application.
pub struct ApplicationSite {
    site: Arc<Site>,
}

impl ApplicationSite {
    pub fn new(site: Arc<Site>) -> ApplicationSite {
        ApplicationSite { site }
    }
}

impl Endpoint for ApplicationSite {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let response = respond(&request, &self.site).await;
        Ok(match response {
            Ok(response) => response,
            // The request middleware converts it to an error response.
            Err(Error::NotFound) => StatusCode::NOT_FOUND.into_response(),
            Err(Error::InvalidToken | Error::TokenExpired | Error::TokenRevoked) => {
                ApplicationMessage::InvalidTicket.respond(&self.site)
            }
            Err(error) => {
                problem::log(&error);
                ApplicationMessage::Error(&error).respond(&self.site)
            }
        })
    }
}

/// Serves a request of a browser at an application. A balancer removes the method of the original
/// request, so a client can't choose the host there.
async fn respond(request: &Request, site: &Site) -> Result<Response, Error> {
    let target = Target::read(request)?;
    let application = &target.application.ok_or(Error::NotFound)?;
    let is_read = matches!(target.original.method, Some("GET" | "HEAD"))
        && [Method::GET, Method::HEAD].contains(request.method());
    match request.raw_path_param("path") {
        Some(CALLBACK) if is_read => sign_in(request, &application.origin).await,
        Some(SIGN_OUT) if is_read => sign_out(request, &application.origin, site).await,
        _other => Err(Error::NotFound),
    }
}

/// Signs the browser in at the application, and returns to the page that required it.
async fn sign_in(request: &Request, application: &WebOrigin) -> Result<Response, Error> {
    let app: &Arc<App> = request.data().expect("the request middleware sets it");
    let cookies = ApplicationCookies::at(application, &app.cookie_names);
    let nonce = cookies.read_nonce(request).ok_or(Error::InvalidToken)?;
    let ticket = find_parameter(request, TICKET).ok_or(Error::InvalidToken)?;
    let ClientAddress(address) = *request.data().expect("the request middleware sets it");
    let signed_in = app
        .sessions
        .redeem_sign_in_ticket(&ticket, application, &nonce, address)
        .await?;
    let headers = DeferredHeaders::of(request);
    let cookie = &signed_in.cookie;
    cookies.put_token(headers, cookie, app.sessions.cookie_max_age(cookie));
    cookies.put_nonce(headers, &nonce.after_callback(cookie.claims.iat));
    // Absolute, so that a path such as `//evil.example/` stays at the application.
    Ok(see_other(&format!(
        "{}{}",
        application.as_str(),
        signed_in.path
    )))
}

/// Redirects to the sign-out page of the server, with a ticket that names the session.
async fn sign_out(
    request: &Request,
    application: &WebOrigin,
    site: &Site,
) -> Result<Response, Error> {
    let app: &Arc<App> = request.data().expect("the request middleware sets it");
    let cookies = ApplicationCookies::at(application, &app.cookie_names);
    let ticket = match cookies.read_token(request) {
        Some(token) => match app.sessions.issue_sign_out_ticket(token, application).await {
            Ok(ticket) => Some(ticket),
            Err(Error::InvalidToken | Error::TokenRevoked) => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let return_to = format!("{}/", application.as_str());
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("return_to", &return_to);
    if let Some(ticket) = &ticket {
        query.append_pair(TICKET, ticket);
    }
    Ok(see_other(
        &site.url(&format!("/sign-out?{}", query.finish())),
    ))
}
