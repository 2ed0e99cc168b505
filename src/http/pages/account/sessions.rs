//! The page `/account/sessions`.

use std::cmp::Reverse;

use askama::Template;
use latchkey_domain::{
    page::{MAX_LIMIT, Page},
    user_agent,
};
use poem::Response;
use uuid::Uuid;

use super::{Entry, Failure, Links, Moment, Section, User, enter, frame_with_note};
use crate::{
    app::{revocation::WaitFor, sessions::list::SessionRow},
    error::Error,
    http::pages::{
        context::{Context, render},
        form::Form,
        frame::Frame,
        note::Note,
        texts::Texts,
    },
};

pub const FIELDS: &[&str] = &["session", "others"];

#[derive(Template)]
#[template(path = "pages/account/sessions.html")]
struct SessionsPage<'a> {
    frame: Frame<'a>,
    links: Links,
    rows: Vec<Row>,
    has_others: bool,
}

/// A session. Users recognize sessions as devices.
struct Row {
    id: Uuid,
    device: String,
    is_current: bool,
    address: Option<String>,
    signed_in: Moment,
    last_active: Moment,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let user = match enter(&context, Section::Sessions).await? {
        Entry::User(user) => user,
        Entry::Elsewhere(response) => return Ok(response),
    };
    let Some(form) = &context.form else {
        return show(&context, &user).await;
    };
    let outcome = if form.has("others") {
        sign_out_others(&context, &user).await
    } else {
        sign_out(&context, &user, form).await
    };
    Ok(outcome.unwrap_or_else(|failure| failure.respond_without_form(&context, Section::Sessions)))
}

async fn show(context: &Context, user: &User) -> Result<Response, Error> {
    let (texts, current) = (context.site.texts, user.claims.sid);
    let mut sessions = list(context, user).await?;
    sessions.sort_by_key(|session| {
        let is_other = Some(session.session_id) != current;
        // IDs sort by time.
        (is_other, Reverse(session.session_id))
    });
    let rows: Vec<_> = sessions
        .into_iter()
        .map(|session| Row {
            id: session.session_id,
            device: device(texts, &session),
            is_current: Some(session.session_id) == current,
            address: session.ip_address,
            signed_in: Moment::new(texts, session.created_at),
            last_active: Moment::new(texts, session.last_used_at),
        })
        .collect();
    Ok(render(&SessionsPage {
        frame: frame_with_note(context, texts.account_pages.sessions),
        links: Section::Sessions.links(texts),
        has_others: rows.iter().any(|row| !row.is_current),
        rows,
    }))
}

/// Returns all sessions of the user, which fit on one page.
async fn list(context: &Context, user: &User) -> Result<Vec<SessionRow>, Error> {
    let all = Page {
        limit: MAX_LIMIT,
        after: Uuid::nil(),
    };
    let sessions = &context.app.sessions;
    Ok(sessions.list_sessions(user.claims.sub, all).await?.sessions)
}

/// Returns the name of the device, from the `User-Agent` of the sign-in.
fn device(texts: &Texts, session: &SessionRow) -> String {
    let agent = session.user_agent.as_deref();
    let device = agent.map(user_agent::describe);
    device.unwrap_or_else(|| texts.account_pages.unknown_device.to_owned())
}

/// Revokes one session. When it returns, every replica rejects the session.
async fn sign_out(context: &Context, user: &User, form: &Form) -> Result<Response, Failure> {
    let texts = context.site.texts;
    let session_id: Uuid = form.get("session").parse().map_err(|_| Error::NotFound)?;
    let listed = list(context, user).await?;
    let session = listed.iter().find(|row| row.session_id == session_id);
    // A session that is already revoked isn't listed. The use case publishes the revocation again.
    let device = session.map_or_else(
        || texts.account_pages.unknown_device.to_owned(),
        |session| device(texts, session),
    );
    let sessions = &context.app.sessions;
    sessions
        .revoke_own_session(&user.claims, session_id, WaitFor::Enforced, &context.origin)
        .await?;
    if user.claims.sid == Some(session_id) {
        context.session_cookie.clear();
        return Ok(context.redirect("/sign-in"));
    }
    context.leave_note(&Note::SessionRevoked(device));
    Ok(context.redirect(Section::Sessions.path()))
}

async fn sign_out_others(context: &Context, user: &User) -> Result<Response, Failure> {
    let sessions = &context.app.sessions;
    sessions
        .sign_out_others(&user.claims, WaitFor::Enforced, &context.origin)
        .await?;
    context.leave_note(&Note::OtherSessionsRevoked);
    Ok(context.redirect(Section::Sessions.path()))
}
