//! Sessions, and the dashboard that lists them.

use poem_openapi::{Object, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::{SOME_TIME, SOMEBODY, UserShape};
use crate::{
    domain::agent,
    gateway::{Dashboard, Device, DevicePage},
};

/// A sign-in that is still good: a device, mostly.
#[derive(Object)]
#[oai(rename = "Session", example)]
pub struct SessionShape {
    /// The id, `sid` in tokens.
    id: Uuid,
    /// When it began.
    created_at: OffsetDateTime,
    /// When it was last refreshed, give or take a second.
    last_seen_at: OffsetDateTime,
    /// When it ends if it is not used again; never after its absolute end.
    ends_at: OffsetDateTime,
    /// The address it was last seen at.
    address: Option<String>,
    /// What began it, in words.
    agent: Option<String>,
    /// Whether this request belongs to it.
    current: bool,
}

impl SessionShape {
    fn new(device: Device, current: Option<Uuid>) -> Self {
        SessionShape {
            id: device.sid,
            created_at: device.created_at,
            last_seen_at: device.refreshed_at,
            ends_at: device.live_until,
            address: device.address,
            agent: device.agent.as_deref().map(agent::in_words),
            current: Some(device.sid) == current,
        }
    }
}

impl Example for SessionShape {
    fn example() -> Self {
        SessionShape {
            id: SOMEBODY,
            created_at: SOME_TIME,
            last_seen_at: SOME_TIME,
            ends_at: datetime!(2026-11-27 08:00:00 UTC),
            address: Some("192.0.2.1".to_owned()),
            agent: Some("Firefox on Linux".to_owned()),
            current: true,
        }
    }
}

/// A page of sessions.
#[derive(Object)]
#[oai(rename = "SessionPage", example)]
pub struct SessionPageShape {
    /// The sessions, by id ascending, which is from the oldest.
    items: Vec<SessionShape>,
    /// Send this as `after` to get the next page; `null` on the last.
    next: Option<String>,
}

impl SessionPageShape {
    /// The page as seen from one of the sessions, or from elsewhere.
    pub fn new(page: DevicePage, current: Option<Uuid>) -> Self {
        let items = page
            .devices
            .into_iter()
            .map(|device| SessionShape::new(device, current))
            .collect();
        SessionPageShape {
            items,
            next: page.next,
        }
    }
}

impl Example for SessionPageShape {
    fn example() -> Self {
        SessionPageShape {
            items: vec![SessionShape::example()],
            next: None,
        }
    }
}

/// The account, its sessions and how much is in it.
#[derive(Object)]
#[oai(rename = "Dashboard", example)]
pub struct DashboardShape {
    /// The account.
    user: UserShape,
    /// Its live sessions.
    sessions: Vec<SessionShape>,
    /// How many items it has.
    item_count: i64,
}

impl DashboardShape {
    /// The dashboard as seen from one of its sessions, or from elsewhere.
    pub fn new(dashboard: Dashboard, current: Option<Uuid>) -> Self {
        DashboardShape {
            user: dashboard.user.into(),
            sessions: dashboard
                .sessions
                .into_iter()
                .map(|device| SessionShape::new(device, current))
                .collect(),
            item_count: dashboard.items,
        }
    }
}

impl Example for DashboardShape {
    fn example() -> Self {
        DashboardShape {
            user: UserShape::example(),
            sessions: vec![SessionShape::example()],
            item_count: 3,
        }
    }
}
