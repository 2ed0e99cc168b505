//! Exports everything that is stored about a user as one JSON document.
//!
//! The document is written page by page, so an export of any size needs little memory and holds no
//! connection to PostgreSQL while the client reads. So it isn't a snapshot: it contains each row as
//! it is when its page is read.

use std::{collections::VecDeque, sync::Arc};

use latchkey_domain::{
    access_token::Claims,
    audit::{AuditEvent, EventKind},
    page::{MAX_LIMIT, Page},
};
use serde_json::{Value, json};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    app::{
        accounts::Accounts,
        admin::{actor::AdminActor, users::Users},
        audit::redact_admin,
        origin::Origin,
    },
    error::Error,
    postgres::{
        ExportedEmail, ExportedSession, PersonalAccessToken, Postgres, StoredAuditEvent,
        StoredItem, StoredUser,
    },
};

/// The lists of the document, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Sessions,
    PersonalAccessTokens,
    Items,
    Emails,
    AuditEvents,
}

impl List {
    const ALL: [List; 5] = [
        List::Sessions,
        List::PersonalAccessTokens,
        List::Items,
        List::Emails,
        List::AuditEvents,
    ];

    const fn name(self) -> &'static str {
        match self {
            List::Sessions => "sessions",
            List::PersonalAccessTokens => "personal_access_tokens",
            List::Items => "items",
            List::Emails => "emails",
            List::AuditEvents => "audit_events",
        }
    }
}

/// The export of a user, which is read in parts.
pub struct UserExport {
    postgres: Arc<Postgres>,
    user_id: Uuid,
    /// The start of the document, until it is read.
    head: Option<String>,
    /// The lists that aren't complete.
    lists: VecDeque<List>,
    /// The last ID of the previous page of the first list; `None` before its first page.
    after: Option<Uuid>,
}

impl Accounts {
    /// Starts the export of everything that is stored about the caller's user. It counts against
    /// the limit of reset requests, because it reads much data.
    ///
    /// # Errors
    /// `too_many_requests`, `token_revoked` if the user is deleted; `unavailable`.
    pub async fn export_own_user(
        &self,
        caller: &Claims,
        origin: &Origin,
    ) -> Result<UserExport, Error> {
        let event = origin.self_event(EventKind::UserExported, caller);
        let start = async {
            let export = UserExport::start(&self.postgres, caller.sub, &event).await?;
            export.ok_or(Error::TokenRevoked)
        };
        self.rate_limits
            .run_rate_limited(
                self.rate_limits.reset_request_attempt(origin),
                &origin.request_limits,
                start,
            )
            .await
    }
}

impl Users {
    /// Starts the export of everything that is stored about a user, for the operator.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn export_user(&self, id: Uuid) -> Result<UserExport, Error> {
        let event = AdminActor::Operator.event(EventKind::UserExported, id);
        let export = UserExport::start(&self.postgres, id, &event).await?;
        export.ok_or(Error::NotFound)
    }
}

