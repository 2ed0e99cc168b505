//! Sign-in at applications: tickets, application cookies, and the renewal of an expired session
//! cookie while applications are in use.
//!
//! No ticket or cookie is stored. Each contains the ID of the session, so that one revocation is
//! enforced at every application.

use std::net::IpAddr;

use latchkey_domain::{
    access_token::{Claims, TokenKind, Validity, VerifyingKeys},
    application_token,
    nonce::Nonce,
    session_cookie,
    ticket::{ExpectedTicket, SignInTicket, SignOutTicket},
    web_origin::WebOrigin,
};
use uuid::Uuid;

use crate::{
    app::{
        clock::timestamp_from_ms,
        sessions::{Sessions, issue::Cookie},
    },
    error::Error,
};

/// A browser that is signed in at an application.
pub struct SignedIn {
    pub cookie: Cookie,
    /// The path and query at the application to which the browser returns.
    pub path: String,
}

impl Sessions {
    /// Issues a ticket that signs the browser with this state in at an application. `claims` are
    /// those of a verified session cookie.
    ///
    /// # Errors
    /// `forbidden` without a session cookie; `internal`, `unavailable`.
    pub async fn issue_sign_in_ticket(
        &self,
        claims: &Claims,
        application: &WebOrigin,
        path: &str,
        state: &str,
    ) -> Result<String, Error> {
        if !session_cookie::is_cookie(claims) {
            return Err(Error::session_required());
        }
        let ticket = SignInTicket::new(
            claims,
            application,
            path.to_owned(),
            state.to_owned(),
            Uuid::new_v4(),
            self.clock.now(),
        );
        let ticket = ticket.ok_or_else(Error::session_required)?;
        let key = self.keys.signing_key().await?;
        ticket.sign(&key).map_err(Error::internal)
    }

    /// Signs a browser in at an application with a ticket.
    ///
    /// # Errors
    /// `invalid_token` if the ticket is forged, expired, or for another application or browser;
    /// `token_revoked`, `internal`, `unavailable`.
    pub async fn redeem_sign_in_ticket(
        &self,
        ticket: &str,
        application: &WebOrigin,
        nonce: &Nonce,
        address: IpAddr,
    ) -> Result<SignedIn, Error> {
        // Read before the check, so that no cookie outlives the entry of a concurrent revocation.
        let now = self.clock.now();
        let expected = ExpectedTicket {
            issuer: &self.policy.issuer,
            application,
            nonce,
            clock_skew: self.policy.clock_skew,
        };
        let verify = |keys: &VerifyingKeys| SignInTicket::verify(ticket, keys, &expected, now);
        let (kid, ticket) = self.keys.verify_with(verify).await?;
        if self
            .revocations
            .is_revoked(&ticket.revocation_keys(kid))
            .await?
        {
            return Err(Error::TokenRevoked);
        }
        let idle = self.idle_seconds(TokenKind::Application);
        let claims = application_token::claims(&ticket, Uuid::new_v4(), now, idle);
        // Without PostgreSQL, the next renewal adds the username and the email address.
        let claims = match self.load_identity(&claims).await? {
            Some(identity) => claims.with_identity(&identity),
            None => claims,
        };
        let cookie = self.sign_cookie(TokenKind::Application, claims).await?;
        self.store_activity(ticket.sub, ticket.sid, now, address);
        Ok(SignedIn {
            cookie,
            path: ticket.path,
        })
    }

    /// Issues a ticket that names the session of an application cookie for a sign-out. The cookie
    /// can be expired.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked` if the signing key is revoked, `internal`, `unavailable`.
    pub async fn issue_sign_out_ticket(
        &self,
        application_token: &str,
        application: &WebOrigin,
    ) -> Result<String, Error> {
        let (Validity::Valid(signed) | Validity::Expired(signed)) = self
            .tokens
            .verify_signed_for_application(application_token, application)
            .await?;
        let ticket = SignOutTicket::new(&signed.claims, self.clock.now());
        let key = self.keys.signing_key().await?;
        ticket
            .ok_or(Error::InvalidToken)?
            .sign(&key)
            .map_err(Error::internal)
    }

    /// Verifies a sign-out ticket, and returns the user ID and the session ID.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked` if the signing key is revoked, `unavailable`.
    pub(super) async fn verify_sign_out_ticket(&self, ticket: &str) -> Result<(Uuid, Uuid), Error> {
        let (issuer, skew) = (&self.policy.issuer, self.policy.clock_skew);
        let now = self.clock.now();
        let verify = |keys: &VerifyingKeys| SignOutTicket::verify(ticket, keys, issuer, skew, now);
        let ticket = self.keys.verify_with(verify).await?;
        Ok((ticket.sub, ticket.sid))
    }

    /// Renews an expired session cookie if its session was used at an application after the cookie
    /// was issued, and within the idle timeout of applications. So a user isn't asked for the
    /// password while an application is in use. The time of sign-in stays the same.
    ///
    /// Returns `None` if the cookie isn't expired, is invalid, or can't be renewed.
    ///
    /// # Errors
    /// `busy`, `unavailable`.
    pub async fn renew_expired_cookie(
        &self,
        cookie: &str,
        address: IpAddr,
    ) -> Result<Option<Cookie>, Error> {
        let now = self.clock.now();
        let signed = match self.tokens.verify_signed(cookie).await {
            Ok(Validity::Expired(signed)) => signed,
            Ok(Validity::Valid(_)) | Err(Error::InvalidToken | Error::TokenRevoked) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let claims = &signed.claims;
        let is_session_over = claims.session_exp.is_none_or(|end| end <= now);
        let Some(session_id) = claims.sid.filter(|_| !is_session_over) else {
            return Ok(None);
        };
        if !session_cookie::is_cookie(claims)
            || self
                .revocations
                .is_revoked(&signed.revocation_keys())
                .await?
        {
            return Ok(None);
        }
        let idle = self.idle_seconds(TokenKind::Application);
        let since = now.saturating_sub(idle).max(claims.iat + 1);
        let since = timestamp_from_ms(since * 1_000);
        let is_used = self
            .postgres
            .is_session_used(claims.sub, session_id, since)
            .await?;
        let identity = match self.load_identity(claims).await {
            Ok(identity) => identity.filter(|_| is_used),
            Err(Error::TokenRevoked) => None,
            Err(error) => return Err(error),
        };
        let Some(identity) = identity else {
            return Ok(None);
        };
        let claims = session_cookie::renewed_claims(
            claims,
            Some(&identity),
            Uuid::new_v4(),
            now,
            self.idle_seconds(TokenKind::Access),
        );
        let cookie = self.sign_cookie(TokenKind::Access, claims).await?;
        self.store_activity(cookie.claims.sub, session_id, now, address);
        Ok(Some(cookie))
    }
}
