//! Middleware around all routes.
//!
//! Before the handler, it determines the request ID, replaces path aliases, and checks CORS,
//! duplicate parameters, and `Accept`. After the handler, it converts every error to an error
//! response, including errors of the framework and panics. Then it adds common headers and writes
//! metrics and the log.

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
    app::App,
    error::Error,
    http::{
        context::{client_address::ClientAddress, response_headers::DeferredHeaders},
        document, forward_auth, metrics,
        middleware::{cors, legacy_paths, log_span, negotiation::Negotiation},
        openapi::{
            body, params,
            problem::{self, REQUEST, RequestContext},
        },
        pages::{self, Site},
    },
};

/// Longer than the default timeouts of the hash queue, PostgreSQL, and Redis together.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A longer request ID of the client is replaced.
const MAX_REQUEST_ID_CHARACTERS: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers added per response (capacity hint).
const EXPECTED_HEADERS: usize = 8;

/// Wraps the router with the cross-cutting concerns.
pub struct RequestMiddleware<E> {
    inner: E,
    app: Arc<App>,
    site: Arc<Site>,
    negotiation: Negotiation,
    /// Whether responses have `Strict-Transport-Security`. The issuer's scheme determines it.
    hsts: bool,
    /// The URL of the error pages, for every error response.
    pages: Arc<str>,
}

impl<E: Endpoint<Output = Response>> RequestMiddleware<E> {
    pub fn new(inner: E, app: Arc<App>, site: Arc<Site>) -> RequestMiddleware<E> {
        let issuer = &app.config.issuer;
        let (hsts, pages) = (
            issuer.is_https(),
            problem::pages_url(issuer.as_str()).into(),
        );
        RequestMiddleware {
            inner,
            app,
            site,
            negotiation: Negotiation::new(),
            hsts,
            pages,
        }
    }

    async fn dispatch(&self, mut request: Request) -> Response {
        let (path, method) = (request.uri().path().to_owned(), request.method().clone());
        let is_page_request = is_page_request(&request);
        let respond = |error: &Error| {
            if pages::is_page(&path) {
                pages::respond_error(&self.site, error)
            } else {
                problem::respond(error)
            }
        };
        if let (false, Err(error)) = (
            self.negotiation.is_health_check(&path),
            params::reject_duplicate_params(request.uri().query()),
        ) {
            return respond(&error);
        }
        let offered = self.negotiation.offered_media_types(&path);
        if !offered.is_empty() && !params::accepts(&request, offered) {
            // The other media types are those of error responses.
            return problem::respond(&Error::NotAcceptable(offered[0]));
        }
        request.set_data(self.app.clone());
        let task = async {
            if self.app.lifecycle.is_starting() && self.negotiation.requires_started_server(&path) {
                self.app.lifecycle.wait_for_start().await;
            }
            let response = self.inner.call(request).await;
            response.unwrap_or_else(|error| {
                debug_assert_documented(&error);
                error.into_response()
            })
        };
        // Pinned on the stack: the future is several KB and would be moved into every wrapper.
        let task = pin!(AssertUnwindSafe(task).catch_unwind());
        match tokio::time::timeout(REQUEST_TIMEOUT, task).await {
            Ok(Ok(response)) => self.map_error(response, &method, &path, is_page_request),
            Ok(Err(_panic)) => respond(&Error::internal("a handler panicked")),
            Err(_late) => respond(&Error::Busy),
        }
    }

