//! The rejection of a form: the page is shown again with its errors.

use latchkey_domain::text::ParsedText;
use poem::{Response, http::StatusCode};

use super::{error_page, form::Form, frame::Errors, texts::Texts};
use crate::{error::Error, http::openapi::problem};

/// Why a form is rejected.
pub struct Rejection {
    pub status: StatusCode,
    pub errors: Errors,
    retry_after: Option<u64>,
}

impl Rejection {
    /// Returns the rejection of invalid fields.
    pub fn of_fields(errors: Errors) -> Rejection {
        Rejection {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            errors,
            retry_after: None,
        }
    }

    /// Returns the rejection for the error of a use case. An unexpected one is logged.
    pub fn of(texts: &Texts, error: &Error) -> Rejection {
        problem::log(error);
        let errors = match error {
            Error::WeakPassword(reason) => {
                Errors::of_field("new_password", (texts.weak_password)(*reason))
            }
            Error::InvalidCode => Errors::of_field("code", texts.invalid_code),
            Error::InvitationExpired => Errors::of_page(texts.invitation_expired),
            Error::UsernameTaken => Errors::of_field("username", texts.username_taken),
            Error::EmailTaken => Errors::of_field("email", texts.email_taken),
            Error::IncorrectPassword => {
                Errors::of_field("current_password", texts.incorrect_current_password)
            }
            // The forms check the syntax, so only a reserved username is left.
            Error::InvalidRequest { field_errors, .. }
                if field_errors.iter().any(|error| error.field == "username") =>
            {
                Errors::of_field("username", texts.username_reserved)
            }
            other => Errors::of_page(error_page::text(texts, other)),
        };
        let is_of_form = !errors.fields.is_empty() || matches!(error, Error::InvitationExpired);
        let status = if is_of_form {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            error_page::status(error)
        };
        Rejection {
            status,
            errors,
            retry_after: error.retry_after(),
        }
    }

    /// Shows the page again.
    pub fn respond(self, render: impl FnOnce(StatusCode, Errors) -> Response) -> Response {
        error_page::with_retry_after(render(self.status, self.errors), self.retry_after)
    }
}

/// Parses a field of a form. If it is invalid, adds an error with this text.
pub fn parse<T: ParsedText>(
    form: &Form,
    errors: &mut Errors,
    (field, invalid): (&'static str, &'static str),
    texts: &Texts,
) -> Option<T> {
    if !form.has(field) {
        errors.add(field, texts.required);
        return None;
    }
    // White space around a password is a part of it.
    let text = if field.ends_with("password") {
        form.get(field)
    } else {
        form.trimmed(field)
    };
    let value = T::parse(text).ok();
    if value.is_none() {
        errors.add(field, invalid);
    }
    value
}

/// Like [`parse`], for a field that can be empty.
pub fn parse_optional<T: ParsedText>(
    form: &Form,
    errors: &mut Errors,
    rule: (&'static str, &'static str),
    texts: &Texts,
) -> Option<T> {
    if form.trimmed(rule.0).is_empty() {
        return None;
    }
    parse(form, errors, rule, texts)
}
