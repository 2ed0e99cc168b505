//! The text that a run prints when it is ready.

use std::fmt::Write;

use super::{
    DevOptions,
    settings::{Addresses, issuer_url, url},
    shell_commands::ShellCommands,
};

/// Arguments of `curl` that send the example user as JSON.
const EXAMPLE_USER: &str =
    r#"-H 'content-type: application/json' -d '{"username":"john","password":"secret123"}'"#;

/// Formats the text that a run prints when it is ready: URLs, the stop command, and examples.
///
/// `mailbox` is the URL of the page with the emails.
pub(super) fn format_banner(
    replicas: &[Addresses],
    mailbox: Option<&str>,
    data: &str,
    options: &DevOptions,
    commands: &ShellCommands,
) -> String {
    let first = url(replicas[0].listen);
    let mut text = format!(
        "\nLatchkey is running.\n\n{}\n",
        format_addresses(replicas, mailbox, data, options, commands)
    );
    if options.can_register_with_code() {
        text.push_str("Users register with an emailed code. ");
    } else if !options.can_register_at_once() {
        text.push_str("Self-registration is disabled. ");
    }
    let place = if options.detach {
        ""
    } else {
        ", in a second terminal"
    };
    let _ = writeln!(
        text,
        "Create an administrator{place}:\n\n  {}\n",
        commands.create_administrator
    );
    if !options.can_register_at_once() {
        return text;
    }
    let _ = writeln!(
        text,
        "Register a user:\n\n  curl -sX POST {first}/signup {EXAMPLE_USER}\n"
    );
    if let [one, two, ..] = replicas {
        text.push_str(&format_revocation_example(
            &url(one.listen),
            &url(two.listen),
        ));
    }
    text
}

fn format_addresses(
    replicas: &[Addresses],
    mailbox: Option<&str>,
    data: &str,
    options: &DevOptions,
    commands: &ShellCommands,
) -> String {
    let first = url(replicas[0].listen);
    let mut lines: Vec<_> = replicas
        .iter()
        .map(|replica| ("server", url(replica.listen)))
        .collect();
    lines.push((
        "sign-in",
        format!("{}/sign-in", issuer_url(replicas[0].listen)),
    ));
    lines.push(("docs", format!("{first}/docs")));
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
            commands.stop.clone()
        } else {
            format!("Ctrl-C, or {}", commands.stop)
        },
    ));
    lines.iter().fold(String::new(), |text, (name, value)| {
        text + &format!("  {name:<9}{value}\n")
    })
}

/// Formats example commands that demonstrate immediate revocation on two replicas.
fn format_revocation_example(first: &str, second: &str) -> String {
    let bearer = r#"-H "authorization: Bearer $TOKEN""#;
    let status = r"curl -so /dev/null -w '%{http_code}\n'";
    format!(
        r#"Sign in on the first server, verify the token on the second (204), sign out on the first (204), verify again (401):

  TOKEN=$(curl -sX POST {first}/login {EXAMPLE_USER} | sed 's/.*"access_token": *"\([^"]*\)".*/\1/')
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

    fn commands() -> ShellCommands {
        ShellCommands {
            stop: "./dev down".into(),
            create_administrator: "./dev user create".into(),
        }
    }

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
    fn one_replica_has_no_sign_out_example() {
        let text = format_banner(
            &[replica(8000)],
            None,
            "/x/.latchkey",
            &options(false),
            &commands(),
        );
        assert!(
            text.contains("http://127.0.0.1:8000/docs")
                && text.contains("http://localhost:8000/sign-in")
                && text.contains("Ctrl-C"),
            "{text}"
        );
        assert!(!text.contains("/logout"), "{text}");
    }

    #[test]
    fn disabled_registration_is_printed() {
        let mut closed = options(false);
        closed.given.set("LATCHKEY_SIGNUP", "admin");
        let replicas = [replica(8000), replica(8001)];
        let text = format_banner(&replicas, None, "/x", &closed, &commands());
        assert!(
            text.contains("./dev user create")
                && !text.contains("/signup")
                && !text.contains("/login"),
            "{text}"
        );
        closed.given.set("LATCHKEY_SIGNUP", "verify");
        let text = format_banner(&replicas, None, "/x", &closed, &commands());
        assert!(text.contains("an emailed code") && !text.contains("disabled"));
        let open = format_banner(&[replica(8000)], None, "/x", &options(false), &commands());
        assert!(open.contains("./dev user create") && open.contains("/signup"));
    }

    #[test]
    fn two_replicas_have_a_sign_out_example() {
        let text = format_banner(
            &[replica(8000), replica(8001)],
            None,
            "/x/.latchkey",
            &options(true),
            &commands(),
        );
        assert!(
            text.contains("http://127.0.0.1:8001/auth/verify")
                && text.contains("http://127.0.0.1:9465/metrics"),
            "{text}"
        );
        assert!(!text.contains("Ctrl-C"), "{text}");
    }

    #[test]
    fn mailbox_url_is_printed_only_if_served() {
        let text = |mailbox| {
            format_banner(
                &[replica(8000)],
                mailbox,
                "/x",
                &options(false),
                &commands(),
            )
        };
        assert!(text(MAILBOX).contains("  email    http://127.0.0.1:8025\n"));
        assert!(!text(None).contains("email "));
    }
}
