//! The command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{
    DevOptions, Error, GivenSettings, run, shell_commands::DEFAULT_DIRECTORY, with_stores,
};

/// The maximum number of replicas on one machine.
const MAX_REPLICAS: i64 = 9;

/// A bind address that a flag or an environment variable sets.
struct AddressOption {
    flag: &'static str,
    variable: &'static str,
    default: &'static str,
    help: &'static str,
}

const LISTEN: AddressOption = AddressOption {
    flag: "listen",
    variable: "LATCHKEY_LISTEN",
    default: "127.0.0.1:8000",
    help: "IP address and port of the first replica",
};

const METRICS_LISTEN: AddressOption = AddressOption {
    flag: "metrics-listen",
    variable: "LATCHKEY_METRICS_LISTEN",
    default: "127.0.0.1:9464",
    help: "IP address and port of `/metrics` of the first replica",
};

const MAILBOX_LISTEN: AddressOption = AddressOption {
    flag: "mailbox-listen",
    variable: "LATCHKEY_DEV_MAILBOX_LISTEN",
    default: "127.0.0.1:8025",
    help: "IP address and port of the mailbox",
};

const AFTER_LONG_HELP: &str = "\
Configuration: same environment variables as `latchkey serve`, also in `.env` of the working \
folder, see `latchkey help settings`. They override the values of this program:
  DATABASE_URL, REDIS_URL  used instead of a private store
  LATCHKEY_SMTP_URL        used instead of the mailbox
A `.env` with POSTGRES_PASSWORD is for Docker Compose, and is ignored.

Examples:
  ./dev up                          run until Ctrl-C
  ./dev up --detach --replicas 2    start two replicas in the background
  ./dev down                        stop them

Exit codes:
  0  success
  1  failed
  2  invalid usage

Docs: docs/how-to/run-locally.md";

fn command() -> Command {
    let switch = |name, help| {
        Arg::new(name)
            .long(name)
            .help(help)
            .action(ArgAction::SetTrue)
    };
    Command::new("latchkey-dev")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run a local development stack")
        .long_about(
            "Runs a local development stack: a private PostgreSQL and Redis, the server, and a \
             page with its emails.",
        )
        .arg(switch(
            "detach",
            "Run in the background; return when the server is ready",
        ))
        .arg(switch("down", "Stop the background instance"))
        .arg(
            Arg::new("replicas")
                .long("replicas")
                .value_name("NUMBER")
                .help("Number of replicas, on consecutive ports")
                .default_value("1")
                .value_parser(value_parser!(u16).range(1..=MAX_REPLICAS)),
        )
        .arg(
            Arg::new("directory")
                .long("directory")
                .value_name("FOLDER")
                .help("Folder of the data, the master secret, the emails, and the logs")
                .default_value(DEFAULT_DIRECTORY)
                .value_parser(value_parser!(PathBuf)),
        )
        .args([LISTEN, METRICS_LISTEN, MAILBOX_LISTEN].map(|option| option.argument()))
        .args_conflicts_with_subcommands(true)
        .subcommand(with_stores_command())
        .after_long_help(AFTER_LONG_HELP)
}

