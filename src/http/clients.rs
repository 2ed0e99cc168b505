//! OAuth clients, for administrators.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{ApiResponse, OpenApi, payload::Json};

use super::{
    Tag,
    answers::Done,
    body::{Body, body},
    caller::Admin,
    origin::From,
    params::{After, Id, Limit, Param, Path},
    problem::{Problem, problems},
    shapes::clients::{ClientPageShape, ClientShape, ClientWithSecretShape},
};
use crate::{
    domain::{client::Audiences, opaque_token::Label, page::Page, scope::Scopes},
    gateway::{Administrator, Gateway, Registration},
};

body! {
    /// An OAuth client that is to be registered.
    ClientBody {
        /// For people.
        name: Required<Label>,
        /// What its tokens may be used for: scopes, separated by spaces.
        scope: Required<Scopes>,
        /// Whom its tokens may be for: one to ten words; the first where a request names none.
        /// Absent: LATCHKEY_AUDIENCE.
        audience: Optional<Audiences>,
    }
}

problems! {
    CreateProblems: [CALLER, BODY];
    ListProblems: [CALLER];
    ShowProblems: [CALLER] NotFound;
}

/// 201 with a client.
#[derive(ApiResponse)]
pub enum ClientMade {
    /// The client was registered. Its secret is shown this once.
    #[oai(status = 201)]
    Created(
        Json<ClientWithSecretShape>,
        #[oai(header = "Location")] String,
    ),
}

/// 200 with a client and another secret.
#[derive(ApiResponse)]
pub enum ClientRotated {
    /// The client has another secret, which is shown this once.
    #[oai(status = 200)]
    Rotated(Json<ClientWithSecretShape>),
}

/// 200 with a client.
#[derive(ApiResponse)]
pub enum ClientShown {
    /// The client.
    #[oai(status = 200)]
    Shown(Json<ClientShape>),
}

/// 200 with clients.
#[derive(ApiResponse)]
pub enum ClientsListed {
    /// A page of clients.
    #[oai(status = 200)]
    Page(Json<ClientPageShape>),
}

/// The operations.
pub struct ClientsApi;

#[OpenApi]
impl ClientsApi {
    /// Register an OAuth client
    ///
    /// A service that has tokens for itself, by `client_credentials` at `POST /oauth/token`, and
    /// may introspect those of others.
    #[oai(
        path = "/clients",
        method = "post",
        operation_id = "createClient",
        tag = "Tag::Clients"
    )]
    async fn create(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Admin(admin): Admin,
        From(origin): From,
        Body(body): Body<ClientBody>,
    ) -> Result<ClientMade, Problem<CreateProblems>> {
        let wanted = Registration {
            name: body.name,
            scopes: body.scope,
            audiences: body.audience,
        };
        let (client, secret) = gateway
            .create_client(Administrator::User(admin.sub, origin), wanted)
            .await?;
        let location = format!("/clients/{}", client.id);
        Ok(ClientMade::Created(
            Json(ClientWithSecretShape::new(client, secret.to_string())),
            location,
        ))
    }

    /// List OAuth clients
    ///
    /// By id ascending, so the oldest first.
    #[oai(
        path = "/clients",
        method = "get",
        operation_id = "listClients",
        tag = "Tag::Clients"
    )]
    async fn list(
        &self,
        gateway: Data<&Arc<Gateway>>,
        _admin: Admin,
        /// How many at most.
        limit: Param<Limit>,
        /// The `next` of the page before.
        after: Param<After>,
    ) -> Result<ClientsListed, Problem<ListProblems>> {
        let (Param(Limit(limit)), Param(After(after))) = (limit, after);
        Ok(ClientsListed::Page(Json(
            gateway.list_clients(Page { limit, after }).await?.into(),
        )))
    }

    /// Read an OAuth client
    ///
    /// Without its secret, which was shown once and is not kept; another one is given by `POST
    /// /clients/{id}/rotate`.
    #[oai(
        path = "/clients/:id",
        method = "get",
        operation_id = "getClient",
        tag = "Tag::Clients"
    )]
    async fn show(
        &self,
        gateway: Data<&Arc<Gateway>>,
        _admin: Admin,
        /// The client's id.
        id: Path<Id>,
    ) -> Result<ClientShown, Problem<ShowProblems>> {
        let Param(Id(id)) = id;
        Ok(ClientShown::Shown(Json(
            gateway.show_client(id).await?.into(),
        )))
    }

    /// Give an OAuth client another secret
    ///
    /// When the answer comes, the secret before is refused, and so is every token that was had with
    /// it, on every replica.
    #[oai(
        path = "/clients/:id/rotate",
        method = "post",
        operation_id = "rotateClient",
        tag = "Tag::Clients"
    )]
    async fn rotate(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Admin(admin): Admin,
        From(origin): From,
        /// The client's id.
        id: Path<Id>,
    ) -> Result<ClientRotated, Problem<ShowProblems>> {
        let Param(Id(id)) = id;
        let (client, secret) = gateway
            .rotate_client(Administrator::User(admin.sub, origin), id)
            .await?;
        Ok(ClientRotated::Rotated(Json(ClientWithSecretShape::new(
            client,
            secret.to_string(),
        ))))
    }

    /// Delete an OAuth client
    ///
    /// When the answer comes, no replica accepts a token of it any more. Repeating it is fine for
    /// an hour.
    #[oai(
        path = "/clients/:id",
        method = "delete",
        operation_id = "deleteClient",
        tag = "Tag::Clients"
    )]
    async fn delete(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Admin(admin): Admin,
        From(origin): From,
        /// The client's id.
        id: Path<Id>,
    ) -> Result<Done, Problem<ShowProblems>> {
        let Param(Id(id)) = id;
        gateway
            .delete_client(Administrator::User(admin.sub, origin), id)
            .await?;
        Ok(Done::Done)
    }
}
