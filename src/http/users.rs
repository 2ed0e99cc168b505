//! Everybody's accounts, for administrators.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};
use uuid::Uuid;

use super::{
    Tag,
    answers::{Done, Ended, SessionsListed, UserMade, UserShown, UsersListed},
    body::{Body, body},
    caller::Admin,
    origin::From,
    params::{After, Id, Limit, Param, Path},
    problem::{Problem, problems},
    shapes::{ManagedUserShape, sessions::SessionPageShape},
};
use crate::{
    domain::{
        access_token::Claims,
        account::{DisplayName, Email, NamePrefix, Role, Username},
        administration::AccountChange,
        page::Page,
        password::NewPassword,
    },
    error::Error,
    gateway::{Administrator, Gateway, NewAccount, Origin, revocation::Patience},
};

body! {
    /// An account for somebody else: a user name, an address, or both.
    NewUserBody {
        /// The user name.
        username: Optional<Username>,
        /// The e-mail address. Without a password it gets an invitation.
        email: Optional<Email>,
        /// What the person wants to be called.
        name: Optional<DisplayName>,
        /// `user` (when nobody says otherwise) or `admin`.
        role: Optional<Role>,
        /// The password; without one the owner chooses it by a mailed code.
        password: Optional<NewPassword>,
    }

    /// A whole account.
    ManagedUserBody {
        /// The user name.
        username: Nullable<Username>,
        /// The e-mail address. Another one is unverified.
        email: Nullable<Email>,
        /// What the person wants to be called.
        name: Nullable<DisplayName>,
        /// `user` or `admin`. Another one ends all sessions.
        role: Required<Role>,
        /// Whether signing in is refused. Disabling ends all sessions.
        disabled: Required<bool>,
        /// A new password, which ends all sessions and is told to the owner by mail; absent, the
        /// old one stays.
        password: Kept<NewPassword>,
    }

    /// What changes about an account; absent members stay, `null` clears one.
    ManagedUserPatch {
        /// The user name.
        username: Clearable<Username>,
        /// The e-mail address. Another one is unverified.
        email: Clearable<Email>,
        /// What the person wants to be called.
        name: Clearable<DisplayName>,
        /// `user` or `admin`. Another one ends all sessions.
        role: Kept<Role>,
        /// Whether signing in is refused. Disabling ends all sessions.
        disabled: Kept<bool>,
        /// A new password, which ends all sessions and is told to the owner by mail.
        password: Kept<NewPassword>,
    }
}

problems! {
    ListProblems: [CALLER];
    CreateProblems: [CALLER, BODY] WeakPassword UsernameTaken EmailTaken MailOff;
    ShowProblems: [CALLER] NotFound;
    ChangeProblems: [CALLER, BODY] NotFound LastAdmin WeakPassword UsernameTaken EmailTaken;
    DeleteProblems: [CALLER] NotFound LastAdmin;
}

/// Whoever administers an account, which is not that of the program that does: what is for people
/// alone at `/user`, such as another password, no personal token is to do here.
fn of_another(admin: &Claims, id: Uuid, origin: Origin) -> Result<Administrator, Error> {
    if admin.sub == id && admin.sid.is_none() {
        Err(Error::Forbidden)
    } else {
        Ok(Administrator::User(admin.sub, origin))
    }
}

/// The operations.
pub struct UsersApi;

