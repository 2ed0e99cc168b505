//! Schemas of the export of a user.

use poem_openapi::{Object, types::Example};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::http::api::{
    audit_events::AuditEventSchema,
    schemas::{
        AdminUserSchema, EXAMPLE_TIME, SESSION_ID, items::ItemSchema,
        personal_access_tokens::PersonalAccessTokenSchema,
    },
};

/// Everything that is stored about a user. The members are written in this order.
#[derive(Object)]
#[oai(rename = "UserExport", example)]
pub struct UserExportSchema {
    /// Time of the export.
    exported_at: OffsetDateTime,
    /// User.
    user: AdminUserSchema,
    /// Sessions, oldest first, also expired and revoked ones that are not deleted yet.
    sessions: Vec<ExportedSessionSchema>,
    /// Personal access tokens, oldest first, also expired ones that are not deleted yet.
    personal_access_tokens: Vec<PersonalAccessTokenSchema>,
    /// Items, oldest first.
    items: Vec<ItemSchema>,
    /// Emails that were sent or wait to be sent, oldest first, until they are deleted.
    emails: Vec<ExportedEmailSchema>,
    /// Audit events about the user, newest first. `user_agent` is the complete header.
    audit_events: Vec<AuditEventSchema>,
}

impl Example for UserExportSchema {
    fn example() -> Self {
        UserExportSchema {
            exported_at: EXAMPLE_TIME,
            user: AdminUserSchema::example(),
            sessions: vec![ExportedSessionSchema::example()],
            personal_access_tokens: vec![PersonalAccessTokenSchema::example()],
            items: vec![ItemSchema::example()],
            emails: vec![ExportedEmailSchema::example()],
            audit_events: vec![AuditEventSchema::example()],
        }
    }
}

/// Session in an export.
#[derive(Object)]
#[oai(rename = "ExportedSession", example)]
pub struct ExportedSessionSchema {
    /// Session ID, equal to `sid` in tokens.
    id: Uuid,
    /// Client of the sign-in: `latchkey` or that of browsers.
    client_id: String,
    /// Scopes, separated by spaces.
    scope: String,
    /// Time of the sign-in.
    created_at: OffsetDateTime,
    /// Time of the last refresh, or of the last renewal of the session cookie.
    last_seen_at: OffsetDateTime,
    /// End of the maximum lifetime.
    expires_at: OffsetDateTime,
    /// Time of the revocation; `null` if the session was not revoked.
    revoked_at: Option<OffsetDateTime>,
    /// Code of the reason for the revocation.
    revoked_reason: Option<String>,
    /// IP address of the sign-in, or of the last refresh or cookie renewal.
    ip_address: Option<String>,
    /// Header `User-Agent` of the sign-in.
    user_agent: Option<String>,
}

impl Example for ExportedSessionSchema {
    fn example() -> Self {
        ExportedSessionSchema {
            id: SESSION_ID,
            client_id: "latchkey".to_owned(),
            scope: "user:read user:write".to_owned(),
            created_at: EXAMPLE_TIME,
            last_seen_at: EXAMPLE_TIME,
            expires_at: EXAMPLE_TIME,
            revoked_at: None,
            revoked_reason: None,
            ip_address: Some("192.0.2.1".to_owned()),
            user_agent: Some("curl/8.5.0".to_owned()),
        }
    }
}

/// Email in an export, without its one-time code.
#[derive(Object)]
#[oai(rename = "ExportedEmail", example)]
pub struct ExportedEmailSchema {
    /// Kind of the email, such as `password_reset`.
    template: String,
    /// Email address of the recipient.
    recipient: Option<String>,
    /// Time when the email was requested.
    created_at: OffsetDateTime,
    /// Time when the email was sent; `null` if it was not sent.
    sent_at: Option<OffsetDateTime>,
    /// IP address of the request that caused the email.
    ip_address: Option<String>,
    /// Header `User-Agent` of the request that caused the email.
    user_agent: Option<String>,
}

impl Example for ExportedEmailSchema {
    fn example() -> Self {
        ExportedEmailSchema {
            template: "password_reset".to_owned(),
            recipient: Some("john@example.com".to_owned()),
            created_at: EXAMPLE_TIME,
            sent_at: Some(EXAMPLE_TIME),
            ip_address: None,
            user_agent: None,
        }
    }
}
