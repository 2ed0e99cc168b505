//! Errors for the terminal.

use std::{fmt, io, path::Path};

/// An error message for the terminal, with an optional hint how to fix the problem.
#[derive(Debug)]
pub struct Error {
    message: String,
    hint: Option<String>,
}

impl Error {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Adds a hint how to fix the problem.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Returns a function for `map_err` that adds the failed operation: `cannot("create", path)`.
    pub(super) fn cannot(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |reason| {
            Self::new(format!("can't {verb} {} ({reason})", path.display()))
                .hint("check the permissions of this user and the free disk space")
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(formatter, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
