//! Identity headers of forward authentication.
//!
//! Every response contains all of them, empty if not applicable. A proxy that copies the headers
//! therefore overwrites headers of the same name that the client sent.
//!
//! Values are printable ASCII. Other bytes of the UTF-8 text, `%`, and a space at either end are
//! percent-encoded (RFC 3986 section 2.1). An upstream can therefore decode all values in the same
//! way, and no value can break a header.

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
const GROUPS: HeaderName = HeaderName::from_static("x-auth-groups");
const SCOPE: HeaderName = HeaderName::from_static("x-auth-scope");
const SESSION: HeaderName = HeaderName::from_static("x-auth-session");
const ASSERTION: HeaderName = HeaderName::from_static("x-auth-assertion");

/// All identity headers, with their names and descriptions in the OpenAPI document.
const IDENTITY_HEADERS: [(HeaderName, &str, &str); 10] = [
    (USER, "X-Auth-User", "ID of the user or OAuth client."),
    (USERNAME, "X-Auth-Username", "Username."),
    (
        NAME,
        "X-Auth-Name",
        "Display name; empty if it and the groups are too long for a token.",
    ),
    (
        EMAIL,
        "X-Auth-Email",
        "Verified email address; empty if the address isn't verified.",
    ),
    (
        EMAIL_VERIFIED,
        "X-Auth-Email-Verified",
        "Whether the user has a verified email address: `true` or `false`.",
    ),
    (
        ROLES,
        "X-Auth-Roles",
        "`admin` for an administrator whose token has the scope `admin`, otherwise `user`; empty \
         for OAuth clients.",
    ),
    (
        GROUPS,
        "X-Auth-Groups",
        "Names of the user's groups, sorted, separated by commas without spaces; empty without \
         groups and for OAuth clients.",
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
        "Signed identity assertion: the identity as a JWT for the upstream. Check the signature \
         (`GET /.well-known/jwks.json`), `typ` (`JWT`), `iss`, `aud` (the origin of the upstream), \
         and `exp`. Empty without `LATCHKEY_IDENTITY_ASSERTIONS=yes`, and if a trusted proxy \
         doesn't send method, scheme, and host of the original request.",
    ),
];

/// Capacity for all headers of a response, including those of the middleware, to avoid rehashing.
const EXPECTED_HEADERS: usize = 24;

/// Capacity for the header values of most users, in bytes.
const EXPECTED_VALUE_BYTES: usize = 256;

/// Writes the identity headers of an authenticated request.
pub fn write_identity_headers(headers: &mut HeaderMap, claims: &Claims, assertion: Option<&str>) {
    headers.reserve(EXPECTED_HEADERS);
    let mut values = ValueBuffer(String::with_capacity(EXPECTED_VALUE_BYTES));
    let fields = [
        (USER, values.push_id(&claims.sub)),
        (USERNAME, values.push_text(claims.username.as_deref())),
        (NAME, values.push_text(claims.name.as_deref())),
        (EMAIL, values.push_text(claims.verified_email())),
        (ROLES, values.push_roles(claims)),
        (GROUPS, values.push_text(Some(claims.groups.as_str()))),
        (SCOPE, values.push_text(Some(&claims.scope))),
        (
            SESSION,
            claims
                .sid
                .map_or(0..0, |session_id| values.push_id(&session_id)),
        ),
    ];
    // All values share one buffer, because eight allocations are measurable on this hot path.
    let bytes = Bytes::from(values.0);
    for (name, range) in fields {
        headers.insert(
            name,
            HeaderValue::from_maybe_shared(bytes.slice(range)).expect("values are printable ASCII"),
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
        HeaderValue::from_str(token).expect("tokens are printable ASCII")
    });
    headers.insert(ASSERTION, assertion);
}

/// Adds missing identity headers with empty values, and `Vary`, to an error response.
pub fn ensure_identity_headers(headers: &mut HeaderMap) {
    for (name, ..) in IDENTITY_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(""));
    }
    headers.entry(header::VARY).or_insert(super::VARY);
}

/// Documents the identity headers of a response.
pub fn document(response: &mut Value) {
    for (_, name, description) in IDENTITY_HEADERS {
        response["headers"][name] =
            json!({ "description": description, "schema": { "type": "string" } });
    }
}

/// Header values in one buffer. Each value is identified by its byte range.
struct ValueBuffer(String);

impl ValueBuffer {
    /// Appends an ID, which needs no encoding.
    fn push_id(&mut self, id: &impl fmt::Display) -> Range<usize> {
        let start = self.0.len();
        write!(self.0, "{id}").expect("writing to a string succeeds");
        start..self.0.len()
    }

    /// Appends a text, percent-encoded.
    fn push_text(&mut self, text: Option<&str>) -> Range<usize> {
        let start = self.0.len();
        encode(text.unwrap_or_default(), &mut self.0);
        start..self.0.len()
    }

    fn push_roles(&mut self, claims: &Claims) -> Range<usize> {
        let start = self.0.len();
        for (index, role) in claims.roles.iter().enumerate() {
            self.0.push_str(if index == 0 { "" } else { " " });
            self.0.push_str(role.as_str());
        }
        start..self.0.len()
    }
}

/// Appends the text, percent-encoded.
fn encode(text: &str, encoded: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let last = text.len().saturating_sub(1);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b' ' if index != 0 && index != last => encoded.push(' '),
            b'%' | b' ' => push_encoded(encoded, byte, DIGITS),
            printable if printable.is_ascii_graphic() => encoded.push(char::from(printable)),
            other => push_encoded(encoded, other, DIGITS),
        }
    }
}

fn push_encoded(encoded: &mut String, byte: u8, digits: &[u8; 16]) {
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

    /// Decodes a value as an upstream does.
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
    fn other_than_printable_ascii_is_percent_encoded() {
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
        fn encoded_text_fits_header_and_decodes_to_original(text in any::<String>()) {
            let value = encoded(&text);
            prop_assert!(HeaderValue::from_str(&value).is_ok());
            prop_assert_eq!(value.trim(), value.as_str());
            prop_assert_eq!(decoded(&value), text);
        }
    }
}
