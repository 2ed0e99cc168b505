//! Unit tests of the texts of emails.

use std::{sync::LazyLock, time::Duration};

use latchkey_domain::one_time_code::CodePurpose;
use time::macros::datetime;

use super::*;

const CODE: &str = "AAAAA-BBBBB";
const RECIPIENT: &str = "john+1@example.com";

static SERVICE: LazyLock<Service> = LazyLock::new(|| Service {
    brand: "Example & Sons".into(),
    issuer: "https://auth.example.com/base".into(),
    has_user_pages: true,
    help_url: None,
});

static SERVICE_WITHOUT_PAGES: LazyLock<Service> = LazyLock::new(|| Service {
    has_user_pages: false,
    ..SERVICE.clone()
});

fn occasion() -> Occasion<'static> {
    Occasion {
        service: &SERVICE,
        at: datetime!(2026-11-02 08:05:00 +1),
        ip_address: Some("192.0.2.1"),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    }
}

const REQUESTED: [CodePurpose; 3] = [
    CodePurpose::PasswordReset,
    CodePurpose::EmailConfirmation,
    CodePurpose::SignUp,
];

const NOTICES: [Notice; 9] = [
    Notice::PasswordChanged,
    Notice::EmailChanged,
    Notice::NewDevice,
    Notice::PersonalAccessTokenCreated,
    Notice::AdminRoleGranted,
    Notice::AdminAdded,
    Notice::ClientSecretCreated,
    Notice::ClientExtended,
    Notice::AccountExists,
];

fn with_code(purpose: CodePurpose, occasion: &Occasion<'_>) -> EmailMessage {
    let expiry = Expiry {
        remaining: Duration::from_secs(600),
        at: datetime!(2026-11-05 07:05:00 UTC),
    };
    EmailMessage::with_code_text(purpose, occasion, RECIPIENT, CODE, &expiry).unwrap()
}

/// Renders every email except the test email, which contains no link.
fn all_emails(occasion: &Occasion<'_>) -> Vec<EmailMessage> {
    let codes = REQUESTED.map(|purpose| with_code(purpose, occasion));
    let notices = NOTICES.map(|notice| EmailMessage::notice(notice, occasion).unwrap());
    let invitation = with_code(CodePurpose::Invitation, occasion);
    codes
        .into_iter()
        .chain(notices)
        .chain([invitation])
        .collect()
}

#[test]
fn email_with_code_contains_link_context_and_warning() {
    let address = "email=john%2B1%40example.com&code=AAAAA-BBBBB";
    for (purpose, page, fragment) in [
        (CodePurpose::Invitation, "/invitation", address),
        (CodePurpose::PasswordReset, "/reset-password", address),
        (CodePurpose::SignUp, "/sign-up/confirm", address),
        (
            CodePurpose::EmailConfirmation,
            "/verify-email",
            "code=AAAAA-BBBBB",
        ),
    ] {
        let email = with_code(purpose, &occasion());
        let page = format!("https://auth.example.com/base{page}");
        let link = format!("{page}#{fragment}");
        let lines: Vec<&str> = email.text.lines().map(str::trim).collect();
        assert!(lines.contains(&link.as_str()), "{}", email.text);
        assert!(lines.contains(&CODE), "{}", email.text);
        let html = format!("<a href=\"{}\">{page}</a>", link.replace('&', "&#38;"));
        assert!(email.html.contains(&html), "{}", email.html);
        assert!(email.html.contains(&format!(">{CODE}</p>")));
        for text in [&email.text, &email.html] {
            let request = "The request came from Firefox on Linux (IP address 192.0.2.1) on \
                           November 2, 2026 at 07:05 UTC.";
            let (request, expiry) = match purpose {
                CodePurpose::Invitation => (
                    "The account was created on November 2, 2026 at 07:05 UTC.",
                    "The invitation expires on November 5, 2026 at 07:05 UTC.",
                ),
                _other => (request, "The code expires in 10 minutes and works once."),
            };
            for part in [request, expiry, "Never share this code."] {
                assert!(text.contains(part), "{text}");
            }
        }
        assert!(!email.subject.contains(CODE));
    }
}

#[test]
fn email_without_pages_contains_no_link() {
    let without_pages = Occasion {
        service: &SERVICE_WITHOUT_PAGES,
        ..occasion()
    };
    for email in all_emails(&without_pages) {
        for text in [&email.text, &email.html] {
            assert!(!text.contains("://"), "{text}");
            assert!(!text.contains("href") && !text.contains("/forgot"));
        }
    }
    let email = EmailMessage::notice(Notice::PasswordChanged, &without_pages).unwrap();
    let advice = "If this wasn't you, reset your password on the page of your application. This \
                  also signs out all devices.";
    assert!(email.text.contains(advice), "{}", email.text);
}

#[test]
fn notice_contains_help_link() {
    let service = Service {
        help_url: Some("mailto:help@example.com".into()),
        ..SERVICE.clone()
    };
    let with_help = Occasion {
        service: &service,
        ..occasion()
    };
    for (occasion, url) in [
        (occasion(), "    https://auth.example.com/base\n"),
        (with_help, "    mailto:help@example.com\n"),
    ] {
        let email = EmailMessage::notice(Notice::EmailChanged, &occasion).unwrap();
        let advice = format!("If this wasn't you, contact the operator:\n\n{url}");
        assert!(
            format!("{}\n", email.text).contains(&advice),
            "{}",
            email.text
        );
    }
}

#[test]
fn email_contains_no_unknown_user_agent() {
    for user_agent in [None, Some(""), Some("visit evil.example <b>now</b>")] {
        let occasion = Occasion {
            user_agent,
            ip_address: None,
            ..occasion()
        };
        for purpose in REQUESTED {
            let email = with_code(purpose, &occasion);
            for text in [&email.text, &email.html] {
                assert!(text.contains("came from an unknown browser on November 2"));
                assert!(!text.contains("evil"), "{text}");
            }
        }
    }
}

#[test]
fn documentation_lists_every_subject() {
    let page = include_str!("../../../docs/reference/emails.md");
    for email in all_emails(&occasion()) {
        let subject = email.subject.replace(&SERVICE.brand, "…");
        assert!(page.contains(&format!("| `{subject}` |")), "{subject}");
    }
}

#[test]
fn every_email_contains_name_of_service() {
    let test = EmailMessage::test(&occasion()).unwrap();
    for email in all_emails(&occasion()).iter().chain([&test]) {
        assert!(email.text.contains("Example & Sons"), "{}", email.text);
        assert!(email.html.contains("Example &#38; Sons"), "{}", email.html);
    }
    let invitation = with_code(CodePurpose::Invitation, &occasion());
    assert_eq!(invitation.subject, "You've been invited to Example & Sons");
}

#[test]
fn notices_contain_time_and_device() {
    for notice in NOTICES {
        let email = EmailMessage::notice(notice, &occasion()).unwrap();
        for text in [&email.text, &email.html] {
            let device = "Device: Firefox on Linux (IP address 192.0.2.1)";
            for part in [device, "Time: November 2, 2026 at 07:05 UTC"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }
    let by_admin = Occasion {
        ip_address: None,
        ..occasion()
    };
    let email = EmailMessage::notice(Notice::AdminRoleGranted, &by_admin).unwrap();
    assert!(!email.text.contains("Device") && !email.html.contains("Device"));
}
