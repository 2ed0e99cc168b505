//! The pages below `/account`, on which users manage their own accounts.

pub mod activity;
pub mod delete;
pub mod email;
mod failure;
mod navigation;
pub mod new_token;
pub mod profile;
pub mod security;
pub mod sessions;
pub mod tokens;

use std::sync::Arc;

use latchkey_domain::{access_token::Claims, account::Account, password::Password};
use poem::Response;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    context::Context,
    form::Form,
    frame::{Errors, Frame},
    rejection::parse,
    texts::Texts,
};
use crate::error::Error;
use failure::Failure;
use navigation::{Links, Section};

/// The field with which a user confirms the password.
const CURRENT_PASSWORD: &str = "current_password";

/// The signed-in user of a page.
struct User {
    claims: Arc<Claims>,
    account: Account,
}

/// Whether the browser can see the page.
enum Entry {
    User(Box<User>),
    /// The browser is signed out, or must visit another page first.
    Elsewhere(Response),
}

/// Returns the user. If an administrator has set the password, every page except the one that
/// changes it redirects there.
async fn enter(context: &Context, section: Section) -> Result<Entry, Error> {
    let Some(claims) = context.caller().await? else {
        return Ok(Entry::Elsewhere(context.require_sign_in()));
    };
    let account = match context.app.accounts.get_account(&claims).await {
        Ok(account) => account,
        // The user was deleted, and the revocation is about to be published.
        Err(Error::TokenRevoked) => return Ok(Entry::Elsewhere(context.require_sign_in())),
        Err(error) => return Err(error),
    };
    if account.password_change_required && section != Section::Security {
        return Ok(Entry::Elsewhere(context.redirect(Section::Security.path())));
    }
    Ok(Entry::User(Box::new(User { claims, account })))
}

/// Whether an action that requires a recent sign-in needs the password.
fn requires_password(context: &Context, user: &User) -> bool {
    let tokens = &context.app.tokens;
    tokens.require_recent_sign_in(&user.claims).is_err()
}

/// Returns claims with a recent sign-in. If the sign-in is older, the form contains the password,
/// and the session cookie is renewed.
async fn confirm_password(
    context: &Context,
    user: &User,
    form: &Form,
) -> Result<Arc<Claims>, Failure> {
    if !requires_password(context, user) {
        return Ok(user.claims.clone());
    }
    let texts = context.site.texts;
    if !form.has(CURRENT_PASSWORD) {
        let text = texts.account_pages.confirm_password;
        return Err(Errors::of_field(CURRENT_PASSWORD, format!("{text}.")).into());
    }
    let mut errors = Errors::default();
    let rule = (CURRENT_PASSWORD, texts.incorrect_current_password);
    let Some(password) = parse::<Password>(form, &mut errors, rule, texts) else {
        return Err(errors.into());
    };
    let accounts = &context.app.accounts;
    let cookie = accounts
        .confirm_password(&user.claims, password, &context.origin)
        .await?;
    context.session_cookie.put(&cookie);
    Ok(cookie.claims)
}

/// The frame of a page for a GET request, with the note of the previous one.
fn frame_with_note<'a>(context: &'a Context, title: &str) -> Frame<'a> {
    let note = context.take_note();
    let note = note.map(|note| context.note_text(&note));
    context.frame(title).wide().with_note(note)
}

/// The frame of a page. After a form was rejected, it contains the errors.
fn frame<'a>(context: &'a Context, title: &str, errors: Errors) -> Frame<'a> {
    if context.form.is_none() {
        return frame_with_note(context, title);
    }
    context.frame(title).wide().with_errors(errors)
}

/// A time on a page.
struct Moment {
    /// For the attribute `datetime`.
    datetime: String,
    text: String,
}

impl Moment {
    fn new(texts: &Texts, at: OffsetDateTime) -> Moment {
        let at = at.replace_nanosecond(0).unwrap_or(at);
        Moment {
            datetime: at.format(&Rfc3339).unwrap_or_default(),
            text: (texts.account_pages.moment)(at),
        }
    }
}
