//! The environment of the replicas, with a secret and free ports.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use url::Url;

use super::{DevOptions, Error, GivenSettings, folders, given_settings::OWN_PREFIX};

/// One replica's two addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub listen: SocketAddr,
    pub metrics: SocketAddr,
}

/// The settings that all replicas share, by name.
pub(super) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    pub fn new(
        directory: &Path,
        first: &Addresses,
        stores: Vec<(&'static str, String)>,
        given: &GivenSettings,
    ) -> Result<Self, Error> {
        let mut settings = stores;
        settings.extend([
            (
                "LATCHKEY_SECRET_FILE",
                secret(directory)?.display().to_string(),
            ),
            ("LATCHKEY_ISSUER", issuer(directory, first)?),
            ("LATCHKEY_SMTP_URL", smtp_url(directory)?),
        ]);
        // The settings of the caller override these, also the secret itself over its file.
        settings.retain(|(name, _)| !given.has(name.trim_end_matches("_FILE")));
        Ok(Self(settings))
    }

    /// By name, for others than the replicas.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Puts them into the environment of one replica.
    pub fn apply(&self, command: &mut Command, own: &Addresses) {
        let variables = env::vars_os().map(|(name, _)| name);
        for own in variables.filter(|name| name.to_string_lossy().starts_with(OWN_PREFIX)) {
            command.env_remove(own);
        }
        command.envs(self.0.iter().map(|(name, value)| (name, value)));
        command.env("LATCHKEY_LISTEN", own.listen.to_string());
        command.env("LATCHKEY_METRICS_LISTEN", own.metrics.to_string());
    }
}

/// The URL of a listener for clients on this machine.
pub(super) fn url(address: SocketAddr) -> String {
    format!("http://{}", reachable(address))
}

/// A listener on every address is reached through the loopback.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
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

/// The addresses of all replicas, each of them free at this moment.
pub(super) fn addresses(options: &DevOptions) -> Result<Vec<Addresses>, Error> {
    let mut held = Vec::new();
    (0..options.replicas.max(1))
        .map(|replica| {
            Ok(Addresses {
                listen: free(options.listen, replica, "LATCHKEY_LISTEN", &mut held)?,
                metrics: free(
                    options.metrics_listen,
                    replica,
                    "LATCHKEY_METRICS_LISTEN",
                    &mut held,
                )?,
            })
        })
        .collect()
}

/// Listeners are held until all addresses are known, so that port 0 gives each replica another
/// port.
fn free(
    base: SocketAddr,
    replica: u16,
    setting: &str,
    held: &mut Vec<TcpListener>,
) -> Result<SocketAddr, Error> {
    let mut address = base;
    if base.port() != 0 {
        let port = base.port().checked_add(replica);
        address.set_port(port.ok_or_else(|| {
            Error::new(format!("replica {} has no port after 65535", replica + 1))
                .hint(format!("set a lower port in {setting}"))
        })?);
    }
    let (listener, address) = listen(address, setting)?;
    held.push(listener);
    Ok(address)
}

/// Binds the address, and returns the one that port 0 stands for. The error names `setting`, with
/// which the caller can choose another address.
pub(super) fn listen(
    address: SocketAddr,
    setting: &str,
) -> Result<(TcpListener, SocketAddr), Error> {
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr().map(|address| (listener, address)))
        .map_err(|reason| bind_error(address, setting, &reason))
}

fn bind_error(address: SocketAddr, setting: &str, reason: &io::Error) -> Error {
    let problem = match reason.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {} on {} is already in use",
            address.port(),
            address.ip()
        ),
        _ => format!("can't listen on {address} ({reason})"),
    };
    Error::new(problem).hint(format!("set another address or port with {setting}"))
}

/// The folder of the emails.
pub(super) fn mailbox(directory: &Path) -> Result<PathBuf, Error> {
    folders::private(&directory.join("mailbox"))
}

/// The same folder as the file transport of the server reads it.
fn smtp_url(directory: &Path) -> Result<String, Error> {
    let folder = mailbox(directory)?;
    Url::from_file_path(&folder)
        .map(String::from)
        .map_err(|()| Error::new(format!("the path {} isn't absolute", folder.display())))
}

/// The URL of the first run. The database stores it, so that a later run can use another port.
fn issuer(directory: &Path, first: &Addresses) -> Result<String, Error> {
    let path = directory.join("issuer");
    if let Ok(issuer) = fs::read_to_string(&path) {
        return Ok(issuer);
    }
    let issuer = url(first.listen);
    fs::write(&path, &issuer).map_err(Error::cannot("write", &path))?;
    Ok(issuer)
}

/// Generated once, because it encrypts values in the database.
fn secret(directory: &Path) -> Result<PathBuf, Error> {
    let path = directory.join("secret");
    if !path.exists() {
        let new = directory.join("secret.new");
        write_secret(&new).map_err(Error::cannot("write", &new))?;
        fs::rename(&new, &path).map_err(Error::cannot("write", &path))?;
    }
    Ok(path)
}

fn write_secret(path: &Path) -> io::Result<()> {
    let mut random = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", BASE64_STANDARD.encode(random))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_secret_is_made_once_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = secret(folder.path()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(BASE64_STANDARD.decode(text.trim()).unwrap().len(), 32);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_to_string(secret(folder.path()).unwrap()).unwrap(),
            text
        );
    }

    #[test]
    fn ports_follow_the_first_and_a_taken_one_is_named() {
        let mut held = Vec::new();
        let taken = free(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            0,
            "LATCHKEY_LISTEN",
            &mut held,
        )
        .unwrap();
        let error = free(taken, 0, "LATCHKEY_LISTEN", &mut held)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&taken.port().to_string()) && error.contains("LATCHKEY_LISTEN"),
            "{error}"
        );
        let last = SocketAddr::from(([127, 0, 0, 1], 65535));
        assert!(free(last, 1, "LATCHKEY_LISTEN", &mut held).is_err());
    }
}
