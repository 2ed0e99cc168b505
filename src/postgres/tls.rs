//! TLS to PostgreSQL. Certificates are always verified. TLS is required unless all hosts are local
//! (loopback address or Unix socket), or the URL disables TLS.

use latchkey_domain::host;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls;

pub type Connector = MakeRustlsConnect;

/// Removes options of libpq that the driver doesn't support, because URLs of managed providers
/// contain them.
///
/// `sslmode=verify-full` and `verify-ca` become `require`, since certificates are verified in every
/// mode. A custom root certificate is an error, because ignoring it would make connections fail.
pub fn remove_unsupported_options(url: &str) -> Result<String, String> {
    let Some((base, options)) = url.split_once('?') else {
        return Ok(url.to_owned());
    };
    let mut kept = Vec::new();
    for option in options.split('&') {
        match option.split_once('=') {
            Some(("sslmode", "verify-full" | "verify-ca")) => kept.push("sslmode=require"),
            Some(("sslrootcert", "system")) => {}
            Some(("sslrootcert", _)) => {
                return Err(
                    "the option `sslrootcert` is not supported. Add the certificate to the \
                     system's store, or set SSL_CERT_FILE to its file."
                        .into(),
                );
            }
            _other => kept.push(option),
        }
    }
    Ok(format!("{base}?{}", kept.join("&")))
}

/// Builds a connector that trusts the root certificates of the operating system.
///
/// For remote hosts, the driver's default `prefer` becomes `require`: with `prefer`, an attacker on
/// the network can force a connection without TLS.
pub fn build_connector(config: &mut tokio_postgres::Config) -> Result<Connector, String> {
    let is_remote = !config.get_hosts().iter().all(is_this_machine);
    if config.get_ssl_mode() == SslMode::Prefer {
        config.ssl_mode(if is_remote {
            SslMode::Require
        } else {
            SslMode::Disable
        });
    }
    if config.get_ssl_mode() == SslMode::Disable {
        // Without the root certificates, which take milliseconds to load.
        return tls::client_config_without_roots().map(MakeRustlsConnect::new);
    }
    tls::client_config().map(MakeRustlsConnect::new)
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => host::is_this_machine(name),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn ssl_mode(url: &str) -> SslMode {
        let mut config =
            tokio_postgres::Config::from_str(&remove_unsupported_options(url).unwrap()).unwrap();
        build_connector(&mut config).unwrap();
        config.get_ssl_mode()
    }

    #[test]
    fn remote_host_requires_tls_unless_url_disables_it() {
        assert_eq!(ssl_mode("postgres://u@db.example.com/x"), SslMode::Require);
        assert_eq!(
            ssl_mode("postgres://u@db.example.com/x?sslmode=verify-full&connect_timeout=3"),
            SslMode::Require
        );
        assert_eq!(
            ssl_mode("postgres://u@localhost,db.example.com/x"),
            SslMode::Require
        );
        assert_eq!(
            ssl_mode("postgres://u@db.example.com/x?sslmode=disable"),
            SslMode::Disable
        );
        assert_eq!(ssl_mode("postgres://u@127.0.0.1/x"), SslMode::Disable);
        assert_eq!(ssl_mode("postgres://u@%2Ftmp/x"), SslMode::Disable);
    }

    #[test]
    fn custom_root_certificate_is_rejected() {
        assert!(
            remove_unsupported_options("postgres://h/x?sslmode=verify-full&sslrootcert=ca.pem")
                .is_err()
        );
    }
}
