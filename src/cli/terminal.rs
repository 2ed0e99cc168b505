//! Prompts on the terminal.

use std::io::{self, BufRead, IsTerminal, Read, Stdin, Write};

use clap::ArgMatches;
use latchkey_domain::{password::Password, text::ParsedText};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::{CommandError, FAILED};
use crate::INVALID_CONFIGURATION;

/// Returns whether `--yes` is given or the user confirms. `action` completes the hint for input
/// that isn't a terminal.
pub fn confirm(matches: &ArgMatches, question: &str, action: &str) -> Result<bool, CommandError> {
    if matches.get_flag("yes") {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        let error = CommandError::new(INVALID_CONFIGURATION, "stdin is not a terminal");
        return Err(error.hint(format!("pass --yes to {action} without confirmation")));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Reads a password from standard input. On a terminal, the prompt appears twice, without echo.
pub fn read_password() -> Result<Password, CommandError> {
    let input = io::stdin();
    let text = if input.is_terminal() {
        let text = prompt(&input, "Password: ")?;
        let repeated = prompt(&input, "Repeat the password: ")?;
        if repeated.expose_secret() != text.expose_secret() {
            return Err(CommandError::new(FAILED, "the passwords differ"));
        }
        text
    } else {
        let mut text = Zeroizing::new(String::new());
        input.lock().read_to_string(&mut text)?;
        without_line_break(&text)
    };
    parse_password(&text)
}

pub fn parse_password(text: &SecretString) -> Result<Password, CommandError> {
    Password::parse(text.expose_secret())
        .map_err(|reason| CommandError::new(FAILED, format!("the password {reason}")))
}

/// Reads one line without echo.
fn prompt(input: &Stdin, text: &str) -> Result<SecretString, CommandError> {
    let modes = tcgetattr(input).map_err(io::Error::from)?;
    let mut without_echo = modes.clone();
    without_echo.local_modes.remove(LocalModes::ECHO);
    tcsetattr(input, OptionalActions::Flush, &without_echo).map_err(io::Error::from)?;
    eprint!("{text}");
    let mut line = Zeroizing::new(String::new());
    let read = io::stderr()
        .flush()
        .and_then(|()| input.lock().read_line(&mut line));
    tcsetattr(input, OptionalActions::Flush, &modes).map_err(io::Error::from)?;
    eprintln!();
    read?;
    Ok(without_line_break(&line))
}

/// Removes the line break at the end, which `echo` and the terminal add.
fn without_line_break(text: &str) -> SecretString {
    let line = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    line.into()
}
