use std::fmt::Write;

use super::{
    DevOptions,
    settings::{Addresses, url},
};

/// Who signs in, in every line that a person may paste.
const JSON: &str =
    r#"-H 'content-type: application/json' -d '{"username":"john","password":"secret123"}'"#;

/// What a person reads when everything runs: addresses, how to stop it, and lines to paste.
pub(super) fn banner(replicas: &[Addresses], data: &str, options: &DevOptions) -> String {
    let first = url(replicas[0].listen);
    let mut text = format!(
        "\nLatchkey is running.\n\n{}\n",
        addresses(replicas, data, options)
    );
    if !options.signup {
        text.push_str("Sign-up is closed. ");
    }
    text.push_str(
        "Make an administrator:\n\n  ./dev user create --username admin --role admin\n\n",
    );
    if !options.signup {
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

fn addresses(replicas: &[Addresses], data: &str, options: &DevOptions) -> String {
    let first = url(replicas[0].listen);
    let mut lines: Vec<_> = replicas
        .iter()
        .map(|replica| ("gateway", url(replica.listen)))
        .collect();
    lines.push(("try it", format!("{first}/docs")));
    if !options.given.contains("LATCHKEY_SMTP_URL") {
        lines.push(("mails", format!("{first}/dev/mailbox")));
    }
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

    fn replica(port: u16) -> Addresses {
        Addresses {
            listen: ([127, 0, 0, 1], port).into(),
            metrics: ([127, 0, 0, 1], port + 1464).into(),
        }
    }

    fn options(detach: bool, given: &[&'static str]) -> DevOptions {
        DevOptions {
            detach,
            down: false,
            replicas: 1,
            directory: ".latchkey".into(),
            listen: ([127, 0, 0, 1], 8000).into(),
            metrics_listen: ([127, 0, 0, 1], 9464).into(),
            database_url: None,
            redis_url: None,
            given: given.iter().copied().collect(),
            given_values: Vec::new(),
            signup: true,
        }
    }

    #[test]
    fn one_replica_has_nobody_to_be_refused_by() {
        let text = banner(&[replica(8000)], "/x/.latchkey", &options(false, &[]));
        assert!(
            text.contains("http://127.0.0.1:8000/docs") && text.contains("Ctrl-C"),
            "{text}"
        );
        assert!(!text.contains("/logout"), "{text}");
    }

    #[test]
    fn where_sign_up_is_closed_nobody_is_told_to_sign_up() {
        let closed = DevOptions {
            signup: false,
            ..options(false, &["LATCHKEY_SIGNUP"])
        };
        let text = banner(&[replica(8000), replica(8001)], "/x", &closed);
        assert!(
            text.contains("./dev user create")
                && !text.contains("/signup")
                && !text.contains("/login"),
            "{text}"
        );
        assert!(banner(&[replica(8000)], "/x", &options(false, &[])).contains("./dev user create"));
    }

    #[test]
    fn two_replicas_show_the_promise() {
        let text = banner(
            &[replica(8000), replica(8001)],
            "/x/.latchkey",
            &options(true, &[]),
        );
        assert!(
            text.contains("http://127.0.0.1:8001/auth/verify")
                && text.contains("http://127.0.0.1:9465/metrics"),
            "{text}"
        );
        assert!(!text.contains("Ctrl-C"), "{text}");
    }

    #[test]
    fn the_mailbox_is_shown_where_mails_go_there() {
        assert!(banner(&[replica(8000)], "/x", &options(false, &[])).contains("/dev/mailbox"));
        assert!(
            !banner(
                &[replica(8000)],
                "/x",
                &options(false, &["LATCHKEY_SMTP_URL"])
            )
            .contains("/dev/mailbox")
        );
    }
}
