//! Renders results as plain tables.

use latchkey::app::{ListedKey, ManagedUser, SessionRow, StoredClient};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// To the second, in UTC.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// The username, otherwise the email address.
pub fn name(user: &ManagedUser) -> String {
    let identity = &user.account.identity;
    identity
        .username
        .clone()
        .or_else(|| identity.email.clone())
        .unwrap_or_default()
}

/// Users, one per line.
pub fn users(users: &[ManagedUser]) -> String {
    let line = |user: &ManagedUser| {
        let identity = &user.account.identity;
        vec![
            user.account.id.to_string(),
            shown(identity.username.as_deref()),
            shown(identity.email.as_deref()),
            identity.role.as_str().to_owned(),
            status(user).to_owned(),
            moment(user.account.created_at),
            shown(identity.name.as_deref()),
        ]
    };
    table(
        &[
            "ID", "USERNAME", "EMAIL", "ROLE", "STATUS", "CREATED", "NAME",
        ],
        users.iter().map(line).collect(),
    )
}

/// One user.
pub fn user(user: &ManagedUser) -> String {
    let identity = &user.account.identity;
    let verified = match (&identity.email, identity.email_verified) {
        (None, _) => "",
        (Some(_), true) => " (verified)",
        (Some(_), false) => " (not verified)",
    };
    let lines = [
        ("id", user.account.id.to_string()),
        ("username", shown(identity.username.as_deref())),
        ("email", shown(identity.email.as_deref()) + verified),
        ("name", shown(identity.name.as_deref())),
        ("role", identity.role.as_str().to_owned()),
        ("status", status(user).to_owned()),
        ("created", moment(user.account.created_at)),
    ];
    lines
        .iter()
        .map(|(name, value)| format!("{name:<10}{value}\n"))
        .collect()
}

/// Sessions, one per line.
pub fn sessions(sessions: &[SessionRow]) -> String {
    if sessions.is_empty() {
        return "\nNo sessions.\n".to_owned();
    }
    let line = |session: &SessionRow| {
        vec![
            session.sid.to_string(),
            moment(session.created_at),
            moment(session.refreshed_at),
            moment(session.live_until),
            shown(session.address.as_deref()),
            shown(session.agent.as_deref()),
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

/// OAuth clients, one per line.
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
            moment(*rotated_at),
            name.clone(),
        ]
    };
    table(
        &["CLIENT ID", "SCOPE", "AUDIENCE", "SECRET CREATED", "NAME"],
        clients.iter().map(line).collect(),
    )
}

/// Signing keys, one per line.
pub fn keys(keys: &[ListedKey]) -> String {
    let line = |key: &ListedKey| {
        let until = key.until.map(moment);
        vec![
            key.kid.to_string(),
            key.state.as_str().to_owned(),
            moment(key.since),
            shown(until.as_deref()),
        ]
    };
    table(
        &["KID", "STATE", "SINCE", "UNTIL"],
        keys.iter().map(line).collect(),
    )
}

fn status(user: &ManagedUser) -> &'static str {
    if user.disabled { "disabled" } else { "enabled" }
}

fn shown(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

/// A time, to the second.
pub fn moment(moment: OffsetDateTime) -> String {
    moment
        .to_offset(time::UtcOffset::UTC)
        .format(TIME)
        .unwrap_or_default()
}

/// Columns as wide as their widest text, except the last one.
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
    fn columns_are_as_wide_as_their_widest_text() {
        let lines = vec![
            vec!["1".into(), "ü".into()],
            vec!["22222".into(), String::new()],
        ];
        assert_eq!(table(&["A", "B"], lines), "A      B\n1      ü\n22222\n");
    }
}
