//! Responses of the OAuth 2.0 endpoints.

use latchkey_domain::access_token::Claims;
use poem_openapi::{Object, types::Example};
use uuid::Uuid;

use crate::{
    app::{sessions::issue::TokenPair, tokens::client_credentials::IssuedClientToken},
    http::api::schemas::{CLIENT_ID, TOKEN_ID},
};

/// Access token response (RFC 6749 section 5.1).
#[derive(Object)]
#[oai(rename = "IssuedToken", example)]
pub struct IssuedTokenSchema {
    /// Access token: a JWT (RFC 9068). Send it as `Authorization: Bearer TOKEN`.
    access_token: String,
    /// Always `Bearer`.
    token_type: String,
    /// Lifetime of the access token in seconds.
    expires_in: u64,
    /// Granted scopes, separated by spaces.
    scope: String,
    /// Refresh token for one exchange. Only with the grant `refresh_token`.
    #[oai(skip_serializing_if_is_none)]
    refresh_token: Option<String>,
}

impl IssuedTokenSchema {
    /// Response to the grant `refresh_token`.
    pub fn for_session(pair: TokenPair) -> IssuedTokenSchema {
        let TokenPair {
            access_token,
            expires_in,
            refresh_token,
            refresh_expires_in: _,
            scope,
            password_change_required: _,
        } = pair;
        let (token_type, refresh_token) = ("Bearer".to_owned(), Some(refresh_token));
        IssuedTokenSchema {
            access_token,
            token_type,
            expires_in,
            scope,
            refresh_token,
        }
    }

    /// Response to the grant `client_credentials`.
    pub fn for_client(issued: IssuedClientToken) -> IssuedTokenSchema {
        let IssuedClientToken {
            access_token,
            expires_in,
            scopes,
        } = issued;
        let (token_type, scope) = ("Bearer".to_owned(), scopes.to_string());
        IssuedTokenSchema {
            access_token,
            token_type,
            expires_in,
            scope,
            refresh_token: None,
        }
    }
}

impl Example for IssuedTokenSchema {
    fn example() -> Self {
        IssuedTokenSchema {
            access_token: "eyJhbGciOiJFZERTQSI…".to_owned(),
            token_type: "Bearer".to_owned(),
            expires_in: 900,
            scope: "items:read".to_owned(),
            refresh_token: None,
        }
    }
}

/// Introspection response (RFC 7662 section 2.2). If the token is not active, `active` is the only
/// field.
#[derive(Object, Default)]
#[oai(rename = "Introspection", example)]
pub struct IntrospectionSchema {
    /// Whether the token is valid now: not expired, not revoked, and for an audience of the client.
    active: bool,
    /// Scopes, separated by spaces.
    #[oai(skip_serializing_if_is_none)]
    scope: Option<String>,
    /// ID of the client that the token was issued to. Tokens of users: `latchkey`,
    /// `latchkey-browser` (session cookie), or `latchkey-personal-token`.
    #[oai(skip_serializing_if_is_none)]
    client_id: Option<String>,
    /// Username, if the token belongs to a user who has one.
    #[oai(skip_serializing_if_is_none)]
    username: Option<String>,
    /// Always `Bearer`.
    #[oai(skip_serializing_if_is_none)]
    token_type: Option<String>,
    /// Expiration time in seconds since the Unix epoch.
    #[oai(skip_serializing_if_is_none)]
    exp: Option<u64>,
    /// Time of issue in seconds since the Unix epoch.
    #[oai(skip_serializing_if_is_none)]
    iat: Option<u64>,
    /// Start of validity in seconds since the Unix epoch.
    #[oai(skip_serializing_if_is_none)]
    nbf: Option<u64>,
    /// ID of the user, or of the client for its own tokens.
    #[oai(skip_serializing_if_is_none)]
    sub: Option<Uuid>,
    /// Audience.
    #[oai(skip_serializing_if_is_none)]
    aud: Option<String>,
    /// Issuer: the base URL of this server.
    #[oai(skip_serializing_if_is_none)]
    iss: Option<String>,
    /// Token ID.
    #[oai(skip_serializing_if_is_none)]
    jti: Option<Uuid>,
    /// Session ID; only for tokens of a session.
    #[oai(skip_serializing_if_is_none)]
    sid: Option<Uuid>,
    /// `admin` for an administrator whose token has the scope `admin`, otherwise `user`; empty for
    /// clients.
    #[oai(skip_serializing_if_is_none)]
    roles: Option<Vec<String>>,
    /// Names of the groups of the user; absent if there are none.
    #[oai(skip_serializing_if_is_none)]
    groups: Option<Vec<String>>,
}

impl IntrospectionSchema {
    /// `None` describes a token that is not active.
    pub fn new(claims: Option<&Claims>) -> IntrospectionSchema {
        let Some(claims) = claims else {
            return IntrospectionSchema::default();
        };
        IntrospectionSchema {
            active: true,
            scope: Some(claims.scope.clone()),
            client_id: Some(claims.client_id.clone()),
            username: claims.username.clone(),
            token_type: Some("Bearer".to_owned()),
            exp: Some(claims.exp),
            iat: Some(claims.iat),
            nbf: Some(claims.nbf),
            sub: Some(claims.sub),
            aud: Some(claims.aud.clone()),
            iss: Some(claims.iss.clone()),
            jti: Some(claims.jti),
            sid: claims.sid,
            roles: Some(
                claims
                    .roles
                    .iter()
                    .map(|role| role.as_str().to_owned())
                    .collect(),
            ),
            groups: (!claims.groups.is_empty())
                .then(|| claims.groups.iter().map(str::to_owned).collect()),
        }
    }
}

impl Example for IntrospectionSchema {
    fn example() -> Self {
        IntrospectionSchema {
            active: true,
            scope: Some("items:read".to_owned()),
            client_id: Some(CLIENT_ID.to_string()),
            token_type: Some("Bearer".to_owned()),
            exp: Some(1_795_162_500),
            iat: Some(1_795_161_600),
            nbf: Some(1_795_161_600),
            sub: Some(CLIENT_ID),
            aud: Some("https://billing.example.com".to_owned()),
            iss: Some("https://auth.example.com".to_owned()),
            jti: Some(TOKEN_ID),
            sid: None,
            username: None,
            roles: Some(Vec::new()),
            groups: None,
        }
    }
}
