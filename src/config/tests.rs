use base64::{Engine, engine::general_purpose::STANDARD};
use latchkey_domain::{password::Argon2Implementation, rate_limit::RateLimit};

use std::collections::HashMap;

use super::{value::Value, *};

fn source(settings: &[(&'static str, &str)]) -> Source {
    Source {
        flags: settings
            .iter()
            .map(|(variable, text)| (*variable, (*text).to_owned()))
            .collect(),
        reads_environment: true,
        env_file: HashMap::new(),
        env_file_error: None,
    }
}

/// Valid values of the required settings.
fn required_settings() -> Vec<(&'static str, String)> {
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
    let required = required_settings();
    let mut settings: HashMap<&'static str, &str> = required
        .iter()
        .map(|(variable, text)| (*variable, text.as_str()))
        .collect();
    settings.extend(changes.iter().copied());
    Config::load(&source(&settings.into_iter().collect::<Vec<_>>()))
}

/// The variables with a configuration error.
fn errors(changes: &[(&'static str, &str)]) -> Vec<&'static str> {
    load(changes)
        .err()
        .unwrap_or_default()
        .iter()
        .map(|error| error.variable)
        .collect()
}

#[test]
fn unset_settings_have_defaults() {
    let config = load(&[]).ok().unwrap();
    assert_eq!(config.access_lifetime, Duration::from_secs(900));
    assert_eq!(config.session_idle_timeout, Duration::from_secs(7 * 86_400));
    assert_eq!(config.issuer.as_str(), "https://auth.example.com");
    assert_eq!(config.audience(), "https://auth.example.com");
    assert!(config.trusted_proxies.0.is_empty());
    assert_eq!(config.hash_implementation, Argon2Implementation::RustCrypto);
}

#[test]
fn unknown_hash_implementation_lists_allowed_values() {
    let load_with = |name| load(&[("LATCHKEY_HASH_IMPLEMENTATION", name)]);
    let fast = load_with("argon2-rust").ok().unwrap();
    assert_eq!(fast.hash_implementation, Argon2Implementation::Argon2Rust);
    let errors = load_with("fastest").err().unwrap();
    assert_eq!(
        errors[0].to_string(),
        "LATCHKEY_HASH_IMPLEMENTATION: must be `rustcrypto` or `argon2-rust`"
    );
}

#[test]
fn load_reports_all_configuration_errors() {
    let variables = errors(&[
        ("LATCHKEY_LISTEN", "nowhere"),
        ("LATCHKEY_SECRET", "changeme"),
        ("LATCHKEY_ACCESS_LIFETIME", "soon"),
    ]);
    assert_eq!(
        variables,
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
    for valid in [
        "http://localhost:8000",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "https://x.example",
    ] {
        assert!(errors(&[("LATCHKEY_ISSUER", valid)]).is_empty(), "{valid}");
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
    let errors_for =
        |issuer, url| errors(&[("LATCHKEY_ISSUER", issuer), ("LATCHKEY_SMTP_URL", url)]);
    for issuer in ["http://localhost:8000", "https://127.0.0.1", "http://[::1]"] {
        assert!(errors_for(issuer, "file:/tmp/email").is_empty(), "{issuer}");
    }
    for issuer in ["https://auth.example.com", "https://192.0.2.1"] {
        assert_eq!(
            errors_for(issuer, "file:/tmp/email"),
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
    for invalid in [
        "file:",
        "file:email",
        "file:./email",
        "file://host/email",
        "file:/email?query",
        "file:/email#part",
    ] {
        assert!(folder(invalid).is_none(), "{invalid}");
    }
}

#[test]
fn unsafe_lifetimes_and_password_lengths_are_rejected() {
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
fn cookie_domain_must_contain_issuer_host() {
    let errors_for = |domain| errors(&[("LATCHKEY_COOKIE_DOMAIN", domain)]);
    for valid in ["example.com", "auth.example.com", "Example.COM"] {
        assert!(errors_for(valid).is_empty(), "{valid}");
    }
    let invalid = [
        "com",
        ".example.com",
        "example.com.",
        "xample.com",
        "app.example.com",
        "other.org",
        "192.0.2.1",
        "a b.com",
    ];
    for domain in invalid {
        assert_eq!(errors_for(domain), ["LATCHKEY_COOKIE_DOMAIN"], "{domain}");
    }
    assert_eq!(
        errors(&[
            ("LATCHKEY_ISSUER", "http://127.0.0.1:8000"),
            ("LATCHKEY_COOKIE_DOMAIN", "0.1"),
        ]),
        ["LATCHKEY_COOKIE_DOMAIN"]
    );
    assert!(load(&[]).ok().unwrap().cookie_domain.is_none());
}

#[test]
fn cookie_name_is_checked() {
    for valid in ["latchkey", "latchkey_staging", "latchkey_2"] {
        let errors = errors(&[("LATCHKEY_COOKIE_NAME", valid)]);
        assert!(errors.is_empty(), "{valid}");
    }
    for invalid in ["staging", "latchkey-staging", "latchkey_", "Latchkey"] {
        assert_eq!(
            errors(&[("LATCHKEY_COOKIE_NAME", invalid)]),
            ["LATCHKEY_COOKIE_NAME"],
            "{invalid}"
        );
    }
}

#[test]
fn cors_origins_are_serialized_like_browsers_do() {
    for (text, origin) in [
        ("https://app.example.com", "https://app.example.com"),
        ("https://App.Example.com:443/", "https://app.example.com"),
        (
            "https://b\u{fc}cher.example",
            "https://xn--bcher-kva.example",
        ),
        ("http://localhost:3000", "http://localhost:3000"),
    ] {
        assert_eq!(Origins::read(text).unwrap().0, [origin]);
    }
    for invalid in [
        "null",
        "app.example.com",
        "ftp://app.example.com",
        "https://*.example.com",
        "https://john@app.example.com",
        "https://app.example.com/path",
        "https://app.example.com?query",
    ] {
        assert!(Origins::read(invalid).is_err(), "{invalid}");
    }
}

#[test]
fn long_issuer_and_audience_are_rejected() {
    let long = format!("https://example.com/{}", "x".repeat(240));
    assert_eq!(errors(&[("LATCHKEY_ISSUER", &long)]), ["LATCHKEY_ISSUER"]);
    assert_eq!(
        errors(&[("LATCHKEY_AUDIENCE", &long)]),
        ["LATCHKEY_AUDIENCE"]
    );
}

#[test]
fn secrets_have_no_flag_and_are_masked() {
    assert!(arguments().all(|argument| !argument.get_id().as_str().ends_with("SECRET")));
    let required = required_settings();
    let settings: Vec<_> = required
        .iter()
        .map(|(variable, text)| (*variable, text.as_str()))
        .collect();
    let output = effective(&source(&settings));
    assert!(!output.contains(settings[2].1));
    assert!(output.contains("LATCHKEY_SECRET=(set, not shown)"));
}

#[test]
fn configuration_errors_contain_no_value() {
    let result = load(&[
        ("LATCHKEY_SECRET", "hunter2hunter2"),
        ("LATCHKEY_SMTP_URL", "hunter2"),
        ("LATCHKEY_LISTEN", "hunter2"),
    ]);
    let messages: Vec<String> = result
        .err()
        .unwrap()
        .iter()
        .map(ConfigError::to_string)
        .collect();
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|line| !line.contains("hunter2")));
}

#[test]
fn limits_are_parsed() {
    for (text, burst, seconds) in [
        ("5/1m", 5, 60),
        ("1/1s", 1, 1),
        (" 100 / 24h ", 100, 86_400),
    ] {
        assert_eq!(
            RateLimit::read(text),
            Ok(RateLimit::new(burst, Duration::from_secs(seconds)).unwrap()),
            "{text}"
        );
    }
    for invalid in [
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
        assert!(RateLimit::read(invalid).is_err(), "{invalid}");
    }
}

#[test]
fn rate_limits_are_enabled_by_default() {
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
fn rendered_settings_are_complete_and_at_most_80_columns() {
    let (help, example) = (settings_help(), env_example());
    for setting in SETTINGS {
        let default = setting.default.unwrap_or_default();
        assert!(help.contains(&format!("  {}", setting.variable)), "{help}");
        assert!(
            help.contains(default) && example.contains(default),
            "{default}"
        );
        let line = format!("{}=", setting.variable);
        let line = example.lines().find(|other| other.contains(&line));
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
    for invalid in [
        "",
        "10",
        "s",
        "-1s",
        "1.5s",
        "1w",
        "99999999999999999999d",
        "9999999d",
    ] {
        assert!(Duration::read(invalid).is_err(), "{invalid}");
    }
}
