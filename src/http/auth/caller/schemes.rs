//! The security schemes of the OpenAPI document, in the order in which Swagger UI shows them.

use latchkey_domain::{
    cookie_names::DEFAULT_SESSION_COOKIE,
    scope::{Scope, Scopes},
};
use poem_openapi::registry::{
    MetaOAuthFlow, MetaOAuthFlows, MetaOAuthScope, MetaSecurityScheme, Registry,
};

use crate::http::auth::caller::{BEARER, CLIENT_CREDENTIALS, COOKIE, PASSWORD};

pub fn register(registry: &mut Registry) {
    registry.create_security_scheme(BEARER, bearer_scheme());
    registry.create_security_scheme(PASSWORD, password_scheme());
    registry.create_security_scheme(CLIENT_CREDENTIALS, client_scheme());
    registry.create_security_scheme(COOKIE, cookie_scheme());
}

/// In OpenAPI 3.0, schemes of type `http` have no scopes.
fn bearer_scheme() -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "http",
        description: Some("Access token or personal access token"),
        name: None,
        key_in: None,
        scheme: Some("bearer"),
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}

/// OAuth 2.0 password flow. *Authorize* in Swagger UI uses it to sign in, and then sends the access
/// token as a bearer token.
fn password_scheme() -> MetaSecurityScheme {
    let flow = flow("/login", Some("/oauth/token"), Scopes::OF_ADMINS);
    let flows = MetaOAuthFlows {
        implicit: None,
        password: Some(flow),
        client_credentials: None,
        authorization_code: None,
    };
    oauth_scheme(
        "User: username and password. Leave the client fields empty. Without selected scopes, the \
         access token gets all scopes of the user.",
        flows,
    )
}

/// A separate scheme: for one scheme with two flows, some generated clients send the token twice.
/// The server rejects a duplicate `Authorization` header.
fn client_scheme() -> MetaSecurityScheme {
    let flow = flow("/oauth/token", None, Scopes::of(Scope::ALL));
    let flows = MetaOAuthFlows {
        implicit: None,
        password: None,
        client_credentials: Some(flow),
        authorization_code: None,
    };
    oauth_scheme(
        "OAuth client: `client_id` and `client_secret`. Its tokens are for your own services. At \
         `GET /revocations` and `GET /auth/verify`, this server accepts those for its own \
         audience.",
        flows,
    )
}

fn flow(
    token_url: &'static str,
    refresh_url: Option<&'static str>,
    scopes: Scopes,
) -> MetaOAuthFlow {
    let meta_scope = |scope: &Scope| MetaOAuthScope {
        name: scope.as_str(),
        description: Some(scope.description()),
    };
    MetaOAuthFlow {
        authorization_url: None,
        token_url: Some(token_url),
        refresh_url,
        scopes: Scope::ALL
            .iter()
            .filter(|scope| scopes.contains(**scope))
            .map(meta_scope)
            .collect(),
    }
}

fn oauth_scheme(description: &'static str, flows: MetaOAuthFlows) -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "oauth2",
        description: Some(description),
        name: None,
        key_in: None,
        scheme: None,
        bearer_format: None,
        flows: Some(flows),
        openid_connect_url: None,
    }
}

/// Documents the default cookie name. The served document contains the configured name.
fn cookie_scheme() -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "apiKey",
        description: Some(
            "Session cookie, set by `POST /session` or by `POST /signup` with \
             `X-Latchkey-Request: 1`. Browsers send it automatically; leave this field empty. \
             State-changing requests require `X-Latchkey-Request: 1` and an allowed origin. \
             `LATCHKEY_COOKIE_NAME` and `LATCHKEY_COOKIE_DOMAIN` change the name. Of several session \
             cookies, the one that this server signed is used; two of these, or more than four \
             session cookies, return 400.",
        ),
        name: Some(DEFAULT_SESSION_COOKIE),
        key_in: Some("cookie"),
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}
