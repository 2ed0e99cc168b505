//! What somebody wants to see after signing in, in one answer.

use latchkey_domain::{
    access_token::Claims,
    account::Account,
    page::{MAX_LIMIT, Page},
};
use uuid::Uuid;

use crate::{app::Gateway, error::Error, postgres::SessionRow};

/// The account, its sessions and how much is in it.
pub struct Dashboard {
    /// The account.
    pub user: Account,
    /// Its live sessions.
    pub sessions: Vec<SessionRow>,
    /// How many items it has.
    pub items: i64,
}

impl Gateway {
    /// The caller's dashboard.
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
            self.list_sessions(caller.sub, all),
            self.postgres.count_items(caller.sub)
        )?;
        Ok(Dashboard {
            user,
            sessions: sessions.sessions,
            items,
        })
    }
}
