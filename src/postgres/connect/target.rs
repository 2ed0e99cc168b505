//! The hosts of `DATABASE_URL`, and how to connect to one of them.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{
    Config,
    config::{Host, TargetSessionAttrs},
};

use crate::postgres::tls;

/// Idle time before the first TCP keepalive. Firewalls drop connections that are idle for minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

const DEFAULT_PORT: u16 = 5432;

/// The parsed `DATABASE_URL`, and the TLS connector for it.
pub(in crate::postgres) struct Target {
    config: Config,
    tls: tls::Connector,
}

/// One address of one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostAddress {
    /// The position of the host in the URL.
    index: usize,
    /// The IP address; `None` for a Unix socket or an unresolved host.
    ip: Option<IpAddr>,
    name: String,
    port: u16,
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        match self.ip {
            Some(ip) if ip.to_string() != self.name => write!(f, " ({ip})")?,
            _named => {}
        }
        match self.port {
            DEFAULT_PORT => Ok(()),
            port => write!(f, " on port {port}"),
        }
    }
}

impl Target {
    /// Parses a URL that can contain a password.
    ///
    /// # Errors
    /// The reason why the URL is invalid, without the URL.
    pub fn parse_secret(url: &SecretString) -> Result<Target, String> {
        Target::parse(url.expose_secret())
    }

    /// Parses a URL.
    ///
    /// # Errors
    /// The reason why the URL is invalid, without the URL.
    pub fn parse(url: &str) -> Result<Target, String> {
        let invalid = "must be a URL, for example `postgres://USER:PASSWORD@HOST/DATABASE`";
        let mut config = Config::from_str(&tls::remove_unsupported_options(url)?)
            .map_err(|_| invalid.to_owned())?;
        let (hosts, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
        let count = hosts.max(addresses);
        let has_one_each = |number| number == 0 || number == count;
        let ports = config.get_ports().len();
        if count == 0 || !has_one_each(hosts) || !has_one_each(addresses) {
            return Err(invalid.to_owned());
        }
        if ports > 1 && ports != count {
            return Err("must have one port, or one per host".to_owned());
        }
        // The locator checks the role of the server.
        config.target_session_attrs(TargetSessionAttrs::Any);
        config.application_name("latchkey");
        if !url.contains("keepalives_idle") {
            config.keepalives_idle(KEEPALIVE_IDLE);
        }
        Ok(Target {
            tls: tls::build_connector(&mut config)?,
            config,
        })
    }

    /// Returns the hosts, whose names are not resolved.
    pub(super) fn hosts(&self) -> Vec<HostAddress> {
        let (names, addresses) = (self.config.get_hosts(), self.config.get_hostaddrs());
        let host = |index| {
            let ip: Option<IpAddr> = addresses.get(index).copied();
            let name = match names.get(index) {
                Some(Host::Tcp(name)) => name.clone(),
                #[cfg(unix)]
                Some(Host::Unix(folder)) => folder.display().to_string(),
                None => ip.map(|ip| ip.to_string()).unwrap_or_default(),
            };
            let ports = self.config.get_ports();
            let port = ports.get(index).or(ports.first()).copied();
            HostAddress {
                index,
                ip,
                name,
                port: port.unwrap_or(DEFAULT_PORT),
            }
        };
        (0..names.len().max(addresses.len())).map(host).collect()
    }

    /// Returns the addresses of a host.
    pub(super) async fn resolve(&self, host: &HostAddress) -> std::io::Result<Vec<HostAddress>> {
        let is_named = matches!(self.config.get_hosts().get(host.index), Some(Host::Tcp(_)));
        if host.ip.is_some() || !is_named {
            return Ok(vec![host.clone()]);
        }
        let found = tokio::net::lookup_host((host.name.as_str(), host.port)).await?;
        Ok(found
            .map(|socket| HostAddress {
                ip: Some(socket.ip()),
                ..host.clone()
            })
            .collect())
    }

    /// Returns whether the host name of an address still has this address.
    pub(super) async fn leads_to(&self, address: &HostAddress) -> bool {
        let hosts = self.hosts();
        let Some(host) = hosts.iter().find(|host| host.index == address.index) else {
            return false;
        };
        let resolved = self.resolve(host).await;
        resolved.is_ok_and(|addresses| addresses.contains(address))
    }

    /// Returns the configuration of a connection to one address.
    pub(super) fn config_of(&self, address: &HostAddress) -> (Config, tls::Connector) {
        let mut config = copy_without_hosts(&self.config);
        if let Some(host) = self.config.get_hosts().get(address.index) {
            match host {
                Host::Tcp(name) => config.host(name),
                #[cfg(unix)]
                Host::Unix(folder) => config.host_path(folder),
            };
        }
        if let Some(ip) = address.ip {
            config.hostaddr(ip);
        }
        config.port(address.port);
        (config, self.tls.clone())
    }
}

/// Copies every option except the hosts, because the driver can't remove a host.
fn copy_without_hosts(from: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = from.get_user() {
        config.user(user);
    }
    if let Some(password) = from.get_password() {
        config.password(password);
    }
    if let Some(name) = from.get_dbname() {
        config.dbname(name);
    }
    if let Some(options) = from.get_options() {
        config.options(options);
    }
    if let Some(name) = from.get_application_name() {
        config.application_name(name);
    }
    if let Some(timeout) = from.get_tcp_user_timeout() {
        config.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = from.get_keepalives_interval() {
        config.keepalives_interval(interval);
    }
    if let Some(retries) = from.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }
    config
        .ssl_mode(from.get_ssl_mode())
        .ssl_negotiation(from.get_ssl_negotiation())
        .channel_binding(from.get_channel_binding())
        .keepalives(from.get_keepalives())
        .keepalives_idle(from.get_keepalives_idle())
        .target_session_attrs(from.get_target_session_attrs());
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<String> {
        let target = Target::parse(url).unwrap();
        target.hosts().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_host_has_its_port() {
        assert_eq!(
            hosts("postgres://u@one,two:6000/x?sslmode=disable"),
            ["one", "two on port 6000"]
        );
        assert_eq!(hosts("postgres://u@%2Ftmp/x"), ["/tmp"]);
        assert_eq!(
            hosts("host=one,two port=6000 user=u"),
            ["one on port 6000", "two on port 6000"]
        );
        assert_eq!(
            hosts("host=one hostaddr=127.0.0.1 user=u"),
            ["one (127.0.0.1)"]
        );
    }

    #[test]
    fn connection_has_all_options_and_one_host() {
        let url = "postgres://u:p@one,two:6000/x?options=-c%20a%3Db&sslmode=disable\
            &keepalives_idle=7&keepalives_interval=8&keepalives_retries=9&tcp_user_timeout=10\
            &channel_binding=require&application_name=other";
        let target = Target::parse(url).unwrap();
        let second = &target.hosts()[1];
        let (config, _) = target.config_of(second);
        assert_eq!(config.get_hosts(), [Host::Tcp("two".into())]);
        assert_eq!(config.get_ports(), [6000]);
        // `Debug` of the driver contains every option except the password.
        let mut expected = Config::from_str(&url.replace("one,two:6000", "two:6000")).unwrap();
        expected.target_session_attrs(TargetSessionAttrs::Any);
        expected.application_name("latchkey");
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
        assert_eq!(config.get_password(), Some(&b"p"[..]));
    }

    #[test]
    fn url_without_hosts_is_rejected() {
        for url in ["postgres://", "mysql://h/x", "host=a,b port=1,2,3 user=u"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
