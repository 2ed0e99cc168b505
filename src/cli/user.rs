//! `latchkey user …`: user administration by the operator. It runs the same use cases as `/users`.
//!
//! The operator creates the first administrator with it, and helps users who can't sign in.

mod arguments;
mod groups;
mod sign_out;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::ArgMatches;
use latchkey::app::{
    App,
    admin::{
        actor::AdminActor,
        users::{ManagedUser, NewUserRequest},
    },
    revocation::WaitFor,
};
use latchkey_domain::{
    account::{NamePrefix, Role, SignInName},
    page::{MAX_LIMIT, Page},
    user_change::AccountChange,
};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use super::{
    CANCELED, CommandError, FAILED,
    arguments::render,
    json,
    paging::read_pages,
    prepare, print_outcome, show,
    terminal::{confirm, parse_password, read_password},
};
pub use arguments::{UserReference, command, limit};
use groups::group_names;

/// Runs one command.
pub async fn run(app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    print_outcome(Operator(app).run_command(matches).await)
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
            "events" => self.events(matches).await,
            "export" => self.export(matches).await,
            "unlock" => self.unlock(matches).await,
            "release" => self.release(matches).await,
            "sign-out" => sign_out::all_users(&self.0).await,
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
            "groups" => self.change_groups(matches).await,
            _change => self.change(command, matches).await,
        }
    }

    async fn find(&self, matches: &ArgMatches) -> Result<ManagedUser, CommandError> {
        Ok(match reference(matches) {
            UserReference::Id(id) => self.0.users.get_user(*id).await?,
            UserReference::Name(name) => self.0.users.find_user(name).await?,
        })
    }

    async fn list(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let prefix: &NamePrefix = matches.get_one("search").expect("a default value");
        let group = matches.get_one("group");
        let limit: u32 = *matches.get_one("limit").expect("a default value");
        let (users, next) = read_pages(Some(limit), async |page| {
            let page = self.0.users.list_users(prefix, group, page).await?;
            Ok((page.users, page.next))
        })
        .await?;
        if next.is_some() {
            eprintln!("hint: more users match; increase --limit or narrow the list with --search");
        }
        Ok(render(
            matches,
            || show::users(&users),
            || json::page(&users, json::user, next.as_deref()),
        ))
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
        let to_json = || {
            let sessions: Vec<_> = sessions.iter().map(json::session).collect();
            json!({ "user": json::user(&user), "sessions": sessions })
        };
        Ok(render(
            matches,
            || show::user(&user) + &show::sessions(&sessions),
            to_json,
        ))
    }

    async fn events(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let id = match reference(matches) {
            UserReference::Id(id) => *id,
            UserReference::Name(_) => self.find(matches).await?.account.id,
        };
        let limit: u32 = *matches.get_one("limit").expect("a default value");
        let (events, next) = read_pages(Some(limit), async |page| {
            let page = self.0.audit.list_user_audit_events(id, page).await?;
            Ok((page.events, page.next))
        })
        .await?;
        if next.is_some() {
            eprintln!("hint: more events exist; increase --limit");
        }
        Ok(render(
            matches,
            || show::audit_events(&events),
            || json::page(&events, json::audit_event, next.as_deref()),
        ))
    }

    /// Prints the document part by part, because it can be large.
    async fn export(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let id = self.find(matches).await?.account.id;
        let mut export = self.0.users.export_user(id).await?;
        while let Some(part) = export.next_part().await? {
            io::stdout().write_all(part.as_bytes())?;
        }
        Ok(String::new())
    }

    async fn unlock(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let user = self.find(matches).await?;
        let counters = self.0.users.reset_rate_limits(&user.account).await?;
        let name = show::name(&user);
        Ok(match counters {
            0 => format!("{name} has no counters of failed attempts.\n"),
            _some => format!("Deleted the counters of failed attempts of {name}.\n"),
        })
    }

    async fn release(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let name: &SignInName = matches.get_one("name").expect("a required argument");
        if self.0.users.release_name(name).await? {
            return Ok(format!("Ended the reservation of {}.\n", name.as_str()));
        }
        let error = format!("{} is not reserved", name.as_str());
        let hint = "`latchkey user show NAME` shows whether a user has the name";
        Err(CommandError::new(FAILED, error).hint(hint))
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
            groups: group_names(matches, "group")?,
            password: Some(password),
        };
        let user = self
            .0
            .users
            .create_user(AdminActor::Operator, request)
            .await?;
        let password = generated.as_ref().map(|text| text.expose_secret());
        let to_text = || {
            let password_line = password.map_or_else(String::new, |password| {
                format!("Password (shown once): {password}\n")
            });
            format!(
                "Created user {} with the role {}.\n{password_line}",
                show::name(&user),
                user.account.identity.role.as_str()
            )
        };
        Ok(render(
            matches,
            to_text,
            || json!({ "password": password, "user": json::user(&user) }),
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
            return Err(error.hint("enable the user first: `latchkey user enable USER`"));
        }
        if user.account.identity.email.is_none() {
            let error = format!("{name} has no email address, which a reset code requires");
            let error = CommandError::new(FAILED, error);
            return Err(error.hint("set a password with --password-stdin"));
        }
        let code = self.0.users.create_reset_code(id).await?;
        let lifetime = self.0.config.code_lifetime.as_secs();
        let to_text = || {
            let (minutes, issuer) = (lifetime.div_ceil(60), self.0.config.issuer.as_str());
            format!(
                "Password reset code: {code}\nIt works once within {minutes} min, with the email \
                 address of {name}, at {issuer}/forgot or `POST /password/reset`.\n"
            )
        };
        Ok(render(
            matches,
            to_text,
            || json!({ "code": code, "expires_in": lifetime }),
        ))
    }
}

fn reference(matches: &ArgMatches) -> &UserReference {
    matches.get_one("user").expect("a required argument")
}

/// Returns whether a command can run. Commands that revoke or delete require `--yes` or a confirmed
/// prompt.
fn is_confirmed(command: &str, matches: &ArgMatches) -> Result<bool, CommandError> {
    let all_users = "Revoke all sessions and personal access tokens of all users?";
    let (question, action) = match command {
        "sign-out" => return confirm(matches, all_users, "sign out all users"),
        "delete" => ("Permanently delete {} and all their data?", "delete"),
        "disable" => (
            "Disable {} and revoke all sessions and tokens?",
            "disable the user",
        ),
        "revoke" => (
            "Revoke all sessions and personal access tokens of {}?",
            "revoke",
        ),
        "groups" => (
            "Change the groups of {} and revoke all sessions and tokens?",
            "change the groups",
        ),
        "set-role" => (
            "Change the role of {} and revoke all sessions and tokens?",
            "change the role",
        ),
        // Without this flag, it creates a code, which revokes nothing.
        "reset-password" if matches.get_flag("password-stdin") => (
            "Set the password of {} and revoke all sessions and tokens?",
            "set the password",
        ),
        _other => return Ok(true),
    };
    let user = reference(matches).to_string();
    confirm(matches, &question.replace("{}", &user), action)
}
