//! Requests at a fixed rate, whatever the answers do. `wrk` sends the next request when the last
//! one was answered, so a server that stands still for a second hides what would have come in that
//! second. Here the moment at which a request is due is fixed beforehand, and its time counts from
//! there, even if it had to wait for a connection.
//!
//! One thread with as many connections as may be needed, and one request at a time on each. It
//! sleeps in `poll`, which the kernel ends within microseconds of the moment that was asked for; on
//! a busy machine when it gets a core.

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

/// Whoever waits longer for one answer waits for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// No answer that is asked for here is longer.
const LARGEST_ANSWER: usize = 4096;

/// What is to be sent.
pub struct Plan<'a> {
    /// To whom: connections are shared out evenly, and take turns.
    pub to: &'a [SocketAddr],
    /// In turn, from the beginning again when they are over.
    pub requests: &'a [String],
    /// How many of them in all.
    pub count: usize,
    /// How many at the same time, at most.
    pub connections: usize,
    /// How many a second; nothing: as many as are answered.
    pub rate: Option<f64>,
}

/// One answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// Which of all requests, from 0.
    pub request: usize,
    /// When it was due, from the beginning.
    pub due: Duration,
    /// How long it took from there.
    pub took: Duration,
    /// Its status.
    pub status: u16,
}

/// Answers of all kinds.
pub struct Record {
    /// When it began.
    pub began: Instant,
    /// As they came.
    pub responses: Vec<Answer>,
}

/// What came of it.
pub struct KeyRotationPolicy {
    /// From the moment a request was due to its answer, in microseconds, sorted.
    pub micros: Vec<u32>,
    /// Good answers per second.
    pub rate: f64,
}

impl KeyRotationPolicy {
    /// So many of 100 answers came within the result, in microseconds.
    pub fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.micros, percent).map_or(0.0, f64::from)
    }
}

/// So many of 100 are at most the result; of sorted ones.
pub fn percentile<T: Copy>(sorted: &[T], percent: f64) -> Option<T> {
    let at = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied()
}

struct Connection {
    stream: TcpStream,
    /// The request that is under way, and when it was due.
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
            response: Vec::with_capacity(LARGEST_ANSWER),
        })
    }

    fn send(&mut self, request: usize, due: Duration, text: &str) -> Outcome<()> {
        (self.request, self.due) = (request, due);
        self.response.clear();
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// Reads what is there; the status, if the answer is complete.
    fn receive(&mut self) -> Outcome<Option<u16>> {
        let mut part = [0; LARGEST_ANSWER];
        let length = self.stream.read(&mut part)?;
        self.response.extend_from_slice(&part[..length]);
        if length == 0 || self.response.len() > LARGEST_ANSWER {
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

/// Sends all of it, and waits for the answers, which must be of this status.
pub fn run(plan: &Plan<'_>, status: u16) -> Outcome<KeyRotationPolicy> {
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
    Ok(KeyRotationPolicy { micros, rate })
}

/// Sends all of it, and keeps the answers, whatever they are.
pub fn record(plan: &Plan<'_>) -> Outcome<Record> {
    let mut responses = Vec::with_capacity(plan.count);
    let began = send(plan, |response| {
        responses.push(response);
        Ok(())
    })?;
    Ok(Record { began, responses })
}

/// When the first was due.
fn send(plan: &Plan<'_>, mut take: impl FnMut(Answer) -> Outcome<()>) -> Outcome<Instant> {
    wake_in_time();
    let open = |at: usize| Connection::open(plan.to[at % plan.to.len()]);
    let mut connections = (0..plan.connections)
        .map(open)
        .collect::<Outcome<Vec<_>>>()?;
    let mut idle: VecDeque<usize> = (0..plan.connections).collect();
    let due = |request: usize| {
        plan.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(request as f64 / rate)
        })
    };
    let (mut answered, mut sent, began) = (0, 0, Instant::now());
    while answered < plan.count {
        while sent < plan.count
            && due(sent) <= began.elapsed()
            && let Some(at) = idle.pop_front()
        {
            // Without a rate a request is due when it can be sent.
            let due = plan.rate.map_or_else(|| began.elapsed(), |_| due(sent));
            connections[at].send(sent, due, &plan.requests[sent % plan.requests.len()])?;
            sent += 1;
        }
        let until_due = due(sent).saturating_sub(began.elapsed());
        let longest = if sent < plan.count && !idle.is_empty() {
            until_due
        } else {
            LONGEST_WAIT
        };
        let waiting = sent > answered;
        let ready = ready(&connections, longest)?;
        if ready.is_empty() && waiting && longest == LONGEST_WAIT {
            return Err("a response timed out".into());
        }
        for at in ready {
            let connection = &mut connections[at];
            if let Some(status) = connection.receive()? {
                let (request, due) = (connection.request, connection.due);
                take(Answer {
                    request,
                    due,
                    took: began.elapsed().saturating_sub(due),
                    status,
                })?;
                answered += 1;
                idle.push_back(at);
            }
        }
    }
    Ok(began)
}

/// The connections that have something to read; none after so long.
fn ready(connections: &[Connection], longest: Duration) -> Outcome<Vec<usize>> {
    interrupt::check()?;
    let mut polled: Vec<PollFd<'_>> = connections
        .iter()
        .map(|connection| PollFd::new(&connection.stream, PollFlags::IN))
        .collect();
    match poll(&mut polled, Some(&Timespec::try_from(longest)?)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let has_something = |at: &usize| !polled[*at].revents().is_empty();
    Ok((0..polled.len()).filter(has_something).collect())
}

/// The kernel may end a sleep 50 µs late unless it is told otherwise.
fn wake_in_time() {
    #[cfg(target_os = "linux")]
    // A refusal makes the grain coarser.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