fn with_stores_command() -> Command {
    let (database, redis) = (with_stores::DATABASE_VARIABLE, with_stores::REDIS_VARIABLE);
    Command::new("with-stores")
        .about(format!(
            "Run a command with empty stores, whose URLs are in {database} and {redis}"
        ))
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .help("Command and its arguments")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString)),
        )
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match execute(&command().get_matches()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(matches: &ArgMatches) -> Result<ExitCode, Error> {
    if let Some(matches) = matches.subcommand_matches("with-stores") {
        let command = matches.get_many::<OsString>("command");
        let command: Vec<_> = command.into_iter().flatten().cloned().collect();
        return with_stores::run(&command);
    }
    run(&options(matches)?).map(|()| ExitCode::SUCCESS)
}

fn options(matches: &ArgMatches) -> Result<DevOptions, Error> {
    let down = matches.get_flag("down");
    // A stop ignores the settings, because invalid settings must not prevent it.
    let mut given = if down {
        GivenSettings::default()
    } else {
        GivenSettings::read()?
    };
    Ok(DevOptions {
        detach: matches.get_flag("detach"),
        down,
        replicas: matches.get_one("replicas").copied().unwrap_or(1),
        directory: matches
            .get_one::<PathBuf>("directory")
            .cloned()
            .unwrap_or_default(),
        listen: LISTEN.read(matches, &mut given)?,
        metrics_listen: METRICS_LISTEN.read(matches, &mut given)?,
        mailbox_listen: MAILBOX_LISTEN.read(matches, &mut given)?,
        given,
    })
}

impl AddressOption {
    fn argument(&self) -> Arg {
        let (help, variable, default) = (self.help, self.variable, self.default);
        Arg::new(self.flag)
            .long(self.flag)
            .value_name("ADDRESS")
            .help(format!("{help} [env: {variable}] [default: {default}]"))
    }

    /// Reads the flag, then the variable, then the default.
    ///
    /// The flag is added to `given`, so that it overrides the variable for the server as well.
    fn read(&self, matches: &ArgMatches, given: &mut GivenSettings) -> Result<SocketAddr, Error> {
        if let Some(flag) = matches.get_one::<String>(self.flag) {
            given.set(self.variable, flag);
        }
        let text = given.value(self.variable).unwrap_or(self.default);
        text.parse().map_err(|_| {
            Error::new(format!(
                "{} must be an IP address and a port, for example `{}`",
                self.variable, self.default
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_addresses(
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<[String; 3], String> {
        let program = ["latchkey-dev"].iter();
        let matches = command()
            .try_get_matches_from(program.chain(arguments))
            .map_err(|error| error.to_string())?;
        let mut given = GivenSettings::default();
        for (variable, value) in environment {
            given.set(variable, value);
        }
        let mut address = |option: AddressOption| {
            let read = option.read(&matches, &mut given);
            read.map(|address| address.to_string())
                .map_err(|error| error.to_string())
        };
        Ok([
            address(LISTEN)?,
            address(METRICS_LISTEN)?,
            address(MAILBOX_LISTEN)?,
        ])
    }

    #[test]
    fn arguments_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn flag_overrides_variable_and_variable_overrides_default() {
        assert_eq!(
            parse_addresses(
                &["--listen", "127.0.0.1:1"],
                &[
                    ("LATCHKEY_LISTEN", "127.0.0.1:2"),
                    ("LATCHKEY_DEV_MAILBOX_LISTEN", "127.0.0.1:3"),
                ],
            ),
            Ok(["127.0.0.1:1", "127.0.0.1:9464", "127.0.0.1:3"].map(str::to_owned))
        );
    }

    #[test]
    fn invalid_address_error_contains_variable() {
        for (flag, variable) in [
            ("--listen", "LATCHKEY_LISTEN"),
            ("--metrics-listen", "LATCHKEY_METRICS_LISTEN"),
            ("--mailbox-listen", "LATCHKEY_DEV_MAILBOX_LISTEN"),
        ] {
            let by_flag = parse_addresses(&[flag, "8000"], &[]).unwrap_err();
            let by_variable = parse_addresses(&[], &[(variable, "localhost")]).unwrap_err();
            assert!(by_flag.contains(variable), "{by_flag}");
            assert!(by_variable.contains(variable), "{by_variable}");
        }
    }

    #[test]
    fn number_of_replicas_is_limited() {
        assert!(parse_addresses(&["--replicas", "9"], &[]).is_ok());
        assert!(parse_addresses(&["--replicas", "10"], &[]).is_err());
        assert!(parse_addresses(&["--replicas", "0"], &[]).is_err());
    }
}
