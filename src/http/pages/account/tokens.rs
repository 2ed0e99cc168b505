//! The page `/account/tokens`.

use askama::Template;
use latchkey_domain::{
    page::{MAX_LIMIT, Page},
    scope::{Scope, Scopes},
};
use poem::Response;
use uuid::Uuid;

use super::{Entry, Failure, Links, Moment, Section, User, enter, frame_with_note};
use crate::{
    app::tokens::personal_access_tokens::{MAX_TOKENS_PER_USER, PersonalAccessToken},
    error::Error,
    http::pages::{
        context::{Context, render},
        form::Form,
        frame::Frame,
        note::Note,
        texts::Texts,
    },
};

pub const FIELDS: &[&str] = &["token"];

// The page shows all tokens.
const _: () = assert!(MAX_TOKENS_PER_USER <= MAX_LIMIT as i64);

#[derive(Template)]
#[template(path = "pages/account/tokens.html")]
struct TokensPage<'a> {
    frame: Frame<'a>,
    links: Links,
    rows: Vec<Row>,
}

struct Row {
    id: Uuid,
    name: String,
    /// The scopes as sentences.
    scopes: Vec<&'static str>,
    expires: Moment,
    last_used: Option<Moment>,
}

impl Row {
    fn new(texts: &Texts, token: PersonalAccessToken) -> Row {
        let scopes = Scopes::parse_granted(&token.scope);
        Row {
            id: token.id,
            name: token.name,
            scopes: Scope::ALL
                .iter()
                .filter(|scope| scopes.contains(**scope))
                .map(|scope| (texts.account_pages.scope)(*scope))
                .collect(),
            expires: Moment::new(texts, token.expires_at),
            last_used: token.last_used_at.map(|at| Moment::new(texts, at)),
        }
    }
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let user = match enter(&context, Section::Tokens).await? {
        Entry::User(user) => user,
        Entry::Elsewhere(response) => return Ok(response),
    };
    let Some(form) = &context.form else {
        return show(&context, &user).await;
    };
    let outcome = delete(&context, &user, form).await;
    Ok(outcome.unwrap_or_else(|failure| failure.respond_without_form(&context, Section::Tokens)))
}

async fn show(context: &Context, user: &User) -> Result<Response, Error> {
    let texts = context.site.texts;
    let all = Page {
        limit: MAX_LIMIT,
        after: Uuid::nil(),
    };
    let tokens = &context.app.tokens;
    let page = tokens
        .list_personal_access_tokens(&user.claims, all)
        .await?;
    let tokens = page.tokens.into_iter().rev();
    Ok(render(&TokensPage {
        frame: frame_with_note(context, texts.account_pages.tokens),
        links: Section::Tokens.links(texts),
        rows: tokens.map(|token| Row::new(texts, token)).collect(),
    }))
}

async fn delete(context: &Context, user: &User, form: &Form) -> Result<Response, Failure> {
    let id: Uuid = form.get("token").parse().map_err(|_| Error::NotFound)?;
    let tokens = &context.app.tokens;
    tokens
        .revoke_personal_access_token(&user.claims, id, &context.origin)
        .await?;
    context.leave_note(&Note::TokenDeleted);
    Ok(context.redirect(Section::Tokens.path()))
}
