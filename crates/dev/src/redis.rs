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

/// Reading a large append-only file takes a while.
const READY_WITHIN: Duration = Duration::from_secs(30);
const STOP_SIGNALS: &[Signal] = &[Signal::TERM];

/// How a private Redis is started.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Made when it is not there.
    pub data: PathBuf,
    /// A folder with a short path, where the stores' user may write.
    pub sockets: PathBuf,
    /// The log of the last start.
    pub log: PathBuf,
    /// With an append-only file, synced every second. Without, it starts empty.
    pub persist: bool,
}

/// A private Redis (or Valkey), on a Unix socket only. Dropping it stops it.
pub struct Redis {
    process: Process,
    socket: PathBuf,
}

impl Redis {
    /// Returns when commands are answered.
    pub fn start(options: &RedisOptions) -> Result<Self, Error> {
        let account = Account::for_stores()?;
        let program = binaries::redis_server()?;
        end_leftover(&options.data);
        folders::for_store(&options.data, account)?;
        let process = Process::start(server(program, options, account))?;
        let mut redis = Self {
            process,
            socket: socket(options),
        };
        redis.wait_until_ready()?;
        Ok(redis)
    }

    /// In the form that the gateway takes for a socket.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Without `persist` it is empty again.
    pub fn start_again(&mut self) -> Result<(), Error> {
        self.process.start_again()?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        self.process
            .wait_until_ready(READY_WITHIN, || answers(&self.socket))
    }
}

/// What can be done to any server: pause, resume, kill, stop.
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

pub(super) fn end_leftover(data: &Path) {
    leftover::end(&pid_file(data), data.as_os_str(), STOP_SIGNALS);
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("redis.pid")
}

fn socket(options: &RedisOptions) -> PathBuf {
    options.sockets.join("redis.sock")
}

/// `PONG` comes only after everything was loaded.
fn answers(socket: &Path) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).map(|()| answer == *b"+PONG")
    };
    ask().unwrap_or(false)
}

fn server(program: PathBuf, options: &RedisOptions, account: Option<Account>) -> Program {
    let arguments = arguments(options);
    Program {
        name: "Redis".into(),
        log: Some(options.log.clone()),
        stop_signals: STOP_SIGNALS,
        command: Box::new(move || {
            let mut command = Command::new(&program);
            command.args(&arguments).current_dir("/");
            account::drop_to(account, &mut command);
            command
        }),
    }
}

fn arguments(options: &RedisOptions) -> Vec<OsString> {
    let appendonly = if options.persist { "yes" } else { "no" };
    [
        ("--port", "0".into()),
        ("--unixsocket", socket(options).into_os_string()),
        ("--unixsocketperm", "700".into()),
        ("--dir", options.data.clone().into_os_string()),
        ("--pidfile", pid_file(&options.data).into_os_string()),
        // The data folder stays visible in the process list, where the next start looks for it.
        ("--set-proc-title", "no".into()),
        ("--save", "".into()),
        ("--appendonly", appendonly.into()),
        ("--appendfsync", "everysec".into()),
        // What the gateway relies on: nothing vanishes before its time.
        ("--maxmemory-policy", "noeviction".into()),
    ]
    .into_iter()
    .flat_map(|(name, value): (&str, OsString)| [name.into(), value])
    .collect()
}
