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

/// A debug build on a busy machine, with all migrations before it.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// `/health/ready` does no I/O.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// One `latchkey serve`, a child of the supervisor.
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
            address: settings::reachable(addresses.listen),
        })
    }

    pub fn wait_until_ready(&mut self) -> Result<(), Error> {
        let address = self.address;
        self.process
            .wait_until_ready(READY_WITHIN, || is_ready(address))
    }

    pub fn ended(&mut self) -> Option<Error> {
        self.process.exited()
    }

    /// Does not wait for the end; dropping it does.
    pub fn begin_stop(&mut self) {
        self.process.begin_stop();
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, ANSWERS_WITHIN)?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        write!(
            stream,
            "GET /health/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = [0; 12];
        stream
            .read_exact(&mut answer)
            .map(|()| answer == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
