//! Administration of groups.

use std::sync::Arc;

use latchkey_domain::group::{GroupDescription, GroupName};
use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use crate::{
    app::{App, admin::actor::AdminActor},
    http::{
        Tag,
        api::schemas::groups::{GroupPageSchema, GroupSchema},
        auth::caller::Admin,
        context::client_address::ClientOrigin,
        openapi::{
            body::{Body, body},
            params::{GroupCursor, Limit, Param, Path},
            problem::{Problem, problems},
            responses::{Created, Location, NoContent, WithHeaders},
        },
    },
};

body! {
    /// Group to create.
    pub struct CreateGroupRequest {
        /// Name: 1 to 32 lowercase letters, digits, `.`, `_`, and `-`, that begin and end with a
        /// letter or digit. Unique. It can't be changed.
        pub name: Required<GroupName>,
        /// Description for administrators.
        pub description: Optional<GroupDescription>,
    }

    /// New values; absent fields stay unchanged. `null` clears `description`.
    pub struct UpdateGroupRequest {
        /// Description for administrators.
        pub description: Clearable<GroupDescription>,
    }
}

problems! {
    CreateProblems: [CALLER, BODY] GroupTaken;
    ListProblems: [CALLER];
    ByNameProblems: [CALLER] NotFound;
    UpdateProblems: [CALLER, BODY] NotFound;
    DeleteProblems: [CALLER] NotFound GroupHasMembers;
}

pub struct GroupsApi;

#[OpenApi]
impl GroupsApi {
    /// Create a group
    ///
    /// Creates a group without members.
    ///
    /// A group gives no rights on its own. A reverse proxy can require it with `GET
    /// /auth/verify?group=NAME`, and applications can read the claim `groups`. Add members with
    /// `PATCH /users/{id}`. There are at most 1,000 groups.
    ///
    /// Response 201: The group was created.
    #[oai(
        path = "/groups",
        method = "post",
        operation_id = "createGroup",
        tag = "Tag::UserAdministration"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<CreateGroupRequest>,
    ) -> Result<WithHeaders<Created<GroupSchema>, Location>, Problem<CreateProblems>> {
        let actor = AdminActor::from_request(&app.tokens, &admin, origin);
        let group: GroupSchema = app
            .groups
            .create_group(&actor, &body.name, body.description.as_ref())
            .await?
            .into();
        let location = Location(format!("/groups/{}", group.name));
        Ok(WithHeaders(Created(group), location))
    }

    /// List groups
    ///
    /// Returns groups in ascending order of names.
    ///
    /// `GET /users?group=NAME` lists the members of a group.
    ///
    /// Response 200: A page of groups.
    #[oai(
        path = "/groups",
        method = "get",
        operation_id = "listGroups",
        tag = "Tag::UserAdministration"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<GroupCursor>,
    ) -> Result<Json<GroupPageSchema>, Problem<ListProblems>> {
        let (Param(Limit(limit)), Param(GroupCursor(after))) = (limit, after);
        Ok(Json(
            app.groups.list_groups(after.as_ref(), limit).await?.into(),
        ))
    }

    /// Get a group
    ///
    /// Returns the group.
    ///
    /// Response 200: The group.
    #[oai(
        path = "/groups/:name",
        method = "get",
        operation_id = "getGroup",
        tag = "Tag::UserAdministration"
    )]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin,
        /// Name of the group.
        name: Path<GroupName>,
    ) -> Result<Json<GroupSchema>, Problem<ByNameProblems>> {
        Ok(Json(app.groups.get_group(&name.0).await?.into()))
    }

    /// Update a group
    ///
    /// Updates the description.
    ///
    /// The name can't be changed, because proxies and applications refer to it.
    ///
    /// Response 200: The group was updated.
    #[oai(
        path = "/groups/:name",
        method = "patch",
        operation_id = "updateGroup",
        tag = "Tag::UserAdministration"
    )]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// Name of the group.
        name: Path<GroupName>,
        Body(body): Body<UpdateGroupRequest>,
    ) -> Result<Json<GroupSchema>, Problem<UpdateProblems>> {
        let actor = AdminActor::from_request(&app.tokens, &admin, origin);
        let description = body.description.as_ref().map(Option::as_ref);
        Ok(Json(
            app.groups
                .update_group(&actor, &name.0, description)
                .await?
                .into(),
        ))
    }

    /// Delete a group
    ///
    /// Deletes a group without members.
    ///
    /// If the group has members, the response is 409 `group_has_members`, because removing a user
    /// from a group revokes the sessions of the user. Remove the members first with `PATCH
    /// /users/{id}`.
    ///
    /// Response 204: The group was deleted.
    #[oai(
        path = "/groups/:name",
        method = "delete",
        operation_id = "deleteGroup",
        tag = "Tag::UserAdministration"
    )]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// Name of the group.
        name: Path<GroupName>,
    ) -> Result<NoContent, Problem<DeleteProblems>> {
        let actor = AdminActor::from_request(&app.tokens, &admin, origin);
        app.groups.delete_group(&actor, &name.0).await?;
        Ok(NoContent)
    }
}
