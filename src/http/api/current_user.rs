//! The current user, their email address, and their password.

use std::sync::Arc;

use latchkey_domain::{
    account::{DisplayName, EmailAddress, Username},
    one_time_code::OneTimeCode,
    password::{NewPassword, Password},
};
use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use crate::{
    app::{
        App,
        accounts::{profile::ProfileChange, reset_password::PasswordReset},
    },
    http::{
        Tag,
        api::schemas::{UserSchema, sessions::DashboardSchema},
        auth::{
            caller::{InteractiveUser, ReadUser, WriteUser},
            cookie::SessionCookie,
        },
        context::client_address::ClientOrigin,
        openapi::{
            body::{Body, body},
            problem::{Problem, problems},
            responses::{Accepted, NoContent},
        },
    },
};

body! {
    /// New values; absent fields stay unchanged, `null` clears a field.
    pub struct UpdateCurrentUserRequest {
        /// Username: 1 to 64 letters, digits, `.`, `_`, and `-`, that begin and end with a letter
        /// or digit. Unique, not case-sensitive. Reserved usernames are rejected. `null` requires
        /// an email address.
        pub username: Clearable<Username>,
        /// Display name.
        pub name: Clearable<DisplayName>,
    }

    /// Password change.
    pub struct ChangePasswordRequest {
        /// Current password.
        pub current_password: Required<Password>,
        /// New password: at least 8 characters (default), not a common password, and not similar to
        /// the username, name, or email address.
        pub new_password: Required<NewPassword>,
    }

    /// Email address to set or verify.
    pub struct RequestEmailChangeRequest {
        /// New email address, or the current one to verify it.
        pub email: Required<EmailAddress>,
        /// Current password.
        pub password: Required<Password>,
    }

    /// One-time code from the email.
    pub struct VerifyEmailRequest {
        /// One-time code: 10 characters. Case and all characters that can't be part of a code are
        /// ignored.
        pub code: Required<OneTimeCode>,
    }

    /// Recipient of the password reset code.
    pub struct RequestPasswordResetRequest {
        /// Email address of the user.
        pub email: Required<EmailAddress>,
    }

    /// Password reset with a one-time code.
    pub struct ResetPasswordRequest {
        /// Email address of the user.
        pub email: Required<EmailAddress>,
        /// One-time code: 10 characters. Case and all characters that can't be part of a code are
        /// ignored.
        pub code: Required<OneTimeCode>,
        /// New password: at least 8 characters (default), not a common password, and not similar to
        /// the username, name, or email address.
        pub new_password: Required<NewPassword>,
    }
}

problems! {
    GetProblems: [CALLER];
    UpdateProblems: [CALLER, BODY] UsernameTaken TooManyRequests;
    DeleteProblems: [CALLER] ReauthenticationRequired LastAdmin;
    ChangePasswordProblems: [CALLER, BODY] IncorrectPassword WeakPassword TooManyRequests;
    RequestEmailChangeProblems: [CALLER, BODY] IncorrectPassword EmailDisabled TooManyRequests;
    RequestEmailVerificationProblems: [CALLER] EmailDisabled TooManyRequests;
    VerifyEmailProblems: [CALLER, BODY] InvalidCode EmailTaken TooManyRequests;
    RequestPasswordResetProblems: [BODY] EmailDisabled TooManyRequests;
    ResetPasswordProblems: [BODY] WeakPassword InvalidCode TooManyRequests;
}

pub struct CurrentUserApi;

