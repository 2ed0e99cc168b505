//! Sign-ups with an email address that a one-time code verifies.

use latchkey_domain::audit::AuditEvent;
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{
        EmailTemplate, NewSession, NewUser, Postgres, StoredUser, audit,
        email_changes::release_unverified_email, retry_on_deadlock, users::insert_with_session,
    },
};

const IS_USERNAME_TAKEN: &str = include_str!("../../sql/queries/is_username_taken.sql");
const REQUEST_SIGN_UP_CODE: &str = include_str!("../../sql/queries/request_sign_up_code.sql");
const LOCK_SIGN_UP_CODE: &str = include_str!("../../sql/queries/lock_sign_up_code.sql");
const USE_SIGN_UP_CODE: &str = include_str!("../../sql/queries/use_sign_up_code.sql");

/// The result of using a sign-up code.
pub struct ConfirmedSignUp {
    /// The new user.
    pub user: StoredUser,
    /// The user who had the address without having verified it, and has lost it.
    pub previous_holder: Option<StoredUser>,
}

impl Postgres {
    /// Returns whether a user has this username, or had it within the reservation period.
    pub async fn is_username_taken(&self, username: &str) -> Result<bool, Error> {
        let row = self
            .connection()
            .await?
            .query_first(IS_USERNAME_TAKEN, &[&username])
            .await?;
        Ok(row
            .ok_or_else(|| Error::internal("a query of one row returned none"))?
            .try_get(0)?)
    }

    /// Enqueues a sign-up code to an address. If a user has verified the address, the user gets a
    /// notice instead. All cases take the same work.
    ///
    /// The audit event is stored in all cases. The email contains its IP address and browser.
    pub async fn request_sign_up_code(
        &self,
        id: Uuid,
        email: &str,
        subject_id: Uuid,
        event: AuditEvent,
    ) -> Result<(), Error> {
        let (code, notice) = (EmailTemplate::SignUp, EmailTemplate::AccountExists);
        let mut db = self.connection().await?;
        db.begin().await?;
        let row = db
            .query_first(
                REQUEST_SIGN_UP_CODE,
                &[
                    &id,
                    &code.into_str(),
                    &email,
                    &subject_id,
                    &notice.into_str(),
                    &event.address,
                    &event.agent,
                    &code.priority().stored(),
                    &notice.priority().stored(),
                ],
            )
            .await?;
        let subject_id = row
            .ok_or_else(|| Error::internal("an insert returned no row"))?
            .try_get(0)?;
        audit::insert(
            &mut db,
            &AuditEvent {
                subject_id,
                ..event
            },
        )
        .await?;
        db.commit().await
    }

    /// Consumes a sign-up code, and inserts the user and the first session, with an audit event. The
    /// recipient of the code is the verified address of the user. Another user who has the address,
    /// but hasn't verified it, loses it. Returns `None` if the code is already used.
    ///
    /// # Errors
    /// `username_taken`, `email_taken`, `unavailable`.
    pub async fn confirm_sign_up(
        &self,
        email_id: Uuid,
        subject_id: Uuid,
        user: &NewUser<'_>,
        session: &NewSession<'_>,
        event: &AuditEvent,
    ) -> Result<Option<ConfirmedSignUp>, Error> {
        retry_on_deadlock!(
            self.try_confirm_sign_up(email_id, subject_id, user, session, event)
                .await
        )
    }

    async fn try_confirm_sign_up(
        &self,
        email_id: Uuid,
        subject_id: Uuid,
        user: &NewUser<'_>,
        session: &NewSession<'_>,
        event: &AuditEvent,
    ) -> Result<Option<ConfirmedSignUp>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some(row) = db
            .query_first(LOCK_SIGN_UP_CODE, &[&email_id, &subject_id])
            .await?
        else {
            db.roll_back().await?;
            return Ok(None);
        };
        let recipient: String = row.try_get("recipient")?;
        let previous_holder = release_unverified_email(&mut db, subject_id, email_id).await?;
        let user = NewUser {
            email: Some(&recipient),
            email_verified: true,
            ..*user
        };
        let stored = insert_with_session(&mut db, &user, session, event).await?;
        db.execute(USE_SIGN_UP_CODE, &[&email_id, &subject_id, &user.id])
            .await?;
        db.commit().await?;
        Ok(Some(ConfirmedSignUp {
            user: stored,
            previous_holder,
        }))
    }
}
