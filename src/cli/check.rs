//! `latchkey check`: examines the deployment before a start, or when a replica is degraded.

use std::{process::ExitCode, sync::Arc};

use clap::{ArgMatches, Command};
use latchkey::app::{
    App,
    deployment_check::{Finding, FindingOutcome},
};
use serde_json::{Value, json};

use super::{
    FAILED,
    arguments::{output_flag, render},
    help::add_help_with_exit_codes,
};
use crate::print;

const EXIT_CODES: &str = "\
Exit codes:
  0  no failure; warnings are possible
  1  at least one failure
  2  invalid usage or configuration";

/// Builds the command.
pub fn command() -> Command {
    let command = Command::new("check")
        .about("Examine the stores, the mail server, the clocks, and the proxy")
        .long_about(
            "Examines PostgreSQL (version, encoding, rights, migrations), Redis (version, rights, \
             eviction policy), the clocks of this machine and of both stores, the issuer and the \
             secret of the database, the mail server, the setting of the registration, and the \
             issuer URL through the proxy. Each line is ok, a warning, or a failure with its fix. \
             The command changes nothing except one key in Redis, which expires after a minute.",
        )
        .arg(output_flag(
            "an object with `findings`, a list of objects with `part`, `status` (`ok`, `warning`, \
             or `failure`), `reason`, and `action`, which is null if the status is `ok`",
        ));
    add_help_with_exit_codes(
        command,
        "latchkey check
         latchkey check --output json",
        EXIT_CODES,
    )
}

/// Examines the deployment and prints the findings.
pub async fn run(app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    let findings = app.examine_deployment().await;
    print(&render(
        matches,
        || to_text(&findings),
        || to_json(&findings),
    ));
    let has_failed = findings
        .iter()
        .any(|finding| matches!(finding.outcome, FindingOutcome::Failure(_)));
    ExitCode::from(if has_failed { FAILED } else { 0 })
}

/// Returns the word for an outcome, its description, and the fix.
fn describe(outcome: &FindingOutcome) -> (&'static str, &str, Option<&str>) {
    match outcome {
        FindingOutcome::Ok(text) => ("ok", text, None),
        FindingOutcome::Warning(found) => ("warning", &found.reason, Some(&found.action)),
        FindingOutcome::Failure(found) => ("failure", &found.reason, Some(&found.action)),
    }
}

fn to_text(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let (status, text, action) = describe(&finding.outcome);
        let action = action.map_or_else(String::new, |action| format!(" {action}"));
        format!(
            "{status:<8} {:<9} {text}{action}\n",
            finding.part.into_str()
        )
    };
    findings.iter().map(line).collect()
}

fn to_json(findings: &[Finding]) -> Value {
    let entry = |finding: &Finding| {
        let (status, text, action) = describe(&finding.outcome);
        json!({
            "part": finding.part.into_str(),
            "status": status,
            "reason": text,
            "action": action,
        })
    };
    json!({ "findings": findings.iter().map(entry).collect::<Vec<_>>() })
}
