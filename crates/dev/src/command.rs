//! A run of the stack: acquires the lock, starts the processes, monitors them, and stops them.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, sleep},
    time::Duration,
};

use super::{
    Error, GivenSettings, Postgres, Redis,
    banner::format_banner,
    detached,
    env_file::EnvFile,
    folders::{self, Folders},
    interrupt,
    lock::Lock,
    mailbox, ports, preflight, previous_data, remembered,
    replica::Replica,
    server,
    settings::{self, Addresses, Settings},
    shell_commands::ShellCommands,
};

const DATABASE_NAME: &str = "latchkey";
/// Interval of the checks for exited children and stop requests.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The command line and the given settings.
#[derive(Clone)]
pub struct DevOptions {
    /// Run in the background and return when ready.
    pub detach: bool,
    /// Stop the background instance.
    pub down: bool,
    /// Number of replicas.
    pub replicas: u16,
    /// Folder of data, secret, mailbox, logs, and lock.
    pub directory: PathBuf,
    /// Bind address of the first replica; each further replica uses the next port.
    pub listen: SocketAddr,
    /// Bind address of `/metrics` of the first replica; each further replica uses the next port.
    pub metrics_listen: SocketAddr,
    /// Bind address of the page with the emails.
    pub mailbox_listen: SocketAddr,
    /// Settings of the caller, which override the values of this program.
    pub given: GivenSettings,
}

impl DevOptions {
    /// Returns whether users can register themselves with an emailed code.
    pub(super) fn can_register_with_code(&self) -> bool {
        self.given.value("LATCHKEY_SIGNUP") == Some("verify")
    }

    /// Returns whether users can register themselves at once.
    pub(super) fn can_register_at_once(&self) -> bool {
        self.given
            .value("LATCHKEY_SIGNUP")
            .is_none_or(|value| value == "open")
    }
}

/// Runs the stack until a signal stops it.
///
/// Call it before other threads start, because it installs signal handlers. It blocks the thread.
///
/// # Errors
/// If another instance uses the folder, a process fails to start, or a process exits unexpectedly.
pub fn run(options: &DevOptions) -> Result<(), Error> {
    if options.down {
        return detached::stop(&options.directory);
    }
    let server = server::find()?;
    if options.detach && !detached::enter_background() {
        return detached::start(&options.directory);
    }
    interrupt::install_handlers();
    eprint!("{}", options.given.describe_file());
    match supervise(options, &server) {
        // A requested stop makes pending starts fail, so this failure isn't an error.
        Err(_) if interrupt::is_requested() => Ok(()),
        outcome => outcome,
    }
}

/// Runs the stack in this process until a stop is requested or a child exits.
///
/// Locals are dropped in reverse order: the replicas, then the stores, then the lock.
fn supervise(options: &DevOptions, server: &Path) -> Result<(), Error> {
    let directory = folders::create_own(&options.directory)?;
    let lock = Lock::acquire(&directory)?;
    preflight::check(&options.given)?;
    let (mailbox, addresses) = bind_addresses(options).map_err(|error| {
        // The ports of this run are free again.
        match ports::find_hint(options) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })?;
    let first = settings::url(addresses[0].listen);
    lock.write_state(&first, false)?;
    let mut stores = Stores::start(options, &directory)?;
    let settings = Settings::new(&directory, &addresses[0], stores.urls(), &options.given)?;
    let settings = Arc::new(settings);
    let _env_file = EnvFile::write(&directory, settings.iter())?;
    if stores.has_previous_data {
        previous_data::check(server, addresses[0], &settings, &directory)?;
    }
    let page = mailbox.as_ref().map(|(_, address)| settings::url(*address));
    if let Some((listener, _)) = mailbox {
        serve_mailbox(listener, &directory)?;
    }
    let mut replicas = start_replicas(options, server, &directory, &addresses, &settings)?;
    for replica in &mut replicas {
        let hint = |error: Error| match options.given.hint_of_failed_start() {
            Some(hint) => error.hint(hint),
            None => error,
        };
        replica.wait_until_ready().map_err(hint)?;
    }
    if stores.postgres.is_some() {
        remembered::store(&directory, &settings)?;
    }
    // The banner comes before the lock state: the starting process waits for the state and then
    // prints the banner.
    print(&format_banner(
        &addresses,
        page.as_deref(),
        &stores.describe_data(&directory),
        options,
        &ShellCommands::new(&directory, server),
    ));
    lock.write_state(&first, true)?;
    let outcome = monitor(&mut replicas, &mut stores);
    print("\nStopping the server and its stores.\n");
    replicas.iter_mut().for_each(Replica::begin_stop);
    outcome
}

