//! Giving a token back (RFC 7009): whoever has it may end it. A refresh token takes its session
//! along, and with it every access token; so does a browser's cookie, which may have been signed
//! anew. Any other access token, and a personal one, ends alone.

use std::sync::Arc;

use latchkey_domain::{
    access_token::{Claims, Holder},
    audit::{Actor, Event, Kind},
    opaque_token::{OpaqueToken, Purpose},
    refresh_token,
    revocation::{Ending, Reason, TOKEN_MARGIN_SECONDS},
    session_cookie,
};
use uuid::Uuid;

use crate::{
    app::{Credential, Gateway, Origin, revocation::Patience},
    error::Error,
};

/// Why a token was not taken back.
#[derive(Debug)]
pub enum NotRevoked {
    /// It was issued to another client than the one that asks (RFC 7009 section 2.1).
    OtherClient,
    /// It was issued to a client, and whoever asks has not proved to be it.
    Unproved,
    /// Something failed.
    Failed(Error),
}

impl From<Error> for NotRevoked {
    fn from(error: Error) -> Self {
        NotRevoked::Failed(error)
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
    ) -> Result<(), NotRevoked> {
        if token.starts_with(refresh_token::PREFIX) {
            return self.revoke_refresh_token(token, client, origin).await;
        }
        if Purpose::PersonalToken.marks(token) {
            return self.revoke_personal_token(token, client, origin).await;
        }
        match self.open_to_end(token).await {
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
    ) -> Result<(), NotRevoked> {
        if self.refresh_key.open(token).is_none() {
            return Ok(());
        }
        // No registered client has refresh tokens.
        refuse_others(client)?;
        let credential = Credential::Refresh(token.to_owned());
        Ok(self
            .log_out(&[credential], Patience::UntilEnforced, origin)
            .await?)
    }

    async fn revoke_personal_token(
        self: &Arc<Self>,
        text: &str,
        client: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), NotRevoked> {
        let Some(token) = OpaqueToken::read(Purpose::PersonalToken, text) else {
            return Ok(());
        };
        let Some(known) = self.record.find_personal_token(token.id).await? else {
            // Of one that was deleted a while ago, what could not be published is made up for.
            if let Some(ending) = self.record.deleted_personal_token(token.id).await? {
                self.republish(&ending).await?;
            }
            return Ok(());
        };
        if !token.is_known_as(&known.secret_hash) {
            return Ok(());
        }
        refuse_others(client)?;
        let (gateway, sub, reason) = (self.clone(), known.user.account.id, Reason::TokenRevoked);
        let event = origin
            .event(Kind::PersonalTokenDeleted, Actor::User(sub), Some(sub))
            .because(reason.as_str());
        let story = async move {
            let deleted = gateway
                .record
                .delete_personal_token(sub, token.id, reason, &event)
                .await?;
            // Somebody else was faster.
            let Some(ending) = deleted else { return Ok(()) };
            gateway.publish(&ending).await
        };
        Ok(self.uncancelled(story).await?)
    }

    async fn revoke_access_token(
        self: &Arc<Self>,
        claims: &Claims,
        client: Option<Uuid>,
        origin: &Origin,
    ) -> Result<(), NotRevoked> {
        let (sub, jti) = (claims.sub, claims.jti);
        let (owner, event) = match claims.holder() {
            Holder::Client if client == Some(sub) => (
                None,
                origin.event(Kind::TokenRevoked, Actor::Client(sub), Some(sub)),
            ),
            Holder::Client if client.is_none() => return Err(NotRevoked::Unproved),
            Holder::Client => return Err(NotRevoked::OtherClient),
            Holder::User { .. } | Holder::PersonalToken => {
                refuse_others(client)?;
                (Some(sub), origin.own(Kind::TokenRevoked, claims))
            }
        };
        let gateway = self.clone();
        if let (Holder::User { sid }, true) = (claims.holder(), session_cookie::is_cookie(claims)) {
            // It may have been signed anew already, and would go on.
            let event = Event {
                kind: Kind::LogOut,
                ..event
            };
            let patience = Patience::UntilEnforced;
            let story = async move {
                gateway
                    .end_session(sub, sid, Reason::Logout, patience, &event)
                    .await
            };
            return Ok(self.uncancelled(story).await?);
        }
        let ending = Ending::of_token(owner, jti, claims.exp, Reason::TokenRevoked);
        let story = async move {
            gateway.record.revoke_token(jti, &ending, &event).await?;
            gateway.publish(&ending).await
        };
        Ok(self.uncancelled(story).await?)
    }
}

/// What people have is not a client's to end.
fn refuse_others(client: Option<Uuid>) -> Result<(), NotRevoked> {
    if client.is_none() {
        Ok(())
    } else {
        Err(NotRevoked::OtherClient)
    }
}
