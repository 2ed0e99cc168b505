//! Renders results as JSON, with the fields of the API where an operation returns the same.

use latchkey::app::{
    admin::{groups::StoredGroup, oauth_clients::StoredClient, users::ManagedUser},
    applications::StoredApplication,
    audit::StoredAuditEvent,
    keys::ListedKey,
    sessions::list::SessionRow,
};
use latchkey_domain::user_agent;
use serde_json::{Value, json};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// Renders a part of a list, like a page of the API. `next` is `None` if the list is complete.
pub fn page<T>(items: &[T], render: impl Fn(&T) -> Value, next: Option<&str>) -> Value {
    json!({ "data": items.iter().map(render).collect::<Vec<_>>(), "next": next })
}

/// Renders a user, like `GET /users/{id}`.
pub fn user(user: &ManagedUser) -> Value {
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

/// Renders an audit event, like `GET /users/{id}/audit`.
pub fn audit_event(event: &StoredAuditEvent) -> Value {
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
        "user_agent": event.agent.as_deref().map(user_agent::describe),
        "reason": event.reason,
        "count": event.count,
    })
}

/// Renders a session, like `GET /users/{id}/sessions`.
pub fn session(session: &SessionRow) -> Value {
    json!({
        "id": session.session_id,
        "created_at": format_time(session.created_at),
        "last_seen_at": format_time(session.last_used_at),
        "expires_at": format_time(session.active_until),
        "ip_address": session.ip_address,
        "user_agent": session.user_agent.as_deref().map(user_agent::describe),
        // Whether the request belongs to the session: a command belongs to none.
        "current": false,
    })
}

/// Renders a group, like `GET /groups/{name}`.
pub fn group(group: &StoredGroup) -> Value {
    json!({
        "name": group.name,
        "description": group.description,
        "created_at": format_time(group.created_at),
    })
}

/// Renders an application, like `GET /applications/{id}`.
pub fn application(application: &StoredApplication) -> Value {
    let requirement = &application.requirement;
    let groups = requirement.groups.as_ref();
    json!({
        "id": application.id,
        "origin": application.origin.as_str(),
        "role": requirement.role,
        "scope": requirement.scopes.map(|scopes| scopes.to_string()),
        "group": groups.map(|names| names.as_str().replace(',', " ")),
        "created_at": format_time(application.created_at),
        "updated_at": format_time(application.updated_at),
    })
}

/// Renders an OAuth client, like `GET /clients/{id}`.
pub fn client(client: &StoredClient) -> Value {
    json!({
        "id": client.id,
        "name": client.name,
        "scope": client.scopes.to_string(),
        "audiences": client.audiences,
        "created_at": format_time(client.created_at),
        "rotated_at": format_time(client.rotated_at),
    })
}

/// Renders an OAuth client and its new secret, like `POST /clients`.
pub fn client_with_secret(new: &StoredClient, secret: &str) -> Value {
    json!({ "client_id": new.id, "client_secret": secret, "client": client(new) })
}

/// Renders a signing key.
pub fn key(key: &ListedKey) -> Value {
    json!({
        "kid": key.kid.to_string(),
        "state": key.state.as_str(),
        "since": format_time(key.since),
        "until": key.until.map(format_time),
    })
}

/// Formats a time as the API does: RFC 3339 in UTC, with fractions of a second.
pub fn format_time(time: OffsetDateTime) -> Option<String> {
    time.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_in_utc_with_fractions() {
        let time = datetime!(2026-11-20 10:00:00.25 +2);
        assert_eq!(
            format_time(time).as_deref(),
            Some("2026-11-20T08:00:00.25Z")
        );
    }

    #[test]
    fn incomplete_list_contains_its_cursor() {
        let render = |number: &i32| json!(number);
        let complete = json!({"data": [1, 2], "next": null});
        assert_eq!(page(&[1, 2], render, None), complete);
        let incomplete = json!({"data": [1, 2], "next": "cursor"});
        assert_eq!(page(&[1, 2], render, Some("cursor")), incomplete);
    }
}
