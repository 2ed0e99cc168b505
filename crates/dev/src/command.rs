//! A run: lock, start, supervision, stop.

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
    banner::{Commands, banner},
    detached,
    env_file::EnvFile,
    folders::{self, Folders},
    interrupt,
    lock::Lock,
    mailbox, previous_data,
    replica::Replica,
    server,
    settings::{self, Addresses, Settings},
};

const DATABASE: &str = "latchkey";
/// The interval at which exited children and Ctrl-C are detected.
const GLANCE: Duration = Duration::from_millis(50);

/// The command line and the given settings.
#[derive(Clone)]
pub struct DevOptions {
    /// Run in the background and return when ready.
    pub detach: bool,
    /// Stop the background instance.
    pub down: bool,
    /// The number of replicas.
    pub replicas: u16,
    /// The folder of data, secret, mailbox, logs, and lock.
    pub directory: PathBuf,
    /// The first replica's address; each further one has the next port.
    pub listen: SocketAddr,
    /// The same for `/metrics`.
    pub metrics_listen: SocketAddr,
    /// Address of the page with the emails.
    pub mailbox_listen: SocketAddr,
    /// The settings of the caller, which override the values of this program.
    pub given: GivenSettings,
}

impl DevOptions {
    /// Whether users can create their own accounts.
    pub(super) fn signup_is_open(&self) -> bool {
        self.given
            .value("LATCHKEY_SIGNUP")
            .is_none_or(|value| value == "open")
    }
}

/// Runs until a signal stops it. Call it before another thread starts: it blocks, and it sets signal
/// handlers.
pub fn run(options: &DevOptions) -> Result<(), Error> {
    if options.down {
        return detached::bring_down(&options.directory);
    }
    let server = server::find()?;
    if options.detach && !detached::stays() {
        return detached::bring_up(&options.directory);
    }
    interrupt::install();
    match supervise(options, &server) {
        // The interruption is the cause of the failure.
        Err(_) if interrupt::requested() => Ok(()),
        outcome => outcome,
    }
}

/// Values are dropped in reverse order: the replicas, then the stores, then the lock.
fn supervise(options: &DevOptions, server: &Path) -> Result<(), Error> {
    let directory = folders::private(&options.directory)?;
    let lock = Lock::take(&directory)?;
    let mailbox = listen_for_mailbox(options)?;
    let addresses = settings::addresses(options)?;
    let first = settings::url(addresses[0].listen);
    lock.tell(&first, false)?;
    let mut stores = Stores::start(options, &directory)?;
    let settings = Settings::new(&directory, &addresses[0], stores.urls(), &options.given)?;
    let settings = Arc::new(settings);
    let given = options.given.of_server();
    let _env_file = EnvFile::write(&directory, settings.iter().chain(given))?;
    if stores.has_previous_data {
        previous_data::check(server, addresses[0], &settings, &directory)?;
    }
    let page = mailbox.as_ref().map(|(_, address)| settings::url(*address));
    if let Some((listener, _)) = mailbox {
        serve_mailbox(listener, &directory)?;
    }
    let mut replicas = start_replicas(options, server, &directory, &addresses, &settings)?;
    for replica in &mut replicas {
        replica.wait_until_ready()?;
    }
    // The banner before the lock's state: the process that waits for the state prints the banner.
    say(&banner(
        &addresses,
        page.as_deref(),
        &stores.place(&directory),
        options,
        &Commands::new(&directory, server),
    ));
    lock.tell(&first, true)?;
    let outcome = watch(&mut replicas, &mut stores);
    say("\nStopping the server and its stores.\n");
    replicas.iter_mut().for_each(Replica::begin_stop);
    outcome
}

/// The private stores that the settings of the caller don't replace.
struct Stores {
    // Before the folders, because fields are dropped in this order.
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
                postgres.create_database(DATABASE)?;
            }
            if redis {
                stores.redis = Some(Redis::start(&folders.redis(true))?);
            }
        }
        Ok(stores)
    }

    /// The settings with the URLs of the private stores.
    fn urls(&self) -> Vec<(&'static str, String)> {
        let postgres = self.postgres.as_ref();
        let redis = self.redis.as_ref();
        let urls = [
            postgres.map(|postgres| ("DATABASE_URL", postgres.url(DATABASE))),
            redis.map(|redis| ("REDIS_URL", redis.url())),
        ];
        urls.into_iter().flatten().collect()
    }

    fn ended(&mut self) -> Option<Error> {
        let postgres = self
            .postgres
            .as_mut()
            .and_then(|postgres| postgres.exited());
        postgres.or_else(|| self.redis.as_mut().and_then(|redis| redis.exited()))
    }

    /// The folders of the data, for the banner.
    fn place(&self, directory: &Path) -> String {
        match self.folders.as_ref().map(Folders::data) {
            Some(data) if data != directory => {
                format!("{} and {}", directory.display(), data.display())
            }
            _ => directory.display().to_string(),
        }
    }
}

/// `None` if the caller set an SMTP server, because no email reaches the folder then.
fn listen_for_mailbox(options: &DevOptions) -> Result<Option<(TcpListener, SocketAddr)>, Error> {
    if options.given.has("LATCHKEY_SMTP_URL") {
        return Ok(None);
    }
    let setting = "--mailbox-listen or LATCHKEY_DEV_MAILBOX_LISTEN";
    settings::listen(options.mailbox_listen, setting).map(Some)
}

/// Serves the page until this process ends.
fn serve_mailbox(listener: TcpListener, directory: &Path) -> Result<(), Error> {
    let folder = settings::mailbox(directory)?;
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
    let start = |(number, own): (usize, &Addresses)| {
        let log = log(number + 1);
        Replica::start(server, *own, Arc::clone(settings), log.as_deref())
    };
    addresses.iter().enumerate().map(start).collect()
}

/// Waits for an interruption. A child that exits stops the whole stack.
fn watch(replicas: &mut [Replica], stores: &mut Stores) -> Result<(), Error> {
    while !interrupt::requested() {
        let ended = replicas.iter_mut().find_map(Replica::ended);
        if let Some(error) = ended.or_else(|| stores.ended()) {
            return Err(error);
        }
        sleep(GLANCE);
    }
    Ok(())
}

/// Prints to standard output. A closed pipe isn't an error.
pub(super) fn say(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
}
