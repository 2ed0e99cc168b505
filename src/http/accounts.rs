//! One's own account.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use super::{
    Tag,
    answers::{Accepted, Account, Done, Overview},
    body::{Body, body},
    caller::{Owner, ReadUser, WriteUser},
    cookie::Jar,
    origin::From,
    problem::{Problem, problems},
    shapes::sessions::DashboardShape,
};
use crate::{
    domain::{
        account::{DisplayName, Email, Username},
        one_time_code::OneTimeCode,
        password::{NewPassword, Password},
    },
    gateway::{Gateway, PasswordReset, Rename},
};

body! {
    /// New names; absent ones stay, `null` clears one.
    UserPatch {
        /// The user name.
        username: Clearable<Username>,
        /// What the person wants to be called.
        name: Clearable<DisplayName>,
    }

    /// A change of password.
    PasswordBody {
        /// The password until now.
        current_password: Required<Password>,
        /// The password from now on.
        new_password: Required<NewPassword>,
    }

    /// An address that is to be one's own, and the password.
    EmailBody {
        /// The e-mail address from now on, or the one until now to verify it.
        email: Required<Email>,
        /// The account's password.
        password: Required<Password>,
    }

    /// The code that came to the address.
    ConfirmBody {
        /// The code of the mail.
        code: Required<OneTimeCode>,
    }

    /// Whose password is lost.
    ForgotBody {
        /// The e-mail address of the account.
        email: Required<Email>,
    }

    /// A new password with a mailed code.
    ResetBody {
        /// The e-mail address of the account.
        email: Required<Email>,
        /// The code of the mail.
        code: Required<OneTimeCode>,
        /// The password from now on.
        new_password: Required<NewPassword>,
    }
}

problems! {
    ShowProblems: [CALLER];
    RenameProblems: [CALLER, BODY] UsernameTaken TooManyRequests;
    DeleteProblems: [CALLER] ReauthenticationRequired LastAdmin;
    PasswordProblems: [CALLER, BODY] InvalidCredentials WeakPassword TooManyRequests;
    EmailProblems: [CALLER, BODY] InvalidCredentials MailOff TooManyRequests;
    ConfirmProblems: [CALLER, BODY] InvalidCode EmailTaken TooManyRequests;
    ForgotProblems: [BODY] MailOff TooManyRequests;
    ResetProblems: [BODY] WeakPassword InvalidCode TooManyRequests;
}

/// The operations.
pub struct AccountsApi;

