//! `latchkey explain`: why is the token on standard input refused?

use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
    sync::Arc,
};

use clap::Command;
use latchkey::gateway::{ExplainError, Gateway};
use zeroize::Zeroizing;

use crate::{WRONG_SETTINGS, fail, print};

/// Something refuses the token.
const REFUSED: u8 = 1;

/// Nothing can be said, because PostgreSQL does not answer.
const UNANSWERED: u8 = 3;

/// Longer than any token, in bytes.
const LONGEST: u64 = 65_536;

/// What stands before a token in a header, in the order in which it does.
const HEADERS: [&str; 5] = [
    "Authorization:",
    "Bearer ",
    "Cookie:",
    "__Host-latchkey=",
    "__Secure-latchkey=",
];

/// The command, without the settings, which are those of `serve`.
pub fn command() -> Command {
    Command::new("explain").about("Say why the token on standard input is refused").long_about(
        "Reads one access token, cookie, refresh token or personal token from standard input, and \
         says in one sentence which rule refuses it, or that nothing does. It wants the settings \
         of the replicas. The token is not used up, and is never shown.\n\nExit codes: 0 nothing \
         refuses it, 1 something does, 2 wrong settings or no token, 3 PostgreSQL does not answer.",
    )
}

/// Reads the token and explains it.
pub async fn run(gateway: Arc<Gateway>) -> ExitCode {
    let token = match read() {
        Ok(token) => token,
        Err(reason) => {
            eprintln!("latchkey: {reason}");
            return ExitCode::from(WRONG_SETTINGS);
        }
    };
    match gateway.explain(&token).await {
        Ok(explanation) => {
            print(&format!("{}\n", explanation.sentence));
            if explanation.refused {
                ExitCode::from(REFUSED)
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(error) => {
            fail("the token cannot be explained", &error);
            ExitCode::from(match error {
                ExplainError::OtherSecret => WRONG_SETTINGS,
                ExplainError::Unanswered(_) => UNANSWERED,
            })
        }
    }
}

/// The token, also as it stands in a header.
fn read() -> Result<Zeroizing<String>, &'static str> {
    if std::io::stdin().is_terminal() {
        eprintln!("Paste one token, then press Enter and Ctrl-D.");
    }
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().take(LONGEST).read_to_string(&mut text);
    read.map_err(|_| "standard input cannot be read as text")?;
    let token = text.trim();
    let token = HEADERS.iter().fold(token, |token, header| {
        token.strip_prefix(header).unwrap_or(token).trim()
    });
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err("give one token on standard input, and nothing else");
    }
    Ok(Zeroizing::new(token.to_owned()))
}
