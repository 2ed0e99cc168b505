use std::{fmt, io, path::Path};

/// One sentence for the person at the terminal: what was wrong, and what to do about it.
///
/// Nobody decides anything by it, hence no kinds.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    pub(super) fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// For `map_err`: `cannot("create", path)`.
    pub(super) fn cannot(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |reason| {
            Self(format!(
                "Cannot {verb} {} ({reason}); check that this user may do so and that the disk has \
                 room.",
                path.display()
            ))
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
