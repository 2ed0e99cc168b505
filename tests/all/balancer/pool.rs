//! Three replicas, each at an address of its own that stays when the process is replaced, and the
//! real balancers in front of them, as `deploy/` configures them.

use crate::{
    deployed::{Place, Proxy},
    loopback::own_address,
    test_server::TestServer,
};

/// A balancer that we ship a configuration for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Learns that a replica is gone from a request that failed.
    Nginx,
    /// Asks each replica all the time whether it is ready.
    HaProxy,
}

pub const KINDS: [Kind; 2] = [Kind::Nginx, Kind::HaProxy];

/// Interchangeable gateways.
pub struct Pool {
    pub replicas: Vec<TestServer>,
}

impl Pool {
    pub async fn with(changes: &[(&str, &str)]) -> Pool {
        let address = own_address().to_string();
        let mut replicas =
            vec![TestServer::with(&[changes, &[("LATCHKEY_LISTEN", &address)]].concat()).await];
        for _ in 0..2 {
            let replica = replicas[0]
                .replica_with(&[("LATCHKEY_LISTEN", &own_address().to_string())])
                .await;
            replicas.push(replica);
        }
        Pool { replicas }
    }

    /// A balancer in front of all of them.
    pub async fn behind(&self, kind: Kind) -> Proxy {
        let place = Place::new();
        let listen = place.address.to_string();
        let names = ["latchkey-1:8000", "latchkey-2:8000", "latchkey-3:8000"];
        let servers = names
            .into_iter()
            .zip(&self.replicas)
            .map(|(name, replica)| (name, replica.address.to_string()));
        let mut changes: Vec<_> = servers.collect();
        let command = match kind {
            Kind::Nginx => {
                let folders = format!("server_tokens off; {}", place.nginx_folders());
                changes.extend([
                    ("listen 8080", format!("listen {listen}")),
                    ("server_tokens off;", folders),
                ]);
                place.nginx(&place.adapted("nginx.conf", &changes))
            }
            Kind::HaProxy => {
                changes.push(("bind :8080", format!("bind {listen}")));
                place.haproxy(&place.adapted("haproxy-balancer.cfg", &changes))
            }
        };
        place.run(command).await
    }

    /// As a rolling restart does it: this one is asked to end, and when it has, another one takes
    /// its place.
    pub async fn replace(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        assert_eq!(replica.stop(), Some(0), "it ends by itself");
        let address = replica.address.to_string();
        *replica = replica.replica_with(&[("LATCHKEY_LISTEN", &address)]).await;
    }
}
