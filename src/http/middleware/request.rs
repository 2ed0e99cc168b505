//! The edge: what every request passes on its way in, and every answer on its way out.
//!
//! In: request id, path, permission for other origins, repeated parameters, `Accept`. Out: every
//! failure, also of the framework and of a panic, as a problem; the headers that all answers carry;
//! metrics and log.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use poem::{
    Endpoint, Request, Response,
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery,
    },
};
use poem_openapi::OperationId;
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    app::Gateway,
    error::Error,
    http::{
        forward_auth, metrics,
        middleware::{
            client_address::ClientAddress, cors, legacy_paths, negotiation::Negotiation,
            response_headers::DeferredHeaders,
        },
        openapi::{
            body, params,
            problem::{self, REQUEST, RequestContext},
        },
        pages,
    },
};

/// No story takes longer. Hash queue, PostgreSQL and Redis have bounds of their own, whose defaults
/// add up to less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest request id that is taken over.
const MAX_REQUEST_ID_CHARACTERS: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// About as many headers does an answer get here.
const EXPECTED_HEADERS: usize = 8;

/// Everything that is not an operation behind it.
pub struct RequestMiddleware<E> {
    inner: E,
    gateway: Arc<Gateway>,
    allow: Negotiation,
    /// For a year, where TLS ends in front of us.
    hsts: bool,
    /// The URL of the error pages, for every error response.
    pages: Arc<str>,
}

impl<E: Endpoint<Output = Response>> RequestMiddleware<E> {
    /// Puts the edge around all routes.
    pub fn new(inner: E, gateway: Arc<Gateway>) -> RequestMiddleware<E> {
        let issuer = gateway.config().issuer.as_str();
        let (hsts, pages) = (
            issuer.starts_with("https://"),
            problem::pages_url(issuer).into(),
        );
        RequestMiddleware {
            inner,
            gateway,
            allow: Negotiation::new(),
            hsts,
            pages,
        }
    }

    async fn dispatch(&self, mut request: Request) -> Response {
        let (path, method) = (request.uri().path().to_owned(), request.method().clone());
        if let (false, Err(error)) = (
            self.allow.is_metadata(&path),
            params::reject_duplicate_params(request.uri().query()),
        ) {
            return problem::respond(&error);
        }
        let offered = self.allow.offered(&path);
        if !offered.is_empty() && !params::accepts(&request, offered) {
            // The other ones are media types of errors.
            return problem::respond(&Error::NotAcceptable(offered[0]));
        }
        let wants_page = wants_page(&request);
        request.set_data(self.gateway.clone());
        let task = async {
            if self.gateway.is_starting() && self.allow.requires_started_server(&path) {
                self.gateway.wait_for_start().await;
            }
            self.inner.get_response(request).await
        };
        // Pinned where it is: it is some kilobytes, which would be moved into each of its wrappers.
        let task = pin!(AssertUnwindSafe(task).catch_unwind());
        match tokio::time::timeout(REQUEST_TIMEOUT, task).await {
            Ok(Ok(response)) => self.map_error(response, &method, &path, wants_page),
            Ok(Err(_panic)) => problem::respond(&Error::internal("a handler panicked")),
            Err(_late) => problem::respond(&Error::Busy),
        }
    }

    /// The framework's own refusals are plain text, and may repeat what was sent.
    fn map_error(
        &self,
        response: Response,
        method: &Method,
        path: &str,
        wants_page: bool,
    ) -> Response {
        let allowed = || self.allow.methods(path);
        let error = match response.status() {
            status if !status.is_client_error() && !status.is_server_error() => return response,
            _ours if is_json(&response) => return response,
            StatusCode::NOT_FOUND if wants_page => return pages::not_found(),
            StatusCode::NOT_FOUND => Error::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Error::MethodNotAllowed {
                method: is_registered(method).then(|| method.to_string()),
                allowed: allowed().and_then(|methods| Some(methods.to_str().ok()?.to_owned())),
            },
            StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge(self.gateway.config().body_limit),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Error::UnsupportedMediaType("`application/json`"),
            status if status.is_client_error() => Error::malformed("The request is malformed."),
            status => Error::internal(format!("the framework returned {status}")),
        };
        let mut problem = problem::respond(&error);
        if let (Error::MethodNotAllowed { .. }, Some(methods)) = (&error, allowed()) {
            problem.headers_mut().insert(header::ALLOW, methods);
        }
        if let Some(operation) = response.data::<OperationId>() {
            problem.set_data(OperationId(operation.0));
        }
        problem
    }

    fn add_common_headers(&self, response: &mut Response, id: HeaderValue) {
        let headers = response.headers_mut();
        headers.reserve(EXPECTED_HEADERS);
        headers.insert(REQUEST_ID, id);
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        );
        set_default(headers, header::CACHE_CONTROL, "no-store");
        set_default(
            headers,
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        );
        if self.hsts {
            headers.insert(
                header::STRICT_TRANSPORT_SECURITY,
                HeaderValue::from_static("max-age=31536000"),
            );
        }
    }
}

