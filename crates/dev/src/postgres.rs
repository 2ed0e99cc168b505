//! A private PostgreSQL: start, pause, resume, kill, restart, stop.

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
    binaries, folders, interrupt, leftover,
    process::{Process, Program},
};

/// Timeout of a start, which includes the replay of the write-ahead log after a crash.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Index of the line of `postmaster.pid` that contains the state, which `pg_ctl` also reads.
const STATE_LINE_INDEX: usize = 7;
/// Signals for a fast shutdown, which writes a checkpoint, and for an immediate shutdown, after
/// which the next start replays the log.
const STOP_SIGNALS: &[Signal] = &[Signal::INT, Signal::QUIT];
const SUPERUSER: &str = "latchkey";

/// Options of a private PostgreSQL.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Data folder; if it is missing or empty, `initdb` creates its content.
    pub data: PathBuf,
    /// Folder of the socket, with a short path, writable by the stores' user.
    pub sockets: PathBuf,
    /// File with the log of the last start.
    pub log: PathBuf,
    /// Whether commits survive a crash of the machine.
    ///
    /// `false` disables `fsync`; commits then survive only a killed process.
    pub durable: bool,
    /// Further settings, as in `postgresql.conf`.
    pub extra: Vec<(String, String)>,
}

/// A private PostgreSQL that listens only on a Unix socket, and stops on drop.
pub struct Postgres {
    process: Process,
    programs: PathBuf,
    options: PostgresOptions,
}

impl Postgres {
    /// Starts the server, and returns when it accepts connections.
    ///
    /// # Errors
    /// If PostgreSQL isn't installed, or the server can't be started.
    pub fn start(options: &PostgresOptions) -> Result<Self, Error> {
        let account = Account::for_stores()?;
        let programs = binaries::find_postgres_folder(&options.data)?;
        stop_leftover(&options.data);
        initialize(&programs, options, account)?;
        let process = Process::start(server_program(&programs, options, account))?;
        let mut postgres = Self {
            process,
            programs,
            options: options.clone(),
        };
        postgres.wait_until_ready()?;
        Ok(postgres)
    }

    /// Copies the data of a primary and starts a standby, which replicates from it. Returns when it
    /// accepts connections.
    ///
    /// # Errors
    /// If the primary can't be copied, or the standby can't be started.
    pub fn start_standby(primary: &Postgres, options: &PostgresOptions) -> Result<Self, Error> {
        let account = Account::for_stores()?;
        folders::create_for_store(&options.data, account)?;
        copy_primary(primary, options, account)?;
        Self::start(options)
    }

    /// Makes a standby the primary, and returns when it accepts writes.
    ///
    /// # Errors
    /// If the statement fails.
    pub fn promote(&self) -> Result<(), Error> {
        self.psql("select pg_promote();\n")
    }

    /// Returns the URL of a database in the form that `tokio-postgres` accepts for a socket.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{SUPERUSER}@{}/{database}",
            percent_encode(&self.options.sockets)
        )
    }

    /// Returns the path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.options.sockets.join(".s.PGSQL.5432")
    }

    /// Creates a database if it doesn't exist.
    ///
    /// # Errors
    /// If the name contains characters other than lower case letters, digits, and underscores, or
    /// the statement fails.
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
        // `CREATE DATABASE` doesn't support `IF NOT EXISTS`.
        self.psql(&format!(
            "select 'create database {name}' \
             where not exists (select from pg_database where datname = '{name}') \\gexec\n"
        ))
    }

    /// Starts the server again with the same data, and returns when it accepts connections.
    ///
    /// # Errors
    /// If the server can't be started.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.restart()?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let file = pid_file(&self.options.data);
        let pid = self.process.pid().to_string();
        self.process.wait_until_ready(READY_TIMEOUT, || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let mut lines = text.lines().map(str::trim);
            // The process ID in the first line excludes the file of a killed server.
            lines.next() == Some(&pid) && lines.nth(STATE_LINE_INDEX - 1) == Some("ready")
        })
    }

    fn psql(&self, script: &str) -> Result<(), Error> {
        interrupt::check()?;
        let path = self.programs.join("psql");
        let run = || {
            let mut command = clean_command(&path);
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
            // `take` closes the pipe after the write, because `psql` reads until the end of input.
            child
                .stdin
                .take()
                .map_or(Ok(()), |mut input| input.write_all(script.as_bytes()))?;
            child.wait_with_output()
        };
        let output = run().map_err(Error::cannot("run", &path))?;
        output.status.success().then_some(()).ok_or_else(|| {
            Error::new(format!(
                "a PostgreSQL statement failed: {}",
                String::from_utf8_lossy(&output.stderr)
            ))
        })
    }
}

