//! Signing out: the session ends everywhere, and the answer comes when it has.

use std::sync::Arc;

use latchkey_domain::{
    access_token::{Claims, Validity},
    audit::{Actor, AuditEvent, EventKind},
    revocation::Reason,
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin, revocation::WaitFor},
    error::Error,
};

/// What shows which session is to end.
pub enum SessionCredential {
    /// An access token of it, even an expired or revoked one: its signature is enough.
    Access(String),
    /// A refresh token of it.
    Refresh(String),
}

impl Gateway {
    /// Ends the sessions of all credentials shown. Repeating it is fine, and finishes what could
    /// not be published.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked` where its key was, `invalid_refresh_token`, `busy`,
    /// `unavailable`.
    pub async fn sign_out(
        self: &Arc<Self>,
        credentials: &[SessionCredential],
        patience: WaitFor,
        origin: &Origin,
    ) -> Result<(), Error> {
        let mut shown = Vec::with_capacity(credentials.len());
        for credential in credentials {
            match self.read(credential).await {
                // One whose key was taken back says nothing; the other may.
                Err(Error::TokenRevoked) if credentials.len() > 1 => {}
                read => shown.push(read?),
            }
        }
        if shown.is_empty() {
            return Err(Error::TokenRevoked);
        }
        let (gateway, origin) = (self.clone(), origin.clone());
        self.run_to_completion(async move {
            let mut outcome = Ok(());
            for (sub, sid) in shown {
                let event = origin
                    .event(EventKind::SignOut, Actor::User(sub), Some(sub))
                    .of_session(sid);
                // One that cannot be ended now keeps no other alive.
                outcome = outcome.and(
                    gateway
                        .revoke_session(sub, sid, Reason::Logout, patience, &event)
                        .await,
                );
            }
            outcome
        })
        .await
    }

    /// Ends every session of the caller but the one that asks.
    ///
    /// # Errors
    /// `forbidden`, `unavailable`.
    pub async fn sign_out_others(
        self: &Arc<Self>,
        caller: &Claims,
        patience: WaitFor,
        origin: &Origin,
    ) -> Result<(), Error> {
        let (sub, sid, reason) = (
            caller.sub,
            caller.sid.ok_or_else(Error::session_required)?,
            Reason::LogoutOthers,
        );
        let gateway = self.clone();
        let event = origin
            .self_event(EventKind::SessionsRevoked, caller)
            .with_reason(reason.as_str());
        self.run_to_completion(async move {
            let ending = gateway
                .postgres
                .revoke_other_sessions(sub, sid, reason, &event)
                .await?;
            gateway.publish_for(&ending, patience).await
        })
        .await
    }

    /// Ends every session of the caller.
    ///
    /// # Errors
    /// `forbidden`, `token_revoked`, `unavailable`.
    pub async fn sign_out_all(
        self: &Arc<Self>,
        caller: &Claims,
        patience: WaitFor,
        origin: &Origin,
    ) -> Result<(), Error> {
        caller.sid.ok_or_else(Error::session_required)?;
        let (gateway, sub, reason) = (self.clone(), caller.sub, Reason::LogoutAll);
        let event = origin
            .self_event(EventKind::SessionsRevoked, caller)
            .with_reason(reason.as_str());
        self.run_to_completion(async move {
            let ending = gateway
                .postgres
                .revoke_all_sessions(sub, reason, &event)
                .await?;
            gateway
                .publish_for(&ending.ok_or(Error::TokenRevoked)?, patience)
                .await
        })
        .await
    }

    /// Ends one session. What has ended already is published once more.
    pub(crate) async fn revoke_session(
        &self,
        sub: Uuid,
        sid: Uuid,
        reason: Reason,
        patience: WaitFor,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let ending = self
            .postgres
            .revoke_session(sub, sid, reason, event)
            .await?;
        self.publish_for(&ending, patience).await
    }

    /// Whose session a credential belongs to, and which.
    async fn read(&self, credential: &SessionCredential) -> Result<(Uuid, Uuid), Error> {
        match credential {
            SessionCredential::Access(token) => {
                let (Validity::Valid(signed) | Validity::Expired(signed)) =
                    self.open(token).await?;
                // One that a client has for itself is of no session.
                Ok((
                    signed.claims.sub,
                    signed.claims.sid.ok_or(Error::InvalidToken)?,
                ))
            }
            SessionCredential::Refresh(token) => {
                let token = self
                    .refresh_key
                    .open(token)
                    .ok_or(Error::InvalidRefreshToken)?;
                Ok((token.sub, token.sid))
            }
        }
    }
}