#[OpenApi]
impl UsersApi {
    /// List users
    ///
    /// By id ascending, so the oldest first. `next` of the answer is `after` of the next request.
    #[oai(
        path = "/users",
        method = "get",
        operation_id = "listUsers",
        tag = "Tag::Users"
    )]
    async fn list(
        &self,
        gateway: Data<&Arc<Gateway>>,
        _admin: Admin,
        /// How user name or address begins, in any case.
        search: Param<NamePrefix>,
        /// How many at most.
        limit: Param<Limit>,
        /// The `next` of the page before.
        after: Param<After>,
    ) -> Result<UsersListed, Problem<ListProblems>> {
        let (Param(Limit(limit)), Param(After(after))) = (limit, after);
        Ok(UsersListed::Page(Json(
            gateway
                .list_users(&search.0, Page { limit, after })
                .await?
                .into(),
        )))
    }

    /// Create a user
    ///
    /// With a password, which somebody hands over; or without one: then the address gets a mail
    /// that says where to choose it.
    #[oai(
        path = "/users",
        method = "post",
        operation_id = "createUser",
        tag = "Tag::Users"
    )]
    async fn create(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Admin(admin): Admin,
        From(origin): From,
        Body(body): Body<NewUserBody>,
    ) -> Result<UserMade, Problem<CreateProblems>> {
        let NewUserBody {
            username,
            email,
            name,
            role,
            password,
        } = body;
        let request = NewAccount {
            username,
            email,
            name,
            role: role.unwrap_or(Role::User),
            password: password.map(|new| new.0),
        };
        let user: ManagedUserShape = gateway
            .create_user(Administrator::User(admin.sub, origin), request)
            .await?
            .into();
        let location = format!("/users/{}", user.id);
        Ok(UserMade::Created(Json(user), location))
    }

    /// Read a user
    ///
    /// Whoever it is, disabled or not. Items are their owner's alone, and are not shown here.
    #[oai(
        path = "/users/:id",
        method = "get",
        operation_id = "getUserById",
        tag = "Tag::Users"
    )]
    async fn show(
        &self,
        gateway: Data<&Arc<Gateway>>,
        _admin: Admin,
        /// The user's id.
        id: Path<Id>,
    ) -> Result<UserShown, Problem<ShowProblems>> {
        let Param(Id(id)) = id;
        Ok(UserShown::Shown(Json(gateway.show_user(id).await?.into())))
    }

    /// Replace a user
    ///
    /// The last enabled administrator stays one.
    #[oai(
        path = "/users/:id",
        method = "put",
        operation_id = "replaceUserById",
        tag = "Tag::Users"
    )]
    async fn replace(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Admin(admin): Admin,
        From(origin): From,
        /// The user's id.
        id: Path<Id>,
        Body(body): Body<ManagedUserBody>,
    ) -> Result<UserShown, Problem<ChangeProblems>> {
        let Param(Id(id)) = id;
        let ManagedUserBody {
            username,
            email,
            name,
            role,
            disabled,
            password,
        } = body;
        let change = AccountChange {
            username: Some(username),
            email: Some(email),
            name: Some(name),
            role: Some(role),
            disabled: Some(disabled),
        };
        let user = gateway
            .change_user(
                of_another(&admin, id, origin)?,
                id,
                change,
                password.map(|new| new.0),
            )
            .await?;
        Ok(UserShown::Shown(Json(user.into())))
    }

    /// Change a user
    ///
    /// The last enabled administrator stays one.
    #[oai(
        path = "/users/:id",
        method = "patch",
        operation_id = "updateUserById",
        tag = "Tag::Users"
    )]
    async fn change(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Admin(admin): Admin,
        From(origin): From,
        /// The user's id.
        id: Path<Id>,
        Body(body): Body<ManagedUserPatch>,
    ) -> Result<UserShown, Problem<ChangeProblems>> {
        let Param(Id(id)) = id;
        let ManagedUserPatch {
            username,
            email,
            name,
            role,
            disabled,
            password,
        } = body;
        let change = AccountChange {
            username,
            email,
            name,
            role,
            disabled,
        };
        let user = gateway
            .change_user(
                of_another(&admin, id, origin)?,
                id,
                change,
                password.map(|new| new.0),
            )
            .await?;
        Ok(UserShown::Shown(Json(user.into())))
    }

    /// Delete a user
    ///
    /// With everything in it, at once and for good. The last enabled administrator stays.
    #[oai(
        path = "/users/:id",
        method = "delete",
        operation_id = "deleteUserById",
        tag = "Tag::Users"
    )]
    async fn delete(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Admin(admin): Admin,
        From(origin): From,
        /// The user's id.
        id: Path<Id>,
    ) -> Result<Done, Problem<DeleteProblems>> {
        let Param(Id(id)) = id;
        gateway
            .delete_user(of_another(&admin, id, origin)?, id)
            .await?;
        Ok(Done::Done)
    }

    /// Sign a user out everywhere
    ///
    /// Ends every session of the user. When the answer comes, no replica accepts one any more.
    #[oai(
        path = "/users/:id/revoke",
        method = "post",
        operation_id = "revokeUserById",
        tag = "Tag::Users"
    )]
    async fn revoke(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Admin(admin): Admin,
        From(origin): From,
        /// The user's id.
        id: Path<Id>,
        /// `respond-async` (RFC 7240): 202 as soon as it is published, a moment before every
        /// replica knows.
        #[oai(name = "Prefer")]
        prefer: Param<Patience>,
    ) -> Result<Ended, Problem<ShowProblems>> {
        let (Param(Id(id)), Param(patience)) = (id, prefer);
        gateway
            .revoke_user(Administrator::User(admin.sub, origin), id, patience)
            .await?;
        Ok(patience.into())
    }

    /// List a user's sessions
    ///
    /// Those that are live, by id ascending.
    #[oai(
        path = "/users/:id/sessions",
        method = "get",
        operation_id = "listSessionsOfUser",
        tag = "Tag::Users"
    )]
    async fn sessions(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Admin(admin): Admin,
        /// The user's id.
        id: Path<Id>,
        /// How many at most.
        limit: Param<Limit>,
        /// The `next` of the page before.
        after: Param<After>,
    ) -> Result<SessionsListed, Problem<ShowProblems>> {
        let (Param(Id(id)), Param(Limit(limit)), Param(After(after))) = (id, limit, after);
        let page = gateway
            .list_devices_of_user(id, Page { limit, after })
            .await?;
        Ok(SessionsListed::Page(Json(SessionPageShape::new(
            page, admin.sid,
        ))))
    }
}