impl UserExport {
    /// Records the export and reads the user. Returns `None` if there is no such user.
    async fn start(
        postgres: &Arc<Postgres>,
        user_id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<UserExport>, Error> {
        let Some(user) = postgres.find_user(user_id).await? else {
            return Ok(None);
        };
        let now = postgres.read_clock().await?;
        postgres.record_event(event).await?;
        Ok(Some(UserExport::new(postgres.clone(), &user, now)))
    }

    fn new(postgres: Arc<Postgres>, user: &StoredUser, now: OffsetDateTime) -> Self {
        let head = json!({ "exported_at": format_time(now), "user": user_json(user) });
        let mut head = head.to_string();
        // The lists continue the object.
        head.pop();
        UserExport {
            postgres,
            user_id: user.account.id,
            head: Some(head),
            lists: List::ALL.into(),
            after: None,
        }
    }

    /// Returns the next part of the document, or `None` after its end.
    ///
    /// # Errors
    /// `unavailable`. The document is then incomplete.
    pub async fn next_part(&mut self) -> Result<Option<String>, Error> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head));
        }
        let Some(list) = self.lists.front().copied() else {
            return Ok(None);
        };
        let (rows, next) = self.read_page(list).await?;
        let mut part = match self.after {
            None => format!(",\"{}\":[", list.name()),
            Some(_) => ",".to_owned(),
        };
        part.push_str(
            &rows
                .iter()
                .map(Value::to_string)
                .collect::<Vec<_>>()
                .join(","),
        );
        self.after = next;
        if next.is_none() {
            part.push(']');
            self.lists.pop_front();
        }
        if self.lists.is_empty() {
            part.push_str("}\n");
        }
        Ok(Some(part))
    }

    /// Returns a page of a list, and its last ID if there is a next page.
    async fn read_page(&self, list: List) -> Result<(Vec<Value>, Option<Uuid>), Error> {
        let (id, postgres) = (self.user_id, &self.postgres);
        let page = Page {
            limit: MAX_LIMIT,
            after: self.after.unwrap_or_default(),
        };
        Ok(match list {
            List::Sessions => {
                let sessions = postgres.export_sessions(id, page).await?;
                cut(sessions, |session| session.id, session_json)
            }
            List::PersonalAccessTokens => {
                let tokens = postgres.export_personal_access_tokens(id, page).await?;
                cut(tokens, |token| token.id, token_json)
            }
            List::Items => {
                let items = postgres.list_items(id, page).await?;
                cut(items, |item| item.id, item_json)
            }
            List::Emails => {
                let emails = postgres.export_emails(id, page).await?;
                cut(emails, |email| email.id, email_json)
            }
            List::AuditEvents => {
                // In descending order, so the first page starts below the largest ID.
                let before = self.after.unwrap_or(Uuid::max());
                let mut events = postgres.list_audit_events(id, before, page.limit).await?;
                events.iter_mut().for_each(|event| redact_admin(event, id));
                cut(events, |event| event.id, event_json)
            }
        })
    }
}

/// Truncates a query result to the page, and returns the last ID if there is a next page.
fn cut<T>(
    mut rows: Vec<T>,
    id: impl Fn(&T) -> Uuid,
    to_json: impl Fn(&T) -> Value,
) -> (Vec<Value>, Option<Uuid>) {
    let has_more = rows.len() > usize::from(MAX_LIMIT);
    rows.truncate(usize::from(MAX_LIMIT));
    let last = rows.last().map(id).filter(|_| has_more);
    (rows.iter().map(to_json).collect(), last)
}

fn user_json(user: &StoredUser) -> Value {
    let (account, identity) = (&user.account, &user.account.identity);
    json!({
        "id": account.id,
        "username": identity.username,
        "email": identity.email,
        "email_verified": identity.email_verified,
        "name": identity.name,
        "role": identity.role,
        "groups": identity.groups,
        "disabled": user.disabled,
        "created_at": format_time(account.created_at),
        "password_change_required": account.password_change_required,
    })
}

fn session_json(session: &ExportedSession) -> Value {
    json!({
        "id": session.id,
        "client_id": session.client_id,
        "scope": session.scope,
        "created_at": format_time(session.created_at),
        "last_seen_at": format_time(session.last_used_at),
        "expires_at": format_time(session.expires_at),
        "revoked_at": session.revoked_at.and_then(format_time),
        "revoked_reason": session.revoked_reason,
        "ip_address": session.ip_address,
        "user_agent": session.user_agent,
    })
}

fn token_json(token: &PersonalAccessToken) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "scope": token.scope,
        "created_at": format_time(token.created_at),
        "expires_at": format_time(token.expires_at),
        "last_used_at": token.last_used_at.and_then(format_time),
    })
}

fn item_json(item: &StoredItem) -> Value {
    json!({
        "id": item.id,
        "name": item.name,
        "description": item.description,
        "created_at": format_time(item.created_at),
        "updated_at": format_time(item.updated_at),
    })
}

fn email_json(email: &ExportedEmail) -> Value {
    json!({
        "template": email.template,
        "recipient": email.recipient,
        "created_at": format_time(email.created_at),
        "sent_at": email.sent_at.and_then(format_time),
        "ip_address": email.ip_address,
        "user_agent": email.user_agent,
    })
}

fn event_json(event: &StoredAuditEvent) -> Value {
    json!({
        "id": event.id,
        "at": format_time(event.at),
        "event": event.event,
        "outcome": event.outcome,
        "subject_id": event.subject_id,
        "actor": event.actor,
        "actor_id": event.actor_id,
        "session_id": event.session_id,
        "ip_address": event.address,
        "user_agent": event.agent,
        "reason": event.reason,
        "count": event.count,
    })
}

/// Formats a time as the API does: RFC 3339 in UTC, with fractions of a second.
fn format_time(time: OffsetDateTime) -> Option<String> {
    time.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()
}
