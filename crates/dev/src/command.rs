//! A run, from its lock to its end.

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
    banner::banner,
    detached,
    env_file::EnvFile,
    folders::{self, Folders},
    interrupt,
    lock::Lock,
    mailbox,
    replica::Replica,
    server,
    settings::{self, Addresses, Settings},
};

const DATABASE: &str = "latchkey";
/// How soon a dead child, or Ctrl-C, is noticed.
const GLANCE: Duration = Duration::from_millis(50);

/// The command line and the given settings.
#[derive(Clone)]
pub struct DevOptions {
    /// Return when ready, and go on in the background.
    pub detach: bool,
    /// End what runs in the background.
    pub down: bool,
    /// How many gateways.
    pub replicas: u16,
    /// Data, secret, mailbox, logs and lock.
    pub directory: PathBuf,
    /// The first replica's address; each further one has the next port.
    pub listen: SocketAddr,
    /// The same for `/metrics`.
    pub metrics_listen: SocketAddr,
    /// Address of the page with the emails.
    pub mailbox_listen: SocketAddr,
    /// What the caller set wins over the values of this program.
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

/// Runs until it is told to end. Call it before any other thread starts: it blocks, and it sets
/// signal handlers.
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
        // Whatever failed, it failed because we were told to end.
        Err(_) if interrupt::requested() => Ok(()),
        outcome => outcome,
    }
}

/// What is declared last ends first: the replicas, then the stores, then the lock.
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
    let page = mailbox.as_ref().map(|(_, address)| settings::url(*address));
    if let Some((listener, _)) = mailbox {
        serve_mailbox(listener, &directory)?;
    }
    let mut replicas = start_replicas(options, server, &directory, &addresses, &settings)?;
    for replica in &mut replicas {
        replica.wait_until_ready()?;
    }
    // The text before the lock's word: who waits for the word then shows the text.
    say(&banner(
        &addresses,
        page.as_deref(),
        &stores.place(&directory),
        options,
    ));
    lock.tell(&first, true)?;
    let outcome = watch(&mut replicas, &mut stores);
    say("\nStopping the gateway, then its stores.\n");
    replicas.iter_mut().for_each(Replica::begin_stop);
    outcome
}

/// The private stores, as far as no others are to be used.
struct Stores {
    // Before the folders, because fields are dropped in this order.
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    folders: Option<Folders>,
}

impl Stores {
    fn start(options: &DevOptions, directory: &Path) -> Result<Self, Error> {
        let mut stores = Self {
            postgres: None,
            redis: None,
            folders: None,
        };
        let (postgres, redis) = (
            !options.given.has("DATABASE_URL"),
            !options.given.has("REDIS_URL"),
        );
        if postgres || redis {
            let folders = stores.folders.insert(Folders::persistent(directory)?);
            if postgres {
                let postgres = stores
                    .postgres
                    .insert(Postgres::start(&folders.postgres(true))?);
                postgres.create_database(DATABASE)?;
            }
            if redis {
                stores.redis = Some(Redis::start(&folders.redis(true))?);
            }
        }
        Ok(stores)
    }

    /// The settings with which a replica finds the private stores.
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
        let postgres = self.postgres.as_mut().and_then(|postgres| postgres.death());
        postgres.or_else(|| self.redis.as_mut().and_then(|redis| redis.death()))
    }

    /// Where the data are, for the banner.
    fn place(&self, directory: &Path) -> String {
        match self.folders.as_ref().map(Folders::data) {
            Some(data) if data != directory => {
                format!("{} and {}", directory.display(), data.display())
            }
            _ => directory.display().to_string(),
        }
    }
}

/// `None` if the caller named a mail server: no email reaches the folder then.
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
    let failed = |reason| format!("The page with the emails cannot be served ({reason}).");
    let serve = move || {
        if let Err(reason) = mailbox::serve(listener, folder) {
            eprintln!("latchkey-dev: {}", failed(reason));
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
            .then(|| directory.join(format!("gateway-{number}.log")))
    };
    let start = |(number, own): (usize, &Addresses)| {
        let log = log(number + 1);
        Replica::start(server, *own, Arc::clone(settings), log.as_deref())
    };
    addresses.iter().enumerate().map(start).collect()
}

/// Until somebody asks for the end, or a child ends by itself: half a stack would only puzzle.
fn watch(replicas: &mut [Replica], stores: &mut Stores) -> Result<(), Error> {
    while !interrupt::requested() {
        let ended = replicas.iter_mut().find_map(Replica::ended);
        if let Some(obituary) = ended.or_else(|| stores.ended()) {
            return Err(obituary);
        }
        sleep(GLANCE);
    }
    Ok(())
}

/// To standard output. Nobody may be there any more to read it, which is no reason to fail.
pub(super) fn say(text: &str) {
    let mut output = io::stdout().lock();
    let _ = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
}
