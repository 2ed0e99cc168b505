//! The claims of tokens, and the grants from which they are built.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    access_token::TokenPolicy,
    account::{Identity, Role},
    group::GroupNames,
    scope::{Scope, Scopes},
    session::{PERSONAL_ACCESS_TOKEN_CLIENT, Session},
};

/// The claims of an access token (RFC 9068 section 2.2). Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: String,
    /// The user, or the OAuth client if it acts for itself (RFC 9068 section 2.2).
    pub sub: Uuid,
    /// The client: a built-in one (see [`crate::session`]), or the ID of an OAuth client.
    pub client_id: String,
    /// The session. Only tokens of a session contain `sid`, `auth_time`, and `session_exp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
    /// The ID of the token.
    pub jti: Uuid,
    /// The time of issue.
    pub iat: u64,
    /// The time before which the token is not valid.
    pub nbf: u64,
    /// The time from which on the token is expired.
    pub exp: u64,
    /// The granted scopes, separated by spaces (RFC 6749 section 3.3).
    pub scope: String,
    /// The roles of the user. Empty in a token of an OAuth client.
    pub roles: Vec<Role>,
    /// The groups of the user (RFC 9068 section 2.2.3.1). Absent if there are none.
    #[serde(default, skip_serializing_if = "GroupNames::is_empty")]
    pub groups: GroupNames,
    /// The generation of the user at sign-in, or of the OAuth client at issue.
    pub generation: i64,
    /// The time of the last authentication with the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<u64>,
    /// The expiry of the session, which no refresh extends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_exp: Option<u64>,
    /// The username, for services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The email address, for services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the email address is verified, for services.
    pub email_verified: bool,
    /// The display name, for services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Maximum length of the display name and the groups in a token, as JSON.
///
/// All groups of 32 characters need 1,119 bytes, so 281 bytes remain for the display name: the
/// longest one in ASCII has 200. A cookie with the longest other claims stays below 4,096 bytes.
const MAX_NAME_AND_GROUPS_BYTES: usize = 1_400;

/// The maximum age of a recent sign-in, in seconds.
pub const RECENT_SIGN_IN_SECONDS: u64 = 300;

/// The reason why a token doesn't prove a recent sign-in of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRecentSignIn {
    /// The token is a personal access token or a token of an OAuth client.
    #[error("the token doesn't belong to a session of a user")]
    NoSession,
    /// The user signed in earlier.
    #[error("the last sign-in is too old")]
    Expired,
}

/// The kind of holder to which a token was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A user who signed in.
    User {
        /// The ID of the session.
        session_id: Uuid,
    },
    /// A program of a user, with a personal access token.
    PersonalAccessToken,
    /// An OAuth client that acts for itself.
    Client,
}

impl Claims {
    /// Returns the kind of holder, derived from `sid` and `client_id`.
    pub fn holder(&self) -> Holder {
        match self.sid {
            Some(session_id) => Holder::User { session_id },
            None if self.client_id == PERSONAL_ACCESS_TOKEN_CLIENT => Holder::PersonalAccessToken,
            None => Holder::Client,
        }
    }

    /// Returns whether the token has this scope.
    pub fn permits(&self, scope: Scope) -> bool {
        self.scope.split(' ').any(|name| name == scope.as_str())
    }

    /// Returns the email address if it is verified.
    pub fn verified_email(&self) -> Option<&str> {
        self.email.as_deref().filter(|_| self.email_verified)
    }

    /// Requires that the user signed in with the password at most 300 s before
    /// `now`, which is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// `NoRecentSignIn`.
    pub fn require_recent_sign_in(&self, now: u64) -> Result<(), NoRecentSignIn> {
        let (Some(_), Some(auth_time)) = (self.sid, self.auth_time) else {
            return Err(NoRecentSignIn::NoSession);
        };
        if now <= auth_time.saturating_add(RECENT_SIGN_IN_SECONDS) {
            Ok(())
        } else {
            Err(NoRecentSignIn::Expired)
        }
    }

