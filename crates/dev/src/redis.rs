//! A private Redis: start, pause, resume, kill, restart, stop.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    ops::{Deref, DerefMut},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;

use super::{
    Error,
    account::{self, Account},
    binaries, folders, leftover,
    process::{Process, Program},
};

/// Timeout of a start, which includes the load of the append-only file.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_SIGNALS: &[Signal] = &[Signal::TERM];

/// Options of a private Redis.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Data folder, which is created if it doesn't exist.
    pub data: PathBuf,
    /// Folder of the socket, with a short path, writable by the stores' user.
    pub sockets: PathBuf,
    /// File with the log of the last start.
    pub log: PathBuf,
    /// Whether an append-only file, synced every second, keeps the data. Otherwise every start is
    /// empty.
    pub persist: bool,
}

/// A private Redis or Valkey that listens only on a Unix socket, and stops on drop.
pub struct Redis {
    process: Process,
    socket: PathBuf,
}

impl Redis {
    /// Starts the server, and returns when it accepts commands.
    ///
    /// # Errors
    /// If Redis isn't installed, or the server can't be started.
    pub fn start(options: &RedisOptions) -> Result<Self, Error> {
        let account = Account::for_stores()?;
        let program = binaries::find_redis_server()?;
        stop_leftover(&options.data);
        folders::create_for_store(&options.data, account)?;
        let process = Process::start(server_program(program, options, account))?;
        let mut redis = Self {
            process,
            socket: socket_path(options),
        };
        redis.wait_until_ready()?;
        Ok(redis)
    }

    /// Returns the URL in the form that the server accepts for a socket.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Starts the server again, and returns when it accepts commands.
    ///
    /// Without `persist`, it starts empty.
    ///
    /// # Errors
    /// If the server can't be started.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.restart()?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        self.process
            .wait_until_ready(READY_TIMEOUT, || is_ready(&self.socket))
    }
}

/// Gives access to pause, resume, kill, and stop.
impl Deref for Redis {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

pub(super) fn stop_leftover(data: &Path) {
    leftover::stop(&pid_file(data), data.as_os_str(), STOP_SIGNALS);
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("redis.pid")
}

fn socket_path(options: &RedisOptions) -> PathBuf {
    options.sockets.join("redis.sock")
}

/// Returns whether Redis responds with `PONG`, which it does only after it has loaded its data.
fn is_ready(socket: &Path) -> bool {
    let ping = || -> io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut reply = [0; 5];
        stream.read_exact(&mut reply).map(|()| reply == *b"+PONG")
    };
    ping().unwrap_or(false)
}

fn server_program(program: PathBuf, options: &RedisOptions, account: Option<Account>) -> Program {
    let arguments = arguments(options);
    Program {
        name: "Redis".into(),
        log: Some(options.log.clone()),
        stop_signals: STOP_SIGNALS,
        command: Box::new(move || {
            let mut command = Command::new(&program);
            command.args(&arguments).current_dir("/");
            account::run_as(account, &mut command);
            command
        }),
    }
}

fn arguments(options: &RedisOptions) -> Vec<OsString> {
    let appendonly = if options.persist { "yes" } else { "no" };
    [
        ("--port", "0".into()),
        ("--unixsocket", socket_path(options).into_os_string()),
        ("--unixsocketperm", "700".into()),
        ("--dir", options.data.clone().into_os_string()),
        ("--pidfile", pid_file(&options.data).into_os_string()),
        // The arguments stay visible in the process list, where the next start finds the folder.
        ("--set-proc-title", "no".into()),
        ("--save", "".into()),
        ("--appendonly", appendonly.into()),
        ("--appendfsync", "everysec".into()),
        // The server requires this policy, because Redis must not evict keys before they expire.
        ("--maxmemory-policy", "noeviction".into()),
    ]
    .into_iter()
    .flat_map(|(name, value): (&str, OsString)| [name.into(), value])
    .collect()
}
