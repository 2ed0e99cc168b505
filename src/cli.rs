//! `latchkey user …`, the operator's side door: the first administrator comes from here, and
//! whoever is locked out is helped from here. It tells the same stories as `/users`, as a process
//! of its own beside the gateways.
//!
//! What is asked for goes to standard output, everything else to standard error. No secret is taken
//! from the command line, because that shows in `ps`.

mod arguments;
pub mod client;
pub mod explain;
pub mod keys;
pub mod revocations;
mod show;

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::ArgMatches;
use latchkey::{
    domain::{
        account::{NamePrefix, Role, SignInName},
        administration::AccountChange,
        page::{self, MAX_LIMIT, Page},
        password::Password,
        text::Parsed,
    },
    error::{Chain, Error},
    gateway::{Administrator, Gateway, ManagedUser, NewAccount, Setback, revocation::Patience},
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::WRONG_SETTINGS;
pub use arguments::command;

/// Refused or failed; wrong settings and wrong usage are 2.
const REFUSED: u8 = 1;

/// Why a command did not do what it was asked for: an exit code, and one sentence.
struct Refusal(u8, String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let told = match &error {
            Error::NotFound => "There is no such user.".to_owned(),
            Error::Internal(source)
            | Error::Unavailable {
                committed: None,
                source,
            } => {
                format!("{}: {}.", error.code().title(), Chain(source.as_ref()))
            }
            Error::InvalidRequest { .. } | Error::Unavailable { .. } => error.to_string(),
            other => format!("{}. {other}", other.code().title()),
        };
        Refusal(REFUSED, told)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal(REFUSED, format!("The terminal or pipe failed: {error}."))
    }
}

/// Runs one command.
pub async fn run(gateway: Arc<Gateway>, matches: &ArgMatches) -> ExitCode {
    tell(Operator(gateway).obey(matches).await)
}

/// What a command has to say, and the exit code that goes with it.
fn tell(outcome: Result<String, Refusal>) -> ExitCode {
    match outcome {
        Ok(told) => crate::print(&told),
        Err(Refusal(code, told)) => {
            eprintln!("latchkey: {told}");
            ExitCode::from(code)
        }
    }
}

/// Prepares what every command needs.
async fn started(gateway: &Gateway) -> Result<(), Refusal> {
    gateway.try_start().await.map_err(|setback| match setback {
        Setback::Never(error) => Refusal(WRONG_SETTINGS, format!("{error}.")),
        Setback::Later(error) => Refusal(
            REFUSED,
            format!("A store does not answer: {}.", Chain(error.as_ref())),
        ),
    })
}

/// Whoever may run the program with the gateway's settings.
struct Operator(Arc<Gateway>);

impl Operator {
    async fn obey(&self, matches: &ArgMatches) -> Result<String, Refusal> {
        let (command, matches) = matches.subcommand().expect("the parser wants one");
        // Before a store is asked: whoever is to be asked again is asked at once.
        let what = |name: &str| format!("Delete {name} with everything in it, for good?");
        let yes = command != "delete" || confirmed(matches, command, &what(&name_of(matches)))?;
        started(&self.0).await?;
        match command {
            "list" => self.list(matches).await,
            "create" => self.create(matches).await,
            "show" => self.show(matches).await,
            "reset" => self.reset(matches).await,
            "delete" if !yes => Ok("Nothing was deleted.\n".to_owned()),
            "delete" => {
                let user = self.find(matches).await?;
                self.0
                    .delete_user(Administrator::Operator, user.account.id)
                    .await?;
                Ok(format!("Deleted {}.\n", show::name(&user)))
            }
            "revoke" => {
                let user = self.find(matches).await?;
                self.0
                    .revoke_user(
                        Administrator::Operator,
                        user.account.id,
                        Patience::UntilEnforced,
                    )
                    .await?;
                Ok(format!("{} is signed out everywhere.\n", show::name(&user)))
            }
            _change => self.change(command, matches).await,
        }
    }

    async fn find(&self, matches: &ArgMatches) -> Result<ManagedUser, Refusal> {
        let name: &SignInName = matches.get_one("name").expect("the parser wants it");
        Ok(self.0.find_user(name).await?)
    }

    async fn list(&self, matches: &ArgMatches) -> Result<String, Refusal> {
        let prefix: &NamePrefix = matches.get_one("search").expect("it has a default");
        let limit: u32 = *matches.get_one("limit").expect("it has a default");
        let (mut users, mut after, mut more) = (Vec::new(), Some(Uuid::nil()), false);
        while let Some(last) = after.filter(|_| users.len() < limit as usize) {
            let left = u8::try_from(limit as usize - users.len())
                .unwrap_or(MAX_LIMIT)
                .min(MAX_LIMIT);
            let page = self
                .0
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
            after = page.next.as_deref().and_then(page::position);
        }
        if more {
            eprintln!("There are more: raise --limit, or narrow the list with --search.");
        }
        Ok(show::users(&users))
    }

