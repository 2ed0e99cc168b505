//! Environment variables of the replicas, including the master secret and free ports.

use std::{
    collections::BTreeMap,
    env, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use url::Url;

use super::{DevOptions, Error, GivenSettings, folders, given_settings::OWN_PREFIX, remembered};

/// Bind addresses of one replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub listen: SocketAddr,
    pub metrics: SocketAddr,
}

/// Settings that all replicas share: those of the caller, and values for the others.
pub(super) struct Settings {
    values: BTreeMap<String, String>,
    /// Working folder of the replicas.
    ///
    /// Its `.env` contains these settings. So the replicas don't read `.env` of the project, which
    /// can contain the settings of Docker Compose.
    directory: PathBuf,
}

impl Settings {
    pub fn new(
        directory: &Path,
        first: &Addresses,
        stores: Vec<(&'static str, String)>,
        given: &GivenSettings,
    ) -> Result<Self, Error> {
        let mut values: BTreeMap<_, _> = given
            .server_settings()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        values.extend(stores.into_iter().map(|(name, url)| (name.to_owned(), url)));
        if !given.has("LATCHKEY_SECRET") {
            let path = remembered::ensure_secret(directory)?;
            values.insert("LATCHKEY_SECRET_FILE".into(), path.display().to_string());
        }
        if !given.has("LATCHKEY_ISSUER") {
            let issuer = remembered::ensure_issuer(directory, &issuer_url(first.listen))?;
            values.insert("LATCHKEY_ISSUER".into(), issuer);
        }
        if !given.has("LATCHKEY_SMTP_URL") {
            values.insert("LATCHKEY_SMTP_URL".into(), smtp_url(directory)?);
        }
        Ok(Self {
            values,
            directory: directory.to_owned(),
        })
    }

    /// Iterates over names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the value of a variable.
    pub fn value(&self, variable: &str) -> Option<&str> {
        self.values.get(variable).map(String::as_str)
    }

    /// Adds the settings to the environment of one replica.
    pub fn apply(&self, command: &mut Command, addresses: &Addresses) {
        let variables = env::vars_os().map(|(name, _)| name);
        for name in variables.filter(|name| name.to_string_lossy().starts_with(OWN_PREFIX)) {
            command.env_remove(name);
        }
        command.envs(&self.values);
        command.env("LATCHKEY_LISTEN", addresses.listen.to_string());
        command.env("LATCHKEY_METRICS_LISTEN", addresses.metrics.to_string());
        command.current_dir(&self.directory);
    }
}

/// Returns the URL at which clients on this machine reach a listener.
pub(super) fn url(address: SocketAddr) -> String {
    format!("http://{}", reachable_address(address))
}

/// Returns the URL at which browsers on this machine reach a listener. They store the session cookie
/// of `localhost`, but not that of an IP address without TLS.
pub(super) fn issuer_url(address: SocketAddr) -> String {
    let address = reachable_address(address);
    if address.ip().is_loopback() {
        format!("http://localhost:{}", address.port())
    } else {
        url(address)
    }
}

/// Replaces an unspecified IP address by the loopback address.
pub(super) fn reachable_address(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        };
        address.set_ip(loopback);
    }
    address
}

/// Chooses the bind addresses of all replicas, and returns an error if a port is in use.
pub(super) fn choose_addresses(options: &DevOptions) -> Result<Vec<Addresses>, Error> {
    let mut listeners = Vec::new();
    (0..options.replicas.max(1))
        .map(|replica| {
            Ok(Addresses {
                listen: choose_address(options.listen, replica, "LATCHKEY_LISTEN", &mut listeners)?,
                metrics: choose_address(
                    options.metrics_listen,
                    replica,
                    "LATCHKEY_METRICS_LISTEN",
                    &mut listeners,
                )?,
            })
        })
        .collect()
}

/// Chooses a free address for a replica.
///
/// The listeners stay open until all addresses are chosen, so that port 0 gives distinct ports.
fn choose_address(
    base: SocketAddr,
    replica: u16,
    setting: &str,
    listeners: &mut Vec<TcpListener>,
) -> Result<SocketAddr, Error> {
    let mut address = base;
    if base.port() != 0 {
        let port = base.port().checked_add(replica);
        address.set_port(port.ok_or_else(|| {
            Error::new(format!("replica {} has no port after 65535", replica + 1))
                .hint(format!("set a lower port in {setting}"))
        })?);
    }
    let (listener, address) = bind(address, setting)?;
    listeners.push(listener);
    Ok(address)
}

/// Binds the address, and returns the listener with its actual address.
///
/// The error contains `setting`, with which the user can change the address.
pub(super) fn bind(address: SocketAddr, setting: &str) -> Result<(TcpListener, SocketAddr), Error> {
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr().map(|address| (listener, address)))
        .map_err(|reason| bind_error(address, setting, &reason))
}

fn bind_error(address: SocketAddr, setting: &str, reason: &io::Error) -> Error {
    let message = match reason.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {} on {} is already in use",
            address.port(),
            address.ip()
        ),
        _ => format!("can't listen on {address} ({reason})"),
    };
    Error::new(message).hint(format!("set another address or port with {setting}"))
}

/// Creates the folder of the emails if it doesn't exist, and returns its path.
pub(super) fn mailbox_folder(directory: &Path) -> Result<PathBuf, Error> {
    folders::create_private(&directory.join("mailbox"))
}

/// Returns the URL of the folder of the emails, which selects the server's file transport.
fn smtp_url(directory: &Path) -> Result<String, Error> {
    let folder = mailbox_folder(directory)?;
    Url::from_file_path(&folder)
        .map(String::from)
        .map_err(|()| Error::new(format!("the path {} isn't absolute", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_port_error_contains_port_and_setting() {
        let mut listeners = Vec::new();
        let used = choose_address(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            0,
            "LATCHKEY_LISTEN",
            &mut listeners,
        )
        .unwrap();
        let error = choose_address(used, 0, "LATCHKEY_LISTEN", &mut listeners)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&used.port().to_string()) && error.contains("LATCHKEY_LISTEN"),
            "{error}"
        );
        let last_port = SocketAddr::from(([127, 0, 0, 1], 65535));
        assert!(choose_address(last_port, 1, "LATCHKEY_LISTEN", &mut listeners).is_err());
    }
}
