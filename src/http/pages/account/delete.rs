//! The page `/account/delete`.

use askama::Template;
use poem::{Response, http::StatusCode};

use super::{
    CURRENT_PASSWORD, Entry, Failure, Links, Section, User, confirm_password, enter, frame,
    requires_password,
};
use crate::{
    error::Error,
    http::pages::{
        context::{Context, render_with},
        form::Form,
        frame::{Errors, Frame},
        note::Note,
    },
};

pub const FIELDS: &[&str] = &[CURRENT_PASSWORD];

#[derive(Template)]
#[template(path = "pages/account/delete.html")]
struct DeletePage<'a> {
    frame: Frame<'a>,
    links: Links,
    requires_password: bool,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let user = match enter(&context, Section::Profile).await? {
        Entry::User(user) => user,
        Entry::Elsewhere(response) => return Ok(response),
    };
    let render = |status, errors| {
        let texts = context.site.texts;
        let page = DeletePage {
            frame: frame(&context, texts.account_pages.delete_account, errors),
            links: Section::Profile.links(texts),
            requires_password: requires_password(&context, &user),
        };
        render_with(status, &page)
    };
    let Some(form) = &context.form else {
        return Ok(render(StatusCode::OK, Errors::default()));
    };
    let outcome = delete(&context, &user, form).await;
    Ok(outcome.unwrap_or_else(|failure| failure.respond(&context, Section::Profile, render)))
}

async fn delete(context: &Context, user: &User, form: &Form) -> Result<Response, Failure> {
    let caller = confirm_password(context, user, form).await?;
    let accounts = &context.app.accounts;
    accounts.delete_own_user(&caller, &context.origin).await?;
    context.session_cookie.clear();
    context.leave_note(&Note::AccountDeleted);
    Ok(context.redirect("/sign-in"))
}
