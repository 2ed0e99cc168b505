//! Reads all data of a user in pages.

use latchkey_domain::page::Page;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Postgres, personal_access_tokens::read_token};
use crate::{error::Error, postgres::PersonalAccessToken};

const EXPORT_SESSIONS: &str = include_str!("../../sql/queries/export_sessions.sql");
const EXPORT_PERSONAL_ACCESS_TOKENS: &str =
    include_str!("../../sql/queries/export_personal_access_tokens.sql");
const EXPORT_EMAILS: &str = include_str!("../../sql/queries/export_emails.sql");

/// A session, which can be expired or revoked.
pub struct ExportedSession {
    pub id: Uuid,
    /// The client of the sign-in.
    pub client_id: String,
    pub scope: String,
    pub created_at: OffsetDateTime,
    pub last_used_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub revoked_at: Option<OffsetDateTime>,
    pub revoked_reason: Option<String>,
    pub ip_address: Option<String>,
    pub user_agent: Option<String>,
}

/// An email that is sent or waits to be sent.
pub struct ExportedEmail {
    /// Not part of the export, because one-time codes are derived from it.
    pub id: Uuid,
    pub template: String,
    pub recipient: Option<String>,
    pub created_at: OffsetDateTime,
    pub sent_at: Option<OffsetDateTime>,
    pub ip_address: Option<String>,
    pub user_agent: Option<String>,
}

impl Postgres {
    /// Lists a page of all sessions of a user, and one more if there is a next page.
    pub async fn export_sessions(
        &self,
        user_id: Uuid,
        page: Page,
    ) -> Result<Vec<ExportedSession>, Error> {
        let rows = self.export_page(EXPORT_SESSIONS, user_id, page).await?;
        rows.iter().map(read_session).collect()
    }

    /// Lists a page of all personal access tokens of a user, and one more if there is a next page.
    pub async fn export_personal_access_tokens(
        &self,
        user_id: Uuid,
        page: Page,
    ) -> Result<Vec<PersonalAccessToken>, Error> {
        let rows = self
            .export_page(EXPORT_PERSONAL_ACCESS_TOKENS, user_id, page)
            .await?;
        rows.iter().map(read_token).collect()
    }

    /// Lists a page of the emails of a user, and one more if there is a next page.
    pub async fn export_emails(
        &self,
        user_id: Uuid,
        page: Page,
    ) -> Result<Vec<ExportedEmail>, Error> {
        let rows = self.export_page(EXPORT_EMAILS, user_id, page).await?;
        rows.iter().map(read_email).collect()
    }

    async fn export_page(
        &self,
        statement: &'static str,
        user_id: Uuid,
        page: Page,
    ) -> Result<Vec<Row>, Error> {
        let limit = i64::from(page.limit) + 1;
        self.connection()
            .await?
            .query(statement, &[&user_id, &page.after, &limit])
            .await
    }
}

fn read_session(row: &Row) -> Result<ExportedSession, Error> {
    Ok(ExportedSession {
        id: row.try_get("id")?,
        client_id: row.try_get("client_id")?,
        scope: row.try_get("scope")?,
        created_at: row.try_get("created_at")?,
        last_used_at: row.try_get("last_used_at")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
        revoked_reason: row.try_get("revoked_reason")?,
        ip_address: row.try_get("ip_address")?,
        user_agent: row.try_get("user_agent")?,
    })
}

fn read_email(row: &Row) -> Result<ExportedEmail, Error> {
    Ok(ExportedEmail {
        id: row.try_get("id")?,
        template: row.try_get("template")?,
        recipient: row.try_get("recipient")?,
        created_at: row.try_get("created_at")?,
        sent_at: row.try_get("sent_at")?,
        ip_address: row.try_get("ip_address")?,
        user_agent: row.try_get("user_agent")?,
    })
}