/// Gives access to pause, resume, kill, and stop.
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

pub(super) fn stop_leftover(data: &Path) {
    leftover::stop(&pid_file(data), data.as_os_str(), STOP_SIGNALS);
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

fn server_program(programs: &Path, options: &PostgresOptions, account: Option<Account>) -> Program {
    let path = programs.join("postgres");
    let arguments = arguments(options);
    Program {
        name: "PostgreSQL".into(),
        log: Some(options.log.clone()),
        stop_signals: STOP_SIGNALS,
        command: Box::new(move || {
            let mut command = clean_command(&path);
            command.args(&arguments);
            account::run_as(account, &mut command);
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

/// Creates the data folder if it doesn't exist.
///
/// `initdb` writes to another folder, which is renamed when complete. Otherwise a killed `initdb`
/// would leave incomplete data.
fn initialize(
    programs: &Path,
    options: &PostgresOptions,
    account: Option<Account>,
) -> Result<(), Error> {
    let data = &options.data;
    // The name is unique, because a killed `initdb` might still be removing its folder.
    let unfinished = folders::replace_unfinished_path(data);
    if data.join("PG_VERSION").exists() {
        return Ok(());
    }
    folders::create_for_store(&unfinished, account)?;
    initdb(programs, options, account, &unfinished)?;
    // The rename fails without changes if a file or a non-empty folder has this name.
    fs::rename(&unfinished, data).map_err(Error::cannot("fill", data))
}

/// Copies the data of the primary, and the address from which the standby replicates.
fn copy_primary(
    primary: &Postgres,
    options: &PostgresOptions,
    account: Option<Account>,
) -> Result<(), Error> {
    let path = primary.programs.join("pg_basebackup");
    let (from, to) = (primary.options.sockets.clone(), options.data.clone());
    let mut process = Process::start(Program {
        name: "pg_basebackup".into(),
        log: Some(options.log.clone()),
        stop_signals: &[Signal::TERM],
        command: Box::new(move || {
            let mut command = clean_command(&path);
            command
                .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"])
                .args(["--port=5432", "--username", SUPERUSER, "--host"])
                .arg(&from)
                .arg("--pgdata")
                .arg(&to);
            account::run_as(account, &mut command);
            command
        }),
    })?;
    process.wait_for_success(READY_TIMEOUT)
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
            let mut command = clean_command(&path);
            // The collation C sorts by bytes, which is the same on every machine. Changed
            // collations of the system can't corrupt indexes.
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
            account::run_as(account, &mut command);
            command
        }),
    })?;
    process.wait_for_success(READY_TIMEOUT)
}

/// Creates a command with a minimal environment.
///
/// Variables such as `PGDATA`, `PGPORT`, or `LC_MESSAGES` would change how the programs behave.
fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    // The stores' user might not have access to the current folder.
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .current_dir("/");
    command
}

fn percent_encode(path: &Path) -> String {
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
    fn socket_folder_is_percent_encoded() {
        assert_eq!(
            percent_encode(Path::new("/tmp/latchkey-0a")),
            "%2Ftmp%2Flatchkey-0a"
        );
    }
}
