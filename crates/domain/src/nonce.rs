//! The nonce of a browser at the host of an application: it binds a ticket to this browser.
//!
//! The redirect to the sign-in page contains only the hash of the nonce (`state`), so a ticket that
//! an attacker requested for another browser is useless there (login CSRF, RFC 6749 section 10.12).

use aws_lc_rs::{constant_time, digest, error::Unspecified, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The lifetime of the nonce cookie, in seconds.
pub const LIFETIME_SECONDS: u64 = 900;

/// The time after a callback during which a further redirect to the sign-in page means that the
/// application cookie was lost, in seconds.
const CALLBACK_SECONDS: u64 = 10;

/// The length of a nonce before encoding.
const NONCE_BYTES: usize = 16;

/// A nonce, and the time of the last callback of this browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce {
    bytes: [u8; NONCE_BYTES],
    /// In seconds since the Unix epoch; `None` before the first callback.
    callback_at: Option<u64>,
}

impl Nonce {
    /// Generates a nonce.
    ///
    /// # Errors
    /// If the system provides no random bytes.
    pub fn generate() -> Result<Nonce, Unspecified> {
        let mut bytes = [0; NONCE_BYTES];
        rand::fill(&mut bytes)?;
        Ok(Nonce {
            bytes,
            callback_at: None,
        })
    }

    /// Reads the value of a nonce cookie.
    pub fn parse(text: &str) -> Option<Nonce> {
        let (nonce, callback_at) = match text.split_once('.') {
            Some((nonce, at)) => (nonce, Some(at.parse().ok()?)),
            None => (text, None),
        };
        let bytes = URL_SAFE_NO_PAD.decode(nonce).ok()?.try_into().ok()?;
        Some(Nonce { bytes, callback_at })
    }

    /// Returns the value of the nonce cookie.
    pub fn cookie_value(&self) -> String {
        let nonce = URL_SAFE_NO_PAD.encode(self.bytes);
        match self.callback_at {
            Some(at) => format!("{nonce}.{at}"),
            None => nonce,
        }
    }

    /// Returns the value of the parameter `state`: the encoded SHA-256 hash of the nonce.
    pub fn state(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &self.bytes))
    }

    /// Whether the state belongs to this nonce.
    pub fn matches(&self, state: &str) -> bool {
        constant_time::verify_slices_are_equal(self.state().as_bytes(), state.as_bytes()).is_ok()
    }

    /// Returns the nonce after a callback at `now`, in seconds since the Unix epoch.
    #[must_use]
    pub fn after_callback(self, now: u64) -> Nonce {
        Nonce {
            callback_at: Some(now),
            ..self
        }
    }

    /// Whether a callback of this browser was at most 10 s ago, or is in the future, because the
    /// clocks of replicas differ. `now` is in seconds since the Unix epoch.
    pub fn follows_callback(&self, now: u64) -> bool {
        self.callback_at
            .is_some_and(|at| now <= at.saturating_add(CALLBACK_SECONDS))
    }
}

/// Whether the text can be a `state`: 43 characters of base64url.
pub fn is_state(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.len() == 43 && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_value_is_read_again() {
        let nonce = Nonce::generate().unwrap();
        assert_eq!(Nonce::parse(&nonce.cookie_value()), Some(nonce.clone()));
        let later = nonce.clone().after_callback(4_000_000_000);
        assert_eq!(Nonce::parse(&later.cookie_value()), Some(later.clone()));
        assert_eq!(later.state(), nonce.state());
        let (value, long) = (nonce.cookie_value(), "A".repeat(23));
        for invalid in [
            "",
            "x",
            &value[1..],
            &long,
            &format!("{value}."),
            &format!("{value}.-1"),
            &format!("{value}.1.1"),
            &format!("{value}="),
        ] {
            assert_eq!(Nonce::parse(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn state_belongs_to_one_nonce() {
        let (nonce, other) = (Nonce::generate().unwrap(), Nonce::generate().unwrap());
        assert!(is_state(&nonce.state()));
        assert!(nonce.matches(&nonce.state()));
        assert!(!nonce.matches(&other.state()));
        assert!(!nonce.matches(""));
        assert!(!nonce.matches(&nonce.state()[..42]));
        for text in ["", "a", &"a".repeat(44), &format!("{}+", "a".repeat(42))] {
            assert!(!is_state(text), "{text}");
        }
    }

    #[test]
    fn callback_counts_for_10_seconds() {
        let nonce = Nonce::generate().unwrap();
        assert!(!nonce.follows_callback(100));
        let nonce = nonce.after_callback(100);
        for (now, follows) in [(0, true), (100, true), (110, true), (111, false)] {
            assert_eq!(nonce.follows_callback(now), follows, "{now}");
        }
    }
}
