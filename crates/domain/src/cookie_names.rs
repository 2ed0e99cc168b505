//! Names of the cookies of the server.
//!
//! The prefixes `__Host-` and `__Secure-` are those of RFC 6265bis section 4.1.3. Below one domain,
//! several environments need different base names, because browsers send the cookies of a parent
//! domain to all of them. A base name contains no hyphen, and a derived name adds one. So no cookie
//! of one environment has the name of a cookie of another one.

/// The base name by default, and the beginning of every base name.
const DEFAULT: &str = "latchkey";

/// Maximum length of a base name, in bytes. A cookie must stay below 4,096 bytes, which includes its
/// name.
const MAX_BASE_NAME_BYTES: usize = 32;

/// The beginning of every name of a cookie of a server, whatever its settings. Proxies remove
/// cookies whose names begin like this.
pub const NAME_PREFIXES: [&str; 2] = ["__Host-latchkey", "__Secure-latchkey"];

/// The name of the session cookie with default settings.
pub const DEFAULT_SESSION_COOKIE: &str = NAME_PREFIXES[0];

/// The base name of all cookies: `latchkey`, or `latchkey_` and lowercase letters and digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieBaseName(String);

impl CookieBaseName {
    /// Parses a base name.
    ///
    /// # Errors
    /// The rule, which follows the name of the setting.
    pub fn parse(text: &str) -> Result<CookieBaseName, &'static str> {
        let is_suffix = |suffix: &str| {
            let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !suffix.is_empty() && suffix.bytes().all(is_allowed)
        };
        let is_valid = text == DEFAULT
            || text
                .strip_prefix(DEFAULT)
                .and_then(|rest| rest.strip_prefix('_'))
                .is_some_and(is_suffix);
        if is_valid && text.len() <= MAX_BASE_NAME_BYTES {
            Ok(CookieBaseName(text.to_owned()))
        } else {
            Err(
                "must be `latchkey`, or `latchkey_` and 1 to 23 lowercase letters or digits, for \
                 example `latchkey_staging`",
            )
        }
    }
}

/// The names of all cookies of a server. Computed once, because every request needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieNames {
    session: String,
    note: String,
    application: String,
    nonce: String,
}

impl CookieNames {
    /// Computes the names. `is_shared` states whether the hosts of a domain share the session
    /// cookie.
    pub fn new(base: &CookieBaseName, is_shared: bool) -> CookieNames {
        let CookieBaseName(base) = base;
        let session_prefix = if is_shared { "__Secure-" } else { "__Host-" };
        CookieNames {
            session: format!("{session_prefix}{base}"),
            note: format!("__Host-{base}-note"),
            application: format!("__Host-{base}-app"),
            nonce: format!("__Host-{base}-nonce"),
        }
    }

    /// Returns the name of the session cookie. Because of the prefix, pages without TLS can't set
    /// the cookie, and other hosts can set it only if the hosts of a domain share it.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Returns the name of the application cookie. An explicit port of the application is part of
    /// the name, because cookies ignore ports (RFC 6265 section 8.5).
    pub fn application(&self, port: Option<&str>) -> String {
        with_port(&self.application, port)
    }

    /// Returns the name of the nonce cookie at an application, with the port as above.
    pub fn nonce(&self, port: Option<&str>) -> String {
        with_port(&self.nonce, port)
    }

    /// Returns the name of the cookie with the note for the next page.
    pub fn note(&self) -> &str {
        &self.note
    }
}

fn with_port(name: &str, port: Option<&str>) -> String {
    match port {
        Some(port) => format!("{name}-{port}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(base: &str, is_shared: bool) -> CookieNames {
        CookieNames::new(&CookieBaseName::parse(base).unwrap(), is_shared)
    }

    #[test]
    fn names_have_prefix_of_their_scope() {
        let default = names("latchkey", false);
        assert_eq!(default.session(), DEFAULT_SESSION_COOKIE);
        assert_eq!(default.note(), "__Host-latchkey-note");
        let shared = names("latchkey_b2", true);
        assert_eq!(shared.session(), "__Secure-latchkey_b2");
        assert_eq!(shared.note(), "__Host-latchkey_b2-note");
        assert_eq!(shared.application(None), "__Host-latchkey_b2-app");
        assert_eq!(default.nonce(Some("8443")), "__Host-latchkey-nonce-8443");
    }

    #[test]
    fn invalid_base_name_is_rejected() {
        let longest = format!("latchkey_{}", "a".repeat(23));
        assert!(CookieBaseName::parse(&longest).is_ok());
        let too_long = format!("{longest}a");
        for invalid in [
            "",
            "Latchkey",
            "latchkey_",
            "latchkey-a",
            "latchkeya",
            "latchkey_A",
            "latchkey_a-b",
            "latchkey_a_b",
            "latchkey_a=",
            "latchkey_a;",
            "other",
            "__Host-latchkey",
            &too_long,
        ] {
            assert!(CookieBaseName::parse(invalid).is_err(), "{invalid}");
        }
    }

    proptest! {
        #[test]
        fn no_name_is_one_of_another_base_name(
            left in "latchkey(_[a-z0-9]{1,23})?",
            right in "latchkey(_[a-z0-9]{1,23})?",
            is_shared in any::<[bool; 2]>(),
        ) {
            let [left_names, right_names] =
                [names(&left, is_shared[0]), names(&right, is_shared[1])];
            let all = |names: &CookieNames| [names.session().to_owned(), names.note().to_owned()];
            for name in all(&left_names) {
                prop_assert!(NAME_PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
                prop_assert!(left == right || !all(&right_names).contains(&name));
            }
        }
    }
}