#[OpenApi]
impl AccountsApi {
    /// My account
    ///
    /// As it is now, whatever the token says: tokens carry the name and the address of the moment
    /// in which they were signed.
    #[oai(
        path = "/user",
        method = "get",
        operation_id = "getUser",
        tag = "Tag::Account"
    )]
    async fn show(
        &self,
        gateway: Data<&Arc<Gateway>>,
        ReadUser(caller): ReadUser,
    ) -> Result<Account, Problem<ShowProblems>> {
        Ok(Account::Shown(Json(
            gateway.show_account(&caller).await?.into(),
        )))
    }

    /// Rename
    ///
    /// Changes user name or display name. Tokens say the new ones from the next refresh on.
    #[oai(
        path = "/user",
        method = "patch",
        operation_id = "updateUser",
        tag = "Tag::Account"
    )]
    async fn rename(
        &self,
        gateway: Data<&Arc<Gateway>>,
        WriteUser(caller): WriteUser,
        From(origin): From,
        Body(body): Body<UserPatch>,
    ) -> Result<Account, Problem<RenameProblems>> {
        let change = Rename {
            username: body.username,
            name: body.name,
        };
        Ok(Account::Shown(Json(
            gateway
                .rename_account(&caller, change, &origin)
                .await?
                .into(),
        )))
    }

    /// Delete my account
    ///
    /// With everything in it, at once and for good. Wants a sign-in of the last five minutes. The
    /// last administrator stays.
    #[oai(
        path = "/user",
        method = "delete",
        operation_id = "deleteUser",
        tag = "Tag::Account"
    )]
    async fn delete(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Owner(caller): Owner,
        From(origin): From,
        jar: Jar,
    ) -> Result<Done, Problem<DeleteProblems>> {
        gateway.delete_account(&caller, &origin).await?;
        jar.clear_if_shown();
        Ok(Done::Done)
    }

    /// Change my password
    ///
    /// Every other session ends; the caller's stays.
    #[oai(
        path = "/user/password",
        method = "post",
        operation_id = "changePassword",
        tag = "Tag::Account"
    )]
    async fn change_password(
        &self,
        gateway: Data<&Arc<Gateway>>,
        From(origin): From,
        Owner(caller): Owner,
        Body(body): Body<PasswordBody>,
    ) -> Result<Done, Problem<PasswordProblems>> {
        gateway
            .change_password(&caller, body.current_password, body.new_password.0, &origin)
            .await?;
        Ok(Done::Done)
    }

    /// Ask for a code at an address
    ///
    /// Sends a one-time code there; with it the address becomes the account's, or, if it is that
    /// already, counts as verified. The answer is the same if somebody else has the address.
    #[oai(
        path = "/user/email",
        method = "post",
        operation_id = "requestEmail",
        tag = "Tag::Account"
    )]
    async fn request_email(
        &self,
        gateway: Data<&Arc<Gateway>>,
        From(origin): From,
        Owner(caller): Owner,
        Body(body): Body<EmailBody>,
    ) -> Result<Accepted, Problem<EmailProblems>> {
        gateway
            .request_email(&caller, &body.email, body.password, &origin)
            .await?;
        Ok(Accepted::Accepted)
    }

    /// Confirm an address
    ///
    /// With the code that was sent there. If the address is a new one, every other session ends,
    /// and the address before is told. A 409 if somebody else has it.
    #[oai(
        path = "/user/email/confirm",
        method = "post",
        operation_id = "confirmEmail",
        tag = "Tag::Account"
    )]
    async fn confirm_email(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Owner(caller): Owner,
        From(origin): From,
        Body(body): Body<ConfirmBody>,
    ) -> Result<Account, Problem<ConfirmProblems>> {
        Ok(Account::Shown(Json(
            gateway
                .confirm_email(&caller, &body.code, &origin)
                .await?
                .into(),
        )))
    }

    /// Ask for a code
    ///
    /// Sends a one-time code to the address, if an account has it; the answer is the same if none
    /// has.
    #[oai(
        path = "/password/forgot",
        method = "post",
        operation_id = "forgotPassword",
        tag = "Tag::Recovery"
    )]
    async fn forgot(
        &self,
        gateway: Data<&Arc<Gateway>>,
        From(origin): From,
        Body(body): Body<ForgotBody>,
    ) -> Result<Accepted, Problem<ForgotProblems>> {
        gateway.forgot_password(&body.email, &origin).await?;
        Ok(Accepted::Accepted)
    }

    /// Set a new password with a code
    ///
    /// The code works once. Every session of the account ends, and nobody is signed in.
    #[oai(
        path = "/password/reset",
        method = "post",
        operation_id = "resetPassword",
        tag = "Tag::Recovery"
    )]
    async fn reset(
        &self,
        gateway: Data<&Arc<Gateway>>,
        From(origin): From,
        Body(body): Body<ResetBody>,
    ) -> Result<Done, Problem<ResetProblems>> {
        let request = PasswordReset {
            email: body.email,
            code: body.code,
            new_password: body.new_password.0,
        };
        gateway.reset_password(request, &origin).await?;
        Ok(Done::Done)
    }

    /// My dashboard
    ///
    /// The account, its live sessions and the number of its items, in one answer.
    #[oai(
        path = "/dashboard",
        method = "get",
        operation_id = "getDashboard",
        tag = "Tag::Account"
    )]
    async fn dashboard(
        &self,
        gateway: Data<&Arc<Gateway>>,
        ReadUser(caller): ReadUser,
    ) -> Result<Overview, Problem<ShowProblems>> {
        let dashboard = gateway.dashboard(&caller).await?;
        Ok(Overview::Shown(Json(DashboardShape::new(
            dashboard, caller.sid,
        ))))
    }
}