    async fn show(&self, matches: &ArgMatches) -> Result<String, Refusal> {
        let user = self.find(matches).await?;
        let all = Page {
            limit: MAX_LIMIT,
            after: Uuid::nil(),
        };
        let sessions = self
            .0
            .list_devices_of_user(user.account.id, all)
            .await?
            .devices;
        Ok(show::user(&user) + &show::sessions(&sessions))
    }

    async fn create(&self, matches: &ArgMatches) -> Result<String, Refusal> {
        let given = matches.get_flag("password-stdin");
        let text = if given {
            password_from(io::stdin().lock())?
        } else {
            self.0.suggest_password()?
        };
        let request = NewAccount {
            username: matches.get_one("username").cloned(),
            email: matches.get_one("email").cloned(),
            name: matches.get_one("display-name").cloned(),
            role: matches.get_one("role").copied().unwrap_or(Role::User),
            password: Some(password(&text)?),
        };
        let user = self.0.create_user(Administrator::Operator, request).await?;
        let shown = if given {
            String::new()
        } else {
            format!("Password, shown this once: {}\n", text.as_str())
        };
        Ok(format!(
            "Created {}, {}.\n{shown}",
            show::name(&user),
            show::article(user.account.identity.role)
        ))
    }

    async fn change(&self, command: &str, matches: &ArgMatches) -> Result<String, Refusal> {
        let mut change = AccountChange::default();
        match command {
            "disable" => change.disabled = Some(true),
            "enable" => change.disabled = Some(false),
            _role => change.role = matches.get_one("role").copied(),
        }
        let user = self.find(matches).await?;
        let user = self
            .0
            .change_user(Administrator::Operator, user.account.id, change, None)
            .await?;
        let told = match command {
            "disable" => "is disabled, and signed out everywhere".to_owned(),
            "enable" => "may sign in again".to_owned(),
            _role => format!("is {} now", show::article(user.account.identity.role)),
        };
        Ok(format!("{} {told}.\n", show::name(&user)))
    }

    async fn reset(&self, matches: &ArgMatches) -> Result<String, Refusal> {
        let user = self.find(matches).await?;
        let (id, name) = (user.account.id, show::name(&user));
        if matches.get_flag("password-stdin") {
            let text = password_from(io::stdin().lock())?;
            self.0
                .change_user(
                    Administrator::Operator,
                    id,
                    AccountChange::default(),
                    Some(password(&text)?),
                )
                .await?;
            return Ok(format!(
                "{name} has the new password, and is signed out everywhere.\n"
            ));
        }
        if user.disabled {
            return Err(Refusal(
                REFUSED,
                format!("{name} is disabled; `latchkey user enable` comes first."),
            ));
        }
        if user.account.identity.email.is_none() {
            let told = format!(
                "{name} has no e-mail address, which codes go with; set a password with \
                 --password-stdin."
            );
            return Err(Refusal(REFUSED, told));
        }
        let code = self.0.make_reset_code(id).await?;
        let (minutes, issuer) = (
            self.0.config().code_lifetime.as_secs().div_ceil(60),
            self.0.config().issuer.as_str(),
        );
        Ok(format!(
            "Code for a new password: {code}\nIt works once, for {minutes} min, with {name}'s \
             address, at {issuer}/forgot or POST /password/reset.\n"
        ))
    }
}

fn name_of(matches: &ArgMatches) -> String {
    let name: &SignInName = matches.get_one("name").expect("the parser wants it");
    name.as_str().to_owned()
}

/// Whether somebody who is asked says yes. Where nobody can be asked, `--yes` must have been said.
fn confirmed(matches: &ArgMatches, command: &str, question: &str) -> Result<bool, Refusal> {
    if matches.get_flag("yes") {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        let told = format!("Nobody can be asked here: say --yes to {command} without a question.");
        return Err(Refusal(WRONG_SETTINGS, told));
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// All that comes in, but the line break that `echo` adds.
fn password_from(mut input: impl Read) -> Result<Zeroizing<String>, Refusal> {
    let mut text = Zeroizing::new(String::new());
    input.read_to_string(&mut text)?;
    let typed = text.strip_suffix('\n').map_or(text.as_str(), |line| {
        line.strip_suffix('\r').unwrap_or(line)
    });
    Ok(Zeroizing::new(typed.to_owned()))
}

fn password(text: &str) -> Result<Password, Refusal> {
    Password::parse(text).map_err(|reason| Refusal(REFUSED, format!("The password {reason}.")))
}
