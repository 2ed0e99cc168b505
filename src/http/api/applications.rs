//! Administration of applications behind a proxy.

use std::sync::Arc;

use latchkey_domain::{
    account::Role,
    application::{ApplicationOrigin, Requirement},
    group::RequiredGroupNames,
    scope::Scopes,
};
use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use crate::{
    app::{App, admin::actor::AdminActor, applications::ApplicationChange},
    error::Error,
    http::{
        Tag,
        api::schemas::applications::{ApplicationPageSchema, ApplicationSchema},
        auth::caller::Admin,
        context::client_address::ClientOrigin,
        openapi::{
            body::{Body, body},
            params::{Cursor, Id, Limit, Param, Path, page},
            problem::{Problem, problems},
            responses::{Created, Location, NoContent, WithHeaders},
        },
    },
};

body! {
    /// Application to create.
    pub struct CreateApplicationRequest {
        /// Origin, or `https://*.DOMAIN` for every host with one more label. Unique. `http` is
        /// allowed for localhost and loopback IP addresses only.
        pub origin: Required<ApplicationOrigin>,
        /// Required role, compared exactly. Default: any role.
        pub role: Optional<Role>,
        /// Required scopes, all of them, separated by spaces. Default: none.
        pub scope: Optional<Scopes>,
        /// Required groups, one of them, separated by spaces. Default: none.
        pub group: Optional<RequiredGroupNames>,
    }

    /// New values; absent fields stay unchanged. `null` clears a requirement.
    pub struct UpdateApplicationRequest {
        /// Origin, or `https://*.DOMAIN` for every host with one more label.
        pub origin: KeepIfAbsent<ApplicationOrigin>,
        /// Required role, compared exactly.
        pub role: Clearable<Role>,
        /// Required scopes, all of them, separated by spaces.
        pub scope: Clearable<Scopes>,
        /// Required groups, one of them, separated by spaces.
        pub group: Clearable<RequiredGroupNames>,
    }
}

problems! {
    CreateProblems: [CALLER, BODY] ReauthenticationRequired ApplicationTaken;
    ListProblems: [CALLER];
    ByIdProblems: [CALLER] NotFound;
    UpdateProblems: [CALLER, BODY] ReauthenticationRequired NotFound ApplicationTaken;
    DeleteProblems: [CALLER] ReauthenticationRequired NotFound;
}

pub struct ApplicationsApi;

#[OpenApi]
impl ApplicationsApi {
    /// Create an application
    ///
    /// Lets browsers sign in to an application behind a proxy.
    ///
    /// The application receives a cookie of its own, which only checks of its origin accept. The
    /// requirement applies to every check of this origin, in addition to the parameters of the
    /// check. As soon as any application has a requirement, checks of unknown origins are rejected
    /// (403 `forbidden`). Every replica knows the application after at most two seconds. There are
    /// at most 1,000 applications. Requires a user session with a sign-in within the last five
    /// minutes (403 `reauthentication_required`); personal access tokens are rejected (403
    /// `forbidden`).
    ///
    /// Response 201: The application was created.
    #[oai(
        path = "/applications",
        method = "post",
        operation_id = "createApplication",
        tag = "Tag::Applications"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<CreateApplicationRequest>,
    ) -> Result<WithHeaders<Created<ApplicationSchema>, Location>, Problem<CreateProblems>> {
        let requirement = Requirement {
            role: body.role,
            scopes: body.scope.map(require_scope).transpose()?,
            groups: body.group.map(|RequiredGroupNames(names)| names),
        };
        let actor = AdminActor::from_request(&app.tokens, &admin, origin);
        let created = app
            .applications
            .create_application(&actor, &body.origin, &requirement)
            .await?;
        let location = Location(format!("/applications/{}", created.id));
        Ok(WithHeaders(Created(created.into()), location))
    }

    /// List applications
    ///
    /// Returns the applications, oldest first.
    ///
    /// Response 200: A page of applications.
    #[oai(
        path = "/applications",
        method = "get",
        operation_id = "listApplications",
        tag = "Tag::Applications"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<Json<ApplicationPageSchema>, Problem<ListProblems>> {
        let listed = app.applications.list_applications(page(limit, after));
        Ok(Json(listed.await?.into()))
    }

    /// Get an application
    ///
    /// Returns the application.
    ///
    /// Response 200: The application.
    #[oai(
        path = "/applications/:id",
        method = "get",
        operation_id = "getApplication",
        tag = "Tag::Applications"
    )]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin,
        /// Application ID.
        id: Path<Id>,
    ) -> Result<Json<ApplicationSchema>, Problem<ByIdProblems>> {
        let Param(Id(id)) = id;
        Ok(Json(app.applications.get_application(id).await?.into()))
    }

    /// Update an application
    ///
    /// Updates the given fields. Every replica uses them after at most two seconds.
    ///
    /// No session is revoked: the next check of the application rejects a user who doesn't meet the
    /// new requirement. With a new origin, the application cookies of the old one are rejected.
    /// Requires a user session with a sign-in within the last five minutes (403
    /// `reauthentication_required`); personal access tokens are rejected (403 `forbidden`).
    ///
    /// Response 200: The application was updated.
    #[oai(
        path = "/applications/:id",
        method = "patch",
        operation_id = "updateApplication",
        tag = "Tag::Applications"
    )]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// Application ID.
        id: Path<Id>,
        Body(body): Body<UpdateApplicationRequest>,
    ) -> Result<Json<ApplicationSchema>, Problem<UpdateProblems>> {
        let Param(Id(id)) = id;
        let scopes = body.scope.map(|new| new.map(require_scope).transpose());
        let change = ApplicationChange {
            origin: body.origin,
            role: body.role,
            scopes: scopes.transpose()?,
            groups: body
                .group
                .map(|new| new.map(|RequiredGroupNames(names)| names)),
        };
        let actor = AdminActor::from_request(&app.tokens, &admin, origin);
        let updated = app.applications.update_application(&actor, id, &change);
        Ok(Json(updated.await?.into()))
    }

    /// Delete an application
    ///
    /// Deletes the application. Browsers can't sign in to it any more, and every replica rejects its
    /// cookies after at most two seconds.
    ///
    /// Requires a user session with a sign-in within the last five minutes (403
    /// `reauthentication_required`); personal access tokens are rejected (403 `forbidden`).
    ///
    /// Response 204: The application was deleted.
    #[oai(
        path = "/applications/:id",
        method = "delete",
        operation_id = "deleteApplication",
        tag = "Tag::Applications"
    )]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// Application ID.
        id: Path<Id>,
    ) -> Result<NoContent, Problem<DeleteProblems>> {
        let Param(Id(id)) = id;
        let actor = AdminActor::from_request(&app.tokens, &admin, origin);
        app.applications.delete_application(&actor, id).await?;
        Ok(NoContent)
    }
}

/// An empty list would require nothing, which the administrator probably doesn't intend.
fn require_scope(scopes: Scopes) -> Result<Scopes, Error> {
    if scopes.is_empty() {
        Err(Error::invalid_field(
            "scope",
            "must contain at least one scope",
        ))
    } else {
        Ok(scopes)
    }
}
