//! `latchkey user …`: user administration by the operator, in a separate process on the server's
//! machine. It runs the same use cases as `/users`.
//!
//! The operator creates the first administrator with it, and helps users who can't sign in. Results
//! go to standard output, everything else to standard error. No argument contains a secret, because
//! process arguments are visible.

mod arguments;
pub mod check;
pub mod client;
pub mod explain;
pub mod help;
pub mod keys;
pub mod revocations;
mod show;
mod terminal;

use std::{fmt::Display, io, process::ExitCode, sync::Arc};

use clap::ArgMatches;
use latchkey::{
    app::{
        App,
        admin::users::{AdminActor, ManagedUser, NewUserRequest},
        lifecycle::start::StartupError,
        revocation::WaitFor,
    },
    error::{Chain, Error},
};
use latchkey_domain::{
    account::{NamePrefix, Role, SignInName},
    page::{self, MAX_LIMIT, Page},
    user_change::AccountChange,
};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::{INVALID_CONFIGURATION, STORE_UNAVAILABLE};
pub use arguments::command;
use terminal::{confirm, parse_password, read_password};

/// Exit code of a command that was rejected or failed.
const FAILED: u8 = 1;

/// Error of a command whose confirmation prompt was declined.
const CANCELED: &str = "canceled; nothing was changed";

/// The failure of a command: an exit code, the error, and how to fix it.
struct CommandError {
    code: u8,
    error: String,
    hint: Option<String>,
}

impl CommandError {
    fn new(code: u8, error: impl Into<String>) -> CommandError {
        CommandError {
            code,
            error: error.into(),
            hint: None,
        }
    }

