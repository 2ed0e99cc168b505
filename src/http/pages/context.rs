//! A request for a page, and the responses of pages.

use std::sync::Arc;

use askama::Template;
use latchkey_domain::{
    access_token::Claims,
    return_to::{self, ReturnTo},
    web_origin::WebOrigin,
};
use poem::{
    FromRequest, Request, RequestBody, Response,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
};

use super::{
    continuation::{self, Continuation, Next},
    error_page,
    form::Form,
    frame::Frame,
    note::{self, Note},
    site::Site,
};
use crate::{
    app::{App, origin::Origin},
    error::Error,
    http::{
        auth::{
            caller,
            cookie::{self, SessionCookie},
        },
        context::{client_address::ClientOrigin, response_headers::DeferredHeaders},
    },
};

/// The headers of every page, in addition to those of every response.
///
/// With `no-referrer`, browsers would send `Origin: null` with a form, which the check against
/// cross-site requests rejects.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// The policy of pages: styles, the script, and images of this server, and forms to it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; \
    base-uri 'none'; require-trusted-types-for 'script'";

/// A request for a page.
pub struct Context {
    pub app: Arc<App>,
    pub site: Arc<Site>,
    /// The form of a POST request.
    pub form: Option<Form>,
    pub origin: Origin,
    pub session_cookie: SessionCookie,
    /// Where a sign-in leads.
    pub continuation: Continuation,
    headers: DeferredHeaders,
    request: Request,
}

impl Context {
    /// Reads the request. A POST request has a form with these fields.
    ///
    /// # Errors
    /// `csrf`, `unsupported_media_type`, `too_large`, `invalid_request`.
    pub async fn read(
        request: Request,
        mut body: RequestBody,
        site: Arc<Site>,
        fields: &[&str],
    ) -> Result<Context, Error> {
        let app: &Arc<App> = request.data().expect("the request middleware sets it");
        let own_origin = app.config.issuer.origin();
        let form = match request.method() {
            &Method::POST => Some(Form::read(&request, &mut body, own_origin, fields).await?),
            _other => None,
        };
        let client_origin = ClientOrigin::from_request(&request, &mut body).await;
        let ClientOrigin(origin) = client_origin.map_err(Error::internal)?;
        let parameter = |name| match &form {
            Some(form) => Some(form.get(name).to_owned()),
            None => find_parameter(&request, name),
        };
        let continuation = Continuation::new(
            parameter(continuation::RETURN_TO).as_deref(),
            parameter(continuation::STATE),
            |text| parse_return_to(app, &site, text),
        );
        Ok(Context {
            app: app.clone(),
            site,
            form,
            origin,
            continuation,
            session_cookie: SessionCookie::of(&request),
            headers: DeferredHeaders::of(&request).clone(),
            request,
        })
    }

