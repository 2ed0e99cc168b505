//! What processes have used, as Linux tells it in `/proc`.

use std::{fs, time::Instant};

use crate::Outcome;

/// Microseconds of one tick of `/proc/PID/stat`, which counts hundredths of a second on every
/// Linux.
const TICK: u64 = 10_000;

/// CPU time in microseconds, user and system, and commands, up to a moment.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// The moment.
    pub at: Instant,
    /// The gateway, or what stands in its place.
    pub server: u64,
    /// Redis.
    pub redis: u64,
    /// PostgreSQL with all its processes, also those that have ended.
    pub postgres: u64,
    /// Commands to Redis, those that its scripts run included.
    pub commands: u64,
}

/// What was used between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Seconds between them.
    pub seconds: f64,
    /// Microseconds of the gateway, or of what stands in its place.
    pub server: f64,
    /// Of Redis.
    pub redis: f64,
    /// Of PostgreSQL.
    pub postgres: f64,
    /// Commands to Redis.
    pub commands: f64,
}

impl Used {
    /// What was used since `earlier`.
    pub fn since(self, earlier: Used) -> Spent {
        let difference = |now: u64, then: u64| now.saturating_sub(then) as f64;
        Spent {
            seconds: (self.at - earlier.at).as_secs_f64(),
            server: difference(self.server, earlier.server),
            redis: difference(self.redis, earlier.redis),
            postgres: difference(self.postgres, earlier.postgres),
            // The look itself was one, the time before.
            commands: difference(self.commands, earlier.commands) - 1.0,
        }
    }
}

/// One line of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    own: u64,
    /// Of children that were waited for.
    ended: u64,
}

/// `123 (name, which may hold anything) S 1 …`; the numbers are those of proc(5).
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = |first: usize| Some((number(first)? + number(first + 1)?) * TICK);
    Some(Stat {
        parent: number(4)?.try_into().ok()?,
        own: ticks(14)?,
        ended: ticks(16)?,
    })
}

/// CPU time of one process, in microseconds.
pub fn of_process(pid: u32) -> u64 {
    stat(pid).map_or(0, |stat| stat.own)
}

/// CPU time of the threads that live, in microseconds, to the nanosecond: for a process that does
/// next to nothing.
pub fn exact(pid: u32) -> f64 {
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

/// CPU time of a process and its children, in microseconds.
pub fn of_family(pid: u32) -> u64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?));
    let children: u64 = stats
        .filter(|stat| stat.parent == pid)
        .map(|stat| stat.own)
        .sum();
    children + stat(pid).map_or(0, |stat| stat.own + stat.ended)
}

/// Bytes that are in memory now.
pub fn resident(pid: u32) -> Outcome<u64> {
    status(pid, "VmRSS:")
}

/// The most bytes that were in memory since [`forget_peak`].
pub fn peak(pid: u32) -> Outcome<u64> {
    status(pid, "VmHWM:")
}

/// From here on the peak is counted anew.
pub fn forget_peak(pid: u32) {
    // Where this is refused the peak is that of the whole life.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn status(pid: u32, name: &str) -> Outcome<u64> {
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