    /// Returns whether the claims form a token of a session or of an OAuth client.
    ///
    /// Tokens of a session contain all claims of the session. Tokens of a client contain none.
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

    /// Returns the claims with the identity of a user.
    #[must_use]
    pub fn with_identity(self, identity: &Identity) -> Claims {
        // Services can authorize by role, so a token without the scope `admin` must not contain the
        // role `admin`.
        let role = if self.permits(Scope::Admin) {
            identity.role
        } else {
            Role::User
        };
        Claims {
            roles: vec![role],
            groups: identity.groups.clone(),
            username: identity.username.clone(),
            email: identity.email.clone(),
            email_verified: identity.email_verified,
            name: identity
                .name
                .clone()
                .filter(|name| fits_with_groups(name, &identity.groups)),
            ..self
        }
    }
}

/// Returns whether a token can contain the display name next to the groups.
///
/// The longest display name and the names of 32 groups exceed the size of a cookie together. No
/// permission depends on the display name, so such a token omits it.
fn fits_with_groups(name: &str, groups: &GroupNames) -> bool {
    let escapes = name.bytes().filter(|b| matches!(b, b'"' | b'\\')).count();
    name.len() + escapes + groups.json_length() <= MAX_NAME_AND_GROUPS_BYTES
}

/// The grant of an OAuth client that acts for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientGrant {
    /// The ID of the OAuth client.
    pub client_id: Uuid,
    /// The generation of the OAuth client.
    pub generation: i64,
    /// The audience of the token.
    pub audience: String,
    /// The granted scopes.
    pub scopes: Scopes,
}

/// The grant of a personal access token. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalAccessTokenGrant {
    /// The ID of the token.
    pub id: Uuid,
    /// The ID of the user.
    pub user_id: Uuid,
    /// The generation of the user when the token was created.
    pub generation: i64,
    /// The granted scopes, separated by spaces.
    pub scope: String,
    /// The time of creation.
    pub created_at: u64,
    /// The time of expiry.
    pub expires_at: u64,
}

/// Returns the claims of a new access token of a session.
///
/// `now` is in seconds since the Unix epoch, `lifetime` in seconds. The token expires no later than
/// the session.
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
        sid: Some(session.session_id),
        scope: session.scope.clone(),
        generation: session.generation,
        auth_time: Some(session.auth_time),
        session_exp: Some(session.expires_at),
        ..base_claims(
            policy,
            session.user_id,
            jti,
            now,
            (now + lifetime).min(session.expires_at),
        )
    }
    .with_identity(identity)
}

/// Returns the claims of a new token of an OAuth client that acts for itself.
///
/// `now` is in seconds since the Unix epoch, `lifetime` in seconds.
pub fn client_claims(
    policy: &TokenPolicy,
    grant: &ClientGrant,
    jti: Uuid,
    now: u64,
    lifetime: u64,
) -> Claims {
    Claims {
        aud: grant.audience.clone(),
        client_id: grant.client_id.to_string(),
        scope: grant.scopes.to_string(),
        generation: grant.generation,
        ..base_claims(policy, grant.client_id, jti, now, now + lifetime)
    }
}

/// Returns the claims that represent a personal access token.
///
/// Checks and introspection then treat it like an access token.
pub fn personal_claims(
    policy: &TokenPolicy,
    token: &PersonalAccessTokenGrant,
    identity: &Identity,
) -> Claims {
    Claims {
        client_id: PERSONAL_ACCESS_TOKEN_CLIENT.to_owned(),
        scope: token.scope.clone(),
        generation: token.generation,
        ..base_claims(
            policy,
            token.user_id,
            token.id,
            token.created_at,
            token.expires_at,
        )
    }
    .with_identity(identity)
}

/// Returns the claims that all kinds of tokens share. The caller sets the others.
fn base_claims(policy: &TokenPolicy, sub: Uuid, jti: Uuid, iat: u64, exp: u64) -> Claims {
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
        groups: GroupNames::default(),
        generation: 0,
        auth_time: None,
        session_exp: None,
        username: None,
        email: None,
        email_verified: false,
        name: None,
    }
}
