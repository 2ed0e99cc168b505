//! Replicas run in time namespaces, in which the monotonic clock and the time since boot differ.

use std::{fs, process::Command};

use crate::{
    guarantee::fleet::{Fleet, REPLICA_COUNT},
    test_server::binary,
};

/// Offsets of the time since boot and of the monotonic clock, in seconds. A replica can start with
/// a larger or a smaller one than before.
const OFFSETS: [(u64, u64); 5] = [
    (86_400, 86_400),
    (0, 0),
    (100_000_000, 1_000),
    (3_600, 7_200),
    (1, 0),
];

/// Restarts one replica with the next offsets.
pub async fn shift(fleet: &mut Fleet, round: usize) {
    let replica = round % REPLICA_COUNT;
    let (boot_time, monotonic) = OFFSETS[round % OFFSETS.len()];
    fleet.replicas[replica].server.kill();
    let mut command = shifted_command(boot_time, monotonic);
    command.arg(binary());
    fleet.relaunch_with(replica, command);
    fleet.wait_until_ready().await;
}

/// Returns whether this process can create time namespaces.
pub fn can_shift() -> bool {
    const OFFSET: u64 = 1_000_000_000;
    let output = shifted_command(OFFSET, 0)
        .args(["cat", "/proc/uptime"])
        .output();
    let shifted = output
        .ok()
        .and_then(|output| parse_uptime(&String::from_utf8_lossy(&output.stdout)));
    let own = fs::read_to_string("/proc/uptime")
        .ok()
        .and_then(|text| parse_uptime(&text));
    shifted
        .zip(own)
        .is_some_and(|(shifted, own)| shifted - own > OFFSET as f64 / 2.0)
}

/// Returns a command that starts a program with these offsets. If the command is killed, the kernel
/// kills the program.
fn shifted_command(boot_time: u64, monotonic: u64) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--time", "--fork", "--kill-child"])
        .args(["--boottime", &boot_time.to_string()])
        .args(["--monotonic", &monotonic.to_string()]);
    command
}

/// Returns the time since boot in seconds.
fn parse_uptime(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}
