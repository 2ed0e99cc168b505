//! Checks of the caller's settings before anything starts.
//!
//! `.env` can be that of a deployment, or contain host names that only exist in Docker Compose.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use url::{Host, Url};

use super::{Error, GivenSettings};

/// Timeout of an attempt to connect to a store.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A store that a setting can replace.
struct Store {
    setting: &'static str,
    name: &'static str,
    default_port: u16,
}

const STORES: [Store; 2] = [
    Store {
        setting: "DATABASE_URL",
        name: "PostgreSQL",
        default_port: 5432,
    },
    Store {
        setting: "REDIS_URL",
        name: "Redis",
        default_port: 6379,
    },
];

/// Returns an error if the settings are those of a deployment, or if a store can't be reached.
pub(super) fn check(given: &GivenSettings) -> Result<(), Error> {
    check_issuer(given)?;
    for store in &STORES {
        check_store(given, store)?;
    }
    check_mail_server(given);
    Ok(())
}

/// Rejects a public issuer with a database, because the server would migrate that database.
fn check_issuer(given: &GivenSettings) -> Result<(), Error> {
    let Some(issuer) = given.value("LATCHKEY_ISSUER").filter(|url| is_public(url)) else {
        return Ok(());
    };
    let source = given.source("LATCHKEY_ISSUER");
    if given.has("DATABASE_URL") {
        return Err(Error::new(format!(
            "the settings are those of a deployment: LATCHKEY_ISSUER in {source} is {issuer}, and \
             DATABASE_URL is set, so `./dev up` would migrate the database of the deployment"
        ))
        .hint(move_or_unset(source)));
    }
    if !given.has("LATCHKEY_SMTP_URL") {
        return Err(Error::new(format!(
            "LATCHKEY_ISSUER in {source} is {issuer}, and the mailbox requires a loopback issuer"
        ))
        .hint(format!(
            "remove LATCHKEY_ISSUER from {source}, or add LATCHKEY_SMTP_URL=off"
        )));
    }
    Ok(())
}

fn move_or_unset(source: &str) -> &'static str {
    if source == ".env" {
        "move the file, then try again:  mv .env .env.deployment"
    } else {
        "unset them, then try again:  unset DATABASE_URL LATCHKEY_ISSUER"
    }
}

/// Returns whether the host of the URL is another than `localhost` and the loopback addresses.
///
/// The server rejects an invalid URL.
fn is_public(issuer: &str) -> bool {
    let url = Url::parse(issuer).ok();
    url.and_then(|url| match url.host()? {
        Host::Domain(name) => Some(name != "localhost"),
        Host::Ipv4(address) => Some(!IpAddr::from(address).is_loopback()),
        Host::Ipv6(address) => Some(!IpAddr::from(address).is_loopback()),
    })
    .unwrap_or_default()
}

/// Reports a store that can't be reached, because the server would retry until the timeout.
fn check_store(given: &GivenSettings, store: &Store) -> Result<(), Error> {
    let Some((host, port)) = host_and_port(given, store.setting, store.default_port) else {
        return Ok(());
    };
    let (setting, name) = (store.setting, store.name);
    let source = given.source(setting);
    let private = format!("remove {setting} from {source}, and a private {name} starts");
    let Ok(addresses) = (host.as_str(), port).to_socket_addrs() else {
        return Err(Error::new(format!(
            "the host {host} of {setting} in {source} is unknown on this machine"
        ))
        .hint(format!(
            "{private}; the host names of Docker Compose exist only in its containers"
        )));
    };
    if addresses.into_iter().all(|address| is_refused(&address)) {
        return Err(Error::new(format!(
            "{name} doesn't accept connections at {host}:{port}, which {setting} in {source} names"
        ))
        .hint(format!("start it, or {private}")));
    }
    Ok(())
}

/// Prints a warning, because the server works without email, for example without a network.
fn check_mail_server(given: &GivenSettings) {
    let Some((host, port)) = host_and_port(given, "LATCHKEY_SMTP_URL", 587) else {
        return;
    };
    if (host.as_str(), port).to_socket_addrs().is_err() {
        let source = given.source("LATCHKEY_SMTP_URL");
        eprintln!(
            "warning: the host {host} of LATCHKEY_SMTP_URL in {source} is unknown on this machine, \
             so email isn't sent\nhint: remove LATCHKEY_SMTP_URL from {source}, and the mailbox \
             shows all email"
        );
    }
}