    fn hint(self, hint: impl Into<String>) -> CommandError {
        CommandError {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        let failed = |text: &str| CommandError::new(FAILED, text);
        match &error {
            Error::NotFound => {
                failed("user not found").hint("`latchkey user list` lists all users")
            }
            Error::UsernameTaken => failed("the username is already in use"),
            Error::EmailTaken => failed("the email address is already in use"),
            Error::LastAdmin => failed("at least one enabled administrator must remain").hint(
                "grant the role to another user first: `latchkey user set-role NAME-OR-EMAIL \
                 admin`",
            ),
            Error::Busy => failed("the server is busy").hint("try again in a few seconds"),
            Error::Internal(source) => CommandError::new(
                FAILED,
                format!("internal error: {}", Chain(source.as_ref())),
            ),
            Error::Unavailable {
                committed: None,
                source,
            } => store_unavailable(source.as_ref()),
            Error::Unavailable { .. } => CommandError::new(STORE_UNAVAILABLE, error.to_string()),
            other => CommandError::new(FAILED, other.to_string()),
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        CommandError::new(FAILED, format!("the terminal or pipe failed: {error}"))
    }
}

fn store_unavailable(error: &(dyn std::error::Error + 'static)) -> CommandError {
    CommandError::new(
        STORE_UNAVAILABLE,
        format!("store unavailable: {}", Chain(error)),
    )
}

/// Prints an error and how to fix it.
pub fn print_error(error: impl Display, hint: Option<&str>) {
    eprintln!("error: {error}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}

/// Runs one command.
pub async fn run(app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    print_outcome(Operator(app).run_command(matches).await)
}

/// Prints the result of a command and returns its exit code.
fn print_outcome(outcome: Result<String, CommandError>) -> ExitCode {
    match outcome {
        Ok(text) => crate::print(&text),
        Err(CommandError { code, error, hint }) => {
            print_error(error, hint.as_deref());
            ExitCode::from(code)
        }
    }
}

/// Applies migrations and loads the signing keys, which all commands require.
async fn prepare(app: &App) -> Result<(), CommandError> {
    app.lifecycle
        .try_start()
        .await
        .map_err(|error| match error {
            StartupError::Fatal(error) => {
                let hint = error.hint();
                let error = CommandError::new(INVALID_CONFIGURATION, error.to_string());
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
            StartupError::Retryable(error) => store_unavailable(error.as_ref()),
        })
}

/// The use cases with the rights of the operator, who has the servers' configuration.
struct Operator(Arc<App>);

impl Operator {
    async fn run_command(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let (command, matches) = matches.subcommand().expect("a subcommand");
        // Before connecting to a store, so that the prompt comes first.
        if !is_confirmed(command, matches)? {
            return Err(CommandError::new(FAILED, CANCELED));
        }
        prepare(&self.0).await?;
        match command {
            "list" => self.list(matches).await,
            "create" => self.create(matches).await,
            "show" => self.show(matches).await,
            "reset-password" => self.reset_password(matches).await,
            "delete" => {
                let user = self.find(matches).await?;
                self.0
                    .users
                    .delete_user(AdminActor::Operator, user.account.id)
                    .await?;
                Ok(format!("Deleted {}.\n", show::name(&user)))
            }
            "revoke" => {
                let user = self.find(matches).await?;
                self.0
                    .users
                    .revoke_user_sessions(AdminActor::Operator, user.account.id, WaitFor::Enforced)
                    .await?;
                Ok(format!(
                    "Revoked all sessions and personal access tokens of {}.\n",
                    show::name(&user)
                ))
            }
            _change => self.change(command, matches).await,
        }
    }

    async fn find(&self, matches: &ArgMatches) -> Result<ManagedUser, CommandError> {
        let name: &SignInName = matches.get_one("name").expect("a required argument");
        Ok(self.0.users.find_user(name).await?)
    }

    async fn list(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let prefix: &NamePrefix = matches.get_one("search").expect("a default value");
        let limit: u32 = *matches.get_one("limit").expect("a default value");
        let (mut users, mut after, mut more) = (Vec::new(), Some(Uuid::nil()), false);
        while let Some(last) = after.filter(|_| users.len() < limit as usize) {
            let left = u8::try_from(limit as usize - users.len())
                .unwrap_or(MAX_LIMIT)
                .min(MAX_LIMIT);
            let page = self
                .0
                .users
                .list_users(
                    prefix,
                    Page {
                        limit: left,
                        after: last,
                    },
                )
                .await?;
            users.extend(page.users);
            more = page.next.is_some();
            after = page.next.as_deref().and_then(page::parse_cursor);
        }
        if more {
            eprintln!("hint: more users match; increase --limit or narrow the list with --search");
        }
        Ok(show::users(&users))
    }

    async fn show(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let user = self.find(matches).await?;
        let all = Page {
            limit: MAX_LIMIT,
            after: Uuid::nil(),
        };
        let sessions = self
            .0
            .users
            .list_sessions_of_user(user.account.id, all)
            .await?
            .sessions;
        Ok(show::user(&user) + &show::sessions(&sessions))
    }

    async fn create(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let (password, generated) = if matches.get_flag("password-stdin") {
            (read_password()?, None)
        } else {
            let text = self.0.users.generate_password()?;
            (parse_password(&text)?, Some(text))
        };
        let request = NewUserRequest {
            username: matches.get_one("username").cloned(),
            email: matches.get_one("email").cloned(),
            name: matches.get_one("display-name").cloned(),
            role: matches.get_one("role").copied().unwrap_or(Role::User),
            password: Some(password),
        };
        let user = self
            .0
            .users
            .create_user(AdminActor::Operator, request)
            .await?;
        let password_line = generated.map_or_else(String::new, |text| {
            format!("Password (shown once): {}\n", text.expose_secret())
        });
        Ok(format!(
            "Created user {} with the role {}.\n{password_line}",
            show::name(&user),
            user.account.identity.role.as_str()
        ))
    }

    async fn change(&self, command: &str, matches: &ArgMatches) -> Result<String, CommandError> {
        let mut change = AccountChange::default();
        match command {
            "disable" => change.disabled = Some(true),
            "enable" => change.disabled = Some(false),
            _set_role => change.role = matches.get_one("role").copied(),
        }
        let before = self.find(matches).await?;
        let user = self
            .0
            .users
            .update_managed_user(AdminActor::Operator, before.account.id, change, None)
            .await?;
        let (name, role) = (show::name(&user), user.account.identity.role);
        Ok(match command {
            "disable" => format!("Disabled {name} and revoked all sessions and tokens.\n"),
            "enable" => format!("Enabled {name}.\n"),
            _set_role if before.account.identity.role == role => {
                format!("{name} already has the role {}.\n", role.as_str())
            }
            _set_role => format!(
                "Changed the role of {name} to {} and revoked all sessions and tokens.\n",
                role.as_str()
            ),
        })
    }

    async fn reset_password(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let user = self.find(matches).await?;
        let (id, name) = (user.account.id, show::name(&user));
        if matches.get_flag("password-stdin") {
            let password = read_password()?;
            let change = AccountChange::default();
            self.0
                .users
                .update_managed_user(AdminActor::Operator, id, change, Some(password))
                .await?;
            return Ok(format!(
                "Changed the password of {name} and revoked all sessions and tokens.\n"
            ));
        }
        if user.disabled {
            let error = CommandError::new(FAILED, format!("{name} is disabled"));
            return Err(error.hint("enable the user first: `latchkey user enable NAME-OR-EMAIL`"));
        }
        if user.account.identity.email.is_none() {
            let error = format!("{name} has no email address, which a reset code requires");
            let error = CommandError::new(FAILED, error);
            return Err(error.hint("set a password with --password-stdin"));
        }
        let code = self.0.users.create_reset_code(id).await?;
        let (minutes, issuer) = (
            self.0.config.code_lifetime.as_secs().div_ceil(60),
            self.0.config.issuer.as_str(),
        );
        Ok(format!(
            "Password reset code: {code}\nIt works once within {minutes} min, with the email \
             address of {name}, at {issuer}/forgot or `POST /password/reset`.\n"
        ))
    }
}

/// Returns whether a command can run. Commands that revoke or delete require `--yes` or a confirmed
/// prompt.
fn is_confirmed(command: &str, matches: &ArgMatches) -> Result<bool, CommandError> {
    let (question, action) = match command {
        "delete" => ("Permanently delete {} and all their data?", "delete"),
        "disable" => (
            "Disable {} and revoke all sessions and tokens?",
            "disable the user",
        ),
        "revoke" => (
            "Revoke all sessions and personal access tokens of {}?",
            "revoke",
        ),
        "set-role" => (
            "Change the role of {} and revoke all sessions and tokens?",
            "change the role",
        ),
        _other => return Ok(true),
    };
    let name: &SignInName = matches.get_one("name").expect("a required argument");
    confirm(matches, &question.replace("{}", name.as_str()), action)
}
