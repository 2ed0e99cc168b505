//! Tickets: short-lived signed messages from the server to the host of an application, or back.
//!
//! A browser carries them in a URL, so that the two hosts need no common cookie. No store holds
//! them: every replica verifies them, also without Redis and PostgreSQL. A ticket contains no name
//! and no email address, because URLs are logged.

use aws_lc_rs::error::Unspecified;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    access_token::{self, Claims, Kid, SigningKey, TokenError, VerifyingKeys},
    account::Role,
    application_token,
    group::GroupNames,
    nonce::Nonce,
    revocation::RevocationKeys,
    web_origin::WebOrigin,
};

/// The lifetime of a sign-in ticket, in seconds.
pub const SIGN_IN_LIFETIME_SECONDS: u64 = 60;

/// The lifetime of a sign-out ticket, in seconds. The user confirms the sign-out meanwhile.
pub const SIGN_OUT_LIFETIME_SECONDS: u64 = 300;

/// Maximum length of a ticket. A ticket with the longest path and all groups has about 5,200 bytes,
/// and proxies accept request lines of at least 8 kB.
const MAX_BYTES: usize = 6_144;

/// The `typ` header of sign-in tickets.
const SIGN_IN_TYPE: &str = "latchkey-ticket+jwt";

/// The `typ` header of sign-out tickets.
const SIGN_OUT_TYPE: &str = "latchkey-sign-out+jwt";

/// A ticket that signs a browser in at an application. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInTicket {
    /// The issuer.
    pub iss: String,
    /// The audience of the application's tokens.
    pub aud: String,
    /// The user.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// The ID of the ticket.
    pub jti: Uuid,
    /// The time of issue.
    pub iat: u64,
    /// The time from which on the ticket is expired.
    pub exp: u64,
    /// The generation of the user at sign-in.
    pub generation: i64,
    /// The granted scopes, separated by spaces.
    pub scope: String,
    /// The roles of the user.
    pub roles: Vec<Role>,
    /// The groups of the user.
    #[serde(default, skip_serializing_if = "GroupNames::is_empty")]
    pub groups: GroupNames,
    /// The time of the last authentication with the password.
    pub auth_time: u64,
    /// The expiry of the session.
    pub session_exp: u64,
    /// The state of the browser: the hash of its nonce.
    pub state: String,
    /// The path and query at the application to which the browser returns.
    pub path: String,
}

/// A ticket that names the session which a sign-out from an application revokes. It can't do
/// anything else. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOutTicket {
    /// The issuer, which is also the audience.
    pub iss: String,
    /// The user.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// The time of issue.
    pub iat: u64,
    /// The time from which on the ticket is expired.
    pub exp: u64,
}

impl SignInTicket {
    /// Creates the ticket for the session of a cookie. Returns `None` for claims without a session.
    ///
    /// `now` is in seconds since the Unix epoch.
    pub fn new(
        session: &Claims,
        application: &WebOrigin,
        path: String,
        state: String,
        jti: Uuid,
        now: u64,
    ) -> Option<SignInTicket> {
        let session_exp = session.session_exp?;
        Some(SignInTicket {
            iss: session.iss.clone(),
            aud: application_token::audience(application),
            sub: session.sub,
            sid: session.sid?,
            jti,
            iat: now,
            exp: (now + SIGN_IN_LIFETIME_SECONDS).min(session_exp),
            generation: session.generation,
            scope: session.scope.clone(),
            roles: session.roles.clone(),
            groups: session.groups.clone(),
            auth_time: session.auth_time?,
            session_exp,
            state,
            path,
        })
    }

    /// Signs the ticket.
    ///
    /// # Errors
    /// If serialization or signing fails.
    pub fn sign(&self, key: &SigningKey) -> Result<String, Unspecified> {
        key.sign_with_type(SIGN_IN_TYPE, self)
    }

    /// Verifies a ticket for an application and the nonce of the browser, but does not check
    /// revocation.
    ///
    /// `now` and `clock_skew` are in seconds.
    ///
    /// # Errors
    /// The first reason why the ticket is invalid. `Claims` means that it has expired, or is for
    /// another issuer, application, or browser.
    pub fn verify(
        text: &str,
        keys: &VerifyingKeys,
        expected: &ExpectedTicket<'_>,
        now: u64,
    ) -> Result<(Kid, SignInTicket), TokenError> {
        let (kid, ticket): (_, SignInTicket) = verify(text, SIGN_IN_TYPE, keys)?;
        let is_valid = ticket.iss == expected.issuer
            && application_token::is_audience_of(&ticket.aud, expected.application)
            && expected.nonce.matches(&ticket.state)
            && ticket.iat <= now + expected.clock_skew
            && now < ticket.exp;
        if is_valid {
            Ok((kid, ticket))
        } else {
            Err(TokenError::Claims)
        }
    }

    /// Returns the keys by which the session of the ticket can be revoked.
    pub fn revocation_keys(&self, kid: Kid) -> RevocationKeys {
        RevocationKeys::Session {
            kid,
            user_id: self.sub,
            session_id: self.sid,
            jti: self.jti,
            generation: self.generation,
        }
    }
}

/// What a sign-in ticket must match.
pub struct ExpectedTicket<'a> {
    /// The issuer.
    pub issuer: &'a str,
    /// The origin of the application that received the ticket.
    pub application: &'a WebOrigin,
    /// The nonce of the browser that sent the ticket.
    pub nonce: &'a Nonce,
    /// Maximum time in seconds that `iat` can be in the future, because clocks differ.
    pub clock_skew: u64,
}

impl SignOutTicket {
    /// Creates the ticket for the session of an application token. Returns `None` for claims without
    /// a session.
    ///
    /// `now` is in seconds since the Unix epoch.
    pub fn new(claims: &Claims, now: u64) -> Option<SignOutTicket> {
        Some(SignOutTicket {
            iss: claims.iss.clone(),
            sub: claims.sub,
            sid: claims.sid?,
            iat: now,
            exp: now + SIGN_OUT_LIFETIME_SECONDS,
        })
    }

    /// Signs the ticket.
    ///
    /// # Errors
    /// If serialization or signing fails.
    pub fn sign(&self, key: &SigningKey) -> Result<String, Unspecified> {
        key.sign_with_type(SIGN_OUT_TYPE, self)
    }

    /// Verifies a ticket.
    ///
    /// `now` and `clock_skew` are in seconds.
    ///
    /// # Errors
    /// The first reason why the ticket is invalid. `Claims` means that it has expired, or is of
    /// another issuer.
    pub fn verify(
        text: &str,
        keys: &VerifyingKeys,
        issuer: &str,
        clock_skew: u64,
        now: u64,
    ) -> Result<SignOutTicket, TokenError> {
        let (_, ticket): (_, SignOutTicket) = verify(text, SIGN_OUT_TYPE, keys)?;
        if ticket.iss == issuer && ticket.iat <= now + clock_skew && now < ticket.exp {
            Ok(ticket)
        } else {
            Err(TokenError::Claims)
        }
    }
}

fn verify<T: DeserializeOwned>(
    text: &str,
    typ: &str,
    keys: &VerifyingKeys,
) -> Result<(Kid, T), TokenError> {
    if text.len() > MAX_BYTES {
        return Err(TokenError::Malformed);
    }
    access_token::verify_with_type(text, typ, keys)
}

#[cfg(test)]
#[path = "ticket_tests.rs"]
mod tests;
