//! A thread that writes the log from a bounded queue. If the reader of standard output is too slow,
//! lines are dropped and counted, and no request waits.
//!
//! The crate `tracing-appender` has such a thread, but the end of the process waits for it without
//! a limit if standard output isn't read.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

/// Maximum number of lines in the queue. A typical line has less than 1 kB.
const QUEUE_SIZE: usize = 8_192;

/// The longest time that the end of the process waits for the reader of standard output.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The delay until the end of the log is put into a full queue again.
const END_RETRY_DELAY: Duration = Duration::from_millis(10);

/// The interval at which the metric of dropped lines is updated.
const COUNT_INTERVAL: Duration = Duration::from_millis(500);

/// The thread that writes the log. Dropping the value writes the lines in the queue, but waits for
/// the reader of standard output only for a second.
pub struct LogWriter {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    /// All earlier lines are written.
    End(SyncSender<()>),
}

/// Puts each line into the queue, or drops it if the queue is full.
#[derive(Clone)]
pub struct LineQueue {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Write for LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogWriter {
    /// Starts the thread with a copy of standard output, because a blocked write must not hold the
    /// lock of `std::io::Stdout`.
    pub fn start() -> io::Result<(LineQueue, LogWriter)> {
        let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let (queue, messages) = mpsc::sync_channel(QUEUE_SIZE);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&messages, &mut output))?;
        let dropped = Arc::<AtomicU64>::default();
        let writer = LogWriter {
            queue: queue.clone(),
            dropped: dropped.clone(),
        };
        Ok((LineQueue { queue, dropped }, writer))
    }

    /// Returns a future that updates the metric of dropped lines, and never completes.
    pub fn count_dropped_lines(&self) -> impl Future<Output = ()> + use<> {
        let dropped = self.dropped.clone();
        async move {
            loop {
                metrics::counter!("latchkey_log_lines_dropped_total")
                    .absolute(dropped.load(Ordering::Relaxed));
                tokio::time::sleep(COUNT_INTERVAL).await;
            }
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let end = Instant::now() + END_TIMEOUT;
        let (done, all_written) = mpsc::sync_channel(1);
        while self.queue.try_send(Message::End(done.clone())).is_err() {
            if Instant::now() >= end {
                return;
            }
            std::thread::sleep(END_RETRY_DELAY);
        }
        let _ = all_written.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

fn write_lines(messages: &Receiver<Message>, output: &mut File) {
    for message in messages {
        match message {
            // If standard output is closed, the lines are lost.
            Message::Line(line) => drop(output.write_all(&line)),
            Message::End(done) => drop(done.try_send(())),
        }
    }
}
