//! The navigation of the account pages.

use crate::http::pages::texts::Texts;

/// A section of the account pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Profile,
    Security,
    Sessions,
    Tokens,
    Activity,
}

/// A link of the navigation.
pub struct Link {
    pub path: &'static str,
    pub text: &'static str,
    pub is_current: bool,
}

/// The links to all sections.
pub type Links = [Link; 5];

impl Section {
    const ALL: [Section; 5] = [
        Section::Profile,
        Section::Security,
        Section::Sessions,
        Section::Tokens,
        Section::Activity,
    ];

    /// Returns the path of the section's first page.
    pub const fn path(self) -> &'static str {
        match self {
            Section::Profile => "/account",
            Section::Security => "/account/security",
            Section::Sessions => "/account/sessions",
            Section::Tokens => "/account/tokens",
            Section::Activity => "/account/activity",
        }
    }

    /// Returns the name of the section.
    pub const fn title(self, texts: &Texts) -> &'static str {
        let texts = texts.account_pages;
        match self {
            Section::Profile => texts.profile,
            Section::Security => texts.security,
            Section::Sessions => texts.sessions,
            Section::Tokens => texts.tokens,
            Section::Activity => texts.activity,
        }
    }

    /// Returns the links on a page of this section.
    pub fn links(self, texts: &Texts) -> Links {
        Section::ALL.map(|section| Link {
            path: section.path(),
            text: section.title(texts),
            is_current: section == self,
        })
    }
}
