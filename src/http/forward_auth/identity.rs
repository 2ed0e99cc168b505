//! The headers that say who is behind a request. They are on every answer, empty where there is
//! nothing to say: a proxy that copies them so overwrites whatever a client wrote under these
//! names.
//!
//! Values are printable ASCII. Whatever else is in them, a space at either end, and `%` itself is
//! `%` and two hexadecimal digits for each byte of its UTF-8 (RFC 3986 section 2.1), so that an
//! upstream can decode all of them alike, and no name can break a header.

use std::{
    fmt::{self, Write},
    ops::Range,
};

use hyper::body::Bytes;
use latchkey_domain::access_token::Claims;
use poem::http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::{Value, json};

const USER: HeaderName = HeaderName::from_static("x-auth-user");
const USERNAME: HeaderName = HeaderName::from_static("x-auth-username");
const NAME: HeaderName = HeaderName::from_static("x-auth-name");
const EMAIL: HeaderName = HeaderName::from_static("x-auth-email");
const EMAIL_VERIFIED: HeaderName = HeaderName::from_static("x-auth-email-verified");
const ROLES: HeaderName = HeaderName::from_static("x-auth-roles");
const SCOPE: HeaderName = HeaderName::from_static("x-auth-scope");
const SESSION: HeaderName = HeaderName::from_static("x-auth-session");
const ASSERTION: HeaderName = HeaderName::from_static("x-auth-assertion");

/// All of them, as the document writes and explains them.
const FIELDS: [(HeaderName, &str, &str); 9] = [
    (USER, "X-Auth-User", "ID of the user or OAuth client."),
    (USERNAME, "X-Auth-Username", "Username."),
    (NAME, "X-Auth-Name", "Display name."),
    (EMAIL, "X-Auth-Email", "Email address."),
    (
        EMAIL_VERIFIED,
        "X-Auth-Email-Verified",
        "Whether the email address is verified: `true` or `false`.",
    ),
    (
        ROLES,
        "X-Auth-Roles",
        "Roles of the user, separated by spaces; empty for OAuth clients.",
    ),
    (
        SCOPE,
        "X-Auth-Scope",
        "Scopes of the token, separated by spaces.",
    ),
    (
        SESSION,
        "X-Auth-Session",
        "Session ID; empty for personal access tokens and OAuth clients.",
    ),
    (
        ASSERTION,
        "X-Auth-Assertion",
        "Signed identity assertion: the identity as a JWT for the upstream. Empty without \
         `LATCHKEY_IDENTITY_ASSERTIONS=yes`.",
    ),
];

/// Room for the headers of an answer, the edge's included, so that their table is made once.
const HEADERS: usize = 24;

/// Room for the values of most users.
const BYTES: usize = 256;

/// Says who it is.
pub fn write_identity_headers(headers: &mut HeaderMap, claims: &Claims, assertion: Option<&str>) {
    headers.reserve(HEADERS);
    let mut values = Values(String::with_capacity(BYTES));
    let fields = [
        (USER, values.add(&claims.sub)),
        (USERNAME, values.add_text(claims.username.as_deref())),
        (NAME, values.add_text(claims.name.as_deref())),
        (EMAIL, values.add_text(claims.email.as_deref())),
        (ROLES, values.add_roles(claims)),
        (SCOPE, values.add_text(Some(&claims.scope))),
        (SESSION, claims.sid.map_or(0..0, |sid| values.add(&sid))),
    ];
    // All values are parts of one piece of memory: on this path seven allocations would be felt.
    let bytes = Bytes::from(values.0);
    for (name, part) in fields {
        headers.insert(
            name,
            HeaderValue::from_maybe_shared(bytes.slice(part)).expect("values are printable"),
        );
    }
    headers.insert(
        EMAIL_VERIFIED,
        HeaderValue::from_static(if claims.email_verified {
            "true"
        } else {
            "false"
        }),
    );
    let assertion = assertion.map_or(HeaderValue::from_static(""), |token| {
        HeaderValue::from_str(token).expect("tokens are plain text")
    });
    headers.insert(ASSERTION, assertion);
}

/// Has a refusal say nothing, under all the names; and that it is for this caller alone.
pub fn ensure_identity_headers(headers: &mut HeaderMap) {
    for (name, ..) in FIELDS {
        headers.entry(name).or_insert(HeaderValue::from_static(""));
    }
    headers.entry(header::VARY).or_insert(super::VARY);
}

/// Documents them for an answer.
pub fn document(response: &mut Value) {
    for (_, name, description) in FIELDS {
        response["headers"][name] =
            json!({ "description": description, "schema": { "type": "string" } });
    }
}

/// Values one behind the other.
struct Values(String);

impl Values {
    /// Adds an id, which is plain text.
    fn add(&mut self, id: &impl fmt::Display) -> Range<usize> {
        let begin = self.0.len();
        write!(self.0, "{id}").expect("a string takes everything");
        begin..self.0.len()
    }

    /// Adds a text, whatever is in it.
    fn add_text(&mut self, text: Option<&str>) -> Range<usize> {
        let begin = self.0.len();
        encode(text.unwrap_or_default(), &mut self.0);
        begin..self.0.len()
    }

    fn add_roles(&mut self, claims: &Claims) -> Range<usize> {
        let begin = self.0.len();
        for (at, role) in claims.roles.iter().enumerate() {
            self.0.push_str(if at == 0 { "" } else { " " });
            self.0.push_str(role.as_str());
        }
        begin..self.0.len()
    }
}

fn encode(text: &str, encoded: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b' ' if at != 0 && at != last => encoded.push(' '),
            b'%' | b' ' => push(encoded, byte, DIGITS),
            printable if printable.is_ascii_graphic() => encoded.push(char::from(printable)),
            other => push(encoded, other, DIGITS),
        }
    }
}

fn push(encoded: &mut String, byte: u8, digits: &[u8; 16]) {
    encoded.push('%');
    encoded.push(char::from(digits[usize::from(byte >> 4)]));
    encoded.push(char::from(digits[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> String {
        let mut encoded = String::new();
        encode(text, &mut encoded);
        encoded
    }

    /// As an upstream does it.
    fn decoded(value: &str) -> String {
        let mut parts = value.split('%');
        let mut bytes = parts.next().unwrap().as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
            bytes.extend(&part.as_bytes()[2..]);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_no_printable_ascii_is_encoded() {
        for (text, value) in [
            ("", ""),
            ("John Doe", "John Doe"),
            ("Jöhn", "J%C3%B6hn"),
            ("100 %", "100 %25"),
            ("a%20b", "a%2520b"),
            (" a ", "%20a%20"),
            ("  a", "%20 a"),
            (" ", "%20"),
            ("a\r\nX-Auth-Roles: admin", "a%0D%0AX-Auth-Roles: admin"),
            ("a\u{7f}\0", "a%7F%00"),
        ] {
            assert_eq!(encoded(text), value, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back_and_fits_a_header(text in any::<String>()) {
            let value = encoded(&text);
            prop_assert!(HeaderValue::from_str(&value).is_ok());
            prop_assert_eq!(value.trim(), value.as_str());
            prop_assert_eq!(decoded(&value), text);
        }
    }
}
