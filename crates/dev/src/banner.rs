use std::fmt::Write;

use super::{
    DevOptions,
    settings::{Addresses, url},
};

/// Who signs in, in every line that a person may paste.
const JSON: &str =
    r#"-H 'content-type: application/json' -d '{"username":"john","password":"secret123"}'"#;

/// What a person reads when everything runs: addresses, how to stop it, and lines to paste.
///
/// `mailbox` is the URL of the page with the emails.
pub(super) fn banner(
    replicas: &[Addresses],
    mailbox: Option<&str>,
    data: &str,
    options: &DevOptions,
) -> String {
    let first = url(replicas[0].listen);
    let mut text = format!(
        "\nLatchkey is running.\n\n{}\n",
        addresses(replicas, mailbox, data, options)
    );
    if !options.signup_is_open() {
        text.push_str("Sign-up is closed. ");
    }
    text.push_str(
        "Make an administrator:\n\n  ./dev user create --username admin --role admin\n\n",
    );
    if !options.signup_is_open() {
        return text;
    }
    let _ = writeln!(
        text,
        "Sign somebody up:\n\n  curl -sX POST {first}/signup {JSON}\n"
    );
    if let [one, two, ..] = replicas {
        text.push_str(&sign_out_everywhere(&url(one.listen), &url(two.listen)));
    }
    text
}

fn addresses(
    replicas: &[Addresses],
    mailbox: Option<&str>,
    data: &str,
    options: &DevOptions,
) -> String {
    let first = url(replicas[0].listen);
    let mut lines: Vec<_> = replicas
        .iter()
        .map(|replica| ("gateway", url(replica.listen)))
        .collect();
    lines.push(("try it", format!("{first}/docs")));
    lines.extend(mailbox.map(|url| ("email", url.to_owned())));
    lines.extend(
        replicas
            .iter()
            .map(|replica| ("metrics", format!("{}/metrics", url(replica.metrics)))),
    );
    lines.push(("data", data.into()));
    lines.push((
        "stop",
        if options.detach {
            "./dev down"
        } else {
            "Ctrl-C, or ./dev down"
        }
        .into(),
    ));
    lines.iter().fold(String::new(), |text, (name, value)| {
        text + &format!("  {name:<9}{value}\n")
    })
}

/// The promise, to be tried by hand.
fn sign_out_everywhere(first: &str, second: &str) -> String {
    let bearer = r#"-H "authorization: Bearer $TOKEN""#;
    let status = r"curl -so /dev/null -w '%{http_code}\n'";
    format!(
        r#"Then sign in on the first, be known on the second (204), sign out on the first (204), be refused on the second (401):

  TOKEN=$(curl -sX POST {first}/login {JSON} | sed 's/.*"access_token": *"\([^"]*\)".*/\1/')
  {status} {second}/auth/verify {bearer}
  {status} -X POST {first}/logout {bearer}
  {status} {second}/auth/verify {bearer}

"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GivenSettings;

    fn replica(port: u16) -> Addresses {
        Addresses {
            listen: ([127, 0, 0, 1], port).into(),
            metrics: ([127, 0, 0, 1], port + 1464).into(),
        }
    }

    const MAILBOX: Option<&str> = Some("http://127.0.0.1:8025");

    fn options(detach: bool) -> DevOptions {
        DevOptions {
            detach,
            down: false,
            replicas: 1,
            directory: ".latchkey".into(),
            listen: ([127, 0, 0, 1], 8000).into(),
            metrics_listen: ([127, 0, 0, 1], 9464).into(),
            mailbox_listen: ([127, 0, 0, 1], 8025).into(),
            given: GivenSettings::default(),
        }
    }

    #[test]
    fn one_replica_has_nobody_to_be_refused_by() {
        let text = banner(&[replica(8000)], None, "/x/.latchkey", &options(false));
        assert!(
            text.contains("http://127.0.0.1:8000/docs") && text.contains("Ctrl-C"),
            "{text}"
        );
        assert!(!text.contains("/logout"), "{text}");
    }

    #[test]
    fn where_sign_up_is_closed_nobody_is_told_to_sign_up() {
        let mut closed = options(false);
        closed.given.set("LATCHKEY_SIGNUP", "admin");
        let text = banner(&[replica(8000), replica(8001)], None, "/x", &closed);
        assert!(
            text.contains("./dev user create")
                && !text.contains("/signup")
                && !text.contains("/login"),
            "{text}"
        );
        let open = banner(&[replica(8000)], None, "/x", &options(false));
        assert!(open.contains("./dev user create") && open.contains("/signup"));
    }

    #[test]
    fn two_replicas_show_the_promise() {
        let text = banner(
            &[replica(8000), replica(8001)],
            None,
            "/x/.latchkey",
            &options(true),
        );
        assert!(
            text.contains("http://127.0.0.1:8001/auth/verify")
                && text.contains("http://127.0.0.1:9465/metrics"),
            "{text}"
        );
        assert!(!text.contains("Ctrl-C"), "{text}");
    }

    #[test]
    fn page_with_emails_is_shown_if_it_is_served() {
        let text = |mailbox| banner(&[replica(8000)], mailbox, "/x", &options(false));
        assert!(text(MAILBOX).contains("  email    http://127.0.0.1:8025\n"));
        assert!(!text(None).contains("email "));
    }
}
