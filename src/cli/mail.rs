//! `latchkey mail test`: sends an email to examine the mail server.

use std::{process::ExitCode, sync::Arc};

use clap::{Arg, ArgMatches, Command};
use latchkey::app::App;
use latchkey_domain::account::EmailAddress;

use super::{
    CommandError, FAILED, arguments::parse_value, help::add_help_with_exit_codes, print_outcome,
};
use crate::INVALID_CONFIGURATION;

const EXIT_CODES: &str = "\
Exit codes:
  0  the mail server has accepted the email
  1  the mail server can't be used, or has rejected the email
  2  invalid usage or configuration";

/// Builds the command.
pub fn command() -> Command {
    let recipient = Arg::new("recipient")
        .value_name("ADDRESS")
        .help("Email address that receives the test email")
        .value_parser(parse_value::<EmailAddress>)
        .required(true);
    let test = Command::new("test")
        .about("Send a test email")
        .long_about(
            "Connects to the mail server of LATCHKEY_SMTP_URL, and sends an email from \
             LATCHKEY_EMAIL_FROM to this address. If a step fails, the command prints the step and \
             the response of the mail server. The command requires no store, and the test email \
             counts against no rate limit.",
        )
        .arg(recipient);
    let command = Command::new("mail")
        .about("Examine the mail server")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(add_help_with_exit_codes(
            test,
            "latchkey mail test john@example.com",
            EXIT_CODES,
        ));
    add_help_with_exit_codes(command, "latchkey mail test john@example.com", EXIT_CODES)
}

/// Runs the command.
pub async fn run(app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    let (_, matches) = matches.subcommand().expect("a required subcommand");
    let recipient = matches.get_one("recipient").expect("a required argument");
    print_outcome(test(&app, recipient).await)
}

async fn test(app: &App, recipient: &EmailAddress) -> Result<String, CommandError> {
    if !app.sends_email() {
        let error = "email is disabled (LATCHKEY_SMTP_URL is `off`)";
        return Err(CommandError::new(INVALID_CONFIGURATION, error)
            .hint("set LATCHKEY_SMTP_URL to an SMTP server"));
    }
    match app.send_test_email(recipient).await {
        Ok(()) => Ok(format!(
            "The mail server has accepted a test email to {}.\n",
            recipient.as_str()
        )),
        Err(error) => Err(CommandError::new(FAILED, error)
            .hint("check the mail server, LATCHKEY_SMTP_URL, and LATCHKEY_EMAIL_FROM")),
    }
}
