//! Signs a user out: revokes one session, all other sessions, or all sessions of a user. By default
//! the response is sent after every replica rejects the tokens of these sessions.

use std::sync::Arc;

use latchkey_domain::{
    access_token::{Claims, Validity},
    audit::{Actor, EventKind},
    revocation::RevocationReason,
};
use uuid::Uuid;

use crate::{
    app::{origin::Origin, revocation::WaitFor, sessions::Sessions},
    error::Error,
};

/// A credential that identifies the session to revoke.
pub enum SessionCredential {
    /// An access token or a session cookie. A valid signature suffices, even if the token is
    /// expired or revoked.
    Access(String),
    /// A refresh token.
    Refresh(String),
    /// A sign-out ticket of an application.
    Ticket(String),
}

impl Sessions {
    /// Revokes the sessions of all presented credentials. The operation is idempotent: a repetition
    /// publishes a revocation that is committed but not published.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked` if the signing key is revoked, `invalid_refresh_token`,
    /// `busy`, `unavailable`.
    pub async fn sign_out(
        self: &Arc<Self>,
        credentials: &[SessionCredential],
        wait_for: WaitFor,
        origin: &Origin,
    ) -> Result<(), Error> {
        let mut targets = Vec::with_capacity(credentials.len());
        for credential in credentials {
            match self.identify_session(credential).await {
                // A token that a revoked key signed identifies no session, but the other
                // credential might.
                Err(Error::TokenRevoked) if credentials.len() > 1 => {}
                identified => targets.push(identified?),
            }
        }
        if targets.is_empty() {
            return Err(Error::TokenRevoked);
        }
        let (sessions, origin) = (self.clone(), origin.clone());
        self.tasks
            .run_to_completion(async move {
                let mut outcome = Ok(());
                for (user_id, session_id) in targets {
                    let event = origin
                        .event(EventKind::SignOut, Actor::User(user_id), Some(user_id))
                        .of_session(session_id);
                    // A failure must not prevent the revocation of the other sessions.
                    outcome = outcome.and(
                        sessions
                            .revocations
                            .revoke_session(
                                user_id,
                                session_id,
                                RevocationReason::SignOut,
                                wait_for,
                                &event,
                            )
                            .await,
                    );
                }
                outcome
            })
            .await
    }

    /// Revokes all sessions of the caller except the current one.
    ///
    /// # Errors
    /// `forbidden`, `unavailable`.
    pub async fn sign_out_others(
        self: &Arc<Self>,
        caller: &Claims,
        wait_for: WaitFor,
        origin: &Origin,
    ) -> Result<(), Error> {
        let (user_id, session_id, reason) = (
            caller.sub,
            caller.sid.ok_or_else(Error::session_required)?,
            RevocationReason::SignOutOthers,
        );
        let sessions = self.clone();
        let event = origin
            .self_event(EventKind::SessionsRevoked, caller)
            .with_reason(reason.as_str());
        self.tasks
            .run_to_completion(async move {
                let batch = sessions
                    .postgres
                    .revoke_other_sessions(user_id, session_id, reason, &event)
                    .await?;
                sessions.revocations.publish_for(&batch, wait_for).await
            })
            .await
    }

    /// Revokes all sessions of the caller.
    ///
    /// # Errors
    /// `forbidden`, `token_revoked`, `unavailable`.
    pub async fn sign_out_all(
        self: &Arc<Self>,
        caller: &Claims,
        wait_for: WaitFor,
        origin: &Origin,
    ) -> Result<(), Error> {
        caller.sid.ok_or_else(Error::session_required)?;
        let (sessions, user_id, reason) = (self.clone(), caller.sub, RevocationReason::SignOutAll);
        let event = origin
            .self_event(EventKind::SessionsRevoked, caller)
            .with_reason(reason.as_str());
        self.tasks
            .run_to_completion(async move {
                let batch = sessions
                    .postgres
                    .revoke_all_sessions(user_id, reason, &event)
                    .await?;
                sessions
                    .revocations
                    .publish_for(&batch.ok_or(Error::TokenRevoked)?, wait_for)
                    .await
            })
            .await
    }

    /// Returns the user ID and the session ID of a credential.
    async fn identify_session(
        &self,
        credential: &SessionCredential,
    ) -> Result<(Uuid, Uuid), Error> {
        match credential {
            SessionCredential::Access(token) => {
                let (Validity::Valid(signed) | Validity::Expired(signed)) =
                    self.tokens.verify_signed(token).await?;
                // The token of an OAuth client has no session.
                Ok((
                    signed.claims.sub,
                    signed.claims.sid.ok_or(Error::InvalidToken)?,
                ))
            }
            SessionCredential::Refresh(token) => {
                let token = self
                    .refresh_key
                    .verify(token)
                    .ok_or(Error::InvalidRefreshToken)?;
                Ok((token.user_id, token.session_id))
            }
            SessionCredential::Ticket(ticket) => self.verify_sign_out_ticket(ticket).await,
        }
    }
}