    /// Replaces error responses of the framework, which are plain text and can repeat values of the
    /// request.
    fn map_error(
        &self,
        response: Response,
        method: &Method,
        path: &str,
        is_page_request: bool,
    ) -> Response {
        let allowed = || self.negotiation.allowed_methods(path);
        let error = match response.status() {
            status if !status.is_client_error() && !status.is_server_error() => return response,
            _error_response if is_rendered(&response) => return response,
            StatusCode::NOT_FOUND if is_page_request => {
                return pages::respond_error(&self.site, &Error::NotFound);
            }
            StatusCode::METHOD_NOT_ALLOWED if is_page_request => {
                match pages::redirect_to_page(&self.site, path) {
                    Some(redirect) => return redirect,
                    None => Error::MethodNotAllowed {
                        method: is_registered(method).then(|| method.to_string()),
                        allowed: allowed()
                            .and_then(|methods| Some(methods.to_str().ok()?.to_owned())),
                    },
                }
            }
            StatusCode::NOT_FOUND => Error::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Error::MethodNotAllowed {
                method: is_registered(method).then(|| method.to_string()),
                allowed: allowed().and_then(|methods| Some(methods.to_str().ok()?.to_owned())),
            },
            StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge(self.app.config.body_limit),
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
        set_default(headers, header::REFERRER_POLICY, "no-referrer");
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
        let started = Instant::now();
        let id = read_or_create_request_id(request.headers());
        let client = ClientAddress::resolve(&request, &self.app.config.trusted_proxies.0);
        request.set_data(client);
        let deferred_headers = DeferredHeaders::default();
        request.set_data(deferred_headers.clone());
        let span = log_span::create(&request, &id, client);
        let is_verify_path = forward_auth::is_verify_path(request.uri().path());
        normalize_path(request.uri_mut());
        // Forward authentication ignores CORS: its requests are for an upstream, and the 204 of a
        // preflight would mean that the proxy can forward the request.
        let origins: &[String] = if is_verify_path {
            &[]
        } else {
            &self.app.config.cors_origins.0
        };
        let origin = cors::find_allowed_origin(&request, origins);
        let mut response = match origin.is_some() && cors::is_preflight(&request) {
            true => cors::preflight_response(),
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
        deferred_headers.apply(response.headers_mut());
        if is_verify_path && !response.status().is_success() {
            forward_auth::ensure_identity_headers(response.headers_mut());
        }
        self.add_common_headers(&mut response, id);
        if let Some(origin) = origin {
            cors::add_cors_headers(
                response.headers_mut(),
                origin,
                self.app.config.cookie_domain.is_some(),
            );
        }
        span.in_scope(|| record_response(&response, started.elapsed()));
        Ok(response)
    }
}

/// Panics in debug builds, and thus in the tests, if the OpenAPI document doesn't list the error
/// for its operation.
fn debug_assert_documented(error: &poem::Error) {
    let (operation, error) = (error.data::<OperationId>(), error.downcast_ref::<Error>());
    if let (Some(OperationId(operation)), Some(error)) = (operation, error) {
        let code = error.code();
        debug_assert!(
            document::lists_error(operation, code),
            "the OpenAPI document doesn't list `{}` for `{operation}`; add it to its `problems!`",
            code.slug()
        );
    }
}

fn record_response(response: &Response, elapsed: Duration) {
    let operation = response
        .data::<OperationId>()
        .map_or("none", |operation| operation.0);
    let status = response.status().as_u16();
    metrics::record_request(operation, status, elapsed);
    tracing::debug!(
        operation,
        status,
        duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        "request completed"
    );
}

/// Returns the client's request ID if it is valid, otherwise a new one.
fn read_or_create_request_id(headers: &HeaderMap) -> HeaderValue {
    let is_valid = |id: &&HeaderValue| {
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        (1..=MAX_REQUEST_ID_CHARACTERS).contains(&id.len()) && id.as_bytes().iter().all(is_allowed)
    };
    headers
        .get(REQUEST_ID)
        .filter(is_valid)
        .cloned()
        .unwrap_or_else(|| {
            let id = Uuid::new_v4()
                .simple()
                .encode_lower(&mut Uuid::encode_buffer())
                .to_owned();
            HeaderValue::try_from(id).expect("hexadecimal digits are ASCII")
        })
}

/// Replaces path aliases, and removes the path that a proxy appended to the forward authentication
/// path.
fn normalize_path(uri: &mut Uri) {
    if forward_auth::is_verify_path(uri.path()) {
        return forward_auth::strip_forwarded_path(uri);
    }
    let path = legacy_paths::canonicalize(uri.path());
    if path == uri.path() {
        return;
    }
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let path_and_query = PathAndQuery::try_from(format!("{path}{query}")).ok();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path_and_query;
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// Whether a browser loads a page: `Sec-Fetch-Dest` is `document` (Fetch Metadata). A browser without
/// Fetch Metadata has `text/html` in `Accept`.
fn is_page_request(request: &Request) -> bool {
    if let Some(destination) = request.headers().get("sec-fetch-dest")
        && destination != "document"
    {
        return false;
    }
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

/// Whether the method is standardized. Error texts repeat no other method.
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

/// Whether the response is an error of this server, not one of the framework.
fn is_rendered(response: &Response) -> bool {
    response.content_type().is_some_and(|media_type| {
        [problem::MEDIA_TYPE, body::JSON, pages::MEDIA_TYPE]
            .iter()
            .any(|rendered| media_type.starts_with(rendered))
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

    fn request_id_for(given: &str) -> HeaderValue {
        read_or_create_request_id(&HeaderMap::from_iter([(
            REQUEST_ID,
            HeaderValue::from_str(given).unwrap(),
        )]))
    }

    #[test]
    fn invalid_request_id_is_replaced() {
        assert_eq!(request_id_for("abc-1.2_3"), "abc-1.2_3");
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert_eq!(request_id_for(bad).len(), 32, "{bad}");
        }
    }

    #[test]
    fn only_html_in_accept_requests_a_page() {
        let requests_page = |accept: &str| {
            is_page_request(
                &Request::builder()
                    .header(header::ACCEPT, accept)
                    .method(Method::GET)
                    .finish(),
            )
        };
        assert!(requests_page(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        ));
        for other in ["", "*/*", "text/*", "application/json", "text/html;q=0"] {
            assert!(!requests_page(other), "{other}");
        }
        assert!(!is_page_request(&Request::builder().finish()));
    }

    #[test]
    fn path_alias_keeps_query() {
        let mut uri = Uri::from_static("/refresh_jwt/?a=b");
        normalize_path(&mut uri);
        assert_eq!(uri, Uri::from_static("/refresh?a=b"));
    }
}
