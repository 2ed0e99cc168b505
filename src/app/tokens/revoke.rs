//! Revokes a token on request of its holder (RFC 7009). Possession of a user's token suffices; the
//! token of an OAuth client requires client authentication.
//!
//! A refresh token revokes its session with all access tokens. So does a session cookie, because it
//! might have been renewed already. Any other access token and a personal access token are revoked
//! individually.

use std::sync::Arc;

use latchkey_domain::{
    access_token::{Claims, Holder},
    audit::{Actor, EventKind},
    opaque_token::{OpaqueToken, OpaqueTokenKind},
    refresh_token,
    revocation::{RevocationBatch, RevocationReason, TOKEN_MARGIN_SECONDS},
    session_cookie,
};
use uuid::Uuid;

use crate::{
    app::{origin::Origin, revocation::WaitFor, tokens::Tokens},
    error::Error,
};

/// The reason for which a token isn't revoked.
#[derive(Debug)]
pub enum RevokeError {
    /// The token wasn't issued to the authenticated client (RFC 7009 section 2.1).
    OtherClient,
    /// The token was issued to an OAuth client, and the request has no client authentication.
    ClientUnauthenticated,
    /// The token can't be verified, or its revocation can't be stored or published.
    Failed(Error),
}

impl From<Error> for RevokeError {
    fn from(error: Error) -> Self {
        RevokeError::Failed(error)
    }
}

impl Tokens {
    /// Revokes a token that this server issued. An invalid token causes no error (RFC 7009 section
    /// 2.2). `client_id` is the authenticated OAuth client, or `None` if the request has no client
    /// authentication.
    ///
    /// # Errors
    /// [`RevokeError::OtherClient`], [`RevokeError::ClientUnauthenticated`], `busy`, `internal`,
    /// `unavailable`.
    pub async fn revoke_token(
        self: &Arc<Self>,
        token: &str,
        client_id: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), RevokeError> {
        if token.starts_with(refresh_token::PREFIX) {
            return self.revoke_refresh_token(token, client_id, origin).await;
        }
        if OpaqueTokenKind::PersonalAccessToken.matches_prefix(token) {
            return self
                .revoke_presented_personal_access_token(token, client_id, origin)
                .await;
        }
        match self.verify_ignoring_expiry(token).await {
            // Within the margin, a token that is expired here can be valid for a service whose
            // clock differs.
            Ok(claims) if claims.exp + TOKEN_MARGIN_SECONDS <= self.clock.now() => Ok(()),
            Ok(claims) => self.revoke_access_token(&claims, client_id, origin).await,
            // The token is already invalid: unknown, or signed by a revoked key.
            Err(Error::InvalidToken | Error::TokenRevoked) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    async fn revoke_refresh_token(
        self: &Arc<Self>,
        token: &str,
        client_id: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), RevokeError> {
        let Some(token) = self.refresh_key.verify(token) else {
            return Ok(());
        };
        self.revoke_session(token.user_id, token.session_id, client_id, origin)
            .await
    }

    /// Revokes the session of a refresh token or a session cookie, which only users have.
    async fn revoke_session(
        &self,
        user_id: Uuid,
        session_id: Uuid,
        client_id: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), RevokeError> {
        reject_oauth_client(client_id)?;
        let revocations = self.revocations.clone();
        let event = origin
            .event(EventKind::SignOut, Actor::User(user_id), Some(user_id))
            .of_session(session_id);
        let task = async move {
            let (reason, wait_for) = (RevocationReason::SignOut, WaitFor::Enforced);
            revocations
                .revoke_session(user_id, session_id, reason, wait_for, &event)
                .await
        };
        Ok(self.tasks.run_to_completion(task).await?)
    }

    async fn revoke_presented_personal_access_token(
        self: &Arc<Self>,
        text: &str,
        client_id: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), RevokeError> {
        let Some(token) = OpaqueToken::read(OpaqueTokenKind::PersonalAccessToken, text) else {
            return Ok(());
        };
        let Some(row) = self.postgres.find_personal_access_token(token.id).await? else {
            // If the token was deleted earlier, its revocation might not be published yet.
            if let Some(batch) = self
                .postgres
                .find_revoked_personal_access_token(token.id)
                .await?
            {
                self.revocations.republish(&batch).await?;
            }
            return Ok(());
        };
        if !token.matches_hash(&row.secret_hash) {
            return Ok(());
        }
        reject_oauth_client(client_id)?;
        let (tokens, user_id, reason) = (
            self.clone(),
            row.user.account.id,
            RevocationReason::TokenRevoked,
        );
        let event = origin
            .event(
                EventKind::PersonalAccessTokenRevoked,
                Actor::User(user_id),
                Some(user_id),
            )
            .with_reason(reason.as_str());
        let task = async move {
            let deleted = tokens
                .postgres
                .revoke_personal_access_token(user_id, token.id, reason, &event)
                .await?;
            // A concurrent request has deleted the token.
            let Some(batch) = deleted else { return Ok(()) };
            tokens.revocations.publish(&batch).await
        };
        Ok(self.tasks.run_to_completion(task).await?)
    }

    async fn revoke_access_token(
        self: &Arc<Self>,
        claims: &Claims,
        client_id: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), RevokeError> {
        let (sub, jti) = (claims.sub, claims.jti);
        let (user_id, event) = match claims.holder() {
            // The cookie might have been renewed already, so its token ID isn't sufficient.
            Holder::User { session_id } if session_cookie::is_cookie(claims) => {
                return self
                    .revoke_session(sub, session_id, client_id, origin)
                    .await;
            }
            Holder::Client if client_id == Some(sub) => (
                None,
                origin.event(EventKind::TokenRevoked, Actor::Client(sub), Some(sub)),
            ),
            Holder::Client if client_id.is_none() => {
                return Err(RevokeError::ClientUnauthenticated);
            }
            Holder::Client => return Err(RevokeError::OtherClient),
            Holder::User { .. } | Holder::PersonalAccessToken => {
                reject_oauth_client(client_id)?;
                (
                    Some(sub),
                    origin.self_event(EventKind::TokenRevoked, claims),
                )
            }
        };
        let tokens = self.clone();
        let batch =
            RevocationBatch::of_token(user_id, jti, claims.exp, RevocationReason::TokenRevoked);
        let task = async move {
            tokens.postgres.revoke_token(jti, &batch, &event).await?;
            tokens.revocations.publish(&batch).await
        };
        Ok(self.tasks.run_to_completion(task).await?)
    }
}

/// Rejects an OAuth client that requests the revocation of a user's token.
fn reject_oauth_client(client_id: Option<Uuid>) -> Result<(), RevokeError> {
    if client_id.is_none() {
        Ok(())
    } else {
        Err(RevokeError::OtherClient)
    }
}
