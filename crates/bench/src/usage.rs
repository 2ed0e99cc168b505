//! CPU time and memory of processes, from `/proc` of Linux.

use std::{fs, time::Instant};

use crate::Outcome;

/// Microseconds per tick of `/proc/PID/stat`. Linux counts hundredths of a second on all platforms.
const TICK_MICROS: u64 = 10_000;

/// CPU time, user and system, in microseconds, and the number of Redis commands at one time.
#[derive(Debug, Clone, Copy)]
pub struct UsageSnapshot {
    pub at: Instant,
    /// CPU time of the server or the baseline.
    pub server: u64,
    /// CPU time of Redis.
    pub redis: u64,
    /// CPU time of PostgreSQL with all its processes, including terminated ones.
    pub postgres: u64,
    /// Commands to Redis, including those of scripts.
    pub commands: u64,
}

/// The usage between two snapshots.
#[derive(Debug, Clone, Copy)]
pub struct UsageDelta {
    /// Seconds between the snapshots.
    pub seconds: f64,
    /// CPU microseconds of the server or the baseline.
    pub server: f64,
    /// CPU microseconds of Redis.
    pub redis: f64,
    /// CPU microseconds of PostgreSQL.
    pub postgres: f64,
    /// Commands to Redis.
    pub commands: f64,
}

impl UsageSnapshot {
    /// Returns the usage since an earlier snapshot.
    pub fn since(self, earlier: UsageSnapshot) -> UsageDelta {
        let difference = |now: u64, then: u64| now.saturating_sub(then) as f64;
        UsageDelta {
            seconds: (self.at - earlier.at).as_secs_f64(),
            server: difference(self.server, earlier.server),
            redis: difference(self.redis, earlier.redis),
            postgres: difference(self.postgres, earlier.postgres),
            // The earlier snapshot itself sent one command.
            commands: difference(self.commands, earlier.commands) - 1.0,
        }
    }
}

/// The used fields of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    own: u64,
    /// CPU time of children that terminated and were waited for.
    waited_children: u64,
}

/// Parses `123 (name) S 1 …`. The name can contain any character. The field numbers are those of
/// proc(5).
fn read_stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = |first: usize| Some((number(first)? + number(first + 1)?) * TICK_MICROS);
    Some(Stat {
        parent: number(4)?.try_into().ok()?,
        own: ticks(14)?,
        waited_children: ticks(16)?,
    })
}

/// Returns the CPU time of a process, in microseconds.
pub fn process_cpu_micros(pid: u32) -> u64 {
    read_stat(pid).map_or(0, |stat| stat.own)
}

/// Returns the CPU time of the live threads, in microseconds. The nanosecond resolution suits a
/// nearly idle process.
pub fn precise_cpu_micros(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let nanos =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    nanos
        .filter_map(|text| text.split(' ').next()?.parse::<f64>().ok())
        .sum::<f64>()
        / 1000.0
}

/// Returns the CPU time of a process and its children, in microseconds.
pub fn process_tree_cpu_micros(pid: u32) -> u64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| read_stat(entry.file_name().to_str()?.parse().ok()?));
    let children: u64 = stats
        .filter(|stat| stat.parent == pid)
        .map(|stat| stat.own)
        .sum();
    children + read_stat(pid).map_or(0, |stat| stat.own + stat.waited_children)
}

/// Returns the resident memory in bytes.
pub fn resident(pid: u32) -> Outcome<u64> {
    read_status_bytes(pid, "VmRSS:")
}

/// Returns the maximum of the resident memory since [`reset_peak`], in bytes.
pub fn peak(pid: u32) -> Outcome<u64> {
    read_status_bytes(pid, "VmHWM:")
}

/// Resets the maximum of the resident memory.
pub fn reset_peak(pid: u32) {
    // If the kernel rejects the reset, the maximum covers the lifetime of the process.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn read_status_bytes(pid: u32, name: &str) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes = text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()
    });
    let kilobytes: u64 =
        kilobytes.ok_or("/proc doesn't contain the memory of a process; this requires Linux")?;
    Ok(kilobytes * 1024)
}
