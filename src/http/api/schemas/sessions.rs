//! Schemas of sessions and of the overview.

use latchkey_domain::user_agent;
use poem_openapi::{Object, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::{
    app::{Dashboard, Device, DevicePage},
    http::api::schemas::{SESSION_ID, SOME_TIME, UserShape},
};

/// Active session of a user.
#[derive(Object)]
#[oai(rename = "Session", example)]
pub struct SessionShape {
    /// Session ID, equal to `sid` in tokens.
    id: Uuid,
    /// Time of the sign-in.
    created_at: OffsetDateTime,
    /// Time of the last refresh, accurate to about one second.
    last_seen_at: OffsetDateTime,
    /// Expiration time if the session is not refreshed; at most the maximum lifetime of a session.
    expires_at: OffsetDateTime,
    /// IP address of the last use.
    ip_address: Option<String>,
    /// Browser and operating system, or program, of the sign-in.
    user_agent: Option<String>,
    /// Whether this request belongs to the session.
    current: bool,
}

impl SessionShape {
    fn new(device: Device, current: Option<Uuid>) -> Self {
        SessionShape {
            id: device.sid,
            created_at: device.created_at,
            last_seen_at: device.refreshed_at,
            expires_at: device.live_until,
            ip_address: device.address,
            user_agent: device.agent.as_deref().map(user_agent::in_words),
            current: Some(device.sid) == current,
        }
    }
}

impl Example for SessionShape {
    fn example() -> Self {
        SessionShape {
            id: SESSION_ID,
            created_at: SOME_TIME,
            last_seen_at: SOME_TIME,
            expires_at: datetime!(2026-11-27 08:00:00 UTC),
            ip_address: Some("192.0.2.1".to_owned()),
            user_agent: Some("Firefox on Linux".to_owned()),
            current: true,
        }
    }
}

/// A page of sessions.
#[derive(Object)]
#[oai(rename = "SessionPage", example)]
pub struct SessionPageShape {
    /// Sessions, oldest first.
    data: Vec<SessionShape>,
    /// Value of `after` for the next page; `null` on the last page.
    next: Option<String>,
}

impl SessionPageShape {
    /// The page as seen from one of the sessions, or from elsewhere.
    pub fn new(page: DevicePage, current: Option<Uuid>) -> Self {
        let data = page
            .devices
            .into_iter()
            .map(|device| SessionShape::new(device, current))
            .collect();
        SessionPageShape {
            data,
            next: page.next,
        }
    }
}

impl Example for SessionPageShape {
    fn example() -> Self {
        SessionPageShape {
            data: vec![SessionShape::example()],
            next: None,
        }
    }
}

/// Overview of a user.
#[derive(Object)]
#[oai(rename = "Dashboard", example)]
pub struct DashboardShape {
    /// User.
    user: UserShape,
    /// Active sessions of the user.
    sessions: Vec<SessionShape>,
    /// Number of items of the user.
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
