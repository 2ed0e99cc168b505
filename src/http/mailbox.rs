//! The mailbox of `latchkey dev`: whoever tries recovery reads the code here.

use std::{net::IpAddr, sync::Arc};

use askama::Template;
use poem::{Endpoint, Request, Response, endpoint::make, http::header};

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
        if !is_no_foreign_name(&request) {
            return Ok::<_, poem::Error>(problem::respond(&Error::NotFound));
        }
        let Some(folder) = gateway.mailbox() else {
            return Ok::<_, poem::Error>(problem::respond(&Error::NotFound));
        };
        match folder.newest(MOST).await {
            Ok(mails) => Ok(pages::html(&Mailbox { mails })),
            Err(error) => Ok(problem::respond(&Error::Internal(error))),
        }
    })
}

/// Whether the page was asked for by an address, or the one name that nobody points elsewhere. A
/// foreign name that points here (DNS rebinding) would let any web site read the mails.
fn is_no_foreign_name(request: &Request) -> bool {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}
