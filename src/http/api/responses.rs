//! Success responses. Texts that depend on the operation are in `document/successes.rs`.

use poem_openapi::{ApiResponse, payload::Json};

use crate::{
    app::revocation::Patience,
    http::{
        api::schemas::{
            BrowserShape, ManagedUserShape, PairShape, SignedUpShape, UserPageShape, UserShape,
            items::{ItemPageShape, ItemShape},
            sessions::{DashboardShape, SessionPageShape},
        },
        openapi::params::RESPOND_ASYNC,
    },
};

/// 200 with a pair.
#[derive(ApiResponse)]
pub enum Signed {
    /// The tokens were issued.
    #[oai(status = 200)]
    In(Json<PairShape>),
}

/// 201 with the user, and a pair unless a session cookie was requested.
#[derive(ApiResponse)]
pub enum SignedUp {
    /// The user was registered and signed in.
    #[oai(status = 201)]
    Created(Json<SignedUpShape>, #[oai(header = "Location")] String),
}

/// 200 with a browser session.
#[derive(ApiResponse)]
pub enum BrowserState {
    /// The user is signed in.
    #[oai(status = 200)]
    SignedIn(Json<BrowserShape>),
}

/// 200 with sessions.
#[derive(ApiResponse)]
pub enum SessionsListed {
    /// A page of sessions.
    #[oai(status = 200)]
    Page(Json<SessionPageShape>),
}

/// 200 with the current user.
#[derive(ApiResponse)]
pub enum Account {
    /// The user.
    #[oai(status = 200)]
    Shown(Json<UserShape>),
}

/// 200 with a dashboard.
#[derive(ApiResponse)]
pub enum Overview {
    /// The overview.
    #[oai(status = 200)]
    Shown(Json<DashboardShape>),
}

/// 204.
#[derive(ApiResponse)]
pub enum Done {
    /// The request succeeded.
    #[oai(status = 204)]
    Done,
}

/// 204, or 202 with `Prefer: respond-async`.
#[derive(ApiResponse)]
pub enum Ended {
    /// Every replica rejects the revoked tokens.
    #[oai(status = 204)]
    Everywhere,
    /// The revocation is stored and published. Replicas enforce it shortly after this response.
    #[oai(status = 202)]
    Published(#[oai(header = "Preference-Applied")] String),
}

impl From<Patience> for Ended {
    fn from(patience: Patience) -> Ended {
        match patience {
            Patience::UntilEnforced => Ended::Everywhere,
            Patience::UntilPublished => Ended::Published(RESPOND_ASYNC.to_owned()),
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
pub enum ItemMade {
    /// The item was created.
    #[oai(status = 201)]
    Created(
        Json<ItemShape>,
        #[oai(header = "Location")] String,
        #[oai(header = "ETag")] String,
    ),
}

/// 200 with an item.
#[derive(ApiResponse)]
pub enum ItemShown {
    /// The item.
    #[oai(status = 200)]
    Shown(Json<ItemShape>, #[oai(header = "ETag")] String),
}

/// 200 with items.
#[derive(ApiResponse)]
pub enum ItemsListed {
    /// A page of items.
    #[oai(status = 200)]
    Page(Json<ItemPageShape>),
}

/// 201 with a user.
#[derive(ApiResponse)]
pub enum UserMade {
    /// The user was created.
    #[oai(status = 201)]
    Created(Json<ManagedUserShape>, #[oai(header = "Location")] String),
}

/// 200 with a user.
#[derive(ApiResponse)]
pub enum UserShown {
    /// The user.
    #[oai(status = 200)]
    Shown(Json<ManagedUserShape>),
}

/// 200 with users.
#[derive(ApiResponse)]
pub enum UsersListed {
    /// A page of users.
    #[oai(status = 200)]
    Page(Json<UserPageShape>),
}
