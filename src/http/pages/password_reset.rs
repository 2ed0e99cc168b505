//! The page `/forgot`, with which users reset a forgotten password.

use askama::Template;
use poem::{
    Request, Response,
    http::{HeaderValue, header},
};
use url::Url;

use super::{ALLOW_SAME_ORIGIN_REQUESTS, asset::Asset, build_policy};

/// The page, rendered once for the start page and for each application to which it links.
pub struct PasswordResetPage {
    /// Links to the start page.
    default: Asset,
    /// Each links to the application with this origin.
    of_applications: Vec<(String, Asset)>,
}

impl PasswordResetPage {
    /// Renders the page for the minimum length of passwords and for the origins of applications.
    pub fn new(password_min: usize, origins: &[String]) -> PasswordResetPage {
        let render = |application| {
            let page = PasswordResetTemplate {
                password_min,
                application,
            };
            let page = page.render().expect("writing to memory succeeds");
            let policy = build_policy(&page) + ALLOW_SAME_ORIGIN_REQUESTS;
            Asset::new("text/html; charset=utf-8", page, policy)
        };
        PasswordResetPage {
            default: render(None),
            of_applications: origins
                .iter()
                .map(|origin| (origin.clone(), render(Some(origin))))
                .collect(),
        }
    }

    /// Serves the page with a link to the application from which the browser comes.
    ///
    /// The server compares the origin, because a page with all origins would disclose them. Other
    /// origins get no link, because their site could ask the user for the new password.
    pub fn respond(&self, request: &Request) -> Response {
        let referrer = find_referrer_origin(request);
        let of_application = self
            .of_applications
            .iter()
            .find(|(origin, _)| referrer.as_ref() == Some(origin));
        let asset = of_application.map_or(&self.default, |(_, asset)| asset);
        let mut response = asset.respond(request);
        response
            .headers_mut()
            .append(header::VARY, HeaderValue::from_static("Referer"));
        response
    }
}

#[derive(Template)]
#[template(path = "forgot.html")]
struct PasswordResetTemplate<'a> {
    password_min: usize,
    /// The origin of the application that the page links to.
    application: Option<&'a String>,
}

fn find_referrer_origin(request: &Request) -> Option<String> {
    let referrer = Url::parse(request.header(header::REFERER)?).ok()?;
    Some(referrer.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_pages_in_one_process_have_their_own_settings() {
        for password_min in [8, 15] {
            let page = PasswordResetPage::new(password_min, &[]);
            let response = page.respond(&Request::builder().finish());
            let text = response.into_body().into_string().await.unwrap();
            assert!(text.contains(&format!("At least {password_min} characters")));
        }
    }
}
