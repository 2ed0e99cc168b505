//! One's sessions, which mostly are devices: seeing them, and ending one.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    audit::{Actor, Kind},
    page::Page,
    revocation::Reason,
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin, revocation::Patience},
    error::Error,
    postgres::Device,
};

/// A user's live sessions; the oldest ends when there would be one more.
pub(crate) const MOST_SESSIONS: i64 = 100;

/// A page of devices.
pub struct DevicePage {
    /// The devices.
    pub devices: Vec<Device>,
    /// Where the next page goes on, if there is one.
    pub next: Option<String>,
}

impl Gateway {
    /// A page of the live sessions of a user.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_devices(&self, user: Uuid, page: Page) -> Result<DevicePage, Error> {
        let (devices, next) = page.cut(
            self.record.list_sessions(user, self.idle(), page).await?,
            |device| device.sid,
        );
        Ok(DevicePage { devices, next })
    }

    /// Ends one session of the caller's. Repeating it is fine, and finishes what could not be
    /// published.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn end_device(
        self: &Arc<Self>,
        caller: &Claims,
        sid: Uuid,
        patience: Patience,
        origin: &Origin,
    ) -> Result<(), Error> {
        let (gateway, sub) = (self.clone(), caller.sub);
        let reason = Reason::SessionDeleted;
        let event = origin
            .event(Kind::SessionEnded, Actor::User(sub), Some(sub))
            .of_session(sid)
            .because(reason.as_str());
        self.uncancelled(async move {
            if !gateway.record.has_session(sub, sid).await? {
                return Err(Error::NotFound);
            }
            gateway
                .end_session(sub, sid, reason, patience, &event)
                .await
        })
        .await
    }

    /// After a sign-in: ends the oldest sessions beyond the most that a user may have. Nobody waits
    /// for it.
    pub(crate) fn end_oldest_sessions(self: &Arc<Self>, user: Uuid) {
        let gateway = self.clone();
        let story = async move {
            let ending = gateway
                .record
                .end_oldest_sessions(user, MOST_SESSIONS, gateway.idle())
                .await?;
            gateway.publish(&ending).await
        };
        // A failure is made up for by the next sign-in.
        drop(self.stories.spawn(story));
    }
}
