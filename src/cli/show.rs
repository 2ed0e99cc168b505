//! Renders results as tables in plain text.

use latchkey::app::{
    admin::{groups::StoredGroup, oauth_clients::StoredClient, users::ManagedUser},
    applications::StoredApplication,
    audit::StoredAuditEvent,
    keys::ListedKey,
    sessions::list::SessionRow,
};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// RFC 3339 in UTC, to the second.
const TIME_FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// Returns the username, or the email address if there is none.
pub fn name(user: &ManagedUser) -> String {
    let identity = &user.account.identity;
    identity
        .username
        .clone()
        .or_else(|| identity.email.clone())
        .unwrap_or_default()
}

/// Renders users, one per line.
pub fn users(users: &[ManagedUser]) -> String {
    let line = |user: &ManagedUser| {
        let identity = &user.account.identity;
        vec![
            user.account.id.to_string(),
            or_dash(identity.username.as_deref()),
            or_dash(identity.email.as_deref()),
            identity.role.as_str().to_owned(),
            status(user).to_owned(),
            format_time(user.account.created_at),
            or_dash(identity.name.as_deref()),
        ]
    };
    table(
        &[
            "ID", "USERNAME", "EMAIL", "ROLE", "STATUS", "CREATED", "NAME",
        ],
        users.iter().map(line).collect(),
    )
}

/// Renders one user, one field per line.
pub fn user(user: &ManagedUser) -> String {
    let identity = &user.account.identity;
    let verified = match (&identity.email, identity.email_verified) {
        (None, _) => "",
        (Some(_), true) => " (verified)",
        (Some(_), false) => " (not verified)",
    };
    let lines = [
        ("id", user.account.id.to_string()),
        ("username", or_dash(identity.username.as_deref())),
        ("email", or_dash(identity.email.as_deref()) + verified),
        ("name", or_dash(identity.name.as_deref())),
        ("role", identity.role.as_str().to_owned()),
        (
            "groups",
            or_dash(non_empty(
                &identity.groups.iter().collect::<Vec<_>>().join(" "),
            )),
        ),
        ("status", status(user).to_owned()),
        ("created", format_time(user.account.created_at)),
        ("password", password_change(user).to_owned()),
    ];
    fields(&lines)
}

/// Renders fields, one per line.
pub fn fields(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {value}\n"))
        .collect()
}

/// Renders sessions, one per line.
pub fn sessions(sessions: &[SessionRow]) -> String {
    if sessions.is_empty() {
        return "\nNo sessions.\n".to_owned();
    }
    let line = |session: &SessionRow| {
        vec![
            session.session_id.to_string(),
            format_time(session.created_at),
            format_time(session.last_used_at),
            format_time(session.active_until),
            or_dash(session.ip_address.as_deref()),
            or_dash(session.user_agent.as_deref()),
        ]
    };
    let head = [
        "SESSION",
        "CREATED",
        "LAST USED",
        "EXPIRES",
        "IP ADDRESS",
        "USER AGENT",
    ];
    format!("\n{}", table(&head, sessions.iter().map(line).collect()))
}

/// Renders audit events, one per line.
pub fn audit_events(events: &[StoredAuditEvent]) -> String {
    let line = |event: &StoredAuditEvent| {
        vec![
            format_time(event.at),
            event.event.clone(),
            event.outcome.clone(),
            event.count.to_string(),
            event.actor.clone(),
            or_dash(event.address.as_deref()),
            or_dash(event.reason.as_deref()),
            or_dash(event.session_id.map(|id| id.to_string()).as_deref()),
        ]
    };
    let head = [
        "TIME",
        "EVENT",
        "OUTCOME",
        "COUNT",
        "ACTOR",
        "IP ADDRESS",
        "REASON",
        "SESSION",
    ];
    table(&head, events.iter().map(line).collect())
}

/// Renders the audit events of several users, one per line.
pub fn audit_log(events: &[StoredAuditEvent]) -> String {
    let line = |event: &StoredAuditEvent| {
        vec![
            format_time(event.at),
            event.event.clone(),
            event.outcome.clone(),
            event.count.to_string(),
            or_dash(event.subject_id.map(|id| id.to_string()).as_deref()),
            event.actor.clone(),
            or_dash(event.actor_id.map(|id| id.to_string()).as_deref()),
            or_dash(event.address.as_deref()),
            or_dash(event.reason.as_deref()),
        ]
    };
    let head = [
        "TIME",
        "EVENT",
        "OUTCOME",
        "COUNT",
        "SUBJECT ID",
        "ACTOR",
        "ACTOR ID",
        "IP ADDRESS",
        "REASON",
    ];
    table(&head, events.iter().map(line).collect())
}

