//! One's own personal access tokens.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{ApiResponse, OpenApi, payload::Json};

use super::{
    Tag,
    answers::Done,
    body::{Body, body},
    caller::{Owner, ReadUser, WriteUser},
    origin::From,
    params::{After, Id, Limit, Param, Path},
    problem::{Problem, problems},
    shapes::personal_tokens::{NewPersonalTokenShape, PersonalTokenPageShape},
};
use crate::{
    domain::{
        opaque_token::{Expiry, Label},
        page::Page,
        scope::Scopes,
    },
    gateway::{Gateway, NewToken},
};

body! {
    /// A personal access token that is wanted.
    PersonalTokenBody {
        /// What you call it.
        name: Required<Label>,
        /// What it may be used for: scopes, separated by spaces, and none that the token has not
        /// that asks for it.
        scope: Required<Scopes>,
        /// When it ends: within the next 366 days; in 90 days where it does not say.
        expires_at: Optional<Expiry>,
    }
}

problems! {
    CreateProblems: [CALLER, BODY] ReauthenticationRequired;
    ListProblems: [CALLER];
    DeleteProblems: [CALLER] NotFound;
}

/// 201 with a token.
#[derive(ApiResponse)]
pub enum TokenMade {
    /// The token was made. It is shown this once.
    #[oai(status = 201)]
    Created(Json<NewPersonalTokenShape>),
}

/// 200 with tokens.
#[derive(ApiResponse)]
pub enum TokensListed {
    /// A page of tokens.
    #[oai(status = 200)]
    Page(Json<PersonalTokenPageShape>),
}

/// The operations.
pub struct PersonalTokensApi;

#[OpenApi]
impl PersonalTokensApi {
    /// Make a personal access token
    ///
    /// For a program of yours: it is accepted wherever an access token is, until it ends or is
    /// deleted; a reset of the password, and whatever else ends everything of the account, ends it
    /// as well; a change of the password does not. Wants a sign-in of the last five minutes. There
    /// are 50 at most.
    #[oai(
        path = "/user/tokens",
        method = "post",
        operation_id = "createPersonalToken",
        tag = "Tag::Account"
    )]
    async fn create(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Owner(caller): Owner,
        From(origin): From,
        Body(body): Body<PersonalTokenBody>,
    ) -> Result<TokenMade, Problem<CreateProblems>> {
        let wanted = NewToken {
            name: body.name,
            scopes: body.scope,
            expires: body.expires_at,
        };
        let (made, text) = gateway
            .create_personal_token(&caller, wanted, &origin)
            .await?;
        Ok(TokenMade::Created(Json(NewPersonalTokenShape::new(
            made,
            text.to_string(),
        ))))
    }

    /// List my personal access tokens
    ///
    /// Those that are live, by id ascending, so the oldest first.
    #[oai(
        path = "/user/tokens",
        method = "get",
        operation_id = "listPersonalTokens",
        tag = "Tag::Account"
    )]
    async fn list(
        &self,
        gateway: Data<&Arc<Gateway>>,
        ReadUser(caller): ReadUser,
        /// How many at most.
        limit: Param<Limit>,
        /// The `next` of the page before.
        after: Param<After>,
    ) -> Result<TokensListed, Problem<ListProblems>> {
        let (Param(Limit(limit)), Param(After(after))) = (limit, after);
        let page = gateway
            .list_personal_tokens(&caller, Page { limit, after })
            .await?;
        Ok(TokensListed::Page(Json(page.into())))
    }

    /// Delete a personal access token
    ///
    /// When the answer comes, no replica accepts it any more. Repeating it is fine for an hour.
    #[oai(
        path = "/user/tokens/:id",
        method = "delete",
        operation_id = "deletePersonalToken",
        tag = "Tag::Account"
    )]
    async fn delete(
        &self,
        gateway: Data<&Arc<Gateway>>,
        WriteUser(caller): WriteUser,
        From(origin): From,
        /// The token's id.
        id: Path<Id>,
    ) -> Result<Done, Problem<DeleteProblems>> {
        let Param(Id(id)) = id;
        gateway.delete_personal_token(&caller, id, &origin).await?;
        Ok(Done::Done)
    }
}
