//! The page `/account/tokens/new`.

use askama::Template;
use latchkey_domain::{
    opaque_token::Label,
    scope::{Scope, Scopes},
};
use poem::{Response, http::StatusCode};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{
    CURRENT_PASSWORD, Entry, Failure, Links, Section, User, confirm_password, enter, frame,
    requires_password,
};
use crate::{
    app::tokens::personal_access_tokens::{
        DEFAULT_LIFETIME_DAYS, MAX_LIFETIME_DAYS, PersonalAccessTokenRequest,
    },
    error::Error,
    http::pages::{
        context::{Context, render, render_with},
        form::Form,
        frame::{Errors, Frame},
        rejection::parse,
        texts::Texts,
    },
};

/// A checkbox has the name of its scope.
pub const FIELDS: &[&str] = &[
    "id",
    "name",
    "days",
    CURRENT_PASSWORD,
    Scope::UserRead.as_str(),
    Scope::UserWrite.as_str(),
    Scope::ItemsRead.as_str(),
    Scope::ItemsWrite.as_str(),
    Scope::Admin.as_str(),
    Scope::RevocationsRead.as_str(),
];

#[derive(Template)]
#[template(path = "pages/account/new_token.html")]
struct NewTokenPage<'a> {
    frame: Frame<'a>,
    links: Links,
    /// The ID of the token, so that the same form doesn't create a second one.
    id: Uuid,
    name: &'a str,
    choices: Vec<Choice>,
    days: &'a str,
    max_days: u64,
    requires_password: bool,
}

/// The checkbox of a scope.
struct Choice {
    name: &'static str,
    text: &'static str,
    is_checked: bool,
}

#[derive(Template)]
#[template(path = "pages/account/created_token.html")]
struct CreatedTokenPage<'a> {
    frame: Frame<'a>,
    links: Links,
    token: &'a str,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let user = match enter(&context, Section::Tokens).await? {
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
    let outcome = create(&context, &user, form).await;
    Ok(outcome.unwrap_or_else(|failure| {
        failure.respond(&context, Section::Tokens, |status, errors| {
            render_page(&context, &user, status, errors)
        })
    }))
}

/// Shows the new token. There is no redirect, because the token is shown only once.
async fn create(context: &Context, user: &User, form: &Form) -> Result<Response, Failure> {
    let texts = context.site.texts;
    let request = read_request(context, form)?;
    let caller = confirm_password(context, user, form).await?;
    let tokens = &context.app.tokens;
    let created = tokens
        .create_personal_access_token(&caller, request, &context.origin)
        .await;
    let (_, token) = created.map_err(|error| creation_failure(texts, error))?;
    Ok(render(&CreatedTokenPage {
        frame: context.frame(texts.account_pages.new_token).wide(),
        links: Section::Tokens.links(texts),
        token: token.expose_secret(),
    }))
}

fn read_request(context: &Context, form: &Form) -> Result<PersonalAccessTokenRequest, Errors> {
    let (texts, mut errors) = (context.site.texts, Errors::default());
    let name_rule = ("name", texts.account_pages.invalid_token_name);
    let name = parse::<Label>(form, &mut errors, name_rule, texts);
    let checked: Vec<Scope> = Scope::ALL
        .iter()
        .copied()
        .filter(|scope| form.has(scope.as_str()))
        .collect();
    if checked.is_empty() {
        errors.add("scope", texts.account_pages.no_scope);
    }
    let days = form.trimmed("days").parse().ok();
    let days = days.filter(|days| (1..=MAX_LIFETIME_DAYS).contains(days));
    if days.is_none() {
        errors.add("days", (texts.account_pages.invalid_days)());
    }
    match (name, days) {
        (Some(name), Some(days)) if errors.is_empty() => Ok(PersonalAccessTokenRequest {
            id: sent_id(form),
            name,
            scopes: Scopes::of(&checked),
            expires: Some(context.app.tokens.expiry_after_days(days)),
        }),
        _invalid => Err(errors),
    }
}

/// Returns the ID that the form contains. Only the server's own forms have a valid one.
fn sent_id(form: &Form) -> Option<Uuid> {
    let id: Uuid = form.get("id").parse().ok()?;
    (id.get_version_num() == 7).then_some(id)
}

/// Returns the sentence for an error that the fields of the form can't cause.
fn creation_failure(texts: &Texts, error: Error) -> Failure {
    let texts = texts.account_pages;
    let Error::InvalidRequest { field_errors, .. } = &error else {
        return Failure::Error(error);
    };
    match field_errors.first().map(|error| error.field.as_str()) {
        Some("id") => Errors::of_page(texts.token_exists).into(),
        Some(_) => Failure::Error(error),
        None => Errors::of_page((texts.too_many_tokens)()).into(),
    }
}

fn render_page(context: &Context, user: &User, status: StatusCode, errors: Errors) -> Response {
    let (texts, form) = (context.site.texts, context.form.as_ref());
    let default_days = DEFAULT_LIFETIME_DAYS.to_string();
    // A form without invalid fields is rejected if its ID is used, so the next one has another ID.
    // After an unavailable store, the token might exist, so the ID stays.
    let is_used = status == StatusCode::UNPROCESSABLE_ENTITY && errors.fields.is_empty();
    let sent_id = form.and_then(sent_id).filter(|_| !is_used);
    let choices = Scope::ALL
        .iter()
        .filter(|scope| user.claims.permits(**scope))
        .map(|scope| Choice {
            name: scope.as_str(),
            text: (texts.account_pages.scope)(*scope),
            is_checked: form.is_some_and(|form| form.has(scope.as_str())),
        });
    let page = NewTokenPage {
        links: Section::Tokens.links(texts),
        id: sent_id.unwrap_or_else(Uuid::now_v7),
        name: form.map_or("", |form| form.shown("name")),
        choices: choices.collect(),
        days: form.map_or(&default_days, |form| form.shown("days")),
        max_days: MAX_LIFETIME_DAYS,
        requires_password: requires_password(context, user),
        frame: frame(context, texts.account_pages.new_token, errors),
    };
    render_with(status, &page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_has_a_field_for_each_scope() {
        for scope in Scope::ALL {
            assert!(FIELDS.contains(&scope.as_str()), "{scope:?}");
        }
    }
}