#[OpenApi]
impl CurrentUserApi {
    /// Get the current user
    ///
    /// Returns the stored user; token claims might be older.
    ///
    /// An access token contains the username, display name, email address, and role from the time
    /// when it was issued.
    ///
    /// Response 200: The user.
    #[oai(
        path = "/user",
        method = "get",
        operation_id = "getCurrentUser",
        tag = "Tag::CurrentUser"
    )]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        ReadUser(caller): ReadUser,
    ) -> Result<Json<UserSchema>, Problem<GetProblems>> {
        Ok(Json(app.accounts.get_account(&caller).await?.into()))
    }

    /// Update the current user
    ///
    /// Changes the username or display name. Existing access tokens keep the old values until they
    /// expire.
    ///
    /// Absent fields stay unchanged, and `null` clears a field. Use `POST /user/email` to change
    /// the email address.
    ///
    /// Response 200: The user was updated.
    #[oai(
        path = "/user",
        method = "patch",
        operation_id = "updateCurrentUser",
        tag = "Tag::CurrentUser"
    )]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        WriteUser(caller): WriteUser,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<UpdateCurrentUserRequest>,
    ) -> Result<Json<UserSchema>, Problem<UpdateProblems>> {
        let change = ProfileChange {
            username: body.username,
            name: body.name,
        };
        Ok(Json(
            app.accounts
                .update_profile(&caller, change, &origin)
                .await?
                .into(),
        ))
    }

    /// Delete the current user
    ///
    /// Permanently deletes the user and their data; requires a recent sign-in.
    ///
    /// A sign-in within the last five minutes counts as recent; otherwise the response is 403
    /// `reauthentication_required`. Personal access tokens are rejected (403 `forbidden`). After
    /// 204, every replica rejects all tokens of the user. The last enabled administrator can't be
    /// deleted (403 `last_admin`).
    ///
    /// Response 204: The user was deleted, and every replica rejects their tokens.
    #[oai(
        path = "/user",
        method = "delete",
        operation_id = "deleteCurrentUser",
        tag = "Tag::CurrentUser"
    )]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        InteractiveUser(caller): InteractiveUser,
        ClientOrigin(origin): ClientOrigin,
        session_cookie: SessionCookie,
    ) -> Result<NoContent, Problem<DeleteProblems>> {
        app.accounts.delete_own_user(&caller, &origin).await?;
        session_cookie.clear_if_presented();
        Ok(NoContent)
    }

    /// Change the password
    ///
    /// Changes the password and revokes all other sessions.
    ///
    /// Requires a user session; personal access tokens are rejected (403 `forbidden`) but stay
    /// valid. A wrong current password returns 403 `incorrect_password` and counts as a failed
    /// sign-in attempt. The user is notified by email if the address is verified.
    ///
    /// Response 204: The password was changed, and every replica rejects the other sessions.
    #[oai(
        path = "/user/password",
        method = "post",
        operation_id = "changePassword",
        tag = "Tag::CurrentUser"
    )]
    async fn change_password(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        InteractiveUser(caller): InteractiveUser,
        Body(body): Body<ChangePasswordRequest>,
    ) -> Result<NoContent, Problem<ChangePasswordProblems>> {
        app.accounts
            .change_password(&caller, body.current_password, body.new_password.0, &origin)
            .await?;
        Ok(NoContent)
    }

    /// Request an email change or verification code
    ///
    /// Sends a one-time code to the new or current email address, without revealing whether it is
    /// in use.
    ///
    /// Confirm the code with `POST /user/email/confirm`. Requires a user session and the current
    /// password; a wrong one returns 403 `incorrect_password`. The code expires after 10 minutes by
    /// default, and a new code replaces the previous one.
    ///
    /// Response 202: The request was accepted. A one-time code is sent unless the address received
    /// too many emails.
    #[oai(
        path = "/user/email",
        method = "post",
        operation_id = "requestEmailChange",
        tag = "Tag::CurrentUser"
    )]
    async fn request_email_change(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        InteractiveUser(caller): InteractiveUser,
        Body(body): Body<RequestEmailChangeRequest>,
    ) -> Result<Accepted, Problem<RequestEmailChangeProblems>> {
        app.accounts
            .request_email_change(&caller, &body.email, body.password, &origin)
            .await?;
        Ok(Accepted)
    }

    /// Request a verification code
    ///
    /// Sends a one-time code to the stored email address of the user.
    ///
    /// Confirm the code with `POST /user/email/confirm`. Requires a user session, but no password,
    /// because the address doesn't change. Without an email address, the response is 400. The code
    /// expires after 10 minutes by default, and a new code replaces the previous one.
    ///
    /// Response 202: The request was accepted. A one-time code is sent unless the address received
    /// too many emails.
    #[oai(
        path = "/user/email/verification",
        method = "post",
        operation_id = "requestEmailVerification",
        tag = "Tag::CurrentUser"
    )]
    async fn request_email_verification(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        InteractiveUser(caller): InteractiveUser,
    ) -> Result<Accepted, Problem<RequestEmailVerificationProblems>> {
        app.accounts
            .request_email_verification(&caller, &origin)
            .await?;
        Ok(Accepted)
    }

    /// Verify an email address
    ///
    /// Confirms the address with the emailed code. Changing the address revokes all other sessions.
    ///
    /// The previous address is notified if it was verified. If another user has verified the new
    /// address, the response is 409 `email_taken`. An unverified address is removed from the other
    /// user.
    /// Requires a user session.
    ///
    /// Response 200: The email address was verified.
    #[oai(
        path = "/user/email/confirm",
        method = "post",
        operation_id = "verifyEmail",
        tag = "Tag::CurrentUser"
    )]
    async fn verify_email(
        &self,
        app: Data<&Arc<App>>,
        InteractiveUser(caller): InteractiveUser,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<VerifyEmailRequest>,
    ) -> Result<Json<UserSchema>, Problem<VerifyEmailProblems>> {
        Ok(Json(
            app.accounts
                .confirm_email(&caller, &body.code, &origin)
                .await?
                .into(),
        ))
    }

    /// Request a password reset code
    ///
    /// Emails a one-time code if a user has this address; the response is the same if not.
    ///
    /// Use the code with `POST /password/reset`. It expires after 10 minutes by default, and a new
    /// code replaces the previous one. By default, a recipient gets up to 6 codes at
    /// once, then one every 10 minutes; further requests still return 202.
    ///
    /// Response 202: The request was accepted. A one-time code is sent if a user has this address.
    #[oai(
        path = "/password/forgot",
        method = "post",
        operation_id = "requestPasswordReset",
        tag = "Tag::PasswordRecovery"
    )]
    async fn request_password_reset(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<RequestPasswordResetRequest>,
    ) -> Result<Accepted, Problem<RequestPasswordResetProblems>> {
        app.accounts
            .request_password_reset(&body.email, &origin)
            .await?;
        Ok(Accepted)
    }

    /// Reset the password
    ///
    /// Sets a new password with the code of a reset or of an invitation, and revokes all sessions
    /// and personal access tokens.
    ///
    /// The code works once. The response contains no tokens; sign in with the new password.
    ///
    /// Response 204: The password was changed, and every replica rejects all sessions and personal
    /// access tokens.
    #[oai(
        path = "/password/reset",
        method = "post",
        operation_id = "resetPassword",
        tag = "Tag::PasswordRecovery"
    )]
    async fn reset_password(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<ResetPasswordRequest>,
    ) -> Result<NoContent, Problem<ResetPasswordProblems>> {
        let request = PasswordReset {
            email: body.email,
            code: body.code,
            new_password: body.new_password.0,
        };
        app.accounts.reset_password(request, &origin).await?;
        Ok(NoContent)
    }

    /// Get an overview of the current user
    ///
    /// Returns the user, active sessions, and the number of items.
    ///
    /// Response 200: The overview.
    #[oai(
        path = "/dashboard",
        method = "get",
        operation_id = "getDashboard",
        tag = "Tag::CurrentUser"
    )]
    async fn get_dashboard(
        &self,
        app: Data<&Arc<App>>,
        ReadUser(caller): ReadUser,
    ) -> Result<Json<DashboardSchema>, Problem<GetProblems>> {
        let dashboard = app.accounts.dashboard(&caller).await?;
        Ok(Json(DashboardSchema::new(dashboard, caller.sid)))
    }
}
