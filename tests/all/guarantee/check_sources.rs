//! The sources of checks, as the replicas count them since their last start.

use futures_util::future::join_all;

use super::fleet::Fleet;
use crate::raw_http;

/// The values of the label `source` in `/metrics`.
const CHECK_SOURCES: [&str; 4] = ["memory", "redis", "postgres", "unavailable"];

/// The number of checks per source.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckCounts([u64; CHECK_SOURCES.len()]);

impl CheckCounts {
    /// Reads the counters of all replicas.
    pub async fn read(fleet: &Fleet) -> CheckCounts {
        let pages = join_all(fleet.replicas.iter().map(|replica| {
            let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            raw_http::exchange(replica.server.metrics, request)
        }));
        let pages = pages.await.concat();
        CheckCounts(CHECK_SOURCES.map(|source| sum_counters(&pages, source)))
    }

    pub fn memory_count(&self) -> u64 {
        self.0[0]
    }

    /// Returns the share of each source in percent.
    pub fn shares(&self) -> [f64; CHECK_SOURCES.len()] {
        let total = self.0.iter().sum::<u64>().max(1) as f64;
        self.0.map(|count| count as f64 * 100.0 / total)
    }
}

fn sum_counters(pages: &str, source: &str) -> u64 {
    let name = format!("latchkey_checks_total{{source=\"{source}\"}} ");
    pages
        .lines()
        .filter_map(|line| line.strip_prefix(&name)?.trim().parse::<u64>().ok())
        .sum()
}
