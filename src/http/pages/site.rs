//! What all pages share: the name of the service, the texts, links, and assets.

use std::sync::Arc;

use latchkey_domain::master_secret::MacKeys;
use url::Url;

use super::{
    asset::HashedAsset,
    note, sha256_base64,
    texts::{self, Texts},
};
use crate::app::App;

/// The settings and the assets of pages. One per process.
pub struct Site {
    /// The name of the service.
    pub brand: String,
    /// The URI of the help link.
    pub help_url: Option<String>,
    /// The issuer.
    pub issuer: Url,
    /// The path of the issuer, which precedes each path in a link.
    pub base: String,
    /// The texts in the language of the server.
    pub texts: &'static Texts,
    /// Whether the pages for users exist.
    pub has_user_pages: bool,
    /// The minimum length of a password, in characters.
    pub password_min: usize,
    /// The keys of notes.
    pub note_keys: MacKeys,
    /// The paths of the assets in links.
    pub style: String,
    pub theme: Option<String>,
    pub script: String,
    pub icon: String,
    /// The styles and the theme, for a page at an application, and its content security policy.
    pub inline_style: String,
    pub inline_policy: String,
    /// The files below `/assets/`.
    pub assets: Vec<HashedAsset>,
}

impl Site {
    pub fn new(app: &App) -> Arc<Site> {
        let config = &app.config;
        let base = config.issuer.path().to_owned();
        let css = "text/css; charset=utf-8";
        let style = HashedAsset::new("style", "css", css, include_str!("style.css").into());
        let script = HashedAsset::new(
            "pages",
            "js",
            "text/javascript; charset=utf-8",
            include_str!("pages.js").into(),
        );
        let icon = HashedAsset::new(
            "icon",
            "svg",
            "image/svg+xml",
            include_str!("icon.svg").into(),
        );
        let theme = config.theme.as_ref().map(|theme| {
            // In the last layer, the rules of the theme win without `!important`.
            let rules = format!("@layer theme {{\n{}\n}}\n", theme.as_str());
            HashedAsset::new("theme", "css", css, rules)
        });
        let inline_style = inline_style(config.theme.as_ref().map(|theme| theme.as_str()));
        let link = |asset: &HashedAsset| format!("{base}/assets/{}", asset.name);
        Arc::new(Site {
            brand: config.brand.as_str().to_owned(),
            help_url: config.help_url.as_ref().map(|url| url.as_str().to_owned()),
            issuer: config.issuer.url().clone(),
            texts: &texts::ENGLISH,
            has_user_pages: config.web.0,
            password_min: config.password_min,
            note_keys: config.secret.mac_keys(note::KEY_LABEL),
            style: link(&style),
            theme: theme.as_ref().map(link),
            script: link(&script),
            icon: link(&icon),
            inline_policy: inline_policy(&inline_style),
            inline_style,
            base: base.clone(),
            assets: [style, script, icon].into_iter().chain(theme).collect(),
        })
    }

    /// Returns the absolute URL of a page.
    pub fn url(&self, path: &str) -> String {
        let origin = self.issuer.origin().ascii_serialization();
        format!("{origin}{}{path}", self.base)
    }
}

/// Returns the styles with the theme, for a page that can't load a file of this server.
fn inline_style(theme: Option<&str>) -> String {
    let style = include_str!("style.css");
    match theme {
        Some(theme) => format!("{style}\n@layer theme {{\n{theme}\n}}\n"),
        None => style.to_owned(),
    }
}

/// Returns the policy of a page that contains these styles, without script and without form.
fn inline_policy(style: &str) -> String {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; img-src data:; form-action 'none'; \
         frame-ancestors 'none'; base-uri 'none'",
        sha256_base64(style.as_bytes())
    )
}
