//! The names of cookies.

use super::Value;

/// The longest base name, in bytes.
const MAX_LENGTH: usize = 32;

/// The names of the session cookie. The names of the other cookies add a hyphen and a word, so no
/// name of one server is that of another server with another base name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieName {
    host: String,
    domain: String,
}

impl CookieName {
    /// Returns the name if the cookie is limited to one host. Because of the prefix, other hosts and
    /// pages without TLS can't set a cookie with this name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the name if the hosts of a domain share the cookie. Because of the prefix, pages
    /// without TLS can't set a cookie with this name.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

impl Value for CookieName {
    fn read(text: &str) -> Result<Self, String> {
        let suffix = text.strip_prefix("latchkey");
        let is_valid = suffix.is_some_and(|suffix| {
            let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            suffix.is_empty()
                || suffix
                    .strip_prefix('_')
                    .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_allowed))
        });
        if !is_valid || text.len() > MAX_LENGTH {
            return Err(format!(
                "must be `latchkey`, or `latchkey_` followed by lowercase letters and digits, with \
                 at most {MAX_LENGTH} characters"
            ));
        }
        Ok(CookieName {
            host: format!("__Host-{text}"),
            domain: format!("__Secure-{text}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_begins_with_latchkey() {
        for text in ["latchkey", "latchkey_staging", "latchkey_2"] {
            let name = CookieName::read(text).unwrap();
            assert_eq!(name.host(), format!("__Host-{text}"));
            assert_eq!(name.domain(), format!("__Secure-{text}"));
        }
        let long = format!("latchkey_{}", "a".repeat(24));
        for text in [
            "",
            "session",
            "latchkey_",
            "latchkey2",
            "latchkey-a",
            "latchkey_A",
            "latchkey_a_b",
            "latchkey_a;",
            &long,
        ] {
            assert!(CookieName::read(text).is_err(), "{text}");
        }
    }
}
