//! The proxies in front of an application, as `deploy/` configures them. Traefik and Envoy are Python
//! packages.

use std::{net::SocketAddr, process::Command};

use crate::{
    deployed::{Place, Proxy, program},
    tools,
};

/// A tested proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    Nginx,
    Caddy,
    HaProxy,
    Traefik,
    Envoy,
}

impl ProxyKind {
    /// Starts the proxy in front of an application, and waits until it listens.
    pub async fn start(self, server: SocketAddr, application: SocketAddr) -> Proxy {
        self.start_at("app.example.com", server, application).await
    }

    /// Starts the proxy for a host.
    pub async fn start_at(self, host: &str, server: SocketAddr, application: SocketAddr) -> Proxy {
        let place = Place::new();
        let upstreams = [
            ("latchkey:8000", server.to_string()),
            ("application:9000", application.to_string()),
        ];
        let command = match self {
            ProxyKind::Nginx => nginx(&place, host, upstreams),
            ProxyKind::Caddy => caddy(&place, host, upstreams),
            ProxyKind::HaProxy => haproxy(&place, upstreams),
            ProxyKind::Traefik => traefik(&place, upstreams),
            ProxyKind::Envoy => envoy(&place, server, application),
        };
        place.run(command).await
    }
}

/// Server and application: the names in the configuration files, and their addresses.
type Upstreams = [(&'static str, String); 2];

/// Includes the configuration from a main file, as on a real host.
fn nginx(place: &Place, host: &str, [server, application]: Upstreams) -> Command {
    let listen = ("listen 8080", format!("listen {}", place.address));
    let host = (" app.example.com;", format!(" {host};"));
    let changes = [server, application, listen, host];
    let site = place.adapted("nginx-forward-auth.conf", &changes);
    let http = format!(
        "access_log off; {} include {};",
        place.nginx_folders(),
        site.display()
    );
    let main = format!("worker_processes 1; events {{}} http {{ {http} }}");
    place.nginx(&place.write("nginx.conf", &main))
}

fn caddy(place: &Place, host: &str, [server, application]: Upstreams) -> Command {
    let listen = (
        "app.example.com {",
        format!("http://{host}:{} {{", place.address.port()),
    );
    let site = place.adapted("Caddyfile", &[server, application, listen]);
    let address = place.address.ip();
    let main = format!(
        "{{\n\tadmin off\n\tdefault_bind {address}\n}}\nimport {}\n",
        site.display()
    );
    let main = place.write("Main", &main);
    let mut command = Command::new(program("caddy"));
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(main);
    for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(variable, place.folder());
    }
    command
}

fn haproxy(place: &Place, [server, application]: Upstreams) -> Command {
    let script = place.adapted("haproxy.lua", &[server]);
    let listen = ("bind :8080", format!("bind {}", place.address));
    let script = ("/etc/haproxy/haproxy.lua", script.display().to_string());
    place.haproxy(&place.adapted("haproxy.cfg", &[application, listen, script]))
}

/// The static configuration of a host names the entry point and the file of `deploy/`.
fn traefik(place: &Place, [server, application]: Upstreams) -> Command {
    let dynamic = place.adapted("traefik.yml", &[server, application]);
    let main = format!(
        "entryPoints: {{ web: {{ address: \"{}\" }} }}\n\
         providers: {{ file: {{ filename: {} }} }}\n\
         global: {{ checkNewVersion: false, sendAnonymousUsage: false }}\n",
        place.address,
        dynamic.display()
    );
    let mut command = tools::python("traefik");
    command
        .arg("--configFile")
        .arg(place.write("main.yml", &main));
    command
}

fn envoy(place: &Place, server: SocketAddr, application: SocketAddr) -> Command {
    let address = |name: &str, port: u16| format!("address: {name}, port_value: {port} }}");
    let of = |address: SocketAddr| {
        format!(
            "address: {}, port_value: {} }}",
            address.ip(),
            address.port()
        )
    };
    let changes = [
        (address("0.0.0.0", 8080), of(place.address)),
        (address("latchkey", 8000), of(server)),
        (address("application", 9000), of(application)),
        // An IP address is no name to resolve.
        ("type: STRICT_DNS".to_owned(), "type: STATIC".to_owned()),
    ];
    let changes = changes
        .each_ref()
        .map(|(old, new)| (old.as_str(), new.clone()));
    let mut command = tools::python("envoy");
    command
        .args([
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "-l",
            "warn",
            "-c",
        ])
        .arg(place.adapted("envoy.yaml", &changes));
    command
}