    /// Returns a parameter of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        find_parameter(&self.request, name)
    }

    /// Returns a parameter of the path.
    pub fn path_param(&self, name: &str) -> Option<&str> {
        self.request.raw_path_param(name)
    }

    /// Returns the claims of the session cookie; `None` if the browser is signed out.
    ///
    /// # Errors
    /// `busy`, `unavailable`.
    pub async fn caller(&self) -> Result<Option<Arc<Claims>>, Error> {
        match caller::authenticate_page(&self.request).await {
            Ok(claims) => Ok(Some(claims)),
            // Two session cookies of this server also count as none: a sign-in replaces one of them.
            Err(Error::NoBrowserSession | Error::InvalidRequest { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the values of all session cookies, not verified.
    ///
    /// # Errors
    /// `invalid_request` if there are more than four.
    pub fn session_cookies(&self) -> Result<Vec<String>, Error> {
        cookie::read_all_values(&self.request)
    }

    /// Returns to the start page of the site from which a link leads here, if its origin is allowed
    /// and the request names no other page.
    #[must_use]
    pub fn returning_to_referrer(mut self) -> Context {
        if self.continuation.is_empty() {
            self.continuation = Continuation::to(self.referring_site());
        }
        self
    }

    fn referring_site(&self) -> Option<ReturnTo> {
        let referrer = self.request.header(header::REFERER)?;
        let return_to = parse_return_to(&self.app, &self.site, referrer)?;
        parse_return_to(&self.app, &self.site, return_to.other_origin()?)
    }

    /// Takes the note for this page. The browser shows it once.
    pub fn take_note(&self) -> Option<Note> {
        let value = cookie::read_named(&self.request, self.app.cookie_names.note())?;
        self.set_note_cookie("", 0);
        Note::verify(value, &self.site.note_keys)
    }

    /// Leaves a note for the next page.
    pub fn leave_note(&self, note: &Note) {
        self.set_note_cookie(&note.sign(&self.site.note_keys), note::LIFETIME);
    }

    fn set_note_cookie(&self, value: &str, max_age: u64) {
        let name = self.app.cookie_names.note();
        let text = cookie::format_set_cookie(name, value, max_age, None);
        let value = HeaderValue::try_from(text).expect("notes are ASCII");
        self.headers.set_cookie(name, value);
    }

    /// Redirects to a page of this server (303, RFC 9110 section 15.4.4).
    pub fn redirect(&self, path: &str) -> Response {
        see_other(&self.site.url(path))
    }

    /// Redirects to a page that carries the continuation.
    pub fn redirect_on(&self, path: &str) -> Response {
        self.redirect(&format!("{path}{}", self.continuation.query(&[])))
    }

    /// Redirects to the page that required the sign-in, or to another one.
    pub fn finish(&self, default: &str) -> Response {
        match self.continuation.next() {
            None => self.redirect(default),
            Some(Next::Open(return_to) | Next::Restart(return_to)) => see_other(&return_to.url()),
            // This page issues the ticket.
            Some(Next::PresentTicket { .. }) => self.redirect_on("/sign-in"),
        }
    }

    /// Redirects to the sign-in page, which returns to this page.
    pub fn require_sign_in(&self) -> Response {
        let return_to = self.site.url(self.request.uri().path());
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair(continuation::RETURN_TO, &return_to)
            .finish();
        self.redirect(&format!("/sign-in?{query}"))
    }

    /// Returns the sentence of a note.
    pub fn note_text(&self, note: &Note) -> String {
        (self.site.texts.note)(note)
    }

    /// Returns the start of a page's frame.
    pub fn frame(&self, title: impl Into<String>) -> Frame<'_> {
        Frame {
            continuation: Some(&self.continuation),
            ..Frame::new(&self.site, title)
        }
    }

    /// Renders a page whose form can lead to the continuation. Browsers block a form if the policy
    /// doesn't contain the target of its redirect.
    pub fn render_with(&self, status: StatusCode, page: &impl Template) -> Response {
        let mut response = render_with(status, page);
        if let Some(origin) = self.continuation.other_origin() {
            let form_action = format!("form-action 'self' {origin}");
            let policy = POLICY.replace("form-action 'self'", &form_action);
            let policy = HeaderValue::try_from(policy).expect("an origin is ASCII");
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        response
    }
}

/// Returns a parameter of the query.
pub fn find_parameter(request: &Request, name: &str) -> Option<String> {
    let query = request.uri().query()?.as_bytes();
    let mut pairs = form_urlencoded::parse(query);
    pairs
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.into_owned())
}

fn parse_return_to(app: &App, site: &Site, text: &str) -> Option<ReturnTo> {
    let (applications, clients) = (app.applications.current(), &app.config.cors_origins.0);
    let find_site = |origin: &WebOrigin| continuation::find_site(origin, &applications, clients);
    return_to::parse(text, &site.issuer, find_site)
}

/// Redirects to an absolute URL with GET.
pub fn see_other(url: &str) -> Response {
    redirect_with(StatusCode::SEE_OTHER, url)
}

/// Redirects to an absolute URL, at which the resource is for now.
pub fn found(url: &str) -> Response {
    redirect_with(StatusCode::FOUND, url)
}

fn redirect_with(status: StatusCode, url: &str) -> Response {
    let location = HeaderValue::try_from(url).expect("a URL is ASCII");
    Response::builder()
        .status(status)
        .header(header::LOCATION, location)
        .finish()
}

/// Renders a page.
pub fn render(page: &impl Template) -> Response {
    render_with(StatusCode::OK, page)
}

/// Renders a page with a status.
pub fn render_with(status: StatusCode, page: &impl Template) -> Response {
    let text = match page.render() {
        Ok(text) => text,
        Err(error) => return error_page::plain(&Error::internal(error)),
    };
    let builder = Response::builder()
        .status(status)
        .content_type("text/html; charset=utf-8")
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::VARY, "Cookie");
    HEADERS
        .iter()
        .fold(builder, |builder, (name, value)| {
            builder.header(name, *value)
        })
        .body(text)
}
