//! One `latchkey serve` process.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use rustix::process::Signal;

use super::{
    Error,
    process::{Process, Program},
    settings::{self, Addresses, Settings},
};

/// Timeout of a start with all migrations, for a debug build on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Timeout of a health check; it can be short, because `/health/ready` does no I/O.
const HEALTH_CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// A child process that runs `latchkey serve`.
pub(super) struct Replica {
    process: Process,
    address: SocketAddr,
}

impl Replica {
    pub fn start(
        server: &Path,
        addresses: Addresses,
        settings: Arc<Settings>,
        log: Option<&Path>,
    ) -> Result<Self, Error> {
        let server = server.to_owned();
        let process = Process::start(Program {
            name: format!("the server on {}", settings::url(addresses.listen)),
            log: log.map(Path::to_owned),
            stop_signals: &[Signal::TERM],
            command: Box::new(move || {
                let mut command = Command::new(&server);
                command.arg("serve");
                settings.apply(&mut command, &addresses);
                command
            }),
        })?;
        Ok(Self {
            process,
            address: settings::reachable_address(addresses.listen),
        })
    }

    pub fn wait_until_ready(&mut self) -> Result<(), Error> {
        let address = self.address;
        self.process
            .wait_until_ready(READY_TIMEOUT, || is_ready(address))
    }

    pub fn exited(&mut self) -> Option<Error> {
        self.process.exited()
    }

    /// Sends the stop signal without waiting. Dropping the replica waits for the exit.
    pub fn begin_stop(&mut self) {
        self.process.begin_stop();
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let check = || -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, HEALTH_CHECK_TIMEOUT)?;
        stream.set_read_timeout(Some(HEALTH_CHECK_TIMEOUT))?;
        write!(
            stream,
            "GET /health/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
        )?;
        let mut status_line = [0; 12];
        stream
            .read_exact(&mut status_line)
            .map(|()| status_line == *b"HTTP/1.1 200")
    };
    check().unwrap_or(false)
}
