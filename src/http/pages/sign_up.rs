//! The pages `/sign-up` and `/sign-up/confirm`.
//!
//! With `LATCHKEY_SIGNUP=verify`, the first page takes only the email address. The second page takes
//! the code with everything else, so that no page carries a password to the next one.

use std::sync::Arc;

use askama::Template;
use latchkey_domain::{
    access_token::Claims,
    account::{EmailAddress, Username},
    one_time_code::OneTimeCode,
    password::NewPassword,
};
use poem::{Response, http::StatusCode};

use super::{
    context::Context,
    continuation::{RETURN_TO, STATE},
    form::Form,
    frame::{Errors, Frame},
    note::Note,
    rejection::{Rejection, parse, parse_optional},
    sign_out,
};
use crate::{
    app::{
        accounts::{sign_up::SignUp, verified_sign_up::VerifiedSignUp},
        sessions::issue::{CredentialKind, FirstCredential},
    },
    error::Error,
};

pub const FIELDS: &[&str] = &["email", "username", "new_password", RETURN_TO, STATE];

pub const CONFIRM_FIELDS: &[&str] = &[
    "email",
    "code",
    "username",
    "new_password",
    RETURN_TO,
    STATE,
];

#[derive(Template)]
#[template(path = "pages/sign_up.html")]
struct SignUpPage<'a> {
    frame: Frame<'a>,
    email: &'a str,
    username: &'a str,
    has_email: bool,
    /// Whether a registration requires a code.
    requires_code: bool,
}

#[derive(Template)]
#[template(path = "pages/sign_up_confirm.html")]
struct ConfirmPage<'a> {
    frame: Frame<'a>,
    email: &'a str,
    username: &'a str,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let accounts = &context.app.accounts;
    if !accounts.allows_sign_up() {
        return Err(Error::SignupClosed);
    }
    let Some(form) = &context.form else {
        return Ok(render_page(&context, StatusCode::OK, Errors::default()));
    };
    let outcome = if accounts.verifies_sign_ups() {
        request_code(&context, form).await
    } else {
        register(&context, form).await
    };
    Ok(outcome.unwrap_or_else(|rejection| {
        rejection.respond(|status, errors| render_page(&context, status, errors))
    }))
}

/// Sends a code, for every address.
async fn request_code(context: &Context, form: &Form) -> Result<Response, Rejection> {
    let (texts, mut errors) = (context.site.texts, Errors::default());
    let rule = ("email", texts.invalid_email);
    let Some(email) = parse::<EmailAddress>(form, &mut errors, rule, texts) else {
        return Err(Rejection::of_fields(errors));
    };
    let accounts = &context.app.accounts;
    accounts
        .request_sign_up_code(&email, &context.origin)
        .await
        .map_err(|error| Rejection::of(texts, &error))?;
    context.leave_note(&Note::SignUpCodeSent(email.as_str().to_owned()));
    Ok(context.redirect_on("/sign-up/confirm"))
}

/// Registers a user at once.
async fn register(context: &Context, form: &Form) -> Result<Response, Rejection> {
    let (app, texts) = (&context.app, context.site.texts);
    let mut errors = Errors::default();
    let username_rule = ("username", texts.invalid_username);
    let (email, username) = if app.sends_email() {
        let email_rule = ("email", texts.invalid_email);
        (
            parse::<EmailAddress>(form, &mut errors, email_rule, texts),
            parse_optional::<Username>(form, &mut errors, username_rule, texts),
        )
    } else {
        let username = parse::<Username>(form, &mut errors, username_rule, texts);
        (None, username)
    };
    let password_rule = ("new_password", texts.invalid_password);
    let password = parse::<NewPassword>(form, &mut errors, password_rule, texts);
    let (Some(NewPassword(password)), true) = (password, errors.is_empty()) else {
        return Err(Rejection::of_fields(errors));
    };
    let request = SignUp {
        username,
        email,
        password,
        name: None,
    };
    let signed_up = app
        .accounts
        .sign_up(CredentialKind::Cookie, request, &context.origin)
        .await;
    let (credential, account) = signed_up.map_err(|error| Rejection::of(texts, &error))?;
    let has_email = account.identity.email.is_some();
    let claims = sign_in(context, credential).await?;
    if let (Some(email), Some(claims)) = (account.identity.email, claims) {
        // Without the code, the user can request another one on the next page.
        let sent = app
            .accounts
            .request_email_verification(&claims, &context.origin);
        if sent.await.is_ok() {
            context.leave_note(&Note::VerificationCodeSent(email));
        }
    }
    Ok(if has_email {
        context.redirect_on("/verify-email")
    } else {
        context.finish("/account")
    })
}

