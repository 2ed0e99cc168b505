//! The command line of `latchkey dev`.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{DevOptions, Error, run};
use crate::config::{SETTINGS, Source};

/// More replicas than that say nothing more, on one machine.
const MOST_REPLICAS: i64 = 9;

/// `latchkey dev` for the parser.
pub fn command() -> Command {
    let switch = |name, help| {
        Arg::new(name)
            .long(name)
            .help(help)
            .action(ArgAction::SetTrue)
    };
    let address =
        |name: &'static str, variable: &'static str, default: &'static str, help: &str| {
            let help = format!("{help} [env: {variable}] [default: {default}]");
            Arg::new(variable)
                .long(name)
                .value_name("ADDRESS")
                .help(help)
        };
    Command::new("dev")
        .about(
            "Run all of it on this machine: a private PostgreSQL and Redis, migrations, and the \
             gateway",
        )
        .arg(switch(
            "detach",
            "Return when it is ready, and go on in the background",
        ))
        .arg(switch("down", "End what runs in the background"))
        .arg(
            Arg::new("replicas")
                .long("replicas")
                .value_name("NUMBER")
                .help("How many gateways; each has the port after the one before")
                .default_value("1")
                .value_parser(value_parser!(u16).range(1..=MOST_REPLICAS)),
        )
        .arg(
            Arg::new("directory")
                .long("directory")
                .value_name("FOLDER")
                .help("Where data, secret, mails and logs live")
                .default_value(".latchkey")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(address(
            "listen",
            "LATCHKEY_LISTEN",
            "127.0.0.1:8000",
            "Address of the first gateway",
        ))
        .arg(address(
            "metrics-listen",
            "LATCHKEY_METRICS_LISTEN",
            "127.0.0.1:9464",
            "Address of its `/metrics`",
        ))
        .after_help(
            "DATABASE_URL and REDIS_URL, when set (also in .env), are used instead of the private \
             stores.",
        )
}

/// Runs it.
pub fn main(matches: &ArgMatches) -> ExitCode {
    match options(matches).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latchkey: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(matches: &ArgMatches) -> Result<DevOptions, Error> {
    let source = Source::new(matches);
    let down = matches.get_flag("down");
    // What is only to be stopped may be set wrong.
    let source = if down { Source::empty() } else { source };
    let secret = |variable| {
        source
            .secret_text(variable)
            .map_err(|mistake| Error::new(format!("{mistake}.")))
    };
    Ok(DevOptions {
        detach: matches.get_flag("detach"),
        down,
        replicas: matches.get_one("replicas").copied().unwrap_or(1),
        directory: matches
            .get_one::<PathBuf>("directory")
            .cloned()
            .unwrap_or_default(),
        listen: address(&source, "LATCHKEY_LISTEN", ([127, 0, 0, 1], 8000))?,
        metrics_listen: address(&source, "LATCHKEY_METRICS_LISTEN", ([127, 0, 0, 1], 9464))?,
        database_url: secret("DATABASE_URL")?,
        redis_url: secret("REDIS_URL")?,
        given: SETTINGS
            .iter()
            .map(|setting| setting.variable)
            .filter(|variable| source.is_given(variable))
            .collect::<BTreeSet<_>>(),
        given_values: given_values(&source)?,
        signup: source
            .text("LATCHKEY_SIGNUP")
            .is_none_or(|who| who == "open"),
    })
}

/// What the caller set, as a program in another folder would have to set it.
fn given_values(source: &Source) -> Result<Vec<(String, String)>, Error> {
    let mut values = Vec::new();
    for variable in SETTINGS.iter().map(|setting| setting.variable) {
        values.extend(
            source
                .text(variable)
                .map(|text| (variable.to_owned(), text)),
        );
        let file = format!("{variable}_FILE");
        if let Some(path) = source.text(&file) {
            let path = std::path::absolute(&path).map_err(Error::cannot("find", path.as_ref()))?;
            values.push((file, path.display().to_string()));
        }
    }
    Ok(values)
}

fn address(
    source: &Source,
    variable: &'static str,
    default: ([u8; 4], u16),
) -> Result<SocketAddr, Error> {
    let Some(text) = source.text(variable) else {
        return Ok(default.into());
    };
    text.parse().map_err(|_| {
        Error::new(format!(
            "{variable} must be an address and a port such as `127.0.0.1:8000`."
        ))
    })
}
