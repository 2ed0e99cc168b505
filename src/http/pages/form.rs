//! The forms of pages.

use poem::{Request, RequestBody};

use crate::{
    error::Error,
    http::{auth::form_csrf, openapi::body},
};

/// The longest text that a page shows again in a field, in bytes.
const MAX_SHOWN: usize = 320;

/// The fields of a form, each at most once.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the form of a page of this server. It can have only the `known` fields, each once.
    ///
    /// # Errors
    /// `csrf`, `unsupported_media_type`, `too_large`, `invalid_request`.
    pub async fn read(
        request: &Request,
        body: &mut RequestBody,
        own_origin: &str,
        known: &[&str],
    ) -> Result<Form, Error> {
        form_csrf::check(request, own_origin)?;
        if body::media_type(request) != body::FORM {
            return Err(Error::UnsupportedMediaType(body::FORM));
        }
        let bytes = body::read(request, body).await?;
        Form::parse(&bytes, known).ok_or_else(|| {
            Error::malformed("The form has an unknown field, or a field more than once.")
        })
    }

    fn parse(bytes: &[u8], known: &[&str]) -> Option<Form> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            let is_repeated = fields.iter().any(|(other, _)| *other == name);
            if is_repeated || !known.contains(&&*name) {
                return None;
            }
            fields.push((name.into_owned(), value.into_owned()));
        }
        Some(Form(fields))
    }

    /// Returns the value of a field, or the empty text.
    pub fn get(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(other, _)| other == name);
        field.map_or("", |(_, value)| value)
    }

    /// Returns the value of a name or of an email address, without white space around it.
    pub fn trimmed(&self, name: &str) -> &str {
        self.get(name).trim()
    }

    /// Returns whether the field has a value, for example a checked checkbox.
    pub fn has(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// Returns the text that the page shows in the field again. A longer text is invalid, and isn't
    /// shown.
    pub fn shown(&self, name: &str) -> &str {
        let value = self.trimmed(name);
        if value.len() <= MAX_SHOWN { value } else { "" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_fields_are_read_once() {
        let form = Form::parse(b"a=+x%C3%A4+&b=", &["a", "b", "c"]).unwrap();
        assert_eq!((form.get("a"), form.trimmed("a")), (" x\u{e4} ", "x\u{e4}"));
        assert!(form.has("a") && !form.has("b") && !form.has("c"));
        let long = format!("a={}", "x".repeat(MAX_SHOWN + 1));
        assert_eq!(Form::parse(long.as_bytes(), &["a"]).unwrap().shown("a"), "");
    }

    #[test]
    fn repeated_and_unknown_fields_are_rejected() {
        for form in ["a=1&a=2", "a=1&a=1", "d=1", "A=1", "a[]=1"] {
            assert!(
                Form::parse(form.as_bytes(), &["a", "b"]).is_none(),
                "{form}"
            );
        }
    }
}
