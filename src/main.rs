//! Parses the command line, binds, runs, and turns the outcome into an exit code.

mod cli;
mod log;

use std::{io::Write, process::ExitCode, sync::Arc};

use clap::{ArgMatches, Command};
use latchkey::{
    config::{self, Config, Mistake, Source},
    gateway::Gateway,
    http,
};
use log::Log;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

/// Short-lived small allocations of many threads: measured faster here than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong settings, as opposed to a fault (1).
const WRONG_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("openapi", _)) => print(&http::document::json()),
        Some(("config", matches)) => show_settings(&Source::new(matches)),
        Some(("migrate", matches)) => with_gateway(matches, Log::Full, migrate),
        Some(("user", matches)) => {
            with_gateway(matches, Log::Brief, |gateway| cli::run(gateway, matches))
        }
        Some(("client", matches)) => with_gateway(matches, Log::Brief, |gateway| {
            cli::client::run(gateway, matches)
        }),
        Some(("explain", matches)) => with_gateway(matches, Log::Brief, cli::explain::run),
        Some(("keys", matches)) => with_gateway(matches, Log::Brief, |gateway| {
            cli::keys::run(gateway, matches)
        }),
        Some(("revocations", matches)) => with_gateway(matches, Log::Brief, cli::revocations::run),
        Some(("serve", matches)) => with_gateway(matches, Log::Full, serve),
        _none => with_gateway(&matches, Log::Full, serve),
    }
}

fn command() -> Command {
    let with_settings = |command: Command| {
        command
            .args(config::arguments())
            .after_help(config::secrets_help())
    };
    let command = Command::new("latchkey")
        .version(latchkey::VERSION)
        .about(
            "A stateless auth gateway: sign-in, rotating refresh tokens, and a logout that holds \
             on every replica",
        )
        .args_conflicts_with_subcommands(true)
        .subcommand(with_settings(
            Command::new("serve").about("Run the gateway (also without a subcommand)"),
        ))
        .subcommand(with_settings(
            Command::new("migrate").about("Apply sql/migrations and exit"),
        ))
        .subcommand(with_settings(cli::command()))
        .subcommand(with_settings(cli::client::command()))
        .subcommand(with_settings(cli::explain::command()))
        .subcommand(with_settings(cli::keys::command()))
        .subcommand(with_settings(cli::revocations::command()))
        .subcommand(
            Command::new("openapi")
                .about("Print the OpenAPI document; needs no server and no setting"),
        )
        .subcommand(with_settings(Command::new("config").about(
            "Print the effective settings; exit with 2 when one is wrong",
        )));
    with_settings(command)
}

fn print(text: &str) -> ExitCode {
    // A reader that closed the pipe has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn show_settings(source: &Source) -> ExitCode {
    print(&config::effective(source));
    let config = match Config::load(source) {
        Ok(config) => config,
        Err(mistakes) => return complain(&mistakes),
    };
    with_runtime(async {
        match Gateway::new(config) {
            Ok(_) => ExitCode::SUCCESS,
            Err(mistakes) => complain(&mistakes),
        }
    })
}

fn complain(mistakes: &[Mistake]) -> ExitCode {
    eprintln!("latchkey: these settings must be mended:");
    mistakes.iter().for_each(|mistake| eprintln!("  {mistake}"));
    eprintln!("`latchkey --help` lists all settings. For development, `./dev up` needs none.");
    ExitCode::from(WRONG_SETTINGS)
}

/// Reads the settings, and runs a story with the gateway that they describe.
fn with_gateway<S: Future<Output = ExitCode>>(
    matches: &ArgMatches,
    kind: Log,
    story: impl FnOnce(Arc<Gateway>) -> S,
) -> ExitCode {
    let config = match Config::load(&Source::new(matches)) {
        Ok(config) => config,
        Err(mistakes) => return complain(&mistakes),
    };
    log::start(&config, kind);
    with_runtime(async {
        match Gateway::new(config) {
            Ok(gateway) => story(gateway).await,
            Err(mistakes) => complain(&mistakes),
        }
    })
}

/// Connections belong to the runtime that made them, so a gateway is made and dropped inside one.
fn with_runtime(story: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(story),
        Err(error) => fail("the runtime could not be started", &error),
    }
}

fn fail(what: &str, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("latchkey: {what}: {error}");
    ExitCode::FAILURE
}

async fn migrate(gateway: Arc<Gateway>) -> ExitCode {
    match gateway.migrate().await {
        Ok(applied) if applied.is_empty() => {
            print("Nothing to apply: the database is up to date.\n")
        }
        Ok(applied) => print(&format!("Applied {}.\n", applied.join(", "))),
        Err(error) => fail("the migrations were not applied", &error),
    }
}

/// As many open files as the system allows: each connection is one, and the usual soft limit is
/// 1,024.
fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    // A refusal leaves the limit as it was; the listener then lets further clients wait.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

async fn serve(gateway: Arc<Gateway>) -> ExitCode {
    allow_many_connections();
    let metrics = match http::metrics::install() {
        Ok(handle) => handle,
        Err(error) => return fail("the metrics could not be set up", &error),
    };
    let (listen, metrics_listen) = (gateway.config().listen, gateway.config().metrics_listen);
    let (Ok(listener), Ok(metrics_listener)) = (
        bind(listen, "LATCHKEY_LISTEN").await,
        bind(metrics_listen, "LATCHKEY_METRICS_LISTEN").await,
    ) else {
        return ExitCode::FAILURE;
    };
    tokio::spawn(http::run_metrics(metrics_listener, metrics));
    tokio::spawn(gateway.clone().watch_stores());
    let preparation = prepare(gateway.clone());
    let service = http::run(listener, gateway, stop_signal());
    tokio::select! {
        outcome = service => match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail("the listener failed", &error),
        },
        code = preparation => code,
    }
}

/// Listens, and says where: a port of 0 stands for any that is free.
async fn bind(address: std::net::SocketAddr, variable: &str) -> Result<TcpListener, ()> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        eprintln!("latchkey: {address} cannot be listened on ({error}); change {variable}")
    })?;
    let bound = listener
        .local_addr()
        .map_err(|error| eprintln!("latchkey: {address} has no address ({error})"))?;
    tracing::info!(setting = variable, address = %bound, "listening");
    Ok(listener)
}

/// Starts up beside the listener, which answers "not ready" meanwhile; resolves only when this
/// replica must not run.
async fn prepare(gateway: Arc<Gateway>) -> ExitCode {
    if let Err(error) = gateway.start().await {
        fail("this replica must not run", &error);
        return ExitCode::from(WRONG_SETTINGS);
    }
    tracing::info!(
        version = latchkey::VERSION,
        issuer = gateway.config().issuer.as_str(),
        "started"
    );
    let mut workers = JoinSet::new();
    workers.spawn(gateway.clone().keep_lease());
    workers.spawn(gateway.clone().listen_for_revocations());
    workers.spawn(gateway.clone().send_canaries());
    workers.spawn(gateway.clone().publish_missing());
    workers.spawn(gateway.clone().watch_keys());
    workers.spawn(gateway.clone().record_sessions());
    workers.spawn(gateway.clone().record_refusals());
    workers.spawn(gateway.clone().tidy_up());
    workers.spawn(gateway.deliver_mails());
    // None of them ends by itself: one that panicked takes the process along, which is started
    // again with all of them.
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
