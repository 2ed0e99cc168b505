//! The story of `latchkey dev`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use super::{
    Error, Postgres, Redis,
    banner::banner,
    detached,
    env_file::EnvFile,
    folders::{self, Folders},
    interrupt,
    lock::Lock,
    replica::Replica,
    settings::{self, Addresses, Settings},
};

const DATABASE: &str = "latchkey";
/// How soon a dead child, or Ctrl-C, is noticed.
const GLANCE: Duration = Duration::from_millis(50);

/// What `latchkey dev` was told.
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
    /// Used instead of the private PostgreSQL.
    pub database_url: Option<String>,
    /// Used instead of the private Redis.
    pub redis_url: Option<String>,
    /// The variables that are set, in the environment or in `.env`: what the caller set wins.
    pub given: BTreeSet<&'static str>,
    /// What they are set to.
    pub given_values: Vec<(String, String)>,
    /// Whether anybody may sign up.
    pub signup: bool,
}

/// Runs until it is told to end. Call it before any other thread starts: it blocks, and it sets
/// signal handlers.
pub fn run(options: &DevOptions) -> Result<(), Error> {
    if options.down {
        return detached::bring_down(&options.directory);
    }
    if options.detach && !detached::stays() {
        return detached::bring_up(&options.directory);
    }
    interrupt::install();
    match supervise(options) {
        // Whatever failed, it failed because we were told to end.
        Err(_) if interrupt::requested() => Ok(()),
        outcome => outcome,
    }
}

/// What is declared last ends first: the replicas, then the stores, then the lock.
fn supervise(options: &DevOptions) -> Result<(), Error> {
    let directory = folders::private(&options.directory)?;
    let lock = Lock::take(&directory)?;
    let addresses = settings::addresses(options)?;
    let first = settings::url(addresses[0].listen);
    lock.tell(&first, false)?;
    let mut stores = Stores::start(options, &directory)?;
    let (database, redis) = (stores.database_url.clone(), stores.redis_url.clone());
    let settings = Arc::new(Settings::new(
        &directory,
        &addresses[0],
        database,
        redis,
        &options.given,
    )?);
    let given = options
        .given_values
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let _env_file = EnvFile::write(&directory, settings.iter().chain(given))?;
    let mut replicas = start_replicas(options, &directory, &addresses, &settings)?;
    for replica in &mut replicas {
        replica.wait_until_ready()?;
    }
    // The text before the lock's word: who waits for the word then shows the text.
    say(&banner(&addresses, &stores.place(&directory), options));
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
    database_url: String,
    redis_url: String,
}

impl Stores {
    fn start(options: &DevOptions, directory: &Path) -> Result<Self, Error> {
        let mut stores = Self {
            postgres: None,
            redis: None,
            folders: None,
            database_url: options.database_url.clone().unwrap_or_default(),
            redis_url: options.redis_url.clone().unwrap_or_default(),
        };
        if options.database_url.is_none() || options.redis_url.is_none() {
            let folders = stores.folders.insert(Folders::persistent(directory)?);
            if options.database_url.is_none() {
                let postgres = stores
                    .postgres
                    .insert(Postgres::start(&folders.postgres(true))?);
                postgres.create_database(DATABASE)?;
                stores.database_url = postgres.url(DATABASE);
            }
            if options.redis_url.is_none() {
                stores.redis_url = stores
                    .redis
                    .insert(Redis::start(&folders.redis(true))?)
                    .url();
            }
        }
        Ok(stores)
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

fn start_replicas(
    options: &DevOptions,
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
        Replica::start(*own, Arc::clone(settings), log(number + 1).as_deref())
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
