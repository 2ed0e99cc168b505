//! `latchkey audit`: searches the audit events of all users. It runs the same use case as
//! `GET /audit`.

use std::{net::IpAddr, process::ExitCode, sync::Arc};

use clap::{Arg, ArgAction, ArgMatches, Command};
use latchkey::app::{App, audit::AuditFilter};
use latchkey_domain::audit::EventKind;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::{
    CommandError,
    arguments::{output_flag, render},
    help::add_help,
    json,
    paging::read_pages,
    prepare, print_outcome, show,
    user::{UserReference, limit},
};

/// Builds the command.
pub fn command() -> Command {
    let command = Command::new("audit")
        .about("Search the audit events of all users")
        .long_about(
            "Lists the audit events of all users and OAuth clients that match all given filters, \
             newest first.",
        )
        .args(filters())
        .arg(limit("Maximum number of events"))
        .arg(output_flag(
            "an object with the fields of `GET /audit`: `data`, a list of events, and `next`, which \
             is null if the list is complete",
        ));
    add_help(
        command,
        "latchkey audit --since 2026-11-20T10:00:00Z
         latchkey audit --event sign_in_failed,rate_limited --ip-address 192.0.2.1
         latchkey audit --user john@example.com --limit 200 --output json",
    )
}

fn filters() -> [Arg; 7] {
    let option = |name, value| Arg::new(name).long(name).value_name(value);
    let uuid = |text: &str| text.parse::<Uuid>().map_err(|_| "not an ID (UUID)");
    [
        option("user", "USER")
            .help("Affected user: ID, username, or email address")
            .long_help(
                "Affected user: ID, username, or email address. A deleted user has only an ID.",
            )
            .value_parser(UserReference::parse),
        option("client", "CLIENT-ID")
            .help("ID of the affected OAuth client")
            .conflicts_with("user")
            .value_parser(uuid),
        option("actor", "ID")
            .help("ID of the user or OAuth client who acted")
            .value_parser(uuid),
        option("event", "EVENTS")
            .help("Event types, separated by commas; --help lists all types")
            .long_help(format!(
                "Event types, separated by commas: {}.",
                event_types().join(", ")
            ))
            .action(ArgAction::Append)
            .value_delimiter(',')
            .value_parser(|text: &str| {
                EventKind::parse(text).ok_or("not an event type; `latchkey audit --help` lists all")
            }),
        option("ip-address", "ADDRESS")
            .help("IPv4 or IPv6 address of the request")
            .value_parser(clap::value_parser!(IpAddr)),
        option("since", "TIME")
            .help("Time of the oldest event (RFC 3339), for example 2026-11-20T10:00:00Z")
            .value_parser(parse_time),
        option("until", "TIME")
            .help("Time before which the events occurred, in the same format as --since")
            .value_parser(parse_time),
    ]
}

fn event_types() -> Vec<&'static str> {
    EventKind::ALL.iter().map(|kind| kind.as_str()).collect()
}

fn parse_time(text: &str) -> Result<OffsetDateTime, &'static str> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "not a time in RFC 3339")
}

/// Runs the command.
pub async fn run(app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    print_outcome(search(&app, matches).await)
}

async fn search(app: &App, matches: &ArgMatches) -> Result<String, CommandError> {
    prepare(app).await?;
    let filter = filter(app, matches).await?;
    let limit: u32 = *matches.get_one("limit").expect("a default value");
    let (events, next) = read_pages(Some(limit), async |page| {
        let page = app.audit.search_audit_events(&filter, page).await?;
        Ok((page.events, page.next))
    })
    .await?;
    if next.is_some() {
        eprintln!("hint: more events can match; increase --limit or add a filter");
    }
    Ok(render(
        matches,
        || show::audit_log(&events),
        || json::page(&events, json::audit_event, next.as_deref()),
    ))
}

async fn filter(app: &App, matches: &ArgMatches) -> Result<AuditFilter, CommandError> {
    let user = match matches.get_one("user") {
        None => None,
        Some(UserReference::Id(id)) => Some(*id),
        Some(UserReference::Name(name)) => Some(app.users.find_user(name).await?.account.id),
    };
    let kinds = matches.get_many("event");
    Ok(AuditFilter {
        subject_id: user.or_else(|| matches.get_one("client").copied()),
        actor_id: matches.get_one("actor").copied(),
        address: matches.get_one("ip-address").copied(),
        kinds: kinds.map(|kinds| kinds.copied().collect()),
        since: matches.get_one("since").copied(),
        until: matches.get_one("until").copied(),
    })
}
