//! TLS to PostgreSQL: always verified, and required unless the server is on this machine or the
//! address says otherwise.

use latchkey_domain::host;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Opens TLS connections.
pub type Connector = MakeRustlsConnect;

/// Managed providers hand out addresses with options that the driver does not know. `verify-full`
/// and `verify-ca` are what we do anyway; a root certificate of one's own belongs into the system's
/// store or `SSL_CERT_FILE`.
pub fn without_foreign_options(url: &str) -> Result<String, String> {
    let Some((address, options)) = url.split_once('?') else {
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
    Ok(format!("{address}?{}", kept.join("&")))
}

/// A connector with the roots of the operating system. `prefer`, the driver's default, becomes
/// `require` for servers elsewhere: it would fall back to plain text whenever somebody in between
/// wants it to.
pub fn connector(settings: &mut tokio_postgres::Config) -> Result<Connector, String> {
    let elsewhere = !settings.get_hosts().iter().all(is_this_machine);
    if settings.get_ssl_mode() == SslMode::Prefer {
        settings.ssl_mode(if elsewhere {
            SslMode::Require
        } else {
            SslMode::Disable
        });
    }
    let mut roots = RootCertStore::empty();
    if settings.get_ssl_mode() != SslMode::Disable {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let client = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|_| "TLS can't be used, because no protocol version is available".to_owned())?;
    Ok(MakeRustlsConnect::new(
        client.with_root_certificates(roots).with_no_client_auth(),
    ))
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

    fn mode(url: &str) -> SslMode {
        let mut settings =
            tokio_postgres::Config::from_str(&without_foreign_options(url).unwrap()).unwrap();
        connector(&mut settings).unwrap();
        settings.get_ssl_mode()
    }

    #[test]
    fn tls_is_required_off_this_machine_unless_the_address_says_otherwise() {
        assert_eq!(mode("postgres://u@db.example.com/x"), SslMode::Require);
        assert_eq!(
            mode("postgres://u@db.example.com/x?sslmode=verify-full&connect_timeout=3"),
            SslMode::Require
        );
        assert_eq!(
            mode("postgres://u@localhost,db.example.com/x"),
            SslMode::Require
        );
        assert_eq!(
            mode("postgres://u@db.example.com/x?sslmode=disable"),
            SslMode::Disable
        );
        assert_eq!(mode("postgres://u@127.0.0.1/x"), SslMode::Disable);
        assert_eq!(mode("postgres://u@%2Ftmp/x"), SslMode::Disable);
    }

    #[test]
    fn a_root_certificate_of_ones_own_is_not_silently_ignored() {
        assert!(
            without_foreign_options("postgres://h/x?sslmode=verify-full&sslrootcert=ca.pem")
                .is_err()
        );
    }
}
