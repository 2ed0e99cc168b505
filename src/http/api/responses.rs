//! Success responses. Texts that depend on the operation are in `openapi/document/successes.rs`.

use poem_openapi::{ApiResponse, payload::Json};

use crate::{
    app::revocation::WaitFor,
    http::{
        api::schemas::{
            AdminUserPageSchema, AdminUserSchema, BrowserSessionSchema, SignUpSchema,
            TokenPairSchema, UserSchema,
            items::{ItemPageSchema, ItemSchema},
            sessions::{DashboardSchema, SessionPageSchema},
        },
        openapi::params::RESPOND_ASYNC,
    },
};

#[derive(ApiResponse)]
pub enum TokenResponse {
    /// The tokens were issued.
    #[oai(status = 200)]
    Issued(Json<TokenPairSchema>),
}

#[derive(ApiResponse)]
pub enum SignUpResponse {
    /// The user was registered and signed in.
    #[oai(status = 201)]
    Created(Json<SignUpSchema>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
pub enum BrowserSessionResponse {
    /// The user is signed in.
    #[oai(status = 200)]
    SignedIn(Json<BrowserSessionSchema>),
}

#[derive(ApiResponse)]
pub enum SessionPageResponse {
    /// A page of sessions.
    #[oai(status = 200)]
    Page(Json<SessionPageSchema>),
}

#[derive(ApiResponse)]
pub enum UserResponse {
    /// The user.
    #[oai(status = 200)]
    Ok(Json<UserSchema>),
}

#[derive(ApiResponse)]
pub enum DashboardResponse {
    /// The overview.
    #[oai(status = 200)]
    Ok(Json<DashboardSchema>),
}

#[derive(ApiResponse)]
pub enum NoContent {
    /// The request succeeded.
    #[oai(status = 204)]
    NoContent,
}

/// The status is 204, or 202 if the request contains `Prefer: respond-async`.
#[derive(ApiResponse)]
pub enum RevocationResponse {
    /// Every replica rejects the revoked tokens.
    #[oai(status = 204)]
    Enforced,
    /// The revocation is stored and published. Replicas enforce it shortly after this response.
    #[oai(status = 202)]
    Published(#[oai(header = "Preference-Applied")] String),
}

impl From<WaitFor> for RevocationResponse {
    fn from(wait_for: WaitFor) -> RevocationResponse {
        match wait_for {
            WaitFor::Enforced => RevocationResponse::Enforced,
            WaitFor::Published => RevocationResponse::Published(RESPOND_ASYNC.to_owned()),
        }
    }
}

#[derive(ApiResponse)]
pub enum Accepted {
    /// The request was accepted.
    #[oai(status = 202)]
    Accepted,
}

#[derive(ApiResponse)]
pub enum CreatedItem {
    /// The item was created.
    #[oai(status = 201)]
    Created(
        Json<ItemSchema>,
        #[oai(header = "Location")] String,
        #[oai(header = "ETag")] String,
    ),
}

#[derive(ApiResponse)]
pub enum ItemResponse {
    /// The item.
    #[oai(status = 200)]
    Ok(Json<ItemSchema>, #[oai(header = "ETag")] String),
}

#[derive(ApiResponse)]
pub enum ItemPageResponse {
    /// A page of items.
    #[oai(status = 200)]
    Page(Json<ItemPageSchema>),
}

#[derive(ApiResponse)]
pub enum CreatedUser {
    /// The user was created.
    #[oai(status = 201)]
    Created(Json<AdminUserSchema>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
pub enum ManagedUserResponse {
    /// The user.
    #[oai(status = 200)]
    Ok(Json<AdminUserSchema>),
}

#[derive(ApiResponse)]
pub enum UserPageResponse {
    /// A page of users.
    #[oai(status = 200)]
    Page(Json<AdminUserPageSchema>),
}
