//! The page `/account/activity`.

use askama::Template;
use latchkey_domain::{
    audit::{Actor, EventKind, Outcome},
    page::{self, Page},
    user_agent,
};
use poem::Response;
use uuid::Uuid;

use super::{Entry, Links, Moment, Section, enter, frame_with_note};
use crate::{
    app::audit::StoredAuditEvent,
    error::Error,
    http::pages::{
        context::{Context, render},
        frame::Frame,
        texts::Texts,
    },
};

/// The number of events per page.
const EVENTS_PER_PAGE: u8 = 50;

#[derive(Template)]
#[template(path = "pages/account/activity.html")]
struct ActivityPage<'a> {
    frame: Frame<'a>,
    links: Links,
    is_failed_only: bool,
    rows: Vec<Row>,
    /// The query of the next page.
    older: Option<String>,
}

/// An audit event.
struct Row {
    text: String,
    is_failure: bool,
    is_by_administrator: bool,
    count: i64,
    at: Moment,
    address: Option<String>,
    device: Option<String>,
}

impl Row {
    fn new(texts: &Texts, event: StoredAuditEvent) -> Row {
        let kind = EventKind::parse(&event.event);
        Row {
            // A newer version of the server can have stored an event that this one doesn't know.
            text: kind.map_or(event.event, |kind| {
                (texts.account_pages.event)(kind).to_owned()
            }),
            is_failure: event.outcome == Outcome::Failure.as_str(),
            is_by_administrator: [Actor::Admin(Uuid::nil()), Actor::Operator]
                .iter()
                .any(|actor| actor.as_str() == event.actor),
            count: event.count,
            at: Moment::new(texts, event.at),
            address: event.address,
            device: event.agent.as_deref().map(user_agent::describe),
        }
    }
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let user = match enter(&context, Section::Activity).await? {
        Entry::User(user) => user,
        Entry::Elsewhere(response) => return Ok(response),
    };
    let texts = context.site.texts;
    let after = match context.query("after") {
        None => Uuid::nil(),
        Some(cursor) => page::parse_cursor(&cursor)
            .ok_or_else(|| Error::invalid_field("after", "is malformed"))?,
    };
    let page = Page {
        limit: EVENTS_PER_PAGE,
        after,
    };
    let is_failed_only = context.query("outcome").as_deref() == Some(Outcome::Failure.as_str());
    let audit = &context.app.audit;
    let page = if is_failed_only {
        audit.list_own_failures(&user.claims, page).await?
    } else {
        audit.list_own_audit_events(&user.claims, page).await?
    };
    let older = page.next.map(|next| {
        let outcome = if is_failed_only {
            "outcome=failure&"
        } else {
            ""
        };
        format!("{outcome}after={next}")
    });
    let events = page.events.into_iter();
    Ok(render(&ActivityPage {
        frame: frame_with_note(&context, texts.account_pages.activity),
        links: Section::Activity.links(texts),
        is_failed_only,
        rows: events.map(|event| Row::new(texts, event)).collect(),
        older,
    }))
}
