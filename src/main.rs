//! Parses the command line, runs the command, and returns its exit code.

mod cli;
mod commands;
mod log;

use std::{io::Write, process::ExitCode, sync::Arc};

use clap::ArgMatches;
use cli::{arguments::render, print_error};
use latchkey::{
    app::{
        App,
        lifecycle::{migrate::Migrator, start::StartupError},
    },
    config::{self, Config, ConfigError, DatabaseConfig, ListenConfig, Source},
    error::Chain,
    http,
    postgres::MigrationError,
};
use log::Log;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Map, json};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

/// Faster than the system's allocator for small short-lived allocations of many threads (measured).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code for an invalid configuration or invalid usage. Other failures have exit code 1.
const INVALID_CONFIGURATION: u8 = 2;

/// Exit code if PostgreSQL or Redis is unavailable.
const STORE_UNAVAILABLE: u8 = 3;

fn main() -> ExitCode {
    let matches = commands::command().get_matches();
    match matches.subcommand() {
        Some(("openapi", _)) => print(&http::document::json()),
        Some(("settings", _)) => print(&config::settings_help()),
        Some(("version", matches)) => cli::version::run(matches),
        Some(("completions", matches)) => {
            cli::completions::run(matches, commands::documented_command())
        }
        Some(("man", matches)) => cli::man::run(matches, commands::documented_command()),
        Some(("config", matches)) => show_settings(matches),
        Some(("health", matches)) => check_health(matches),
        Some(("migrate", matches)) => migrate(&Source::new(matches)),
        Some((command, matches)) if command != "serve" => with_app(matches, Log::Brief, |app| {
            run_admin_command(command, app, matches)
        }),
        Some((_serve, matches)) => with_app(matches, Log::Full, serve),
        None => with_app(&matches, Log::Full, serve),
    }
}

/// Runs a command that requires all settings.
async fn run_admin_command(command: &str, app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    match command {
        "audit" => cli::audit::run(app, matches).await,
        "check" => cli::check::run(app, matches).await,
        "group" => cli::group::run(app, matches).await,
        "application" => cli::application::run(app, matches).await,
        "client" => cli::client::run(app, matches).await,
        "explain" => cli::explain::run(app, matches).await,
        "keys" => cli::keys::run(app, matches).await,
        "mail" => cli::mail::run(app, matches).await,
        "revocations" => cli::revocations::run(app).await,
        _user => cli::user::run(app, matches).await,
    }
}

fn print(text: &str) -> ExitCode {
    // Writing fails if the reader has closed the pipe, which is not an error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn show_settings(matches: &ArgMatches) -> ExitCode {
    let source = Source::new(matches);
    let to_json = || {
        let settings = config::effective_values(&source);
        let settings = settings.map(|(variable, value)| (variable.to_owned(), json!(value)));
        json!({ "settings": Map::from_iter(settings) })
    };
    print(&render(matches, || config::effective(&source), to_json));
    let config = match Config::load(&source) {
        Ok(config) => config,
        Err(errors) => return reject_configuration(&errors),
    };
    with_runtime(async {
        match App::new(config) {
            Ok(_) => ExitCode::SUCCESS,
            Err(errors) => reject_configuration(&errors),
        }
    })
}

fn check_health(matches: &ArgMatches) -> ExitCode {
    if let Some(url) = cli::health::url(matches) {
        return with_runtime(cli::health::check_url(matches, url));
    }
    match ListenConfig::load(&Source::new(matches)) {
        Ok(ListenConfig {
            listen,
            metrics_listen,
        }) => with_runtime(cli::health::check_local(matches, listen, metrics_listen)),
        Err(errors) => reject_configuration(&errors),
    }
}

fn reject_configuration(errors: &[ConfigError]) -> ExitCode {
    let lines: String = errors.iter().map(|error| format!("\n  {error}")).collect();
    print_error(
        format!("invalid configuration{lines}"),
        Some(
            "`latchkey help settings` describes all settings; in a source checkout, `./dev up` \
             requires none",
        ),
    );
    ExitCode::from(INVALID_CONFIGURATION)
}

/// Loads the settings, starts the log, and runs a command.
fn with_app<S: Future<Output = ExitCode>>(
    matches: &ArgMatches,
    kind: Log,
    run: impl FnOnce(Arc<App>) -> S,
) -> ExitCode {
    let config = match Config::load(&Source::new(matches)) {
        Ok(config) => config,
        Err(errors) => return reject_configuration(&errors),
    };
    let log_writer = match log::start(&config.log, kind) {
        Ok(log_writer) => log_writer,
        Err(error) => return fail("the log can't be started", &error),
    };
    with_runtime(async {
        if let Some(log_writer) = &log_writer {
            tokio::spawn(log_writer.count_dropped_lines());
        }
        match App::new(config) {
            Ok(app) => run(app).await,
            Err(errors) => reject_configuration(&errors),
        }
    })
}

