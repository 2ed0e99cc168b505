//! Who answered the checks: what the replicas count, each since its last start.

use futures_util::future::join_all;

use super::fleet::Fleet;
use crate::raw_http;

/// The rungs of the ladder that a check goes down, as `/metrics` calls them.
const RUNGS: [&str; 4] = ["memory", "redis", "postgres", "unavailable"];

/// Checks that ended on each rung.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rungs([u64; RUNGS.len()]);

impl Rungs {
    /// Of all replicas.
    pub async fn of(fleet: &Fleet) -> Rungs {
        let pages = join_all(fleet.replicas.iter().map(|replica| {
            let ask = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            raw_http::exchange(replica.server.metrics, ask)
        }));
        let pages = pages.await.concat();
        Rungs(RUNGS.map(|rung| count(&pages, rung)))
    }

    /// Those that asked no store.
    pub fn by_memory(&self) -> u64 {
        self.0[0]
    }

    /// The share of a rung, in percent.
    pub fn shares(&self) -> [f64; RUNGS.len()] {
        let all = self.0.iter().sum::<u64>().max(1) as f64;
        self.0.map(|count| count as f64 * 100.0 / all)
    }
}

fn count(pages: &str, rung: &str) -> u64 {
    let name = format!("latchkey_checks_total{{source=\"{rung}\"}} ");
    pages
        .lines()
        .filter_map(|line| line.strip_prefix(&name)?.trim().parse::<u64>().ok())
        .sum()
}
