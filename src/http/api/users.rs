//! User administration.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    account::{DisplayName, EmailAddress, NamePrefix, Role, Username},
    group::GroupsChange,
    password::NewPassword,
    user_change::AccountChange,
};
use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};
use uuid::Uuid;

use crate::{
    app::{
        App,
        admin::{actor::AdminActor, users::NewUserRequest},
        origin::Origin,
        revocation::WaitFor,
    },
    error::Error,
    http::{
        Tag,
        api::{
            responses::RevocationResponse,
            schemas::{AdminUserPageSchema, AdminUserSchema},
        },
        auth::caller::Admin,
        context::client_address::ClientOrigin,
        openapi::{
            body::{Body, Flag, GroupList, body},
            params::{Cursor, Id, Limit, MemberOf, Param, Path, page},
            problem::{Problem, problems},
            responses::{Created, Location, NoContent, WithHeaders},
        },
    },
};

body! {
    /// User to create: a username, an email address, or both.
    pub struct CreateUserRequest {
        /// Username: 1 to 64 letters, digits, `.`, `_`, and `-`, that begin and end with a letter
        /// or digit. Unique, not case-sensitive.
        /// Required without `email`.
        pub username: Optional<Username>,
        /// Email address. Unique, not case-sensitive. Required if `username` or `password` is
        /// omitted. If `password` is omitted, the invitation is sent to this address.
        pub email: Optional<EmailAddress>,
        /// Display name.
        pub name: Optional<DisplayName>,
        /// Role: `user` (default) or `admin`.
        pub role: Optional<Role>,
        /// Names of groups, at most 32; they must exist.
        pub groups: Optional<GroupList>,
        /// Initial password. If omitted, the invitation email contains a code to set one.
        pub password: Optional<NewPassword>,
    }

    /// All fields of a user.
    pub struct ReplaceUserRequest {
        /// Username, or `null`: 1 to 64 letters, digits, `.`, `_`, and `-`, that begin and end with
        /// a letter or digit. Unique, not case-sensitive.
        pub username: Nullable<Username>,
        /// Email address, or `null`. Unique, not case-sensitive. A changed address is unverified.
        pub email: Nullable<EmailAddress>,
        /// Display name, or `null`.
        pub name: Nullable<DisplayName>,
        /// Role: `user` or `admin`. A change revokes all sessions and personal access tokens.
        pub role: Required<Role>,
        /// Names of groups, at most 32; they must exist. Absent: unchanged. A change revokes all
        /// sessions and personal access tokens.
        pub groups: KeepIfAbsent<GroupList>,
        /// Whether the user is disabled and can't sign in. Disabling revokes all sessions and
        /// personal access tokens.
        pub disabled: Required<Flag>,
        /// New password; absent: unchanged. A new password revokes all sessions and personal access
        /// tokens. The user is notified by email if the address is verified.
        pub password: KeepIfAbsent<NewPassword>,
    }

    /// New values; absent fields stay unchanged. `null` clears `username`, `email`, or `name`.
    pub struct UpdateUserRequest {
        /// Username: 1 to 64 letters, digits, `.`, `_`, and `-`, that begin and end with a letter
        /// or digit. Unique, not case-sensitive.
        pub username: Clearable<Username>,
        /// Email address. Unique, not case-sensitive. A changed address is unverified.
        pub email: Clearable<EmailAddress>,
        /// Display name.
        pub name: Clearable<DisplayName>,
        /// Role: `user` or `admin`. A change revokes all sessions and personal access tokens.
        pub role: KeepIfAbsent<Role>,
        /// Names of all groups of the user, at most 32; they must exist. A change revokes all
        /// sessions and personal access tokens.
        pub groups: KeepIfAbsent<GroupList>,
        /// Whether the user is disabled and can't sign in. Disabling revokes all sessions and
        /// personal access tokens.
        pub disabled: KeepIfAbsent<Flag>,
        /// New password. It revokes all sessions and personal access tokens. The user is notified
        /// by email if the address is verified.
        pub password: KeepIfAbsent<NewPassword>,
    }
}

problems! {
    ListProblems: [CALLER];
    CreateProblems: [CALLER, BODY] ReauthenticationRequired WeakPassword UsernameTaken EmailTaken EmailDisabled;
    ByIdProblems: [CALLER] NotFound;
    UpdateProblems: [CALLER, BODY] ReauthenticationRequired NotFound LastAdmin WeakPassword UsernameTaken EmailTaken;
    DeleteProblems: [CALLER] NotFound LastAdmin;
}

