//! The contacts of `security.txt` and of pages.

use latchkey_domain::{account::EmailAddress, text::ParsedText};
use url::Url;

use super::Value;

/// A `mailto:`, `https:`, or `tel:` URI (RFC 9116 section 2.5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactUri(String);

impl ContactUri {
    /// Returns the URI as it is configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for ContactUri {
    fn read(text: &str) -> Result<Self, String> {
        // The text is published unchanged as one line, and the parsers ignore some of these.
        let is_uri_text = text
            .chars()
            .all(|c| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c));
        let is_contact = match text.split_once(':') {
            Some(("mailto", rest)) => is_email_address(rest),
            Some(("https", rest)) => rest.starts_with("//") && has_host(text),
            Some(("tel", number)) => is_phone_number(number),
            _other => false,
        };
        (is_uri_text && is_contact)
            .then(|| ContactUri(text.to_owned()))
            .ok_or_else(|| {
                "must be a `mailto:`, `https://`, or `tel:+` URI, for example \
                 `mailto:security@example.com`"
                    .into()
            })
    }
}

/// Whether the text is an email address, optionally with header fields (RFC 6068 section 2).
fn is_email_address(text: &str) -> bool {
    let (address, _fields) = text.split_once('?').unwrap_or((text, ""));
    EmailAddress::parse(address).is_ok()
}

/// Whether the text is a URL with a host and without user information.
fn has_host(text: &str) -> bool {
    let is_plain =
        |url: Url| url.has_host() && url.username().is_empty() && url.password().is_none();
    !text.starts_with("https:///") && Url::parse(text).is_ok_and(is_plain)
}

/// Whether the text is a global number (RFC 3966 section 3).
fn is_phone_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        let is_allowed = |c: char| c.is_ascii_digit() || "-.()".contains(c);
        digits.chars().all(is_allowed) && digits.contains(|c: char| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_is_uri_of_email_page_or_phone() {
        for valid in [
            "mailto:security@example.com",
            "mailto:security%2Buri@example.com",
            "mailto:security@example.com?subject=Latchkey",
            "https://example.com/report",
            "https://example.com/report?product=latchkey#form",
            "tel:+1-201-555-0123",
            "tel:+1.201.555.0123",
        ] {
            let read = ContactUri::read(valid);
            assert_eq!(read.as_ref().map(ContactUri::as_str), Ok(valid));
        }
        for invalid in [
            "",
            "security@example.com",
            "mailto:",
            "mailto:security",
            "mailto: security@example.com",
            "mailto:a@example.com,b@example.com",
            "mailto:security@example.com\nExpires: 2099-01-01T00:00:00Z",
            "http://example.com/report",
            "HTTPS://example.com/report",
            "https:example.com",
            "https://",
            "https:///report",
            "https://john@example.com/report",
            "https://example.com/a b",
            "https://example.com/<a>",
            "https://b\u{fc}cher.example/report",
            "tel:",
            "tel:+",
            "tel:201-555-0123",
            "tel:+1 201 555 0123",
            "ftp://example.com",
        ] {
            assert!(ContactUri::read(invalid).is_err(), "{invalid}");
        }
    }
}
