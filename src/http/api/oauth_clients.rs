//! Administration of OAuth clients.

use std::sync::Arc;

use latchkey_domain::{
    oauth_client::{Audiences, ClientChange},
    opaque_token::Label,
    scope::Scopes,
};
use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};
use secrecy::ExposeSecret;

use crate::{
    app::{
        App,
        admin::{actor::AdminActor, oauth_clients::ClientRegistration},
    },
    http::{
        Tag,
        api::schemas::clients::{
            OAuthClientPageSchema, OAuthClientSchema, OAuthClientWithSecretSchema,
        },
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
    /// OAuth client to register.
    pub struct CreateOAuthClientRequest {
        /// Display name of the client.
        pub name: Required<Label>,
        /// Scopes that the client can request, separated by spaces.
        pub scope: Required<Scopes>,
        /// Allowed audiences, 1 to 10, separated by spaces; the first is the default. Default:
        /// `LATCHKEY_AUDIENCE`, or the issuer if it is unset.
        pub audience: Optional<Audiences>,
    }

    /// New values; absent fields stay unchanged.
    pub struct UpdateOAuthClientRequest {
        /// Display name of the client.
        pub name: KeepIfAbsent<Label>,
        /// Scopes that the client can request, separated by spaces. If one is removed, all tokens
        /// of the client are revoked.
        pub scope: KeepIfAbsent<Scopes>,
        /// Allowed audiences, 1 to 10, separated by spaces; the first is the default. If one is
        /// removed, all tokens of the client are revoked.
        pub audience: KeepIfAbsent<Audiences>,
    }
}

problems! {
    CreateProblems: [CALLER, BODY] ReauthenticationRequired;
    UpdateProblems: [CALLER, BODY] ReauthenticationRequired NotFound;
    RotateProblems: [CALLER] ReauthenticationRequired NotFound;
    ListProblems: [CALLER];
    ByIdProblems: [CALLER] NotFound;
}

pub struct OAuthClientsApi;

#[OpenApi]
impl OAuthClientsApi {
    /// Register an OAuth client
    ///
    /// Registers a confidential client and returns its secret once.
    ///
    /// Requires a user session with a sign-in within the last five minutes (403
    /// `reauthentication_required`); personal access tokens are rejected (403 `forbidden`).
    ///
    /// The client obtains access tokens for itself with the `client_credentials` grant at `POST
    /// /oauth/token` (RFC 6749 section 4.4). It can introspect tokens that are issued for its
    /// audiences. Tokens of users have the audience of this server (`LATCHKEY_AUDIENCE`, or the
    /// issuer if it is unset), which `GET /revocations` and `GET /auth/verify` require. If the
    /// client needs one of these, include this audience. If it isn't the first one, request it with
    /// `resource`.
    ///
    /// Response 201: The client was registered. Its secret is returned only once.
    #[oai(
        path = "/clients",
        method = "post",
        operation_id = "createOAuthClient",
        tag = "Tag::OAuthClients"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<CreateOAuthClientRequest>,
    ) -> Result<WithHeaders<Created<OAuthClientWithSecretSchema>, Location>, Problem<CreateProblems>>
    {
        let registration = ClientRegistration {
            name: body.name,
            scopes: body.scope,
            audiences: body.audience,
        };
        let (client, secret) = app
            .oauth_clients
            .create_client(
                AdminActor::from_request(&app.tokens, &admin, origin),
                registration,
            )
            .await?;
        let location = Location(format!("/clients/{}", client.id));
        let body = OAuthClientWithSecretSchema::new(client, secret.expose_secret().to_owned());
        Ok(WithHeaders(Created(body), location))
    }

    /// List OAuth clients
    ///
    /// Returns the registered clients, oldest first.
    ///
    /// Response 200: A page of clients.
    #[oai(
        path = "/clients",
        method = "get",
        operation_id = "listOAuthClients",
        tag = "Tag::OAuthClients"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<Json<OAuthClientPageSchema>, Problem<ListProblems>> {
        Ok(Json(
            app.oauth_clients
                .list_clients(page(limit, after))
                .await?
                .into(),
        ))
    }

    /// Get an OAuth client
    ///
    /// Returns the client, without its secret.
    ///
    /// The server stores only a hash of the secret. `POST /clients/{id}/rotate` returns a new one.
    ///
    /// Response 200: The client.
    #[oai(
        path = "/clients/:id",
        method = "get",
        operation_id = "getOAuthClient",
        tag = "Tag::OAuthClients"
    )]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin,
        /// Client ID.
        id: Path<Id>,
    ) -> Result<Json<OAuthClientSchema>, Problem<ByIdProblems>> {
        let Param(Id(id)) = id;
        Ok(Json(app.oauth_clients.get_client(id).await?.into()))
    }

    /// Update an OAuth client
    ///
    /// Updates the given fields. The secret stays valid.
    ///
    /// If a scope or an audience is removed, all tokens of the client are revoked, and every
    /// replica rejects them when the response arrives. The client can request new tokens
    /// immediately. Other changes revoke nothing. Requires a user session with a sign-in within the
    /// last five minutes (403 `reauthentication_required`); personal access tokens are rejected
    /// (403 `forbidden`).
    ///
    /// Response 200: The client was updated.
    #[oai(
        path = "/clients/:id",
        method = "patch",
        operation_id = "updateOAuthClient",
        tag = "Tag::OAuthClients"
    )]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// Client ID.
        id: Path<Id>,
        Body(body): Body<UpdateOAuthClientRequest>,
    ) -> Result<Json<OAuthClientSchema>, Problem<UpdateProblems>> {
        let Param(Id(id)) = id;
        let change = ClientChange {
            name: body.name,
            scopes: body.scope,
            audiences: body.audience,
        };
        let actor = AdminActor::from_request(&app.tokens, &admin, origin);
        let client = app.oauth_clients.update_client(actor, id, change).await?;
        Ok(Json(client.into()))
    }

    /// Rotate a client secret
    ///
    /// Invalidates the old secret and the tokens issued with it, and returns a new secret once.
    ///
    /// The change is in effect on every replica when the response arrives. For zero-downtime
    /// rotation, register a second client first. Requires a user session with a sign-in within the
    /// last five minutes (403 `reauthentication_required`); personal access tokens are rejected
    /// (403 `forbidden`).
    ///
    /// Response 200: The secret was rotated. The new secret is returned only once.
    #[oai(
        path = "/clients/:id/rotate",
        method = "post",
        operation_id = "rotateOAuthClientSecret",
        tag = "Tag::OAuthClients"
    )]
    async fn rotate(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// Client ID.
        id: Path<Id>,
    ) -> Result<Json<OAuthClientWithSecretSchema>, Problem<RotateProblems>> {
        let Param(Id(id)) = id;
        let (client, secret) = app
            .oauth_clients
            .rotate_client_secret(AdminActor::from_request(&app.tokens, &admin, origin), id)
            .await?;
        Ok(Json(OAuthClientWithSecretSchema::new(
            client,
            secret.expose_secret().to_owned(),
        )))
    }

    /// Delete an OAuth client
    ///
    /// Deletes the client and revokes its tokens.
    ///
    /// After 204, every replica rejects them. Idempotent for one hour; after that, the response is
    /// 404.
    ///
    /// Response 204: The client was deleted, and every replica rejects its tokens.
    #[oai(
        path = "/clients/:id",
        method = "delete",
        operation_id = "deleteOAuthClient",
        tag = "Tag::OAuthClients"
    )]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// Client ID.
        id: Path<Id>,
    ) -> Result<NoContent, Problem<ByIdProblems>> {
        let Param(Id(id)) = id;
        app.oauth_clients
            .delete_client(AdminActor::from_request(&app.tokens, &admin, origin), id)
            .await?;
        Ok(NoContent)
    }
}
