//! Giving a token back (RFC 7009): whoever has it may end it. A refresh token takes its session
//! along, and with it every access token; so does a browser's cookie, which may have been signed
//! anew. Any other access token, and a personal one, ends alone.

use std::sync::Arc;

use latchkey_domain::{
    access_token::{Claims, Holder},
    audit::{Actor, AuditEvent, EventKind},
    opaque_token::{OpaqueToken, OpaqueTokenKind},
    refresh_token,
    revocation::{Reason, RevocationBatch, TOKEN_MARGIN_SECONDS},
    session_cookie,
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin, SessionCredential, revocation::WaitFor},
    error::Error,
};

/// Why a token was not taken back.
#[derive(Debug)]
pub enum RevokeError {
    /// It was issued to another client than the one that asks (RFC 7009 section 2.1).
    OtherClient,
    /// It was issued to a client, and whoever asks has not proved to be it.
    ClientUnauthenticated,
    /// Something failed.
    Failed(Error),
}

impl From<Error> for RevokeError {
    fn from(error: Error) -> Self {
        RevokeError::Failed(error)
    }
}

impl Gateway {
    /// Ends a token, if it is one of ours. Any other is no good already, and that is fine. `client`
    /// has proved who it is; without one it is people who ask, or their programs.
    ///
    /// # Errors
    /// Where it is of another client, and `unavailable`.
    pub async fn revoke_token(
        self: &Arc<Self>,
        token: &str,
        client: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), RevokeError> {
        if token.starts_with(refresh_token::PREFIX) {
            return self.revoke_refresh_token(token, client, origin).await;
        }
        if OpaqueTokenKind::PersonalAccessToken.matches_prefix(token) {
            return self.revoke_personal_token(token, client, origin).await;
        }
        match self.verify_ignoring_expiry(token).await {
            // Clocks differ: what is over here may be good elsewhere for a moment.
            Ok(claims) if claims.exp + TOKEN_MARGIN_SECONDS <= self.clock.now() => Ok(()),
            Ok(claims) => self.revoke_access_token(&claims, client, origin).await,
            // Nobody accepts it; neither what a key signed that was taken back.
            Err(Error::InvalidToken | Error::TokenRevoked) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    async fn revoke_refresh_token(
        self: &Arc<Self>,
        token: &str,
        client: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), RevokeError> {
        if self.refresh_key.open(token).is_none() {
            return Ok(());
        }
        // No registered client has refresh tokens.
        refuse_others(client)?;
        let credential = SessionCredential::Refresh(token.to_owned());
        Ok(self
            .sign_out(&[credential], WaitFor::Enforced, origin)
            .await?)
    }

    async fn revoke_personal_token(
        self: &Arc<Self>,
        text: &str,
        client: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), RevokeError> {
        let Some(token) = OpaqueToken::read(OpaqueTokenKind::PersonalAccessToken, text) else {
            return Ok(());
        };
        let Some(known) = self.postgres.find_personal_access_token(token.id).await? else {
            // Of one that was deleted a while ago, what could not be published is made up for.
            if let Some(ending) = self
                .postgres
                .find_revoked_personal_access_token(token.id)
                .await?
            {
                self.republish(&ending).await?;
            }
            return Ok(());
        };
        if !token.matches_hash(&known.secret_hash) {
            return Ok(());
        }
        refuse_others(client)?;
        let (gateway, sub, reason) = (self.clone(), known.user.account.id, Reason::TokenRevoked);
        let event = origin
            .event(
                EventKind::PersonalAccessTokenRevoked,
                Actor::User(sub),
                Some(sub),
            )
            .with_reason(reason.as_str());
        let task = async move {
            let deleted = gateway
                .postgres
                .revoke_personal_access_token(sub, token.id, reason, &event)
                .await?;
            // Somebody else was faster.
            let Some(ending) = deleted else { return Ok(()) };
            gateway.publish(&ending).await
        };
        Ok(self.run_to_completion(task).await?)
    }

    async fn revoke_access_token(
        self: &Arc<Self>,
        claims: &Claims,
        client: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), RevokeError> {
        let (sub, jti) = (claims.sub, claims.jti);
        let (owner, event) = match claims.holder() {
            Holder::Client if client == Some(sub) => (
                None,
                origin.event(EventKind::TokenRevoked, Actor::Client(sub), Some(sub)),
            ),
            Holder::Client if client.is_none() => return Err(RevokeError::ClientUnauthenticated),
            Holder::Client => return Err(RevokeError::OtherClient),
            Holder::User { .. } | Holder::PersonalAccessToken => {
                refuse_others(client)?;
                (
                    Some(sub),
                    origin.self_event(EventKind::TokenRevoked, claims),
                )
            }
        };
        let gateway = self.clone();
        if let (Holder::User { sid }, true) = (claims.holder(), session_cookie::is_cookie(claims)) {
            // It may have been signed anew already, and would go on.
            let event = AuditEvent {
                kind: EventKind::SignOut,
                ..event
            };
            let patience = WaitFor::Enforced;
            let task = async move {
                gateway
                    .revoke_session(sub, sid, Reason::Logout, patience, &event)
                    .await
            };
            return Ok(self.run_to_completion(task).await?);
        }
        let ending = RevocationBatch::of_token(owner, jti, claims.exp, Reason::TokenRevoked);
        let task = async move {
            gateway.postgres.revoke_token(jti, &ending, &event).await?;
            gateway.publish(&ending).await
        };
        Ok(self.run_to_completion(task).await?)
    }
}

/// What people have is not a client's to end.
fn refuse_others(client: Option<Uuid>) -> Result<(), RevokeError> {
    if client.is_none() {
        Ok(())
    } else {
        Err(RevokeError::OtherClient)
    }
}
