//! The tree of commands, with their flags and their help.

use clap::Command;
use latchkey::config;

use crate::cli::{
    self,
    arguments::output_flag,
    help::{
        add_help, add_help_with_configuration, add_help_with_exit_codes,
        add_help_without_configuration,
    },
};

const ABOUT: &str = "\
Latchkey is a self-hosted authentication server in a single binary. It registers and signs in \
users, issues, rotates, and revokes tokens, and authenticates requests for your proxies and \
services.";

const CONFIGURATION: &str = "\
Configuration: environment variables, `.env` in the working directory, and flags of `serve`. See \
`latchkey help settings`.";

/// Builds the commands with all flags. Without a command, the flags are those of `serve`. `config`
/// and `migrate` accept them too, so that they can examine and prepare the same configuration.
pub fn command() -> Command {
    let add_settings =
        |command: Command| command.args(config::arguments().map(|argument| argument.hide(true)));
    add_settings(documented_command())
        .mut_subcommand("config", add_settings)
        .mut_subcommand("migrate", add_settings)
}

/// Builds the commands with the flags that `--help` contains, for completions and manual pages.
pub fn documented_command() -> Command {
    let command = Command::new("latchkey")
        .version(latchkey::VERSION)
        .about("Self-hosted authentication server")
        .long_about(ABOUT)
        .args_conflicts_with_subcommands(true)
        .subcommands([
            serve_command(),
            migrate_command(),
            config_command(),
            cli::check::command(),
            cli::health::command(),
            cli::user::command(),
            cli::group::command(),
            cli::application::command(),
            cli::client::command(),
            cli::audit::command(),
            cli::explain::command(),
            cli::keys::command(),
            cli::mail::command(),
            cli::revocations::command(),
            openapi_command(),
            cli::version::command(),
            cli::completions::command(),
            cli::man::command(),
            settings_command(),
        ]);
    add_help_with_configuration(
        command,
        "latchkey serve
         latchkey config
         latchkey check
         latchkey user create --username admin --role admin
         latchkey help settings",
        CONFIGURATION,
    )
}

/// The only command whose help contains the flags. `-h` omits them.
fn serve_command() -> Command {
    let flags = config::arguments().map(|argument| argument.hide_short_help(true));
    let command = Command::new("serve")
        .about("Run the server (the default command)")
        .args(flags);
    add_help_with_configuration(
        command,
        "latchkey serve
         latchkey serve --listen 0.0.0.0:8000 --log info,latchkey=debug",
        &config::secrets_help(),
    )
}

fn migrate_command() -> Command {
    let command = Command::new("migrate")
        .about("Apply the database migrations and exit")
        .long_about(
            "Applies the database migrations and exits. `serve`, `user`, `group`, `application`, `client`, `audit`, \
             `keys`, and `revocations` also apply missing migrations, so their role must then be \
             able to create tables. `migrate` requires only DATABASE_URL, and reads \
             LATCHKEY_DATABASE_TIMEOUT, LATCHKEY_DATABASE_CONNECT_TIMEOUT, and LATCHKEY_LOG.",
        );
    add_help(
        command,
        "latchkey migrate
         DATABASE_URL_FILE=/run/secrets/owner_url latchkey migrate",
    )
}

fn config_command() -> Command {
    let command = Command::new("config")
        .about("Print the effective settings and validate them")
        .long_about(
            "Prints the effective settings, secrets masked, and validates them without connecting \
             to a store. It exits with 2 if the configuration is invalid.",
        )
        .arg(output_flag(
            "an object with `settings`, an object in which each variable has its value; an unset \
             variable has the value null",
        ));
    add_help_with_exit_codes(
        command,
        "latchkey config
         latchkey config --output json",
        "Exit codes:\n  0  valid configuration\n  2  invalid usage or configuration",
    )
}

fn openapi_command() -> Command {
    let command = Command::new("openapi")
        .about("Print the OpenAPI document")
        .long_about("Prints the OpenAPI document. It requires no configuration and no store.");
    add_help_without_configuration(command, "latchkey openapi > openapi.json")
}

/// Makes `latchkey help settings` print all settings.
fn settings_command() -> Command {
    Command::new("settings")
        .about("Print all settings")
        .hide(true)
        .help_template("{after-help}")
        .after_help(config::settings_help())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap checks its rules in debug builds, for example that no two flags are equal.
    #[test]
    fn all_commands_are_consistent() {
        command().debug_assert();
        documented_command().debug_assert();
    }
}
