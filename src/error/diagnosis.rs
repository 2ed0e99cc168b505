//! The cause of a failure, and its fix.

use std::{borrow::Cow, fmt};

/// A failure of a store, a setting, or a clock, for operators. Both texts are sentences, and
/// contain no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The cause.
    pub reason: Cow<'static, str>,
    /// How to fix it.
    pub action: Cow<'static, str>,
}

impl Diagnosis {
    /// Creates a diagnosis from two sentences.
    pub fn new(
        reason: impl Into<Cow<'static, str>>,
        action: impl Into<Cow<'static, str>>,
    ) -> Diagnosis {
        Diagnosis {
            reason: reason.into(),
            action: action.into(),
        }
    }
}

/// The cause and the fix on one line, for errors and logs.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.trim_end_matches('.');
        let action = self.action.trim_end_matches('.');
        let mut characters = action.chars();
        let first = characters.next().into_iter().flat_map(char::to_lowercase);
        write!(
            f,
            "{reason}; {}{}",
            first.collect::<String>(),
            characters.as_str()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnosis_is_displayed_as_one_sentence() {
        let diagnosis = Diagnosis::new("Redis refused the connection.", "Start Redis.");
        assert_eq!(
            diagnosis.to_string(),
            "Redis refused the connection; start Redis"
        );
    }
}
