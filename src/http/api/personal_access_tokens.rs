//! Personal access tokens of the current user.

use std::sync::Arc;

use latchkey_domain::{
    opaque_token::{Expiry, Label},
    scope::Scopes,
};
use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};
use secrecy::ExposeSecret;

use crate::{
    app::{App, tokens::personal_access_tokens::PersonalAccessTokenRequest},
    http::{
        Tag,
        api::schemas::personal_access_tokens::{
            CreatedPersonalAccessTokenSchema, PersonalAccessTokenPageSchema,
        },
        auth::caller::{InteractiveUser, ReadUser, WriteUser},
        context::client_address::ClientOrigin,
        openapi::{
            body::{Body, body},
            params::{Cursor, Id, Limit, Param, Path, page},
            problem::{Problem, problems},
            responses::{Created, NoContent},
        },
    },
};

body! {
    /// Personal access token to create.
    pub struct CreatePersonalAccessTokenRequest {
        /// Display name of the token.
        pub name: Required<Label>,
        /// Scopes of the token, separated by spaces; only scopes of the credential that creates
        /// it.
        pub scope: Required<Scopes>,
        /// Expiration time, at most 366 days from now. Default: 90 days from now.
        pub expires_at: Optional<Expiry>,
    }
}

problems! {
    CreateProblems: [CALLER, BODY] ReauthenticationRequired;
    ListProblems: [CALLER];
    RevokeProblems: [CALLER] NotFound;
}

pub struct PersonalAccessTokensApi;

#[OpenApi]
impl PersonalAccessTokensApi {
    /// Create a personal access token
    ///
    /// Creates a token and returns it once.
    ///
    /// Send the token as an access token. It is valid until it expires, is revoked, or all
    /// credentials of the user are revoked, for example by a password reset. A password change
    /// doesn't revoke it. Requires a user session and a sign-in within the last five minutes. A
    /// user can have 50 tokens; a further one returns 400.
    ///
    /// Response 201: The token was created. Its value is returned only once.
    #[oai(
        path = "/user/tokens",
        method = "post",
        operation_id = "createPersonalAccessToken",
        tag = "Tag::PersonalAccessTokens"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        InteractiveUser(caller): InteractiveUser,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<CreatePersonalAccessTokenRequest>,
    ) -> Result<Created<CreatedPersonalAccessTokenSchema>, Problem<CreateProblems>> {
        let request = PersonalAccessTokenRequest {
            id: None,
            name: body.name,
            scopes: body.scope,
            expires: body.expires_at,
        };
        let (token, value) = app
            .tokens
            .create_personal_access_token(&caller, request, &origin)
            .await?;
        Ok(Created(CreatedPersonalAccessTokenSchema::new(
            token,
            value.expose_secret().to_owned(),
        )))
    }

    /// List personal access tokens
    ///
    /// Returns active tokens, oldest first, without their values.
    ///
    /// Response 200: A page of tokens.
    #[oai(
        path = "/user/tokens",
        method = "get",
        operation_id = "listPersonalAccessTokens",
        tag = "Tag::PersonalAccessTokens"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        ReadUser(caller): ReadUser,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<Json<PersonalAccessTokenPageSchema>, Problem<ListProblems>> {
        let page = app
            .tokens
            .list_personal_access_tokens(&caller, page(limit, after))
            .await?;
        Ok(Json(page.into()))
    }

    /// Revoke a personal access token
    ///
    /// Revokes the token on every replica. A repetition within one hour returns 204 again.
    ///
    /// Later, and for an unknown token, the response is 404.
    ///
    /// Response 204: The token was revoked, and every replica rejects it.
    #[oai(
        path = "/user/tokens/:id",
        method = "delete",
        operation_id = "revokePersonalAccessToken",
        tag = "Tag::PersonalAccessTokens"
    )]
    async fn revoke(
        &self,
        app: Data<&Arc<App>>,
        WriteUser(caller): WriteUser,
        ClientOrigin(origin): ClientOrigin,
        /// Token ID.
        id: Path<Id>,
    ) -> Result<NoContent, Problem<RevokeProblems>> {
        let Param(Id(id)) = id;
        app.tokens
            .revoke_personal_access_token(&caller, id, &origin)
            .await?;
        Ok(NoContent)
    }
}
