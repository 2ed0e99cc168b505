//! The page `/account`.

use askama::Template;
use latchkey_domain::account::{Account, DisplayName, Username};
use poem::{Response, http::StatusCode};

use super::{Entry, Failure, Links, Moment, Section, User, enter, frame};
use crate::{
    app::accounts::profile::ProfileChange,
    error::Error,
    http::pages::{
        context::{Context, render_with},
        form::Form,
        frame::{Errors, Frame},
        note::Note,
        rejection::parse_optional,
    },
};

pub const FIELDS: &[&str] = &["username", "name"];

#[derive(Template)]
#[template(path = "pages/account/profile.html")]
struct ProfilePage<'a> {
    frame: Frame<'a>,
    links: Links,
    account: &'a Account,
    username: &'a str,
    name: &'a str,
    /// An account without an email address requires a username.
    requires_username: bool,
    created: Moment,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let user = match enter(&context, Section::Profile).await? {
        Entry::User(user) => user,
        Entry::Elsewhere(response) => return Ok(response),
    };
    let Some(form) = &context.form else {
        return Ok(render_page(
            &context,
            &user,
            StatusCode::OK,
            Errors::default(),
        ));
    };
    let outcome = save(&context, &user, form).await;
    Ok(outcome.unwrap_or_else(|failure| {
        failure.respond(&context, Section::Profile, |status, errors| {
            render_page(&context, &user, status, errors)
        })
    }))
}

async fn save(context: &Context, user: &User, form: &Form) -> Result<Response, Failure> {
    let (texts, mut errors) = (context.site.texts, Errors::default());
    let username_rule = ("username", texts.invalid_username);
    // A username of an older version can break the rules, and stays valid.
    let current = user.account.identity.username.as_deref();
    let username = if current == Some(form.trimmed("username")) {
        None
    } else {
        let username = parse_optional::<Username>(form, &mut errors, username_rule, texts);
        Some(username)
    };
    let name_rule = ("name", texts.account_pages.invalid_name);
    let name = parse_optional::<DisplayName>(form, &mut errors, name_rule, texts);
    if form.trimmed("username").is_empty() && user.account.identity.email.is_none() {
        errors.add("username", texts.account_pages.username_required);
    }
    if !errors.is_empty() {
        return Err(errors.into());
    }
    let change = ProfileChange {
        username,
        name: Some(name),
    };
    let accounts = &context.app.accounts;
    accounts
        .update_profile(&user.claims, change, &context.origin)
        .await?;
    context.leave_note(&Note::ProfileSaved);
    Ok(context.redirect(Section::Profile.path()))
}

fn render_page(context: &Context, user: &User, status: StatusCode, errors: Errors) -> Response {
    let (texts, identity) = (context.site.texts, &user.account.identity);
    let shown = |field: &str, stored: Option<&String>| match &context.form {
        Some(form) => form.shown(field).to_owned(),
        None => stored.cloned().unwrap_or_default(),
    };
    let page = ProfilePage {
        frame: frame(context, texts.account_pages.profile, errors),
        links: Section::Profile.links(texts),
        account: &user.account,
        username: &shown("username", identity.username.as_ref()),
        name: &shown("name", identity.name.as_ref()),
        requires_username: identity.email.is_none(),
        created: Moment::new(texts, user.account.created_at),
    };
    render_with(status, &page)
}
