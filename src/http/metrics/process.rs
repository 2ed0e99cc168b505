//! Process metrics under the standard Prometheus names, read from the system for each scrape.

/// Renders the process metrics in the Prometheus text format; empty on systems without `/proc`.
pub fn render() -> String {
    #[cfg(target_os = "linux")]
    return linux::render(&linux::read());
    #[cfg(not(target_os = "linux"))]
    String::new()
}

#[cfg(target_os = "linux")]
mod linux {
    use procfs::process::Process;
    use rustix::process::{Resource, getrlimit};

    /// A metric with its value, which is absent if the system doesn't provide it.
    pub struct ProcessMetric {
        pub name: &'static str,
        kind: &'static str,
        help: &'static str,
        pub value: Option<f64>,
    }

    /// Reads all metrics. Each is independent, because a sandbox can hide a part of `/proc`.
    pub fn read() -> [ProcessMetric; 6] {
        let process = Process::myself().ok();
        let process = process.as_ref();
        let stat = process.and_then(|process| process.stat().ok());
        let stat = stat.as_ref();
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let boot_time = procfs::boot_time_secs().ok();
        [
            ProcessMetric {
                name: "process_cpu_seconds_total",
                kind: "counter",
                help: "User and system CPU time of the process in seconds",
                value: stat.map(|stat| seconds(stat.utime + stat.stime)),
            },
            ProcessMetric {
                name: "process_resident_memory_bytes",
                kind: "gauge",
                help: "Resident memory of the process in bytes",
                value: stat.map(|stat| (stat.rss * procfs::page_size()) as f64),
            },
            ProcessMetric {
                name: "process_open_fds",
                kind: "gauge",
                help: "Open file descriptors of the process",
                value: process
                    .and_then(|process| process.fd_count().ok())
                    .map(|count| count as f64),
            },
            ProcessMetric {
                name: "process_max_fds",
                kind: "gauge",
                help: "Maximum number of open file descriptors of the process",
                value: getrlimit(Resource::Nofile)
                    .current
                    .map(|limit| limit as f64),
            },
            ProcessMetric {
                name: "process_threads",
                kind: "gauge",
                help: "Threads of the process",
                value: stat.map(|stat| stat.num_threads as f64),
            },
            ProcessMetric {
                name: "process_start_time_seconds",
                kind: "gauge",
                help: "Unix time of the process start in seconds",
                value: boot_time
                    .zip(stat)
                    .map(|(boot_time, stat)| boot_time as f64 + seconds(stat.starttime)),
            },
        ]
    }

    /// Renders the metrics that have a value.
    pub fn render(metrics: &[ProcessMetric]) -> String {
        let metrics = metrics.iter().filter_map(|metric| {
            let ProcessMetric {
                name, kind, help, ..
            } = metric;
            let value = metric.value?;
            Some(format!(
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"
            ))
        });
        metrics.collect()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::linux::{read, render};

    #[test]
    fn missing_value_hides_only_its_metric() {
        let names: Vec<_> = read().iter().map(|metric| metric.name).collect();
        for missing in &names {
            let mut metrics = read();
            for metric in &mut metrics {
                metric.value = (metric.name != *missing).then_some(1.5);
            }
            let page = render(&metrics);
            for name in &names {
                assert_eq!(page.contains(&format!("\n{name} 1.5\n")), name != missing);
                assert_eq!(page.contains(&format!("# HELP {name} ")), name != missing);
            }
        }
    }
}
