//! A request for a page, and the responses of pages.

use std::sync::Arc;

use askama::Template;
use latchkey_domain::{
    access_token::Claims,
    return_to::{self, ReturnTo},
};
use poem::{
    FromRequest, Request, RequestBody, Response,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
};

use super::{
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
        Ok(Context {
            app: app.clone(),
            site,
            form,
            origin,
            session_cookie: SessionCookie::of(&request),
            headers: DeferredHeaders::of(&request).clone(),
            request,
        })
    }

    /// Returns a parameter of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.request.uri().query()?.as_bytes();
        let mut pairs = form_urlencoded::parse(query);
        pairs
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.into_owned())
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
            // Two session cookies also count as none: a sign-in replaces one of them.
            Err(Error::NoBrowserSession | Error::InvalidRequest { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the values of all session cookies, not verified.
    pub fn session_cookies(&self) -> Vec<String> {
        cookie::read_all_values(&self.request)
    }

    /// Returns the page to which a sign-in returns: a field of the form, or a parameter of the
    /// query.
    ///
    /// # Errors
    /// If it isn't a page of this server or of an allowed origin.
    pub fn return_to(&self) -> Result<Option<ReturnTo>, ()> {
        let text = match &self.form {
            Some(form) => Some(form.get("return_to").to_owned()),
            None => self.query("return_to"),
        };
        match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => {
                let applications = &self.app.config.cors_origins.0;
                return_to::parse(text, &self.site.issuer, applications)
                    .map(Some)
                    .ok_or(())
            }
        }
    }

    /// Returns the start page of the application from which a link leads here, if its origin is
    /// allowed.
    pub fn referring_application(&self) -> Option<ReturnTo> {
        let referrer = self.request.header(header::REFERER)?;
        let applications = &self.app.config.cors_origins.0;
        let return_to = return_to::parse(referrer, &self.site.issuer, applications)?;
        return_to::parse(return_to.application()?, &self.site.issuer, applications)
    }

    /// Takes the note for this page. The browser shows it once.
    pub fn take_note(&self) -> Option<Note> {
        let value = cookie::read_named(&self.request, note::COOKIE)?;
        self.set_note_cookie("", 0);
        Note::verify(value, &self.site.note_keys)
    }

    /// Leaves a note for the next page.
    pub fn leave_note(&self, note: &Note) {
        self.set_note_cookie(&note.sign(&self.site.note_keys), note::LIFETIME);
    }

    fn set_note_cookie(&self, value: &str, max_age: u64) {
        let text = cookie::format_set_cookie(note::COOKIE, value, max_age, None);
        let value = HeaderValue::try_from(text).expect("notes are ASCII");
        self.headers.set_cookie(note::COOKIE, value);
    }

    /// Redirects to a page of this server (303, RFC 9110 section 15.4.4).
    pub fn redirect(&self, path: &str) -> Response {
        see_other(&self.site.url(path))
    }

    /// Redirects to the sign-in page, which returns to this page.
    pub fn require_sign_in(&self) -> Response {
        let return_to = self.site.url(self.request.uri().path());
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("return_to", &return_to)
            .finish();
        self.redirect(&format!("/sign-in?{query}"))
    }

    /// Returns the sentence of a note.
    pub fn note_text(&self, note: &Note) -> String {
        (self.site.texts.note)(note)
    }

    /// Returns the start of a page's frame.
    pub fn frame(&self, title: impl Into<String>) -> Frame<'_> {
        Frame::new(&self.site, title)
    }
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

/// Renders a page whose form leads to an application with this origin. Browsers block a form if the
/// policy doesn't contain the target of its redirect.
pub fn render_for(status: StatusCode, page: &impl Template, application: Option<&str>) -> Response {
    let mut response = render_with(status, page);
    if let Some(origin) = application {
        let form_action = format!("form-action 'self' {origin}");
        let policy = POLICY.replace("form-action 'self'", &form_action);
        let policy = HeaderValue::try_from(policy).expect("an origin is ASCII");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
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
