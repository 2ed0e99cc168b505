//! TLS as a client of a store or of the proxy. Certificates are always verified.

pub use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

/// Builds a configuration that trusts the root certificates of the operating system.
///
/// # Errors
/// The reason why TLS can't be used.
pub fn client_config() -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    client_config_with(roots)
}

/// Builds a configuration that trusts no certificate, for connections without TLS.
///
/// # Errors
/// The reason why TLS can't be used.
pub fn client_config_without_roots() -> Result<ClientConfig, String> {
    client_config_with(RootCertStore::empty())
}

fn client_config_with(roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let client = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|_| "TLS can't be used, because no protocol version is available".to_owned())?;
    Ok(client.with_root_certificates(roots).with_no_client_auth())
}
