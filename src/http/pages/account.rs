//! The page `/account`.

use askama::Template;
use latchkey_domain::account::Account;
use poem::Response;

use super::{
    context::{Context, render},
    frame::Frame,
};
use crate::error::Error;

#[derive(Template)]
#[template(path = "pages/account.html")]
struct AccountPage<'a> {
    frame: Frame<'a>,
    account: &'a Account,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let Some(caller) = context.caller().await? else {
        return Ok(context.require_sign_in());
    };
    let account = context.app.accounts.get_account(&caller).await?;
    let note = context.take_note();
    Ok(render(&AccountPage {
        frame: context
            .frame(context.site.texts.account)
            .with_note(note.map(|note| context.note_text(&note))),
        account: &account,
    }))
}