/// Returns the administrator, unless it is the user to change.
///
/// Such a change would bypass `/user`, whose operations require the current password, an emailed
/// code, or a recent sign-in.
fn require_other_user(
    app: &App,
    admin: &Claims,
    id: Uuid,
    origin: Origin,
) -> Result<AdminActor, Error> {
    if admin.sub == id {
        Err(Error::Forbidden(
            "Administrators can't change or delete their own user with `/users`. Use the operations \
             of `/user`. Only another administrator can change the role."
                .into(),
        ))
    } else {
        Ok(AdminActor::from_request(&app.tokens, admin, origin))
    }
}

fn replace_groups(GroupList(names): GroupList) -> GroupsChange {
    GroupsChange::Replace(names)
}

async fn change_user(
    app: &App,
    actor: AdminActor,
    id: Uuid,
    change: AccountChange,
    password: Option<NewPassword>,
) -> Result<Json<AdminUserSchema>, Problem<UpdateProblems>> {
    let password = password.map(|new| new.0);
    let user = app
        .users
        .update_managed_user(actor, id, change, password)
        .await?;
    Ok(Json(user.into()))
}

pub struct UsersApi;

#[OpenApi]
impl UsersApi {
    /// List users
    ///
    /// Returns users, oldest first, optionally filtered by username or email prefix, and by group.
    ///
    /// Response 200: A page of users.
    #[oai(
        path = "/users",
        method = "get",
        operation_id = "listUsers",
        tag = "Tag::UserAdministration"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin,
        /// Prefix of the username or email address, not case-sensitive.
        search: Param<NamePrefix>,
        /// Name of a group: only its members.
        group: Param<MemberOf>,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<Json<AdminUserPageSchema>, Problem<ListProblems>> {
        Ok(Json(
            app.users
                .list_users(&search.0, group.0.0.as_ref(), page(limit, after))
                .await?
                .into(),
        ))
    }

