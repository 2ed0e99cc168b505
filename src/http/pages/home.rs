//! The start page.

use askama::Template;
use poem::Response;

use super::{
    context::{Context, render},
    frame::Frame,
};
use crate::error::Error;

#[derive(Template)]
#[template(path = "pages/home.html")]
struct Home<'a> {
    frame: Frame<'a>,
    can_sign_up: bool,
    version: &'static str,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    if context.site.has_user_pages && context.caller().await?.is_some() {
        return Ok(context.redirect("/account"));
    }
    Ok(render(&Home {
        frame: context.frame(context.site.brand.as_str()),
        can_sign_up: context.app.accounts.allows_sign_up(),
        version: crate::VERSION,
    }))
}