/// Renders OAuth clients, one per line.
pub fn clients(clients: &[StoredClient]) -> String {
    let line = |client: &StoredClient| {
        let StoredClient {
            id,
            name,
            scopes,
            audiences,
            rotated_at,
            ..
        } = client;
        vec![
            id.to_string(),
            scopes.to_string(),
            audiences.join(" "),
            format_time(*rotated_at),
            name.clone(),
        ]
    };
    table(
        &["CLIENT ID", "SCOPE", "AUDIENCE", "SECRET CREATED", "NAME"],
        clients.iter().map(line).collect(),
    )
}

/// Renders groups, one per line.
pub fn groups(groups: &[StoredGroup]) -> String {
    let line = |group: &StoredGroup| {
        vec![
            group.name.clone(),
            format_time(group.created_at),
            or_dash(group.description.as_deref()),
        ]
    };
    table(
        &["NAME", "CREATED", "DESCRIPTION"],
        groups.iter().map(line).collect(),
    )
}

/// Renders one group, one field per line.
pub fn group(group: &StoredGroup) -> String {
    fields(&[
        ("name", group.name.clone()),
        ("description", or_dash(group.description.as_deref())),
        ("created", format_time(group.created_at)),
    ])
}

/// Renders applications, one per line.
pub fn applications(applications: &[StoredApplication]) -> String {
    let line = |application: &StoredApplication| {
        vec![
            application.id.to_string(),
            application.origin.to_string(),
            requirement(application),
        ]
    };
    table(
        &["ID", "ORIGIN", "REQUIREMENT"],
        applications.iter().map(line).collect(),
    )
}

/// Renders one application, one field per line.
pub fn application(application: &StoredApplication) -> String {
    fields(&[
        ("id", application.id.to_string()),
        ("origin", application.origin.to_string()),
        ("requirement", requirement(application)),
        ("created", format_time(application.created_at)),
        ("updated", format_time(application.updated_at)),
    ])
}

/// Returns the requirement as in the URL of a check.
fn requirement(application: &StoredApplication) -> String {
    let text = application.requirement.to_string();
    or_dash(Some(text.as_str()).filter(|text| !text.is_empty()))
}

/// Renders one OAuth client, one field per line.
pub fn client(client: &StoredClient) -> String {
    fields(&[
        ("client_id", client.id.to_string()),
        ("name", client.name.clone()),
        ("scope", client.scopes.to_string()),
        ("audience", client.audiences.join(" ")),
        ("created", format_time(client.created_at)),
        ("secret created", format_time(client.rotated_at)),
    ])
}

/// Renders signing keys, one per line.
pub fn keys(keys: &[ListedKey]) -> String {
    let line = |key: &ListedKey| {
        let until = key.until.map(format_time);
        vec![
            key.kid.to_string(),
            key.state.as_str().to_owned(),
            format_time(key.since),
            or_dash(until.as_deref()),
        ]
    };
    table(
        &["KID", "STATE", "SINCE", "UNTIL"],
        keys.iter().map(line).collect(),
    )
}

fn password_change(user: &ManagedUser) -> &'static str {
    if user.account.password_change_required {
        "change required"
    } else {
        "no change required"
    }
}

fn status(user: &ManagedUser) -> &'static str {
    if user.disabled { "disabled" } else { "enabled" }
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// Formats a time in UTC, to the second.
pub fn format_time(time: OffsetDateTime) -> String {
    time.to_offset(time::UtcOffset::UTC)
        .format(TIME_FORMAT)
        .unwrap_or_default()
}

/// Renders a table. Each column except the last is padded to its widest text.
fn table(head: &[&str], lines: Vec<Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|&title| title.to_owned()).collect();
    let all: Vec<_> = std::iter::once(head).chain(lines).collect();
    let width = |column: usize| {
        all.iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..all[0].len()).map(width).collect();
    let line = |line: &Vec<String>| {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(text, width)| format!("{text:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_columns_fit_their_widest_text() {
        let lines = vec![
            vec!["1".into(), "ü".into()],
            vec!["22222".into(), String::new()],
        ];
        assert_eq!(table(&["A", "B"], lines), "A      B\n1      ü\n22222\n");
    }
}
