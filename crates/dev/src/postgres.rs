use std::{
    env,
    ffi::OsString,
    fs,
    io::Write,
    ops::{Deref, DerefMut},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;

use super::{
    Error,
    account::{self, Account},
    binaries, folders, leftover,
    process::{Process, Program},
};

/// A server that was killed replays its log first.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The line of `postmaster.pid` that holds the state: where `pg_ctl` looks, too.
const STATE_LINE: usize = 7;
/// "Fast": clients are cut off, everything is written. Then "immediate": as after a crash.
const STOP_SIGNALS: &[Signal] = &[Signal::INT, Signal::QUIT];
const SUPERUSER: &str = "latchkey";

/// How a private PostgreSQL is started.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Made, and filled by `initdb`, when it is not there or empty.
    pub data: PathBuf,
    /// A folder with a short path, where the stores' user may write.
    pub sockets: PathBuf,
    /// The log of the last start.
    pub log: PathBuf,
    /// `false` turns `fsync` off: what was committed survives `kill`, but not a crash of the
    /// machine.
    pub durable: bool,
    /// Further settings, as in `postgresql.conf`.
    pub extra: Vec<(String, String)>,
}

/// A private PostgreSQL, on a Unix socket only. Dropping it stops it.
pub struct Postgres {
    process: Process,
    programs: PathBuf,
    options: PostgresOptions,
}

impl Postgres {
    /// Returns when connections are accepted.
    pub fn start(options: &PostgresOptions) -> Result<Self, Error> {
        let account = Account::for_stores()?;
        let programs = binaries::postgres_folder(&options.data)?;
        end_leftover(&options.data);
        initialize(&programs, options, account)?;
        let process = Process::start(server(&programs, options, account))?;
        let mut postgres = Self {
            process,
            programs,
            options: options.clone(),
        };
        postgres.wait_until_ready()?;
        Ok(postgres)
    }

    /// In the form that tokio-postgres takes for a socket.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{SUPERUSER}@{}/{database}",
            escaped(&self.options.sockets)
        )
    }

    /// Does nothing when it is there. The name is lower case letters, digits and underscores.
    pub fn create_database(&self, name: &str) -> Result<(), Error> {
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        {
            return Err(Error::new(format!(
                "`{name}` isn't a database name: use lower case letters, digits, and `_`"
            )));
        }
        // CREATE DATABASE knows no "if not exists".
        self.psql(&format!(
            "select 'create database {name}' \
             where not exists (select from pg_database where datname = '{name}') \\gexec\n"
        ))
    }

    /// After `kill` or `stop`, with the same data. Returns when connections are accepted.
    pub fn start_again(&mut self) -> Result<(), Error> {
        self.process.start_again()?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let file = pid_file(&self.options.data);
        let pid = self.process.pid().to_string();
        self.process.wait_until_ready(READY_WITHIN, || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let mut lines = text.lines().map(str::trim);
            // The first line tells it from the file of a server that was killed.
            lines.next() == Some(&pid) && lines.nth(STATE_LINE - 1) == Some("ready")
        })
    }

    fn psql(&self, script: &str) -> Result<(), Error> {
        let path = self.programs.join("psql");
        let run = || {
            let mut command = clean(&path);
            command.env("PGCONNECT_TIMEOUT", "10").args([
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                "postgres",
            ]);
            command
                .args(["-p", "5432", "-U", SUPERUSER, "-h"])
                .arg(&self.options.sockets);
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()?;
            // Taken, so that it is closed: psql reads to the end.
            child
                .stdin
                .take()
                .map_or(Ok(()), |mut input| input.write_all(script.as_bytes()))?;
            child.wait_with_output()
        };
        let output = run().map_err(Error::cannot("run", &path))?;
        output.status.success().then_some(()).ok_or_else(|| {
            Error::new(format!(
                "PostgreSQL failed to create a database: {}",
                String::from_utf8_lossy(&output.stderr)
            ))
        })
    }
}

/// What can be done to any server: pause, resume, kill, stop.
impl Deref for Postgres {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

pub(super) fn end_leftover(data: &Path) {
    leftover::end(&pid_file(data), data.as_os_str(), STOP_SIGNALS);
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

fn server(programs: &Path, options: &PostgresOptions, account: Option<Account>) -> Program {
    let path = programs.join("postgres");
    let arguments = arguments(options);
    Program {
        name: "PostgreSQL".into(),
        log: Some(options.log.clone()),
        stop_signals: STOP_SIGNALS,
        command: Box::new(move || {
            let mut command = clean(&path);
            command.args(&arguments);
            account::drop_to(account, &mut command);
            command
        }),
    }
}

fn arguments(options: &PostgresOptions) -> Vec<OsString> {
    let mut sockets = OsString::from("unix_socket_directories=");
    sockets.push(&options.sockets);
    let mut settings: Vec<OsString> = [
        "listen_addresses=",
        "port=5432",
        "unix_socket_permissions=0700",
    ]
    .map(Into::into)
    .into();
    settings.push(sockets);
    if !options.durable {
        settings.extend(["fsync=off", "full_page_writes=off"].map(Into::into));
    }
    settings.extend(
        options
            .extra
            .iter()
            .map(|(name, value)| format!("{name}={value}").into()),
    );
    let settings = settings
        .into_iter()
        .flat_map(|setting| ["-c".into(), setting]);
    ["-D".into(), options.data.clone().into_os_string()]
        .into_iter()
        .chain(settings)
        .collect()
}

/// Into a folder beside, renamed when complete: an `initdb` that was killed leaves nothing that
/// looks like data.
fn initialize(
    programs: &Path,
    options: &PostgresOptions,
    account: Option<Account>,
) -> Result<(), Error> {
    let data = &options.data;
    // Never the same twice: a killed one may still be clearing its folder away.
    let unfinished = folders::unfinished(data);
    if data.join("PG_VERSION").exists() {
        return Ok(());
    }
    folders::for_store(&unfinished, account)?;
    initdb(programs, options, account, &unfinished)?;
    // Fails if something else is in the way, and touches nothing then.
    fs::rename(&unfinished, data).map_err(Error::cannot("fill", data))
}

fn initdb(
    programs: &Path,
    options: &PostgresOptions,
    account: Option<Account>,
    folder: &Path,
) -> Result<(), Error> {
    let (path, folder, durable) = (programs.join("initdb"), folder.to_owned(), options.durable);
    let mut process = Process::start(Program {
        name: "initdb".into(),
        log: Some(options.log.clone()),
        stop_signals: &[Signal::TERM],
        command: Box::new(move || {
            let mut command = clean(&path);
            // Byte order: the same on every machine, and no index breaks when the system's
            // collations change.
            command.args([
                "--encoding=UTF8",
                "--locale=C",
                "--auth-local=trust",
                "--auth-host=reject",
            ]);
            command
                .args(["--no-instructions", "--username", SUPERUSER, "--pgdata"])
                .arg(&folder);
            command.args((!durable).then_some("--no-sync"));
            account::drop_to(account, &mut command);
            command
        }),
    })?;
    process.wait_for_success(READY_WITHIN)
}

/// Without our environment: variables such as PGDATA, PGPORT or LC_MESSAGES would change what is
/// started.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    // The current folder may be closed to the stores' user.
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .current_dir("/");
    command
}

fn escaped(path: &Path) -> String {
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    path.as_os_str().as_bytes().iter().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_folder_becomes_the_host_of_the_url() {
        assert_eq!(
            escaped(Path::new("/tmp/latchkey-0a")),
            "%2Ftmp%2Flatchkey-0a"
        );
    }
}
