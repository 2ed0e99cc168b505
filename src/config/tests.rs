use base64::{Engine, engine::general_purpose::STANDARD};
use latchkey_domain::rate_limit::Limit;

use std::collections::HashMap;

use super::{value::Value, *};

fn source(given: &[(&'static str, &str)]) -> Source {
    Source {
        flags: given
            .iter()
            .map(|(variable, text)| (*variable, (*text).to_owned()))
            .collect(),
        file: HashMap::new(),
        environment: true,
        broken: None,
    }
}

fn effective_config() -> Vec<(&'static str, String)> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    vec![
        ("DATABASE_URL", "postgres://localhost/latchkey".into()),
        ("REDIS_URL", "redis://localhost".into()),
        ("LATCHKEY_SECRET", STANDARD.encode(bytes)),
        ("LATCHKEY_ISSUER", "https://auth.example.com/".into()),
        ("LATCHKEY_SMTP_URL", "off".into()),
    ]
}

fn load(changes: &[(&'static str, &str)]) -> Result<Config, Vec<ConfigError>> {
    let base = effective_config();
    let mut given: HashMap<&'static str, &str> = base
        .iter()
        .map(|(variable, text)| (*variable, text.as_str()))
        .collect();
    given.extend(changes.iter().copied());
    Config::load(&source(&given.into_iter().collect::<Vec<_>>()))
}

fn errors(changes: &[(&'static str, &str)]) -> Vec<&'static str> {
    load(changes)
        .err()
        .unwrap_or_default()
        .iter()
        .map(|error| error.variable)
        .collect()
}

#[test]
fn the_defaults_of_the_design_hold() {
    let config = load(&[]).ok().unwrap();
    assert_eq!(config.access_lifetime, Duration::from_secs(900));
    assert_eq!(config.session_idle_timeout, Duration::from_secs(7 * 86_400));
    assert_eq!(config.issuer.as_str(), "https://auth.example.com");
    assert_eq!(config.audience(), "https://auth.example.com");
    assert!(config.trusted_proxies.0.is_empty());
}

#[test]
fn all_mistakes_are_reported_together() {
    let wrong = errors(&[
        ("LATCHKEY_LISTEN", "nowhere"),
        ("LATCHKEY_SECRET", "changeme"),
        ("LATCHKEY_ACCESS_LIFETIME", "soon"),
    ]);
    assert_eq!(
        wrong,
        [
            "LATCHKEY_SECRET",
            "LATCHKEY_LISTEN",
            "LATCHKEY_ACCESS_LIFETIME"
        ]
    );
}

#[test]
fn remote_http_issuer_requires_insecure_http() {
    assert_eq!(
        errors(&[("LATCHKEY_ISSUER", "http://auth.example.com")]),
        ["LATCHKEY_ISSUER"]
    );
    assert_eq!(
        errors(&[("LATCHKEY_ISSUER", "http://localhost.example.com")]),
        ["LATCHKEY_ISSUER"]
    );
    for fine in [
        "http://localhost:8000",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "https://x.example",
    ] {
        assert!(errors(&[("LATCHKEY_ISSUER", fine)]).is_empty(), "{fine}");
    }
    assert!(
        errors(&[
            ("LATCHKEY_ISSUER", "http://a.example"),
            ("LATCHKEY_INSECURE_HTTP", "yes")
        ])
        .is_empty()
    );
}

#[test]
fn file_transport_requires_loopback_issuer() {
    let with = |issuer, url| errors(&[("LATCHKEY_ISSUER", issuer), ("LATCHKEY_SMTP_URL", url)]);
    for issuer in ["http://localhost:8000", "https://127.0.0.1", "http://[::1]"] {
        assert!(with(issuer, "file:/tmp/email").is_empty(), "{issuer}");
    }
    for issuer in ["https://auth.example.com", "https://192.0.2.1"] {
        assert_eq!(
            with(issuer, "file:/tmp/email"),
            ["LATCHKEY_SMTP_URL"],
            "{issuer}"
        );
    }
}

#[test]
fn file_transport_requires_absolute_folder() {
    let folder = |url| match MailTransport::read(url) {
        Ok(MailTransport::File(folder)) => folder.to_str().map(str::to_owned),
        _other => None,
    };
    for (url, path) in [
        ("file:/tmp/email", "/tmp/email"),
        ("file:///tmp/email", "/tmp/email"),
        ("file:/tmp/with%20space", "/tmp/with space"),
    ] {
        assert_eq!(folder(url).as_deref(), Some(path), "{url}");
    }
    for wrong in [
        "file:",
        "file:email",
        "file:./email",
        "file://host/email",
        "file:/email?query",
        "file:/email#part",
    ] {
        assert!(folder(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn no_lifetime_may_be_unsafe() {
    assert_eq!(
        errors(&[("LATCHKEY_ACCESS_LIFETIME", "61m")]),
        ["LATCHKEY_ACCESS_LIFETIME"]
    );
    assert_eq!(
        errors(&[("LATCHKEY_CODE_LIFETIME", "11m")]),
        ["LATCHKEY_CODE_LIFETIME"]
    );
    assert_eq!(
        errors(&[("LATCHKEY_SESSION_IDLE_TIMEOUT", "31d")]),
        ["LATCHKEY_SESSION_IDLE_TIMEOUT"]
    );
    assert_eq!(
        errors(&[("LATCHKEY_PASSWORD_MIN", "7")]),
        ["LATCHKEY_PASSWORD_MIN"]
    );
}

#[test]
fn a_cookie_of_the_domain_must_reach_the_issuer() {
    let with = |domain| errors(&[("LATCHKEY_COOKIE_DOMAIN", domain)]);
    for fine in ["example.com", "auth.example.com", "Example.COM"] {
        assert!(with(fine).is_empty(), "{fine}");
    }
    let wrong = [
        "com",
        ".example.com",
        "example.com.",
        "xample.com",
        "app.example.com",
        "other.org",
        "192.0.2.1",
        "a b.com",
    ];
    for wrong in wrong {
        assert_eq!(with(wrong), ["LATCHKEY_COOKIE_DOMAIN"], "{wrong}");
    }
    assert!(load(&[]).ok().unwrap().cookie_domain.is_none());
}

#[test]
fn origins_are_written_as_browsers_do() {
    for (issuer, origin) in [
        ("https://auth.example.com", "https://auth.example.com"),
        (
            "https://Auth.Example.com:443/path",
            "https://auth.example.com",
        ),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://[::1]:80/", "http://[::1]"),
    ] {
        assert_eq!(Issuer::read(issuer).unwrap().origin(), origin);
    }
}

#[test]
fn what_tokens_hold_is_bounded() {
    let long = format!("https://example.com/{}", "x".repeat(240));
    assert_eq!(errors(&[("LATCHKEY_ISSUER", &long)]), ["LATCHKEY_ISSUER"]);
    assert_eq!(
        errors(&[("LATCHKEY_AUDIENCE", &long)]),
        ["LATCHKEY_AUDIENCE"]
    );
}

#[test]
fn secrets_have_no_flag_and_are_never_shown() {
    assert!(arguments().all(|argument| !argument.get_id().as_str().ends_with("SECRET")));
    let given = effective_config();
    let given: Vec<_> = given
        .iter()
        .map(|(variable, text)| (*variable, text.as_str()))
        .collect();
    let shown = effective(&source(&given));
    assert!(!shown.contains(given[2].1));
    assert!(shown.contains("LATCHKEY_SECRET=(set, not shown)"));
}

#[test]
fn mistakes_never_repeat_a_value() {
    let told = load(&[
        ("LATCHKEY_SECRET", "hunter2hunter2"),
        ("LATCHKEY_SMTP_URL", "hunter2"),
        ("LATCHKEY_LISTEN", "hunter2"),
    ]);
    let told: Vec<String> = told
        .err()
        .unwrap()
        .iter()
        .map(ConfigError::to_string)
        .collect();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|line| !line.contains("hunter2")));
}

#[test]
fn limits_are_parsed() {
    for (text, burst, seconds) in [
        ("5/1m", 5, 60),
        ("1/1s", 1, 1),
        (" 100 / 24h ", 100, 86_400),
    ] {
        assert_eq!(
            Limit::read(text),
            Ok(Limit::new(burst, Duration::from_secs(seconds)).unwrap()),
            "{text}"
        );
    }
    for wrong in [
        "",
        "5",
        "/1m",
        "5/",
        "0/1m",
        "-1/1m",
        "5/0s",
        "5/2d",
        "5/1",
        "5/1m/1m",
        "1.5/1m",
        "99999999999/1m",
    ] {
        assert!(Limit::read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn rate_limits_are_on_unless_turned_off() {
    assert!(load(&[]).ok().unwrap().rate_limits.0);
    assert!(
        !load(&[("LATCHKEY_RATE_LIMITS", "off")])
            .ok()
            .unwrap()
            .rate_limits
            .0
    );
    assert_eq!(
        errors(&[("LATCHKEY_LIMIT_SIGN_IN", "0/1m")]),
        ["LATCHKEY_LIMIT_SIGN_IN"]
    );
    let reason = |variable| {
        let errors = load(&[(variable, "maybe")]).err().unwrap();
        errors[0].to_string()
    };
    assert_eq!(
        reason("LATCHKEY_RATE_LIMITS"),
        "LATCHKEY_RATE_LIMITS: must be `on` or `off`"
    );
    assert_eq!(
        reason("LATCHKEY_INSECURE_HTTP"),
        "LATCHKEY_INSECURE_HTTP: must be `yes` or `no`"
    );
}

#[test]
fn required_settings_come_first_and_have_no_default() {
    let missing = Config::load(&Source::empty()).err().unwrap();
    let missing: Vec<_> = missing.iter().map(|error| error.variable).collect();
    let required = SETTINGS.iter().filter(|setting| setting.is_required());
    let required: Vec<_> = required.map(|setting| setting.variable).collect();
    assert_eq!(missing, required);
    assert!(
        SETTINGS[..required.len()]
            .iter()
            .all(|setting| setting.is_required() && setting.default.is_none())
    );
}

#[test]
fn rendered_settings_are_complete_and_narrow() {
    let (help, example) = (settings_help(), env_example());
    for setting in SETTINGS {
        let default = setting.default.unwrap_or_default();
        assert!(help.contains(&format!("  {}", setting.variable)), "{help}");
        assert!(
            help.contains(default) && example.contains(default),
            "{default}"
        );
        let line = format!("{}=", setting.variable);
        let line = example.lines().find(|one| one.contains(&line));
        assert_eq!(
            line.is_some_and(|line| !line.starts_with("# ")),
            setting.is_required(),
            "{line:?}"
        );
    }
    for line in help.lines().chain(example.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(example.find("\nDATABASE_URL=") < example.find("\n# LATCHKEY_LISTEN="));
}

#[test]
fn durations_are_parsed() {
    for (text, milliseconds) in [
        ("500ms", 500),
        ("10s", 10_000),
        ("15m", 900_000),
        ("12h", 43_200_000),
        ("7d", 604_800_000),
    ] {
        assert_eq!(
            Duration::read(text),
            Ok(Duration::from_millis(milliseconds))
        );
    }
    for wrong in [
        "",
        "10",
        "s",
        "-1s",
        "1.5s",
        "1w",
        "99999999999999999999d",
        "9999999d",
    ] {
        assert!(Duration::read(wrong).is_err(), "{wrong}");
    }
}
