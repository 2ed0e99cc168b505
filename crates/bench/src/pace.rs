//! Requests at a fixed rate, independent of the responses.
//!
//! `wrk` sends the next request after the previous response, so a stall of the server hides the
//! requests of that time (coordinated omission). Here, each request has a fixed due time. Its
//! latency counts from that time, even if it waits for a connection.
//!
//! One thread serves all connections, with one request at a time on each. It sleeps in `poll`,
//! which returns within microseconds of the due time unless the machine is busy.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{Outcome, interrupt};

/// The run fails if no response arrives for this long while no request can be sent.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Exceeds every response to the measured requests.
const MAX_RESPONSE_BYTES: usize = 4096;

/// The requests of a run, with their destination and rate.
pub struct Plan<'a> {
    /// Addresses of the servers. Connections are distributed evenly over them.
    pub addresses: &'a [SocketAddr],
    /// The requests, in order. The first one follows the last one.
    pub requests: &'a [String],
    /// Total number of requests.
    pub count: usize,
    /// Maximum number of concurrent requests.
    pub connections: usize,
    /// Requests per second. `None` sends each request as soon as a connection is idle.
    pub rate: Option<f64>,
}

/// A response with its timing.
#[derive(Debug, Clone, Copy)]
pub struct TimedResponse {
    /// Index of the request, from 0.
    pub request: usize,
    /// Due time of the request, from the start of the run.
    pub due: Duration,
    /// Time from the due time to the response.
    pub took: Duration,
    pub status: u16,
}

/// All responses of a run, whatever their status.
pub struct Recording {
    /// Start of the run, from which due times are counted.
    pub began: Instant,
    /// The responses, in the order of their arrival.
    pub responses: Vec<TimedResponse>,
}

/// The latencies and the rate of a run.
pub struct LatencyReport {
    /// Times from the due time to the response, in microseconds, sorted.
    pub micros: Vec<u32>,
    /// Responses per second.
    pub rate: f64,
}

impl LatencyReport {
    /// Returns a percentile of the latencies in microseconds, or 0 if there are none.
    pub fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.micros, percent).map_or(0.0, f64::from)
    }
}

/// Returns a percentile of sorted values (nearest rank).
pub fn percentile<T: Copy>(sorted: &[T], percent: f64) -> Option<T> {
    let at = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied()
}

struct Connection {
    stream: TcpStream,
    /// The request in flight, and its due time.
    request: usize,
    due: Duration,
    response: Vec<u8>,
}

impl Connection {
    fn open(to: SocketAddr) -> Outcome<Connection> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            request: 0,
            due: Duration::ZERO,
            response: Vec::with_capacity(MAX_RESPONSE_BYTES),
        })
    }

    fn send(&mut self, request: usize, due: Duration, text: &str) -> Outcome<()> {
        (self.request, self.due) = (request, due);
        self.response.clear();
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// Reads the available bytes. Returns the status when the response is complete.
    fn receive(&mut self) -> Outcome<Option<u16>> {
        let mut buffer = [0; MAX_RESPONSE_BYTES];
        let length = self.stream.read(&mut buffer)?;
        self.response.extend_from_slice(&buffer[..length]);
        if length == 0 || self.response.len() > MAX_RESPONSE_BYTES {
            return Err("a connection was closed before its response was complete".into());
        }
        let text = String::from_utf8_lossy(&self.response);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return Ok(None);
        };
        let expected = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or("a response has no status")?;
        Ok((body.len() >= expected).then_some(status))
    }
}

/// Sends all requests. Returns an error if a response has another status.
pub fn run(plan: &Plan<'_>, status: u16) -> Outcome<LatencyReport> {
    let mut micros = Vec::with_capacity(plan.count);
    let began = send(plan, |response| {
        if response.status != status {
            return Err(format!("a response was {} instead of {status}", response.status).into());
        }
        micros.push(u32::try_from(response.took.as_micros())?);
        Ok(())
    })?;
    let rate = micros.len() as f64 / began.elapsed().as_secs_f64();
    micros.sort_unstable();
    Ok(LatencyReport { micros, rate })
}

/// Sends all requests, and returns all responses, whatever their status.
pub fn run_unchecked(plan: &Plan<'_>) -> Outcome<Recording> {
    let mut responses = Vec::with_capacity(plan.count);
    let began = send(plan, |response| {
        responses.push(response);
        Ok(())
    })?;
    Ok(Recording { began, responses })
}

/// Sends all requests, passes each response to `handle`, and returns the start of the run.
fn send(plan: &Plan<'_>, mut handle: impl FnMut(TimedResponse) -> Outcome<()>) -> Outcome<Instant> {
    minimize_timer_slack();
    let open = |at: usize| Connection::open(plan.addresses[at % plan.addresses.len()]);
    let mut connections = (0..plan.connections)
        .map(open)
        .collect::<Outcome<Vec<_>>>()?;
    let mut idle: VecDeque<usize> = (0..plan.connections).collect();
    let due = |request: usize| {
        plan.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(request as f64 / rate)
        })
    };
    let (mut completed, mut sent, began) = (0, 0, Instant::now());
    while completed < plan.count {
        while sent < plan.count
            && due(sent) <= began.elapsed()
            && let Some(at) = idle.pop_front()
        {
            // Without a rate, a request is due when a connection is idle.
            let due = plan.rate.map_or_else(|| began.elapsed(), |_| due(sent));
            connections[at].send(sent, due, &plan.requests[sent % plan.requests.len()])?;
            sent += 1;
        }
        let until_due = due(sent).saturating_sub(began.elapsed());
        let timeout = if sent < plan.count && !idle.is_empty() {
            until_due
        } else {
            RESPONSE_TIMEOUT
        };
        let has_pending = sent > completed;
        let readable = poll_readable(&connections, timeout)?;
        if readable.is_empty() && has_pending && timeout == RESPONSE_TIMEOUT {
            return Err("a response timed out".into());
        }
        for at in readable {
            let connection = &mut connections[at];
            if let Some(status) = connection.receive()? {
                let (request, due) = (connection.request, connection.due);
                handle(TimedResponse {
                    request,
                    due,
                    took: began.elapsed().saturating_sub(due),
                    status,
                })?;
                completed += 1;
                idle.push_back(at);
            }
        }
    }
    Ok(began)
}

/// Waits for readable connections, and returns their indexes. After a timeout, there are none.
fn poll_readable(connections: &[Connection], timeout: Duration) -> Outcome<Vec<usize>> {
    interrupt::check()?;
    let mut polled: Vec<PollFd<'_>> = connections
        .iter()
        .map(|connection| PollFd::new(&connection.stream, PollFlags::IN))
        .collect();
    match poll(&mut polled, Some(&Timespec::try_from(timeout)?)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_readable = |at: &usize| !polled[*at].revents().is_empty();
    Ok((0..polled.len()).filter(is_readable).collect())
}

/// Minimizes the timer slack of this thread. By default, the kernel can end a sleep 50 µs late.
fn minimize_timer_slack() {
    #[cfg(target_os = "linux")]
    // If this call fails, only the precision of the due times is lower.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