impl<E: Endpoint<Output = Response>> Endpoint for RequestMiddleware<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let began = Instant::now();
        let id = request_id(request.headers());
        let client = ClientAddress::of(&request, &self.gateway.config().trusted_proxies.0);
        request.set_data(client);
        let notes = DeferredHeaders::default();
        request.set_data(notes.clone());
        let span = span(&request, &id, client);
        let is_verify_path = forward_auth::is_verify_path(request.uri().path());
        normalize_path(request.uri_mut());
        // What a proxy asks is about a page elsewhere: a permission of ours would be an answer to
        // another question, and a good one, too.
        let origins: &[String] = if is_verify_path {
            &[]
        } else {
            &self.gateway.config().cors_origins.0
        };
        let origin = cors::allowed(&request, origins);
        let mut response = match origin.is_some() && cors::is_preflight(&request) {
            true => cors::preflight(),
            false => {
                let context = RequestContext {
                    id: id.clone(),
                    pages: self.pages.clone(),
                };
                let response = pin!(self.dispatch(request));
                REQUEST
                    .scope(context, response)
                    .instrument(span.clone())
                    .await
            }
        };
        notes.apply(response.headers_mut());
        if is_verify_path && !response.status().is_success() {
            forward_auth::ensure_identity_headers(response.headers_mut());
        }
        self.add_common_headers(&mut response, id);
        if let Some(origin) = origin {
            cors::add_cors_headers(
                response.headers_mut(),
                origin,
                self.gateway.config().cookie_domain.is_some(),
            );
        }
        span.in_scope(|| record(&response, began.elapsed()));
        Ok(response)
    }
}

fn record(response: &Response, elapsed: Duration) {
    let operation = response
        .data::<OperationId>()
        .map_or("none", |operation| operation.0);
    let status = response.status().as_u16();
    metrics::answered(operation, status, elapsed);
    tracing::debug!(
        operation,
        status,
        duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        "request completed"
    );
}

/// The client, the method, the path without its query, the id, and the trace that the request
/// belongs to (W3C Trace Context).
fn span(
    request: &Request,
    id: &HeaderValue,
    ClientAddress(client): ClientAddress,
) -> tracing::Span {
    let request_id = id.to_str().expect("ids are plain text");
    let trace_id = request
        .headers()
        .get("traceparent")
        .and_then(|field| field.to_str().ok())
        .and_then(trace_id);
    tracing::info_span!(
        "request",
        request_id,
        client_ip = %client,
        method = %request.method(),
        path = request.uri().path(),
        trace_id
    )
}

fn trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let hexadecimal = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let sane = version.len() == 2
        && trace.len() == 32
        && hexadecimal(version)
        && hexadecimal(trace)
        && trace.bytes().any(|b| b != b'0');
    sane.then_some(trace)
}

/// That of the caller, if it is a sane one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sane = |id: &&HeaderValue| {
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        (1..=MAX_REQUEST_ID_CHARACTERS).contains(&id.len()) && id.as_bytes().iter().all(fits)
    };
    headers
        .get(REQUEST_ID)
        .filter(sane)
        .cloned()
        .unwrap_or_else(|| {
            let id = Uuid::new_v4()
                .simple()
                .encode_lower(&mut Uuid::encode_buffer())
                .to_owned();
            HeaderValue::try_from(id).expect("hexadecimal digits are plain text")
        })
}

/// Gives the path its name of today.
fn normalize_path(uri: &mut Uri) {
    if forward_auth::is_verify_path(uri.path()) {
        return forward_auth::strip_forwarded_path(uri);
    }
    let path = legacy_paths::canonical(uri.path());
    if path == uri.path() {
        return;
    }
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let renamed = PathAndQuery::try_from(format!("{path}{query}")).ok();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = renamed;
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// Whether a browser loads a page: only then `Accept` names HTML.
fn wants_page(request: &Request) -> bool {
    let accepts = request.headers().get_all(header::ACCEPT);
    let mut ranges = accepts
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    matches!(*request.method(), Method::GET | Method::HEAD)
        && ranges.any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_html = parts
                .next()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
            let weight = |part: &str| part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
            is_html && !parts.any(|part| weight(part) == Some(0.0))
        })
}

/// Whether the method is a registered one; a response doesn't repeat any other.
fn is_registered(method: &Method) -> bool {
    [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
        Method::CONNECT,
    ]
    .contains(method)
}

fn is_json(response: &Response) -> bool {
    response.content_type().is_some_and(|media_type| {
        media_type.starts_with(problem::MEDIA_TYPE) || media_type.starts_with(body::JSON)
    })
}

fn set_default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers
        .entry(name)
        .or_insert(HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(given: &str) -> HeaderValue {
        request_id(&HeaderMap::from_iter([(
            REQUEST_ID,
            HeaderValue::from_str(given).unwrap(),
        )]))
    }

    #[test]
    fn only_a_sane_request_id_is_taken_over() {
        assert_eq!(id("abc-1.2_3"), "abc-1.2_3");
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert_eq!(id(bad).len(), 32, "{bad}");
        }
    }

    #[test]
    fn only_browsers_get_pages() {
        let wants = |accept: &str| {
            wants_page(
                &Request::builder()
                    .header(header::ACCEPT, accept)
                    .method(Method::GET)
                    .finish(),
            )
        };
        assert!(wants(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        ));
        for other in ["", "*/*", "text/*", "application/json", "text/html;q=0"] {
            assert!(!wants(other), "{other}");
        }
        assert!(!wants_page(&Request::builder().finish()));
    }

    #[test]
    fn only_a_sane_trace_is_taken_over() {
        assert_eq!(
            trace_id("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
        for bad in [
            "",
            "00-x-y-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(bad), None);
        }
    }

    #[test]
    fn the_query_survives_a_renaming() {
        let mut uri = Uri::from_static("/refresh_jwt/?a=b");
        normalize_path(&mut uri);
        assert_eq!(uri, Uri::from_static("/refresh?a=b"));
    }
}
