//! The frame of every page: its title, its note, and its errors.

use super::{continuation::Continuation, site::Site, texts::Texts};

/// The errors of a page.
#[derive(Default)]
pub struct Errors {
    /// Sentences about the whole page.
    pub page: Vec<String>,
    /// The IDs of fields, each with a sentence.
    pub fields: Vec<(&'static str, String)>,
}

impl Errors {
    /// Returns errors with one sentence about the whole page.
    pub fn of_page(text: impl Into<String>) -> Errors {
        Errors {
            page: vec![text.into()],
            fields: Vec::new(),
        }
    }

    /// Returns errors with one sentence about a field.
    pub fn of_field(field: &'static str, text: impl Into<String>) -> Errors {
        let mut errors = Errors::default();
        errors.add(field, text);
        errors
    }

    pub fn add(&mut self, field: &'static str, text: impl Into<String>) {
        self.fields.push((field, text.into()));
    }

    pub fn is_empty(&self) -> bool {
        self.page.is_empty() && self.fields.is_empty()
    }

    /// Returns the sentence about a field.
    pub fn of(&self, field: &str) -> Option<&String> {
        let error = self.fields.iter().find(|(other, _)| *other == field);
        error.map(|(_, text)| text)
    }
}

/// What a page shows around its content.
pub struct Frame<'a> {
    pub site: &'a Site,
    pub texts: &'static Texts,
    pub title: String,
    /// Where a sign-in leads; `None` if the page doesn't carry it.
    pub continuation: Option<&'a Continuation>,
    /// A sentence about the last success.
    pub note: Option<String>,
    pub errors: Errors,
    /// Whether the title begins with the word for an error.
    pub is_error: bool,
    /// Whether the page has rows or long texts.
    pub is_wide: bool,
}

impl<'a> Frame<'a> {
    pub fn new(site: &'a Site, title: impl Into<String>) -> Frame<'a> {
        Frame {
            site,
            texts: site.texts,
            title: title.into(),
            continuation: None,
            note: None,
            errors: Errors::default(),
            is_error: false,
            is_wide: false,
        }
    }

    pub fn with_note(self, note: Option<String>) -> Frame<'a> {
        Frame { note, ..self }
    }

    pub fn with_errors(self, errors: Errors) -> Frame<'a> {
        Frame {
            is_error: !errors.is_empty(),
            errors,
            ..self
        }
    }

    /// Returns the link to a page that carries the continuation.
    pub fn link(&self, path: &str) -> String {
        let query = self
            .continuation
            .map(|continuation| continuation.query(&[]));
        format!("{}{path}{}", self.site.base, query.unwrap_or_default())
    }

    pub fn wide(self) -> Frame<'a> {
        Frame {
            is_wide: true,
            ..self
        }
    }
}