/// The private stores, except those that the settings of the caller replace.
struct Stores {
    // Fields are dropped in order of declaration, so the stores must come before the folders.
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    folders: Option<Folders>,
    has_previous_data: bool,
}

impl Stores {
    fn start(options: &DevOptions, directory: &Path) -> Result<Self, Error> {
        let mut stores = Self {
            postgres: None,
            redis: None,
            folders: None,
            has_previous_data: false,
        };
        let (postgres, redis) = (
            !options.given.has("DATABASE_URL"),
            !options.given.has("REDIS_URL"),
        );
        if postgres || redis {
            let folders = stores.folders.insert(Folders::persistent(directory)?);
            if postgres {
                let options = folders.postgres(true);
                stores.has_previous_data = options.data.exists();
                let postgres = stores.postgres.insert(Postgres::start(&options)?);
                postgres.create_database(DATABASE_NAME)?;
            }
            if redis {
                stores.redis = Some(Redis::start(&folders.redis(true))?);
            }
        }
        Ok(stores)
    }

    /// Returns the settings that contain the URLs of the private stores.
    fn urls(&self) -> Vec<(&'static str, String)> {
        let postgres = self.postgres.as_ref();
        let redis = self.redis.as_ref();
        let urls = [
            postgres.map(|postgres| ("DATABASE_URL", postgres.url(DATABASE_NAME))),
            redis.map(|redis| ("REDIS_URL", redis.url())),
        ];
        urls.into_iter().flatten().collect()
    }

    fn exited(&mut self) -> Option<Error> {
        let postgres = self
            .postgres
            .as_mut()
            .and_then(|postgres| postgres.exited());
        postgres.or_else(|| self.redis.as_mut().and_then(|redis| redis.exited()))
    }

    /// Formats the folders of the data for the banner.
    fn describe_data(&self, directory: &Path) -> String {
        match self.folders.as_ref().map(Folders::data) {
            Some(data) if data != directory => {
                format!("{} and {}", directory.display(), data.display())
            }
            _ => directory.display().to_string(),
        }
    }
}

/// The listener of the mailbox and its address.
type MailboxListener = (TcpListener, SocketAddr);

/// Binds the address of the mailbox, and chooses those of the replicas.
fn bind_addresses(
    options: &DevOptions,
) -> Result<(Option<MailboxListener>, Vec<Addresses>), Error> {
    // With an SMTP server of the caller, the mailbox receives no emails.
    let mailbox = if options.given.has("LATCHKEY_SMTP_URL") {
        None
    } else {
        let setting = "LATCHKEY_DEV_MAILBOX_LISTEN";
        Some(settings::bind(options.mailbox_listen, setting)?)
    };
    Ok((mailbox, settings::choose_addresses(options)?))
}

/// Starts a thread that serves the page until this process exits.
fn serve_mailbox(listener: TcpListener, directory: &Path) -> Result<(), Error> {
    let folder = settings::mailbox_folder(directory)?;
    let failed = |reason| format!("can't serve the mailbox ({reason})");
    let serve = move || {
        if let Err(reason) = mailbox::serve(listener, folder) {
            eprintln!("error: {}", failed(reason));
        }
    };
    let thread = thread::Builder::new().name("mailbox".into());
    thread
        .spawn(serve)
        .map(drop)
        .map_err(|reason| Error::new(failed(reason)))
}

fn start_replicas(
    options: &DevOptions,
    server: &Path,
    directory: &Path,
    addresses: &[Addresses],
    settings: &Arc<Settings>,
) -> Result<Vec<Replica>, Error> {
    let log = |number| {
        options
            .detach
            .then(|| directory.join(format!("server-{number}.log")))
    };
    let start = |(index, addresses): (usize, &Addresses)| {
        let log = log(index + 1);
        Replica::start(server, *addresses, Arc::clone(settings), log.as_deref())
    };
    addresses.iter().enumerate().map(start).collect()
}

/// Waits for a stop request, or returns an error when a child exits.
fn monitor(replicas: &mut [Replica], stores: &mut Stores) -> Result<(), Error> {
    while !interrupt::is_requested() {
        let exited = replicas.iter_mut().find_map(Replica::exited);
        if let Some(error) = exited.or_else(|| stores.exited()) {
            return Err(error);
        }
        sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// Prints to standard output, and ignores errors such as a closed pipe.
pub(super) fn print(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
}
