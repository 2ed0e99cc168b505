//! Success responses. Texts that depend on the operation are in `document/successes.rs`.

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

/// 200 with a pair.
#[derive(ApiResponse)]
pub enum TokenResponse {
    /// The tokens were issued.
    #[oai(status = 200)]
    Issued(Json<TokenPairSchema>),
}

/// 201 with the user, and a pair unless a session cookie was requested.
#[derive(ApiResponse)]
pub enum SignUpResponse {
    /// The user was registered and signed in.
    #[oai(status = 201)]
    Created(Json<SignUpSchema>, #[oai(header = "Location")] String),
}

/// 200 with a browser session.
#[derive(ApiResponse)]
pub enum BrowserSessionResponse {
    /// The user is signed in.
    #[oai(status = 200)]
    SignedIn(Json<BrowserSessionSchema>),
}

/// 200 with sessions.
#[derive(ApiResponse)]
pub enum SessionPageResponse {
    /// A page of sessions.
    #[oai(status = 200)]
    Page(Json<SessionPageSchema>),
}

/// 200 with the current user.
#[derive(ApiResponse)]
pub enum UserResponse {
    /// The user.
    #[oai(status = 200)]
    Ok(Json<UserSchema>),
}

/// 200 with a dashboard.
#[derive(ApiResponse)]
pub enum DashboardResponse {
    /// The overview.
    #[oai(status = 200)]
    Ok(Json<DashboardSchema>),
}

/// 204.
#[derive(ApiResponse)]
pub enum NoContent {
    /// The request succeeded.
    #[oai(status = 204)]
    NoContent,
}

/// 204, or 202 with `Prefer: respond-async`.
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
    fn from(patience: WaitFor) -> RevocationResponse {
        match patience {
            WaitFor::Enforced => RevocationResponse::Enforced,
            WaitFor::Published => RevocationResponse::Published(RESPOND_ASYNC.to_owned()),
        }
    }
}

/// 202.
#[derive(ApiResponse)]
pub enum Accepted {
    /// The request was accepted.
    #[oai(status = 202)]
    Accepted,
}

/// 201 with an item.
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

/// 200 with an item.
#[derive(ApiResponse)]
pub enum ItemResponse {
    /// The item.
    #[oai(status = 200)]
    Ok(Json<ItemSchema>, #[oai(header = "ETag")] String),
}

/// 200 with items.
#[derive(ApiResponse)]
pub enum ItemPageResponse {
    /// A page of items.
    #[oai(status = 200)]
    Page(Json<ItemPageSchema>),
}

/// 201 with a user.
#[derive(ApiResponse)]
pub enum CreatedUser {
    /// The user was created.
    #[oai(status = 201)]
    Created(Json<AdminUserSchema>, #[oai(header = "Location")] String),
}

/// 200 with a user.
#[derive(ApiResponse)]
pub enum ManagedUserResponse {
    /// The user.
    #[oai(status = 200)]
    Ok(Json<AdminUserSchema>),
}

/// 200 with users.
#[derive(ApiResponse)]
pub enum UserPageResponse {
    /// A page of users.
    #[oai(status = 200)]
    Page(Json<AdminUserPageSchema>),
}
