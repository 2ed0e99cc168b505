//! Unknown settings.

use std::collections::BTreeSet;

use super::{ConfigError, SETTINGS};

const PREFIX: &str = "LATCHKEY_";

/// The variables of `latchkey-dev`, which reads the same `.env`.
const DEV_PREFIX: &str = "LATCHKEY_DEV_";

/// The variable that makes the tests rewrite generated files.
const BLESS: &str = "LATCHKEY_BLESS";

/// Returns a configuration error for each unknown setting.
pub fn find_unknown(names: BTreeSet<String>) -> impl Iterator<Item = ConfigError> {
    names
        .into_iter()
        .filter(|name| name.starts_with(PREFIX) && !is_known(name))
        .map(|name| {
            let distances = SETTINGS.iter().map(|setting| {
                (
                    strsim::damerau_levenshtein(setting.variable, &name),
                    setting.variable,
                )
            });
            let reason = match distances.min().filter(|(distance, _)| *distance <= 3) {
                Some((_, closest)) => format!("unknown setting; did you mean {closest}?"),
                None => "unknown setting; remove it".to_owned(),
            };
            // The leak is bounded: the program exits after it has printed the errors.
            ConfigError {
                variable: Box::leak(name.into_boxed_str()),
                reason,
            }
        })
}

fn is_known(name: &str) -> bool {
    let is_secret = |name: &str| {
        SETTINGS
            .iter()
            .any(|setting| setting.secret && setting.variable == name)
    };
    name == BLESS
        || name.starts_with(DEV_PREFIX)
        || SETTINGS.iter().any(|setting| setting.variable == name)
        || name.strip_suffix("_FILE").is_some_and(is_secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_for(name: &str) -> Vec<String> {
        find_unknown(BTreeSet::from([name.to_owned()]))
            .map(|error| error.to_string())
            .collect()
    }

    #[test]
    fn unknown_setting_suggests_the_closest_name() {
        assert_eq!(
            errors_for("LATCHKEY_SINGUP"),
            ["LATCHKEY_SINGUP: unknown setting; did you mean LATCHKEY_SIGNUP?"]
        );
        assert_eq!(
            errors_for("LATCHKEY_FAVORITE_COLOR"),
            ["LATCHKEY_FAVORITE_COLOR: unknown setting; remove it"]
        );
        assert_eq!(errors_for("LATCHKEY_LISTEN_FILE").len(), 1, "not a secret");
        assert_eq!(errors_for("LATCHKEY_DEVICES").len(), 1, "another prefix");
        for valid in [
            "LATCHKEY_SIGNUP",
            "LATCHKEY_SECRET_FILE",
            "LATCHKEY_SMTP_URL_FILE",
            "LATCHKEY_BLESS",
            "LATCHKEY_DEV_MAILBOX_LISTEN",
            "LATCHKEY",
            "PATH",
        ] {
            assert!(errors_for(valid).is_empty(), "{valid}");
        }
    }
}
