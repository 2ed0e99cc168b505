//! The mailbox of `latchkey dev`: whoever tries recovery reads the code here.

use std::sync::Arc;

use askama::Template;
use poem::{Endpoint, Request, Response, endpoint::make};

use super::{pages, problem};
use crate::{
    error::Error,
    gateway::{Gateway, StoredMail},
};

/// Mails on the page.
const MOST: usize = 50;

#[derive(Template)]
#[template(path = "mailbox.html")]
struct Mailbox {
    mails: Vec<StoredMail>,
}

/// The page; not found where mails go elsewhere.
pub fn endpoint() -> impl Endpoint<Output = Response> {
    make(|request: Request| async move {
        let gateway = request.data::<Arc<Gateway>>().expect("the edge sets it");
        let Some(folder) = gateway.mailbox() else { return Ok::<_, poem::Error>(problem::respond(&Error::NotFound)) };
        match folder.newest(MOST).await {
            Ok(mails) => Ok(pages::html(&Mailbox { mails })),
            Err(error) => Ok(problem::respond(&Error::Internal(error))),
        }
    })
}
