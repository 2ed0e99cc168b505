//! `latchkey health`: requests the readiness of a running replica, for operators and for health
//! checks of containers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use clap::{Arg, ArgMatches, Command};
use latchkey::app::lifecycle::readiness_probe::{
    ReadinessProbeError, ReportedReadiness, probe_readiness,
};
use serde_json::json;
use url::Url;

use super::{
    CommandError, FAILED,
    arguments::{output_flag, render},
    help::add_help_with,
    print_outcome, show,
};
use crate::{INVALID_CONFIGURATION, STORE_UNAVAILABLE, print};

/// Exit code if the replica can't be reached.
const UNREACHABLE: u8 = STORE_UNAVAILABLE;

const CONFIGURATION: &str = "\
Configuration: LATCHKEY_LISTEN and LATCHKEY_METRICS_LISTEN, as for `serve`. See `latchkey help \
settings`.";

const EXIT_CODES: &str = "\
Exit codes:
  0  ready
  1  not ready, or not a replica
  2  invalid usage or configuration
  3  unreachable";

/// Builds the command.
pub fn command() -> Command {
    let url = Arg::new("url")
        .long("url")
        .value_name("URL")
        .help("URL of another replica, without `/health/ready` [default: from LATCHKEY_LISTEN]")
        .value_parser(parse_url);
    let command = Command::new("health")
        .about("Check whether a running replica is ready")
        .long_about(
            "Requests `/health/ready` of the replica on this machine, and prints the status. If \
             the metrics listener can be reached, the command also prints the states of the \
             stores, the source of checks, and each degraded component with its cause and its \
             fix. With --url, it requests only that URL, which can be the one of a metrics \
             listener. It waits up to 2 s for each response.",
        )
        .arg(url)
        .arg(output_flag(
            "the object that `/health/ready` of the metrics listener returns, or only its \
             `status` if that listener can't be reached",
        ));
    add_help_with(
        command,
        CONFIGURATION,
        "latchkey health
         latchkey health --url https://auth.example.com
         latchkey health --output json",
        EXIT_CODES,
    )
}

fn parse_url(text: &str) -> Result<Url, &'static str> {
    let is_base = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = Url::parse(text).ok().filter(is_base);
    url.ok_or("must be an `http://` or `https://` URL without user information and query")
}

/// Returns the URL that `--url` contains.
pub fn url(matches: &ArgMatches) -> Option<&Url> {
    matches.get_one("url")
}

/// Requests the readiness from this URL.
pub async fn check_url(matches: &ArgMatches, url: &Url) -> ExitCode {
    let outcome = probe_readiness(url.as_str()).await;
    print_readiness(matches, url.as_str(), outcome)
}

/// Requests the readiness of the replica with these bind addresses, and its details.
pub async fn check_local(
    matches: &ArgMatches,
    listen: SocketAddr,
    metrics_listen: SocketAddr,
) -> ExitCode {
    if listen.port() == 0 {
        let error = "LATCHKEY_LISTEN has port 0, so the replica has selected a free port";
        let error = CommandError::new(INVALID_CONFIGURATION, error);
        return print_outcome(Err(error.hint(
            "pass the address in the log of the replica: `latchkey health --url \
             http://127.0.0.1:PORT`",
        )));
    }
    let (url, metrics_url) = (to_local_url(listen), to_local_url(metrics_listen));
    let (outcome, details) = tokio::join!(probe_readiness(&url), probe_readiness(&metrics_url));
    let outcome = outcome.map(|(mut readiness, is_ready)| {
        match details {
            Ok((detailed, _)) => readiness.details = detailed.details,
            Err(error) => eprintln!("hint: no details from {metrics_url}: {error}"),
        }
        (readiness, is_ready)
    });
    print_readiness(matches, &url, outcome)
}

/// Returns the URL at which this machine reaches a listener. A listener on all addresses is reached
/// at the loopback address.
fn to_local_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

fn print_readiness(
    matches: &ArgMatches,
    url: &str,
    outcome: Result<(ReportedReadiness, bool), ReadinessProbeError>,
) -> ExitCode {
    match outcome {
        Ok((readiness, is_ready)) => {
            print(&render(
                matches,
                || to_text(&readiness),
                || json!(readiness),
            ));
            ExitCode::from(if is_ready { 0 } else { FAILED })
        }
        Err(error @ ReadinessProbeError::Unexpected(_)) => {
            let error = CommandError::new(FAILED, format!("{url} isn't a replica: {error}"));
            print_outcome(Err(error.hint("pass the URL of a replica or of its proxy")))
        }
        Err(error @ ReadinessProbeError::Unreachable(_)) => {
            let error = format!("{url} can't be reached: {error}");
            print_outcome(Err(CommandError::new(UNREACHABLE, error)
                .hint("start the replica, or pass its URL with --url")))
        }
    }
}

fn to_text(readiness: &ReportedReadiness) -> String {
    let mut lines = vec![("status", readiness.status.clone())];
    if let Some(details) = &readiness.details {
        lines.extend([
            ("postgres", details.postgres.clone()),
            ("redis", details.redis.clone()),
            ("check_source", details.check_source.clone()),
        ]);
        lines.extend(details.degraded.iter().map(|degraded| {
            let (component, since) = (&degraded.component, &degraded.since);
            let (reason, action) = (&degraded.reason, &degraded.action);
            (
                "degraded",
                format!("{component} since {since}: {reason} {action}"),
            )
        }));
    }
    // The response can come from another server, so it must not control the terminal.
    let printable = |text: String| text.replace(char::is_control, " ");
    let lines: Vec<_> = lines
        .into_iter()
        .map(|(name, text)| (name, printable(text)))
        .collect();
    show::fields(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_on_all_addresses_is_reached_at_loopback() {
        for (listen, url) in [
            ("0.0.0.0:8000", "http://127.0.0.1:8000"),
            ("[::]:8000", "http://[::1]:8000"),
            ("127.0.0.2:80", "http://127.0.0.2:80"),
            ("[2001:db8::1]:8000", "http://[2001:db8::1]:8000"),
        ] {
            assert_eq!(to_local_url(listen.parse().unwrap()), url);
        }
    }

    #[test]
    fn url_must_be_a_base_url() {
        for valid in ["http://127.0.0.1:8000", "https://auth.example.com/base/"] {
            assert!(parse_url(valid).is_ok(), "{valid}");
        }
        for invalid in [
            "127.0.0.1:8000",
            "redis://127.0.0.1",
            "http://john@127.0.0.1",
            "http://:secret@127.0.0.1",
            "http://127.0.0.1/?a=1",
            "http://127.0.0.1/#a",
            "",
        ] {
            assert!(parse_url(invalid).is_err(), "{invalid}");
        }
    }
}