    /// Create a user
    ///
    /// Creates a user with a password, or sends an invitation email if `password` is omitted.
    ///
    /// Requires a user session with a sign-in within the last five minutes (403
    /// `reauthentication_required`); personal access tokens are rejected (403 `forbidden`). The
    /// email contains a link to set a password. If email is disabled, creating a user without a
    /// password returns 501.
    ///
    /// Response 201: The user was created.
    #[oai(
        path = "/users",
        method = "post",
        operation_id = "createUser",
        tag = "Tag::UserAdministration"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<CreateUserRequest>,
    ) -> Result<WithHeaders<Created<AdminUserSchema>, Location>, Problem<CreateProblems>> {
        let CreateUserRequest {
            username,
            email,
            name,
            role,
            groups,
            password,
        } = body;
        let request = NewUserRequest {
            username,
            email,
            name,
            role: role.unwrap_or(Role::User),
            groups: groups.map(|GroupList(names)| names).unwrap_or_default(),
            password: password.map(|new| new.0),
        };
        let user: AdminUserSchema = app
            .users
            .create_user(
                AdminActor::from_request(&app.tokens, &admin, origin),
                request,
            )
            .await?
            .into();
        let location = Location(format!("/users/{}", user.id));
        Ok(WithHeaders(Created(user), location))
    }

    /// Get a user
    ///
    /// Returns the user, even if the user is disabled.
    ///
    /// The items of a user are visible only to the user.
    ///
    /// Response 200: The user.
    #[oai(
        path = "/users/:id",
        method = "get",
        operation_id = "getUser",
        tag = "Tag::UserAdministration"
    )]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin,
        /// User ID.
        id: Path<Id>,
    ) -> Result<Json<AdminUserSchema>, Problem<ByIdProblems>> {
        let Param(Id(id)) = id;
        Ok(Json(app.users.get_user(id).await?.into()))
    }

    /// Replace a user
    ///
    /// Replaces all fields. Changing the role, groups, or password, or disabling the user, revokes
    /// all sessions and personal access tokens.
    ///
    /// Absent `groups` and an absent `password` stay unchanged. At least one enabled administrator
    /// must remain (403 `last_admin`). A change of the username, email address, password, role, or
    /// groups, and enabling a user, require a user session with a sign-in within the last five
    /// minutes (403 `reauthentication_required`); personal access tokens are rejected (403
    /// `forbidden`). Administrators can't change their own user here (403 `forbidden`).
    ///
    /// Response 200: The user was replaced.
    #[oai(
        path = "/users/:id",
        method = "put",
        operation_id = "replaceUser",
        tag = "Tag::UserAdministration"
    )]
    async fn replace(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// User ID.
        id: Path<Id>,
        Body(body): Body<ReplaceUserRequest>,
    ) -> Result<Json<AdminUserSchema>, Problem<UpdateProblems>> {
        let Param(Id(id)) = id;
        let ReplaceUserRequest {
            username,
            email,
            name,
            role,
            groups,
            disabled,
            password,
        } = body;
        let change = AccountChange {
            username: Some(username),
            email: Some(email),
            name: Some(name),
            role: Some(role),
            groups: groups.map(replace_groups),
            disabled: Some(disabled.0),
        };
        let actor = require_other_user(&app, &admin, id, origin)?;
        change_user(&app, actor, id, change, password).await
    }

    /// Update a user
    ///
    /// Updates the given fields.
    ///
    /// Changing the role, groups, or password, or disabling the user, revokes all sessions and
    /// personal access tokens. Absent fields stay unchanged. `null` clears `username`, `email`, or
    /// `name`. At least one enabled administrator must remain (403 `last_admin`). A change of the
    /// username, email address, password, role, or groups, and enabling a user, require a user
    /// session with a sign-in within the last five minutes (403 `reauthentication_required`);
    /// personal access tokens are rejected (403 `forbidden`). Administrators can't change their own
    /// user here (403 `forbidden`).
    ///
    /// Response 200: The user was updated.
    #[oai(
        path = "/users/:id",
        method = "patch",
        operation_id = "updateUser",
        tag = "Tag::UserAdministration"
    )]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// User ID.
        id: Path<Id>,
        Body(body): Body<UpdateUserRequest>,
    ) -> Result<Json<AdminUserSchema>, Problem<UpdateProblems>> {
        let Param(Id(id)) = id;
        let UpdateUserRequest {
            username,
            email,
            name,
            role,
            groups,
            disabled,
            password,
        } = body;
        let change = AccountChange {
            username,
            email,
            name,
            role,
            groups: groups.map(replace_groups),
            disabled: disabled.map(|Flag(disabled)| disabled),
        };
        let actor = require_other_user(&app, &admin, id, origin)?;
        change_user(&app, actor, id, change, password).await
    }

    /// Delete a user
    ///
    /// Permanently deletes the user and their data.
    ///
    /// After 204, every replica rejects all tokens of the user. At least one enabled administrator
    /// must remain (403 `last_admin`). Administrators can't delete their own user here (403
    /// `forbidden`).
    ///
    /// Response 204: The user was deleted, and every replica rejects their tokens.
    #[oai(
        path = "/users/:id",
        method = "delete",
        operation_id = "deleteUser",
        tag = "Tag::UserAdministration"
    )]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// User ID.
        id: Path<Id>,
    ) -> Result<NoContent, Problem<DeleteProblems>> {
        let Param(Id(id)) = id;
        app.users
            .delete_user(require_other_user(&app, &admin, id, origin)?, id)
            .await?;
        Ok(NoContent)
    }

    /// Revoke all credentials of a user
    ///
    /// Revokes all sessions and personal access tokens.
    ///
    /// After 204, every replica rejects them. The user can sign in again; to prevent that, disable
    /// the user.
    ///
    /// Response 204: All sessions and personal access tokens were revoked, and every replica
    /// rejects them.
    #[oai(
        path = "/users/:id/revoke",
        method = "post",
        operation_id = "revokeUserCredentials",
        tag = "Tag::UserAdministration"
    )]
    async fn revoke_credentials(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// User ID.
        id: Path<Id>,
        /// `respond-async` (RFC 7240) returns 202 after the revocation is published, without
        /// waiting until every replica enforces it.
        #[oai(name = "Prefer")]
        prefer: Param<WaitFor>,
    ) -> Result<RevocationResponse, Problem<ByIdProblems>> {
        let (Param(Id(id)), Param(wait_for)) = (id, prefer);
        app.users
            .revoke_user_sessions(
                AdminActor::from_request(&app.tokens, &admin, origin),
                id,
                wait_for,
            )
            .await?;
        Ok(wait_for.into())
    }
}
