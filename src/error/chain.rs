//! Errors as the log contains them.

use std::{error::Error as StdError, fmt};

use super::Error;

/// An error with all its causes, for the log: drivers return "db error", and the cause one level
/// below. It contains only the first line of each cause, because the second line of PostgreSQL can
/// contain a row.
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut causes = vec![first_line(self.0)];
        let mut cause = self.0.source();
        while let Some(error) = cause {
            causes.push(first_line(error));
            cause = error.source();
        }
        // Drivers repeat some causes.
        causes.dedup();
        f.write_str(&causes.join(": "))
    }
}

/// The code of one of our errors, because its text is for clients; the first line of any other.
fn first_line(error: &(dyn StdError + 'static)) -> String {
    match error.downcast_ref::<Error>() {
        Some(ours) => ours.code().slug().to_owned(),
        None => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}
