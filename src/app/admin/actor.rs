//! The actor of an administrative operation.

use latchkey_domain::{
    access_token::{Claims, NoRecentSignIn},
    audit::{Actor, AuditEvent, EventKind},
};
use uuid::Uuid;

use crate::app::{origin::Origin, tokens::Tokens};

/// The actor of an administrative operation.
#[derive(Debug, Clone)]
pub enum AdminActor {
    /// A user with the role `admin`, or one of the user's personal access tokens.
    User {
        /// The ID of the user.
        id: Uuid,
        /// The origin of the request.
        origin: Origin,
        /// Whether the user signed in recently.
        recent_sign_in: Result<(), NoRecentSignIn>,
    },
    /// The operator, who runs the command line with the settings of the server.
    Operator,
}

impl AdminActor {
    /// Returns the administrator who sent a request.
    pub fn from_request(tokens: &Tokens, admin: &Claims, origin: Origin) -> AdminActor {
        AdminActor::User {
            id: admin.sub,
            origin,
            recent_sign_in: tokens.require_recent_sign_in(admin),
        }
    }

    /// Requires a recent sign-in, for operations that create or change a credential, a role, a
    /// username, or an email address. The operator needs none.
    ///
    /// # Errors
    /// `NoRecentSignIn`, which is `forbidden` or `reauthentication_required` in a response.
    pub(crate) fn require_recent_sign_in(&self) -> Result<(), NoRecentSignIn> {
        match self {
            AdminActor::User { recent_sign_in, .. } => *recent_sign_in,
            AdminActor::Operator => Ok(()),
        }
    }

    /// Creates an audit event of this actor about a user, an OAuth client, or neither.
    pub(crate) fn event(&self, kind: EventKind, subject_id: impl Into<Option<Uuid>>) -> AuditEvent {
        let subject_id = subject_id.into();
        match self {
            AdminActor::User { id, origin, .. } => {
                origin.event(kind, Actor::Admin(*id), subject_id)
            }
            AdminActor::Operator => AuditEvent::new(kind, Actor::Operator, subject_id),
        }
    }
}
