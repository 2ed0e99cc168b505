//! Signing out: the session ends everywhere, and the answer comes when it has.

use std::sync::Arc;

use uuid::Uuid;

use super::{Gateway, publish::Change};
use crate::{
    domain::access_token::{self, Opened},
    error::Error,
};

/// What shows which session is to end.
pub enum Credential {
    /// An access token of it, even an expired or revoked one: its signature is enough.
    Access(String),
    /// A refresh token of it.
    Refresh(String),
}

/// The session that a credential belongs to, and the access token that was shown.
struct Shown {
    sub: Uuid,
    sid: Uuid,
    token: Option<(Uuid, u64)>,
}

impl Gateway {
    /// Ends the sessions of all credentials shown. Repeating it is fine, and finishes what could not be published.
    ///
    /// # Errors
    /// `invalid_token`, `invalid_refresh_token`, `unavailable`.
    pub async fn log_out(self: &Arc<Self>, credentials: &[Credential]) -> Result<(), Error> {
        let shown = credentials.iter().map(|credential| self.read(credential)).collect::<Result<Vec<_>, _>>()?;
        let gateway = self.clone();
        self.uncancelled(async move {
            let mut outcome = Ok(());
            for session in shown {
                // One that cannot be ended now keeps no other alive.
                outcome = outcome.and(gateway.end_shown(session).await);
            }
            outcome
        })
        .await
    }

    async fn end_shown(self: &Arc<Self>, Shown { sub, sid, token }: Shown) -> Result<(), Error> {
        self.record.end_session(sid, "logout").await?;
        self.publish(Change { token, ..Change::of_sessions(sub, vec![sid], "logout") }).await
    }

    fn read(&self, credential: &Credential) -> Result<Shown, Error> {
        match credential {
            Credential::Access(token) => {
                let opened = access_token::open(token, &self.keys()?.verifying, &self.realm, self.clock.now());
                let (Opened::Live(claims) | Opened::Expired(claims)) = opened.map_err(|_| Error::InvalidToken)?;
                Ok(Shown { sub: claims.sub, sid: claims.sid, token: Some((claims.jti, claims.exp)) })
            }
            Credential::Refresh(token) => {
                let token = self.refresh_key.open(token).ok_or(Error::InvalidRefreshToken)?;
                Ok(Shown { sub: token.sub, sid: token.sid, token: None })
            }
        }
    }
}