/// Signs the browser in, and ends its previous session. Returns the claims of the new one.
async fn sign_in(
    context: &Context,
    credential: FirstCredential,
) -> Result<Option<Arc<Claims>>, Rejection> {
    sign_out::revoke_sessions(context)
        .await
        .map_err(|error| Rejection::of(context.site.texts, &error))?;
    Ok(match credential {
        FirstCredential::Cookie(cookie) => {
            context.session_cookie.put(&cookie);
            Some(cookie.claims)
        }
        FirstCredential::TokenPair(_) => None,
    })
}

pub async fn confirm(context: Context) -> Result<Response, Error> {
    let accounts = &context.app.accounts;
    if !accounts.verifies_sign_ups() {
        return Ok(context.redirect_on("/sign-up"));
    }
    let Some(form) = &context.form else {
        let note = context.take_note();
        let email = note.as_ref().and_then(Note::email).unwrap_or_default();
        let texts = context.site.texts;
        return Ok(context.render_with(
            StatusCode::OK,
            &ConfirmPage {
                frame: context
                    .frame(texts.sign_up_code_title)
                    .with_note(note.as_ref().map(|note| context.note_text(note))),
                email,
                username: "",
            },
        ));
    };
    let outcome = complete(&context, form).await;
    Ok(outcome.unwrap_or_else(|rejection| {
        rejection.respond(|status, errors| {
            let texts = context.site.texts;
            let page = ConfirmPage {
                frame: context.frame(texts.sign_up_code_title).with_errors(errors),
                email: form.shown("email"),
                username: form.shown("username"),
            };
            context.render_with(status, &page)
        })
    }))
}

/// Registers a user with a code.
async fn complete(context: &Context, form: &Form) -> Result<Response, Rejection> {
    let (app, texts) = (&context.app, context.site.texts);
    let mut errors = Errors::default();
    let email_rule = ("email", texts.invalid_email);
    let email = parse::<EmailAddress>(form, &mut errors, email_rule, texts);
    let code_rule = ("code", texts.invalid_code);
    let code = parse::<OneTimeCode>(form, &mut errors, code_rule, texts);
    let username_rule = ("username", texts.invalid_username);
    let username = parse_optional::<Username>(form, &mut errors, username_rule, texts);
    let password_rule = ("new_password", texts.invalid_password);
    let password = parse::<NewPassword>(form, &mut errors, password_rule, texts);
    let (Some(email), Some(code), Some(NewPassword(password)), true) =
        (email, code, password, errors.is_empty())
    else {
        return Err(Rejection::of_fields(errors));
    };
    let request = VerifiedSignUp {
        email,
        code,
        username,
        password,
        name: None,
    };
    let signed_up = app
        .accounts
        .confirm_sign_up(CredentialKind::Cookie, request, &context.origin)
        .await;
    let (credential, _account) = signed_up.map_err(|error| Rejection::of(texts, &error))?;
    sign_in(context, credential).await?;
    Ok(context.finish("/account"))
}

fn render_page(context: &Context, status: StatusCode, errors: Errors) -> Response {
    let form = context.form.as_ref();
    let page = SignUpPage {
        frame: context
            .frame(context.site.texts.sign_up_title)
            .with_errors(errors),
        email: form.map_or("", |form| form.shown("email")),
        username: form.map_or("", |form| form.shown("username")),
        has_email: context.app.sends_email(),
        requires_code: context.app.accounts.verifies_sign_ups(),
    };
    context.render_with(status, &page)
}
