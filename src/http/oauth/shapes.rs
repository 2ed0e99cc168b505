//! What the OAuth face answers.

use poem_openapi::{ApiResponse, Object, payload::Json, types::Example};
use uuid::{Uuid, uuid};

use crate::{
    domain::access_token::Claims,
    gateway::{Granted, Pair},
};

/// A token (RFC 6749 section 5.1).
#[derive(Object)]
#[oai(rename = "IssuedToken", example)]
pub struct IssuedShape {
    /// The access token: a JWT (RFC 9068), sent as `Authorization: Bearer …`.
    access_token: String,
    /// Always `Bearer`.
    token_type: String,
    /// Its lifetime in seconds.
    expires_in: u64,
    /// What it may be used for.
    scope: String,
    /// The next refresh token, good for one exchange; a client for itself has none.
    #[oai(skip_serializing_if_is_none)]
    refresh_token: Option<String>,
}

impl IssuedShape {
    /// Of a session.
    pub fn refreshed(pair: Pair) -> IssuedShape {
        let Pair {
            access_token,
            expires_in,
            refresh_token,
            refresh_expires_in: _,
            scope,
        } = pair;
        let (token_type, refresh_token) = ("Bearer".to_owned(), Some(refresh_token));
        IssuedShape {
            access_token,
            token_type,
            expires_in,
            scope,
            refresh_token,
        }
    }

    /// Of a client for itself.
    pub fn granted(granted: Granted) -> IssuedShape {
        let Granted {
            access_token,
            expires_in,
            scopes,
        } = granted;
        let (token_type, scope) = ("Bearer".to_owned(), scopes.to_string());
        IssuedShape {
            access_token,
            token_type,
            expires_in,
            scope,
            refresh_token: None,
        }
    }
}

impl Example for IssuedShape {
    fn example() -> Self {
        IssuedShape {
            access_token: "eyJ…".to_owned(),
            token_type: "Bearer".to_owned(),
            expires_in: 900,
            scope: "items:read".to_owned(),
            refresh_token: None,
        }
    }
}

/// 200 with a token.
#[derive(ApiResponse)]
pub enum Issued {
    /// The token.
    #[oai(status = 200)]
    Token(
        Json<IssuedShape>,
        #[oai(header = "Cache-Control")] String,
        #[oai(header = "Pragma")] String,
    ),
}

impl Issued {
    /// Which nobody on the way may keep (RFC 6749 section 5.1).
    pub fn of(token: IssuedShape) -> Issued {
        Issued::Token(Json(token), "no-store".to_owned(), "no-cache".to_owned())
    }
}

/// 200.
#[derive(ApiResponse)]
pub enum Revoked {
    /// No replica accepts it, if any ever did.
    #[oai(status = 200)]
    Gone,
}

/// What a token says (RFC 7662 section 2.2); of one that is not good, `active` alone.
#[derive(Object, Default)]
#[oai(rename = "Introspection", example)]
pub struct IntrospectionShape {
    /// Whether it is good at this moment.
    active: bool,
    /// What it may be used for.
    #[oai(skip_serializing_if_is_none)]
    scope: Option<String>,
    /// The client that has it.
    #[oai(skip_serializing_if_is_none)]
    client_id: Option<String>,
    /// The user name.
    #[oai(skip_serializing_if_is_none)]
    username: Option<String>,
    /// Always `Bearer`.
    #[oai(skip_serializing_if_is_none)]
    token_type: Option<String>,
    /// When it ends, in seconds since the epoch.
    #[oai(skip_serializing_if_is_none)]
    exp: Option<u64>,
    /// When it was issued.
    #[oai(skip_serializing_if_is_none)]
    iat: Option<u64>,
    /// When it begins.
    #[oai(skip_serializing_if_is_none)]
    nbf: Option<u64>,
    /// The user, or the client that has it for itself.
    #[oai(skip_serializing_if_is_none)]
    sub: Option<Uuid>,
    /// Whom it is for.
    #[oai(skip_serializing_if_is_none)]
    aud: Option<String>,
    /// Who issued it.
    #[oai(skip_serializing_if_is_none)]
    iss: Option<String>,
    /// The token itself.
    #[oai(skip_serializing_if_is_none)]
    jti: Option<Uuid>,
    /// The session.
    #[oai(skip_serializing_if_is_none)]
    sid: Option<Uuid>,
    /// What the user may do.
    #[oai(skip_serializing_if_is_none)]
    roles: Option<Vec<String>>,
}

impl IntrospectionShape {
    /// Of a token that is good, or of one that is not.
    pub fn new(claims: Option<&Claims>) -> IntrospectionShape {
        let Some(claims) = claims else {
            return IntrospectionShape::default();
        };
        IntrospectionShape {
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
        }
    }
}

impl Example for IntrospectionShape {
    fn example() -> Self {
        let somebody = uuid!("019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42");
        IntrospectionShape {
            active: true,
            scope: Some("items:read".to_owned()),
            client_id: Some(somebody.to_string()),
            token_type: Some("Bearer".to_owned()),
            exp: Some(1_795_162_500),
            sub: Some(somebody),
            ..IntrospectionShape::default()
        }
    }
}

/// 200 with what a token says.
#[derive(ApiResponse)]
pub enum Introspected {
    /// What it says.
    #[oai(status = 200)]
    Told(Json<IntrospectionShape>),
}
