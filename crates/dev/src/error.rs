use std::{fmt, io, path::Path};

/// An error for the terminal, and how to fix it.
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

    /// Adds how to fix it.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// For `map_err`: `cannot("create", path)`.
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
