//! Checks the caller of a request, and adds the identity to the request.

use std::{error::Error, mem, pin::Pin, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use reqwest::{Client, Url, redirect::Policy};
use serde::Serialize;
use tower_http::auth::AsyncAuthorizeRequest;

/// The caller: a user or, if the route requires a scope, possibly an OAuth client.
#[derive(Clone, Serialize)]
pub struct Identity {
    id: String,
    /// Empty for an OAuth client, and for a user without a username.
    username: String,
}

/// Decides for `AsyncRequireAuthorizationLayer`. Clones share the connections to Latchkey.
#[derive(Clone)]
pub struct RequireUser {
    client: Client,
    url: Url,
}

impl RequireUser {
    pub fn new(latchkey_url: &str) -> Result<RequireUser, Box<dyn Error>> {
        let client = Client::builder()
            .timeout(Duration::from_secs(2))
            // Latchkey closes idle connections after 30 s.
            .pool_idle_timeout(Duration::from_secs(25))
            .redirect(Policy::none())
            .build()?;
        let url = Url::parse(latchkey_url)?.join("/auth/verify")?;
        Ok(RequireUser { client, url })
    }

    /// Adds a required `role` or `scope` to the query.
    pub fn with(mut self, name: &str, value: &str) -> RequireUser {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    async fn check(self, token: Option<HeaderValue>) -> Result<Identity, (StatusCode, HeaderMap)> {
        let headers = HeaderMap::from_iter(token.map(|token| (header::AUTHORIZATION, token)));
        let check = self.client.get(self.url).headers(headers).send().await;
        let mut response = check.map_err(|error| {
            eprintln!("check failed: {error:?}");
            (StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new())
        })?;
        let (status, headers) = (response.status(), mem::take(response.headers_mut()));
        // Reads the body, because otherwise the connection can't be reused.
        let _ = response.bytes().await;
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        let id = text("x-auth-user").unwrap_or_default();
        let username = text("x-auth-username").unwrap_or_default();
        if status == StatusCode::NO_CONTENT && !id.is_empty() {
            return Ok(Identity { id, username });
        }
        let names = [header::WWW_AUTHENTICATE, header::RETRY_AFTER].into_iter();
        let forwarded = names.filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
        // 401 and 403 are about the caller. Every other response denies the request as well.
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err((status, forwarded.collect()));
        }
        eprintln!("check failed: {status}");
        Err((StatusCode::SERVICE_UNAVAILABLE, forwarded.collect()))
    }
}

impl AsyncAuthorizeRequest<Body> for RequireUser {
    type RequestBody = Body;
    type ResponseBody = Body;
    type Future = Pin<Box<dyn Future<Output = Result<Request, Response>> + Send>>;

    fn authorize(&mut self, mut request: Request) -> Self::Future {
        let token = request.headers().get(header::AUTHORIZATION).cloned();
        let check = self.clone().check(token);
        Box::pin(async move {
            let identity = check.await.map_err(IntoResponse::into_response)?;
            request.extensions_mut().insert(identity);
            Ok(request)
        })
    }
}