/// Returns the host and the port of a URL, or `None` for a socket, several hosts, or another form.
fn host_and_port(given: &GivenSettings, setting: &str, default: u16) -> Option<(String, u16)> {
    let url = Url::parse(given.value(setting)?).ok()?;
    // Parameters of PostgreSQL override the host and the port.
    let overrides = ["host", "hostaddr", "port"];
    if url
        .query_pairs()
        .any(|(name, _)| overrides.contains(&&*name))
    {
        return None;
    }
    let host = url.host_str()?.trim_matches(['[', ']']);
    let is_name = !host.is_empty() && !host.contains(['%', ',', '/']);
    is_name.then(|| (host.to_owned(), url.port().unwrap_or(default)))
}

fn is_refused(address: &SocketAddr) -> bool {
    TcpStream::connect_timeout(address, CONNECT_TIMEOUT)
        .is_err_and(|reason| reason.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn given(settings: &[(&str, &str)]) -> GivenSettings {
        let mut given = GivenSettings::default();
        for (name, value) in settings {
            given.set(name, value);
        }
        given
    }

    fn error(settings: &[(&str, &str)]) -> Option<String> {
        check(&given(settings)).err().map(|error| error.to_string())
    }

    #[test]
    fn settings_of_deployment_are_rejected() {
        let issuer = ("LATCHKEY_ISSUER", "https://auth.example.com");
        for database in ["DATABASE_URL", "DATABASE_URL_FILE"] {
            let smtp = ("LATCHKEY_SMTP_URL", "off");
            let error = error(&[issuer, (database, "/run/secrets/url"), smtp]).unwrap();
            assert!(
                error.contains("https://auth.example.com") && error.contains("unset"),
                "{error}"
            );
        }
        let without_mail_server = error(&[issuer]).unwrap();
        assert!(without_mail_server.contains("LATCHKEY_SMTP_URL=off"));
        assert_eq!(error(&[issuer, ("LATCHKEY_SMTP_URL", "off")]), None);
    }

    #[test]
    fn loopback_and_invalid_issuers_are_not_public() {
        for issuer in [
            "http://localhost:8080",
            "https://127.0.0.2",
            "http://[::1]:1",
            "localhost:8080",
            "x",
        ] {
            assert!(!is_public(issuer), "{issuer}");
        }
        assert!(is_public("http://192.0.2.1:8000"));
    }

    #[test]
    fn unreachable_store_error_contains_setting() {
        // No other test listens on this address, so the port stays free. Only Linux has it.
        let host = if cfg!(target_os = "linux") {
            "127.77.0.1"
        } else {
            "127.0.0.1"
        };
        let listener = TcpListener::bind((host, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = |scheme| format!("{scheme}://user:secret@{host}:{port}");
        let settings = [
            ("DATABASE_URL", &*url("postgres")),
            ("REDIS_URL", &*url("redis")),
        ];
        assert_eq!(error(&settings), None);
        drop(listener);
        let refused = error(&settings).unwrap();
        assert!(
            refused.contains("DATABASE_URL") && refused.contains(&port.to_string()),
            "{refused}"
        );
        let unknown = error(&[("REDIS_URL", "redis://:secret@redis.invalid:6379")]).unwrap();
        assert!(
            unknown.contains("redis.invalid") && unknown.contains("Compose"),
            "{unknown}"
        );
        assert!(!refused.contains("secret") && !unknown.contains("secret"));
    }

    #[test]
    fn sockets_and_several_hosts_are_not_checked() {
        for url in [
            "postgres://latchkey@%2Ftmp%2Fx/latchkey",
            "postgres:///latchkey?host=/tmp",
            "postgres://one.invalid,two.invalid/latchkey",
            "host=one.invalid",
        ] {
            assert_eq!(error(&[("DATABASE_URL", url)]), None, "{url}");
        }
        assert_eq!(error(&[("REDIS_URL", "redis+unix:///tmp/x.sock")]), None);
    }
}
