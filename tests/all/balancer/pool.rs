//! Three replicas, and the real balancers in front of them, as `deploy/` configures them.
//!
//! A process that replaces another one has the same address.

use crate::{
    deployed::{Place, Proxy},
    loopback::own_address,
    test_server::TestServer,
};

/// A balancer with a configuration in `deploy/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Detects a stopped replica by a failed request.
    Nginx,
    /// Polls the readiness of each replica.
    HaProxy,
}

pub const KINDS: [Kind; 2] = [Kind::Nginx, Kind::HaProxy];

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

    /// Starts a balancer in front of all replicas.
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

    /// Stops one replica and then starts another one at its address, as a rolling restart does.
    pub async fn replace(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        assert_eq!(replica.stop(), Some(0), "the replica exits with 0");
        let address = replica.address.to_string();
        *replica = replica.replica_with(&[("LATCHKEY_LISTEN", &address)]).await;
    }
}