/// Runs a future on a new runtime. Connections belong to the runtime that opened them, so the whole
/// command runs on one.
fn with_runtime(future: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let code = runtime.block_on(future);
            // The resolution of a host name can't be canceled, and would delay the exit.
            runtime.shutdown_background();
            code
        }
        Err(error) => fail("the runtime can't be started", &error),
    }
}

fn fail(failure: &str, error: &dyn std::error::Error) -> ExitCode {
    print_error(format!("{failure}: {error}"), None);
    ExitCode::FAILURE
}

fn migrate(source: &Source) -> ExitCode {
    let config = match DatabaseConfig::load(source) {
        Ok(config) => config,
        Err(errors) => return reject_configuration(&errors),
    };
    let _log_writer = match log::start(&config.log, Log::Full) {
        Ok(log_writer) => log_writer,
        Err(error) => return fail("the log can't be started", &error),
    };
    with_runtime(async {
        match Migrator::new(&config) {
            Ok(migrator) => print_migrations(migrator.run().await),
            Err(error) => reject_configuration(&[error]),
        }
    })
}

fn print_migrations(outcome: Result<Vec<String>, MigrationError>) -> ExitCode {
    match outcome {
        Ok(applied) if applied.is_empty() => print("The database is up to date.\n"),
        Ok(applied) => print(&format!("Applied {}.\n", applied.join(", "))),
        Err(error) => {
            let hint = error.hint();
            match StartupError::from(error) {
                StartupError::Retryable(error) => {
                    print_error(
                        format!("store unavailable: {}", Chain(error.as_ref())),
                        hint,
                    );
                    ExitCode::from(STORE_UNAVAILABLE)
                }
                StartupError::Fatal(error) => {
                    print_error(Chain(&error), hint);
                    ExitCode::FAILURE
                }
            }
        }
    }
}

/// Raises the soft limit of open files to the hard limit. Each connection is an open file, and the
/// usual soft limit is 1,024.
fn raise_open_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // If it fails, the limit is unchanged, and further clients wait until a connection closes.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

async fn serve(app: Arc<App>) -> ExitCode {
    let hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => return fail("the signal handler can't be installed", &error),
    };
    raise_open_file_limit();
    let metrics = match http::metrics::install() {
        Ok(handle) => handle,
        Err(error) => return fail("the metrics can't be set up", &error),
    };
    let (listen, metrics_listen) = (app.config.listen, app.config.metrics_listen);
    let (Ok(listener), Ok(metrics_listener)) = (
        bind(listen, "LATCHKEY_LISTEN").await,
        bind(metrics_listen, "LATCHKEY_METRICS_LISTEN").await,
    ) else {
        return ExitCode::FAILURE;
    };
    tokio::spawn(http::run_metrics(metrics_listener, app.clone(), metrics));
    let monitor = tokio::spawn(app.clone().run_store_monitor());
    tokio::spawn(reload_on_hangup(hangups, app.clone()));
    let preparation = prepare(app.clone());
    let service = http::run(listener, app, stop_signal());
    tokio::select! {
        outcome = service => match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail("the listener failed", &error),
        },
        code = preparation => code,
        // It never returns. If it panics, the process exits and is restarted.
        _panicked = monitor => ExitCode::FAILURE,
    }
}

/// Reads the URLs of the stores again at each SIGHUP, which otherwise would end the process.
async fn reload_on_hangup(mut hangups: Signal, app: Arc<App>) {
    while hangups.recv().await.is_some() {
        tracing::info!("reloading the URLs of the stores");
        let app = app.clone();
        // The files can be on a slow file system.
        let reload = tokio::task::spawn_blocking(move || app.reload_store_urls());
        // If it panicked, the previous URLs stay in use.
        let _ = reload.await;
    }
}

/// Binds a listener and logs its address, because port 0 selects a free port.
async fn bind(address: std::net::SocketAddr, variable: &str) -> Result<TcpListener, ()> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let hint = format!("set {variable} to another address or port");
        print_error(format!("can't listen on {address} ({error})"), Some(&hint));
    })?;
    let bound = listener
        .local_addr()
        .map_err(|error| print_error(format!("{address} has no address ({error})"), None))?;
    tracing::info!(setting = variable, address = %bound, "listening");
    Ok(listener)
}

/// Starts the replica and its workers. Returns only if the replica can't run.
///
/// The listener is already open, and responds "not ready" until the start has completed.
async fn prepare(app: Arc<App>) -> ExitCode {
    if let Err(error) = app.lifecycle.start().await {
        print_error(Chain(&error), error.hint());
        return ExitCode::from(INVALID_CONFIGURATION);
    }
    tracing::info!(
        version = latchkey::VERSION,
        issuer = app.config.issuer.as_str(),
        "started"
    );
    let mut workers = app.spawn_workers();
    // No worker returns. If one panics, the process exits and is restarted with all of them.
    workers.join_next().await;
    ExitCode::FAILURE
}

async fn stop_signal() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
}
