//! Where a sign-in leads. Pages carry it from one to the next: in hidden fields, and in links.

use latchkey_domain::{
    application::ApplicationSet,
    nonce,
    return_to::{ReturnTo, Site},
    web_origin::WebOrigin,
};

/// The fields of a form that carry the continuation.
pub const RETURN_TO: &str = "return_to";
pub const STATE: &str = "state";

/// The page or the application to which a sign-in returns.
#[derive(Default)]
pub struct Continuation {
    return_to: Option<ReturnTo>,
    /// The state of the browser at an application.
    state: Option<String>,
    /// Whether the request has a `return_to` that isn't allowed.
    pub is_rejected: bool,
}

/// What the browser must do after a sign-in.
pub enum Next<'a> {
    /// Open a page of this server, or of a client of the API.
    Open(&'a ReturnTo),
    /// Open an application, which starts the sign-in again, because the state is missing.
    Restart(&'a ReturnTo),
    /// Present a ticket to an application.
    PresentTicket {
        application: &'a WebOrigin,
        path: &'a str,
        state: &'a str,
    },
}

impl Continuation {
    /// Creates the continuation from the parameters of a request. `parse` rejects a URL that isn't
    /// allowed.
    pub fn new(
        return_to: Option<&str>,
        state: Option<String>,
        parse: impl FnOnce(&str) -> Option<ReturnTo>,
    ) -> Continuation {
        let Some(text) = return_to.filter(|text| !text.is_empty()) else {
            return Continuation::default();
        };
        let return_to = parse(text);
        Continuation {
            is_rejected: return_to.is_none(),
            state: state.filter(|state| nonce::is_state(state)),
            return_to,
        }
    }

    /// Returns the continuation to a URL without a state.
    pub fn to(return_to: Option<ReturnTo>) -> Continuation {
        Continuation {
            return_to,
            ..Continuation::default()
        }
    }

    pub fn is_empty(&self) -> bool {
        self.return_to.is_none()
    }

    pub fn next(&self) -> Option<Next<'_>> {
        let return_to = self.return_to.as_ref()?;
        Some(match (return_to.application(), &self.state) {
            (None, _) => Next::Open(return_to),
            (Some(_), None) => Next::Restart(return_to),
            (Some(application), Some(state)) => Next::PresentTicket {
                application,
                path: return_to.path_and_query(),
                state,
            },
        })
    }

    /// Returns the origin of another site, to which a form can lead.
    pub fn other_origin(&self) -> Option<&str> {
        self.return_to.as_ref()?.other_origin()
    }

    /// Returns the host and the port of another site.
    pub fn other_host(&self) -> Option<&str> {
        let origin = self.other_origin()?;
        Some(origin.split_once("://").map_or(origin, |(_, host)| host))
    }

    /// Returns the value of the field `return_to`.
    pub fn url(&self) -> Option<String> {
        self.return_to.as_ref().map(ReturnTo::url)
    }

    /// Returns the value of the field `state`.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref().filter(|_| !self.is_empty())
    }

    /// Returns the parameters of a link: empty, or beginning with `?`. `extra` precedes them.
    pub fn query(&self, extra: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::for_suffix(String::from("?"), 1);
        query.extend_pairs(extra);
        if let Some(url) = self.url() {
            query.append_pair(RETURN_TO, &url);
        }
        if let Some(state) = self.state() {
            query.append_pair(STATE, state);
        }
        let query = query.finish();
        if query == "?" { String::new() } else { query }
    }
}

/// Returns the kind of an origin other than that of this server; `None` if it isn't allowed.
pub fn find_site(
    origin: &WebOrigin,
    applications: &ApplicationSet,
    clients: &[String],
) -> Option<Site> {
    if applications.find(origin).is_some() {
        return Some(Site::Application);
    }
    clients
        .iter()
        .any(|client| client == origin.as_str())
        .then_some(Site::ApiClient)
}

#[cfg(test)]
mod tests {
    use latchkey_domain::return_to;
    use url::Url;

    use super::*;

    const STATE_TEXT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn continuation(return_to: &str, state: Option<&str>) -> Continuation {
        let issuer = Url::parse("https://auth.example.com").unwrap();
        let find_site = |origin: &WebOrigin| match origin.as_str() {
            "https://app.example.net" => Some(Site::Application),
            "https://client.example.net" => Some(Site::ApiClient),
            _other => None,
        };
        let parse = |text: &str| return_to::parse(text, &issuer, find_site);
        Continuation::new(Some(return_to), state.map(str::to_owned), parse)
    }

    #[test]
    fn state_leads_to_ticket_for_application() {
        let url = "https://app.example.net/a?b=c";
        let with_state = continuation(url, Some(STATE_TEXT));
        assert!(matches!(
            with_state.next(),
            Some(Next::PresentTicket { application, path: "/a?b=c", state: STATE_TEXT })
                if application.as_str() == "https://app.example.net"
        ));
        for state in [None, Some(""), Some("invalid")] {
            let without = continuation(url, state);
            assert!(matches!(without.next(), Some(Next::Restart(_))));
        }
        for url in [
            "https://client.example.net/",
            "https://auth.example.com/account",
        ] {
            let other = continuation(url, Some(STATE_TEXT));
            assert!(matches!(other.next(), Some(Next::Open(_))), "{url}");
        }
    }

    #[test]
    fn rejected_url_leads_nowhere() {
        let rejected = continuation("https://evil.example/", Some(STATE_TEXT));
        assert!(rejected.is_rejected && rejected.is_empty() && rejected.next().is_none());
        assert_eq!(rejected.query(&[]), "");
        let absent = continuation("", None);
        assert!(!absent.is_rejected && absent.is_empty());
    }

    #[test]
    fn link_carries_continuation() {
        let continuation = continuation("https://app.example.net/?a=b&c", Some(STATE_TEXT));
        assert_eq!(
            continuation.query(&[("signed_in", "1")]),
            format!(
                "?signed_in=1&return_to=https%3A%2F%2Fapp.example.net%2F%3Fa%3Db%26c&state={STATE_TEXT}"
            )
        );
        assert_eq!(continuation.other_host(), Some("app.example.net"));
        assert_eq!(Continuation::default().query(&[]), "");
    }
}
