//! Names that look like settings and are none.

use std::collections::BTreeSet;

use super::{Mistake, SETTINGS};

const PREFIX: &str = "LATCHKEY_";

/// The variables of `latchkey-dev`, which reads the same `.env`.
const DEV_PREFIX: &str = "LATCHKEY_DEV_";

/// Not a setting: it makes the tests rewrite generated files.
const BLESS: &str = "LATCHKEY_BLESS";

/// A mistake for each of these names that is no setting.
pub fn among(names: BTreeSet<String>) -> impl Iterator<Item = Mistake> {
    names
        .into_iter()
        .filter(|name| name.starts_with(PREFIX) && !is_known(name))
        .map(|name| {
            let near = SETTINGS.iter().map(|setting| {
                (
                    strsim::damerau_levenshtein(setting.variable, &name),
                    setting.variable,
                )
            });
            let reason = match near.min().filter(|(distance, _)| *distance <= 3) {
                Some((_, near)) => format!("is no setting; did you mean {near}?"),
                None => "is no setting; take it out".to_owned(),
            };
            // The program ends after it has told them, or there are none.
            Mistake {
                variable: Box::leak(name.into_boxed_str()),
                reason,
            }
        })
}

fn is_known(name: &str) -> bool {
    let secret = |name: &str| {
        SETTINGS
            .iter()
            .any(|setting| setting.secret && setting.variable == name)
    };
    name == BLESS
        || name.starts_with(DEV_PREFIX)
        || SETTINGS.iter().any(|setting| setting.variable == name)
        || name.strip_suffix("_FILE").is_some_and(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str) -> Vec<String> {
        among(BTreeSet::from([name.to_owned()]))
            .map(|mistake| mistake.to_string())
            .collect()
    }

    #[test]
    fn a_slip_is_told_with_what_was_meant() {
        assert_eq!(
            told("LATCHKEY_SINGUP"),
            ["LATCHKEY_SINGUP is no setting; did you mean LATCHKEY_SIGNUP?"]
        );
        assert_eq!(
            told("LATCHKEY_FAVOURITE_COLOUR"),
            ["LATCHKEY_FAVOURITE_COLOUR is no setting; take it out"]
        );
        assert_eq!(told("LATCHKEY_LISTEN_FILE").len(), 1, "no secret");
        assert_eq!(told("LATCHKEY_DEVICES").len(), 1, "another prefix");
        for good in [
            "LATCHKEY_SIGNUP",
            "LATCHKEY_SECRET_FILE",
            "LATCHKEY_SMTP_URL_FILE",
            "LATCHKEY_BLESS",
            "LATCHKEY_DEV_MAILBOX_LISTEN",
            "LATCHKEY",
            "PATH",
        ] {
            assert!(told(good).is_empty(), "{good}");
        }
    }
}
