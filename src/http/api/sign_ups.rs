//! Sign-up, at once or with a code that is sent to the email address.

use std::sync::Arc;

use latchkey_domain::{
    account::{Account, DisplayName, EmailAddress, Username},
    one_time_code::OneTimeCode,
    password::NewPassword,
};
use poem::web::Data;
use poem_openapi::{ApiResponse, OpenApi, payload::Json};

use crate::{
    app::{
        App,
        accounts::{sign_up::SignUp, verified_sign_up::VerifiedSignUp},
        sessions::issue::{CredentialKind, FirstCredential},
    },
    http::{
        Tag,
        api::schemas::SignUpSchema,
        auth::{cookie::SessionCookie, csrf::IsPageRequest},
        context::client_address::ClientOrigin,
        openapi::{
            body::{Body, body},
            problem::{Problem, problems},
            responses::{Created, Location, WithHeaders},
        },
    },
};

body! {
    /// Registration: a username, an email address, or both.
    pub struct SignUpRequest {
        /// Username: 1 to 64 letters, digits, `.`, `_`, and `-`, that begin and end with a letter
        /// or digit. Unique, not case-sensitive. Reserved usernames are rejected.
        /// Required without `email`.
        pub username: Optional<Username>,
        /// Email address. Unique, not case-sensitive. Required without `username`, and always
        /// required with `LATCHKEY_SIGNUP=verify`.
        pub email: Optional<EmailAddress>,
        /// Password: at least 8 characters (default), not a common password, and not similar to the
        /// username, name, or email address.
        pub password: Required<NewPassword>,
        /// Display name.
        pub name: Optional<DisplayName>,
    }

    /// Completion of a registration with the code from the email, and the same fields as in the
    /// registration.
    pub struct ConfirmSignUpRequest {
        /// Email address that received the code. It becomes the verified address of the user.
        pub email: Required<EmailAddress>,
        /// One-time code: 10 characters. Case and all characters that can't be part of a code are
        /// ignored.
        pub code: Required<OneTimeCode>,
        /// Password: at least 8 characters (default), not a common password, and not similar to the
        /// username, name, or email address.
        pub password: Required<NewPassword>,
        /// Username: 1 to 64 letters, digits, `.`, `_`, and `-`, that begin and end with a letter
        /// or digit. Unique, not case-sensitive. Reserved usernames are rejected.
        pub username: Optional<Username>,
        /// Display name.
        pub name: Optional<DisplayName>,
    }
}

problems! {
    SignUpProblems: [BODY] SignupClosed WeakPassword UsernameTaken EmailTaken TooManyRequests;
    ConfirmProblems: [BODY] SignupClosed WeakPassword InvalidCode UsernameTaken EmailTaken TooManyRequests;
}

/// The response of a sign-up, which depends on `LATCHKEY_SIGNUP`.
#[derive(ApiResponse)]
pub enum SignUpResponse {
    /// The user was registered and signed in.
    #[oai(status = 201)]
    Registered(Json<Box<SignUpSchema>>, #[oai(header = "location")] String),
    /// With `LATCHKEY_SIGNUP=verify`: the request was accepted. A one-time code is sent, unless a
    /// user has verified the address or the recipient has reached the email quota.
    #[oai(status = 202)]
    CodeRequested,
}

/// The path of the new user in `Location`.
const USER_PATH: &str = "/user";

/// Returns what the client of a sign-up receives: a page receives the session cookie.
const fn credential_kind(is_page: bool) -> CredentialKind {
    if is_page {
        CredentialKind::Cookie
    } else {
        CredentialKind::TokenPair
    }
}

/// Builds the response for a new user. A cookie is set in its header.
fn deliver(
    credential: FirstCredential,
    user: Account,
    session_cookie: &SessionCookie,
) -> SignUpSchema {
    match credential {
        FirstCredential::TokenPair(pair) => SignUpSchema::with_tokens(user.into(), pair.into()),
        FirstCredential::Cookie(cookie) => {
            session_cookie.put(&cookie);
            SignUpSchema::with_cookie(user.into())
        }
    }
}

pub struct SignUpApi;

#[OpenApi]
impl SignUpApi {
    /// Register a user and sign in
    ///
    /// Registers a user and starts a session. Returns tokens, or sets the session cookie if
    /// `X-Latchkey-Request: 1` is sent.
    ///
    /// A username or email address that is in use, or was in use recently, returns 409. If only
    /// administrators can create users (`LATCHKEY_SIGNUP=admin`), the response is 403
    /// `signup_closed`.
    ///
    /// With `LATCHKEY_SIGNUP=verify`, `email` is required, no user is registered yet, and a
    /// one-time code is sent. The response is 202 for every address, so that it doesn't reveal
    /// which addresses have an account. Complete the registration with `POST /signup/confirm` and
    /// the same fields. Neither the password nor the names are stored until then. The user of a
    /// verified address gets a notice instead of a code. The code expires after 10 minutes by
    /// default, and a new code replaces the previous one. By default, a recipient gets up to 6
    /// codes at once, then one every 10 minutes; further requests still return 202.
    #[oai(
        path = "/signup",
        method = "post",
        operation_id = "signUp",
        tag = "Tag::Authentication"
    )]
    async fn sign_up(
        &self,
        app: Data<&Arc<App>>,
        IsPageRequest(page): IsPageRequest,
        session_cookie: SessionCookie,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<SignUpRequest>,
    ) -> Result<SignUpResponse, Problem<SignUpProblems>> {
        let request = SignUp {
            username: body.username,
            email: body.email,
            password: body.password.0,
            name: body.name,
        };
        if app.accounts.verifies_sign_ups() {
            app.accounts.request_sign_up(&request, &origin).await?;
            return Ok(SignUpResponse::CodeRequested);
        }
        let kind = credential_kind(page);
        let (credential, user) = app.accounts.sign_up(kind, request, &origin).await?;
        Ok(SignUpResponse::Registered(
            Json(Box::new(deliver(credential, user, &session_cookie))),
            USER_PATH.to_owned(),
        ))
    }

    /// Complete a registration and sign in
    ///
    /// Registers a user with the emailed code and starts a session. Returns tokens, or sets the
    /// session cookie if `X-Latchkey-Request: 1` is sent.
    ///
    /// Requires `LATCHKEY_SIGNUP=verify`; otherwise the response is 403 `signup_closed`. The code
    /// proves access to the mailbox, and this request contains everything else: the user gets its
    /// password, username, and display name, and the verified email address. The code works once.
    /// After 400 `weak_password` and 409 `username_taken`, the same code can be sent again. An
    /// unverified address is removed from another user. If another user has verified the address
    /// meanwhile, or had it recently, the response is 409 `email_taken`.
    ///
    /// Response 201: The user was registered and signed in.
    #[oai(
        path = "/signup/confirm",
        method = "post",
        operation_id = "confirmSignUp",
        tag = "Tag::Authentication"
    )]
    async fn confirm(
        &self,
        app: Data<&Arc<App>>,
        IsPageRequest(page): IsPageRequest,
        session_cookie: SessionCookie,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<ConfirmSignUpRequest>,
    ) -> Result<WithHeaders<Created<SignUpSchema>, Location>, Problem<ConfirmProblems>> {
        let request = VerifiedSignUp {
            email: body.email,
            code: body.code,
            username: body.username,
            password: body.password.0,
            name: body.name,
        };
        let kind = credential_kind(page);
        let (credential, user) = app.accounts.confirm_sign_up(kind, request, &origin).await?;
        Ok(WithHeaders(
            Created(deliver(credential, user, &session_cookie)),
            Location(USER_PATH.to_owned()),
        ))
    }
}
