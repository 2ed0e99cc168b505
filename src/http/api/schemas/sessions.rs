//! Schemas of sessions and of the dashboard.

use latchkey_domain::user_agent;
use poem_openapi::{Object, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::{
    app::{
        accounts::dashboard::Dashboard,
        sessions::list::{SessionPage, SessionRow},
    },
    http::api::schemas::{EXAMPLE_TIME, SESSION_ID, UserSchema},
};

/// Active session of a user.
#[derive(Object)]
#[oai(rename = "Session", example)]
pub struct SessionSchema {
    /// Session ID, equal to `sid` in tokens.
    id: Uuid,
    /// Time of the sign-in.
    created_at: OffsetDateTime,
    /// Time of the last refresh, or of the last renewal of the session cookie.
    last_seen_at: OffsetDateTime,
    /// Expiration time if the session is not used; at most the maximum lifetime of a session.
    expires_at: OffsetDateTime,
    /// IP address of the sign-in, or of the last refresh or cookie renewal.
    ip_address: Option<String>,
    /// Browser and operating system, or program, of the sign-in.
    user_agent: Option<String>,
    /// Whether this request belongs to the session.
    current: bool,
}

impl SessionSchema {
    fn new(session: SessionRow, current_session_id: Option<Uuid>) -> Self {
        SessionSchema {
            id: session.session_id,
            created_at: session.created_at,
            last_seen_at: session.last_used_at,
            expires_at: session.active_until,
            ip_address: session.ip_address,
            user_agent: session.user_agent.as_deref().map(user_agent::describe),
            current: Some(session.session_id) == current_session_id,
        }
    }
}

impl Example for SessionSchema {
    fn example() -> Self {
        SessionSchema {
            id: SESSION_ID,
            created_at: EXAMPLE_TIME,
            last_seen_at: EXAMPLE_TIME,
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
pub struct SessionPageSchema {
    /// Sessions, oldest first.
    data: Vec<SessionSchema>,
    /// Value of `after` for the next page; `null` on the last page.
    next: Option<String>,
}

impl SessionPageSchema {
    /// `current_session_id` is that of the request, if the request belongs to a session.
    pub fn new(page: SessionPage, current_session_id: Option<Uuid>) -> Self {
        let data = page
            .sessions
            .into_iter()
            .map(|session| SessionSchema::new(session, current_session_id))
            .collect();
        SessionPageSchema {
            data,
            next: page.next,
        }
    }
}

impl Example for SessionPageSchema {
    fn example() -> Self {
        SessionPageSchema {
            data: vec![SessionSchema::example()],
            next: None,
        }
    }
}

/// Overview of a user.
#[derive(Object)]
#[oai(rename = "Dashboard", example)]
pub struct DashboardSchema {
    /// User.
    user: UserSchema,
    /// Active sessions of the user, oldest first; at most 100.
    sessions: Vec<SessionSchema>,
    /// Number of items of the user.
    item_count: i64,
}

impl DashboardSchema {
    /// `current_session_id` is that of the request, if the request belongs to a session.
    pub fn new(dashboard: Dashboard, current_session_id: Option<Uuid>) -> Self {
        DashboardSchema {
            user: dashboard.user.into(),
            sessions: dashboard
                .sessions
                .into_iter()
                .map(|session| SessionSchema::new(session, current_session_id))
                .collect(),
            item_count: dashboard.items,
        }
    }
}

impl Example for DashboardSchema {
    fn example() -> Self {
        DashboardSchema {
            user: UserSchema::example(),
            sessions: vec![SessionSchema::example()],
            item_count: 3,
        }
    }
}
