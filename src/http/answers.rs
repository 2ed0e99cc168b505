//! The good answers, by status.

use poem_openapi::{ApiResponse, payload::Json};

use super::{
    params::RESPOND_ASYNC,
    shapes::{
        BrowserShape, ManagedUserShape, PairShape, SignedUpShape, UserPageShape, UserShape,
        items::{ItemPageShape, ItemShape},
        sessions::{DashboardShape, SessionPageShape},
    },
};
use crate::gateway::revocation::Patience;

/// 200 with a pair.
#[derive(ApiResponse)]
pub enum Signed {
    /// Signed in.
    #[oai(status = 200)]
    In(Json<PairShape>),
}

/// 201 with the account, and a pair unless a page asked.
#[derive(ApiResponse)]
pub enum SignedUp {
    /// The account was made, and is signed in.
    #[oai(status = 201)]
    Created(Json<SignedUpShape>, #[oai(header = "Location")] String),
}

/// 200 with a browser's state.
#[derive(ApiResponse)]
pub enum BrowserState {
    /// Signed in by cookie.
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

/// 200 with an account.
#[derive(ApiResponse)]
pub enum Account {
    /// The account.
    #[oai(status = 200)]
    Shown(Json<UserShape>),
}

/// 200 with a dashboard.
#[derive(ApiResponse)]
pub enum Overview {
    /// The dashboard.
    #[oai(status = 200)]
    Shown(Json<DashboardShape>),
}

/// 204.
#[derive(ApiResponse)]
pub enum Done {
    /// Done.
    #[oai(status = 204)]
    Done,
}

/// 204, or 202 for who need not wait.
#[derive(ApiResponse)]
pub enum Ended {
    /// No replica accepts it any more.
    #[oai(status = 204)]
    Everywhere,
    /// It is recorded and published; each replica knows a moment later.
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
    /// A mail is on its way, if one may be sent there.
    #[oai(status = 202)]
    Accepted,
}

/// 201 with an item.
#[derive(ApiResponse)]
pub enum ItemMade {
    /// The item was made.
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

/// 201 with somebody's account.
#[derive(ApiResponse)]
pub enum UserMade {
    /// The account was made.
    #[oai(status = 201)]
    Created(Json<ManagedUserShape>, #[oai(header = "Location")] String),
}

/// 200 with somebody's account.
#[derive(ApiResponse)]
pub enum UserShown {
    /// The account.
    #[oai(status = 200)]
    Shown(Json<ManagedUserShape>),
}

/// 200 with accounts.
#[derive(ApiResponse)]
pub enum UsersListed {
    /// A page of accounts.
    #[oai(status = 200)]
    Page(Json<UserPageShape>),
}
