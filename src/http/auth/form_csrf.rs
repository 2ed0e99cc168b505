//! CSRF protection for the forms of pages, also for those that sign in and sign out.
//!
//! A form is accepted only from a page of this server. Browsers report this in `Sec-Fetch-Site`
//! (Fetch Metadata), and older ones in `Origin` (RFC 6454). There is no form token and no state.

use poem::{
    Request,
    http::{HeaderName, header},
};

use crate::error::Error;

const SITE_HEADER: HeaderName = HeaderName::from_static("sec-fetch-site");

const OTHER_SITE: &str = "This form can be sent only from a page of this server.";

/// A header field that a browser sends once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field<'a> {
    Absent,
    /// The value; empty if it isn't ASCII.
    Once(&'a str),
    Repeated,
}

/// Rejects a form that a page of another origin has sent.
///
/// # Errors
/// `csrf`.
pub fn check(request: &Request, own_origin: &str) -> Result<(), Error> {
    let (site, origin) = (read(request, SITE_HEADER), read(request, header::ORIGIN));
    if is_from_own_page(site, origin, own_origin) {
        Ok(())
    } else {
        Err(Error::Csrf(OTHER_SITE))
    }
}

fn read(request: &Request, name: HeaderName) -> Field<'_> {
    let mut fields = request.headers().get_all(name).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Field::Absent,
        (Some(field), None) => Field::Once(field.to_str().unwrap_or_default()),
        (Some(_), Some(_)) => Field::Repeated,
    }
}

fn is_from_own_page(site: Field, origin: Field, own_origin: &str) -> bool {
    match (site, origin) {
        (_, Field::Repeated) => false,
        (Field::Once(site), _) => site == "same-origin",
        (Field::Absent, Field::Once(origin)) => origin == own_origin,
        (Field::Absent, Field::Absent) | (Field::Repeated, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Field::*, *};

    const OWN: &str = "https://auth.example.com";

    #[test]
    fn only_own_pages_can_send_forms() {
        for (site, origin, is_accepted) in [
            (Once("same-origin"), Once(OWN), true),
            (Once("same-origin"), Absent, true),
            // The server has a host name other than the issuer's.
            (Once("same-origin"), Once("https://other.name"), true),
            (Absent, Once(OWN), true),
            (Absent, Absent, false),
            (Absent, Once("null"), false),
            (Absent, Once(""), false),
            (Absent, Once("https://auth.example.com."), false),
            (Absent, Once("http://auth.example.com"), false),
            (Absent, Once("https://evil.example"), false),
            (Once("same-site"), Once(OWN), false),
            (Once("same-site"), Once("https://app.example.com"), false),
            (Once("cross-site"), Once("https://evil.example"), false),
            (Once("cross-site"), Once(OWN), false),
            (Once("none"), Absent, false),
            (Once("none"), Once(OWN), false),
            (Once("Same-Origin"), Once(OWN), false),
            (Once(""), Once(OWN), false),
            (Repeated, Once(OWN), false),
            (Once("same-origin"), Repeated, false),
            (Absent, Repeated, false),
        ] {
            assert_eq!(
                is_from_own_page(site, origin, OWN),
                is_accepted,
                "{site:?} {origin:?}"
            );
        }
    }
}
