//! Use case: get the data that a client shows after sign-in, in one response.

use latchkey_domain::{
    access_token::Claims,
    account::Account,
    page::{MAX_LIMIT, Page},
};
use uuid::Uuid;

use crate::{app::accounts::Accounts, error::Error, postgres::SessionRow};

/// The user with an overview of the user's data.
pub struct Dashboard {
    pub user: Account,
    /// The valid sessions of the user.
    pub sessions: Vec<SessionRow>,
    /// The number of items of the user.
    pub items: i64,
}

impl Accounts {
    /// Returns the caller's user, sessions, and number of items.
    ///
    /// # Errors
    /// `token_revoked`, `unavailable`.
    pub async fn dashboard(&self, caller: &Claims) -> Result<Dashboard, Error> {
        let all = Page {
            limit: MAX_LIMIT,
            after: Uuid::nil(),
        };
        let (user, sessions, items) = tokio::try_join!(
            self.get_account(caller),
            self.sessions.list_sessions(caller.sub, all),
            self.postgres.count_items(caller.sub)
        )?;
        Ok(Dashboard {
            user,
            sessions: sessions.sessions,
            items,
        })
    }
}
