//! What a token says, and of whom.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    access_token::TokenPolicy,
    account::{Identity, Role},
    scope::{Scope, Scopes},
    session::{PERSONAL_TOKEN_CLIENT, Session},
};

/// The claims of an access token. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The user, or the client that has the token for itself (RFC 9068 section 2.2).
    pub sub: Uuid,
    /// The OAuth client.
    pub client_id: String,
    /// The session. This, `auth_time` and `session_exp` are there of a user's sign-in, and of
    /// nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
    /// The token itself.
    pub jti: Uuid,
    /// Issued at.
    pub iat: u64,
    /// Not before.
    pub nbf: u64,
    /// Not at or after.
    pub exp: u64,
    /// What it may be used for.
    pub scope: String,
    /// What the user may do.
    pub roles: Vec<Role>,
    /// The generation of the user at sign-in, or of the OAuth client.
    pub generation: i64,
    /// When the user last proved to know the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<u64>,
    /// The absolute end of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_exp: Option<u64>,
    /// For upstreams: the user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For upstreams: the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// For upstreams: whether somebody proved to read mail there.
    pub email_verified: bool,
    /// For upstreams: the display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Who has a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A user who signed in.
    User {
        /// The session.
        sid: Uuid,
    },
    /// A program of a user's, with a personal access token.
    PersonalAccessToken,
    /// An OAuth client for itself.
    Client,
}

impl Claims {
    /// Who has the token.
    pub fn holder(&self) -> Holder {
        match self.sid {
            Some(sid) => Holder::User { sid },
            None if self.client_id == PERSONAL_TOKEN_CLIENT => Holder::PersonalAccessToken,
            None => Holder::Client,
        }
    }

    /// Whether it may be used for this.
    pub fn permits(&self, scope: Scope) -> bool {
        self.scope.split(' ').any(|word| word == scope.as_str())
    }

    /// Whether a signed token is what it says: of a session with all that belongs to one, or of a
    /// client for itself.
    pub(crate) fn is_complete(&self) -> bool {
        match self.sid {
            Some(_) => self.auth_time.is_some() && self.session_exp.is_some(),
            None => {
                self.auth_time.is_none()
                    && self.session_exp.is_none()
                    && self.client_id == self.sub.to_string()
            }
        }
    }

    /// The same, saying of the user what this says.
    #[must_use]
    pub fn of(self, identity: &Identity) -> Claims {
        // A token that may not be used to administer is not to be taken for an administrator's.
        let role = if self.permits(Scope::Admin) {
            identity.role
        } else {
            Role::User
        };
        Claims {
            roles: vec![role],
            username: identity.username.clone(),
            email: identity.email.clone(),
            email_verified: identity.email_verified,
            name: identity.name.clone(),
            ..self
        }
    }
}

/// What a client has a token for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientGrant {
    /// The client.
    pub client: Uuid,
    /// Its generation.
    pub generation: i64,
    /// Whom the token is for.
    pub audience: String,
    /// What it may be used for.
    pub scopes: Scopes,
}

/// A personal access token as its claims tell it. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalAccessTokenGrant {
    /// The token.
    pub id: Uuid,
    /// The user.
    pub sub: Uuid,
    /// The user's generation when it was made.
    pub generation: i64,
    /// What it may be used for.
    pub scope: String,
    /// When it was made.
    pub created_at: u64,
    /// When it ends.
    pub expires_at: u64,
}

/// The claims of a new token of a session: `exp` is never after the session's end.
pub fn claims(
    policy: &TokenPolicy,
    session: &Session,
    identity: &Identity,
    jti: Uuid,
    now: u64,
    lifetime: u64,
) -> Claims {
    Claims {
        client_id: session.client_id.clone(),
        sid: Some(session.sid),
        scope: session.scope.clone(),
        generation: session.generation,
        auth_time: Some(session.auth_time),
        session_exp: Some(session.ends_at),
        ..of_nobody(
            policy,
            session.sub,
            jti,
            now,
            (now + lifetime).min(session.ends_at),
        )
    }
    .of(identity)
}

/// The claims of a new token that a client has for itself.
pub fn client_claims(
    policy: &TokenPolicy,
    grant: &ClientGrant,
    jti: Uuid,
    now: u64,
    lifetime: u64,
) -> Claims {
    Claims {
        aud: grant.audience.clone(),
        client_id: grant.client.to_string(),
        scope: grant.scopes.to_string(),
        generation: grant.generation,
        ..of_nobody(policy, grant.client, jti, now, now + lifetime)
    }
}

/// What a personal access token would say if it were an access token: to whoever checks, all tokens
/// are alike.
pub fn personal_claims(
    policy: &TokenPolicy,
    token: &PersonalAccessTokenGrant,
    identity: &Identity,
) -> Claims {
    Claims {
        client_id: PERSONAL_TOKEN_CLIENT.to_owned(),
        scope: token.scope.clone(),
        generation: token.generation,
        ..of_nobody(
            policy,
            token.sub,
            token.id,
            token.created_at,
            token.expires_at,
        )
    }
    .of(identity)
}

/// What all of them have.
fn of_nobody(policy: &TokenPolicy, sub: Uuid, jti: Uuid, iat: u64, exp: u64) -> Claims {
    Claims {
        iss: policy.issuer.clone(),
        aud: policy.audience.clone(),
        sub,
        client_id: String::new(),
        sid: None,
        jti,
        iat,
        nbf: iat,
        exp,
        scope: String::new(),
        roles: Vec::new(),
        generation: 0,
        auth_time: None,
        session_exp: None,
        username: None,
        email: None,
        email_verified: false,
        name: None,
    }
}
