//! Prompts on the terminal.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    process,
    sync::{Mutex, MutexGuard, PoisonError},
};

use clap::ArgMatches;
use latchkey_domain::{password::Password, text::ParsedText};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::{CommandError, FAILED};
use crate::INVALID_CONFIGURATION;

/// Signals that end a program. The terminal sends all of them except SIGTERM.
const EXIT_SIGNALS: [SignalKind; 4] = [
    SignalKind::interrupt(),
    SignalKind::quit(),
    SignalKind::hangup(),
    SignalKind::terminate(),
];

/// The special character of the terminal that has no key (`_POSIX_VDISABLE`).
#[cfg(target_os = "linux")]
const DISABLED: u8 = 0;
#[cfg(not(target_os = "linux"))]
const DISABLED: u8 = 0xff;

/// The character of Ctrl-Z.
const CTRL_Z: char = '\u{1a}';

/// The modes of the terminal before a prompt without echo; `None` without such a prompt.
static SAVED_MODES: Mutex<Option<Termios>> = Mutex::new(None);

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
        exit_on_signals()?;
        let text = prompt("Password: ")?;
        let repeated = prompt("Repeat the password: ")?;
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
fn prompt(text: &str) -> Result<SecretString, CommandError> {
    let without_echo = WithoutEcho::start()?;
    eprint!("{text}");
    let mut line = Zeroizing::new(String::new());
    let read = io::stderr()
        .flush()
        .and_then(|()| io::stdin().lock().read_line(&mut line));
    drop(without_echo);
    eprintln!();
    read?;
    if line.contains(CTRL_Z) {
        let error = "the input contains Ctrl-Z, because a password prompt can't be suspended";
        return Err(CommandError::new(FAILED, error));
    }
    Ok(without_line_break(&line))
}

/// Switches the echo of the terminal off until it is dropped.
struct WithoutEcho;

impl WithoutEcho {
    fn start() -> io::Result<WithoutEcho> {
        let mut saved = lock_saved_modes();
        let modes = tcgetattr(io::stdin())?;
        let mut without_echo = modes.clone();
        without_echo.local_modes.remove(LocalModes::ECHO);
        // A suspended prompt would leave the terminal without echo.
        without_echo.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
        tcsetattr(io::stdin(), OptionalActions::Flush, &without_echo)?;
        *saved = Some(modes);
        Ok(WithoutEcho)
    }
}

impl Drop for WithoutEcho {
    fn drop(&mut self) {
        restore_modes(&mut lock_saved_modes());
    }
}

fn lock_saved_modes() -> MutexGuard<'static, Option<Termios>> {
    SAVED_MODES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn restore_modes(saved: &mut Option<Termios>) {
    if let Some(modes) = saved.take() {
        // Fails only if the terminal is closed, and then no program needs its echo.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &modes);
    }
}

/// Exits with restored echo when a signal arrives, until the end of the process. The status is that
/// of a program that the signal ended, as shells report it.
fn exit_on_signals() -> io::Result<()> {
    for kind in EXIT_SIGNALS {
        let mut signals = signal(kind)?;
        tokio::spawn(async move {
            signals.recv().await;
            // Held until the exit, so that no other prompt starts.
            let mut saved = lock_saved_modes();
            restore_modes(&mut saved);
            eprintln!();
            process::exit(128 + kind.as_raw_value());
        });
    }
    Ok(())
}

/// Removes the line break at the end, which `echo` and the terminal add.
fn without_line_break(text: &str) -> SecretString {
    let line = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    line.into()
}
