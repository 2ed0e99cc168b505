//! Process metrics under the standard Prometheus names, read from the system for each scrape.

/// Renders the process metrics in the Prometheus text format; empty on systems without `/proc`.
pub fn render() -> String {
    #[cfg(target_os = "linux")]
    return linux::render().unwrap_or_default();
    #[cfg(not(target_os = "linux"))]
    String::new()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fmt::{Display, Write};

    use procfs::{ProcResult, process::Process};
    use rustix::process::{Resource, getrlimit};

    pub fn render() -> ProcResult<String> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let mut page = String::new();
        let mut add = |name: &str, kind: &str, help: &str, value: &dyn Display| {
            write!(
                page,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"
            )
            .expect("writing to a string succeeds");
        };
        add(
            "process_cpu_seconds_total",
            "counter",
            "User and system CPU time of the process in seconds",
            &seconds(stat.utime + stat.stime),
        );
        add(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory of the process in bytes",
            &(stat.rss * procfs::page_size()),
        );
        add(
            "process_open_fds",
            "gauge",
            "Open file descriptors of the process",
            &process.fd_count()?,
        );
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            add(
                "process_max_fds",
                "gauge",
                "Maximum number of open file descriptors of the process",
                &limit,
            );
        }
        add(
            "process_threads",
            "gauge",
            "Threads of the process",
            &stat.num_threads,
        );
        add(
            "process_start_time_seconds",
            "gauge",
            "Unix time of the process start in seconds",
            &(procfs::boot_time_secs()? as f64 + seconds(stat.starttime)),
        );
        Ok(page)
    }
}
