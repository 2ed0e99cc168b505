//! Formats errors for the log.

use std::{error::Error as StdError, fmt};

use super::Error;

/// Displays an error with all its causes, for the log.
///
/// Drivers return "db error" with the cause one level below. Only the first line of each cause is
/// included, because the second line of a PostgreSQL error can contain a row.
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

/// Returns the first cause of this type.
pub fn find_cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref() {
            return Some(found);
        }
        cause = current.source();
    }
    None
}

/// Returns the code of an [`Error`], because its text is for clients; otherwise the first line.
fn first_line(error: &(dyn StdError + 'static)) -> String {
    match error.downcast_ref::<Error>() {
        Some(error) => error.code().slug().to_owned(),
        None => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}
