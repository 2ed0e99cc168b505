//! User administration by administrators and the operator.

use crate::{
    error::Error,
    postgres::{
        Connection, EmailTemplate, NewUser, Postgres, StoredUser, audit, email_outbox, groups,
        personal_access_tokens, retry_on_deadlock, revocations, sessions, stored_user::read_user,
        users::insert_user,
    },
};
use latchkey_domain::{
    access_token::NoRecentSignIn,
    account::Role,
    audit::{Actor, AuditEvent},
    group::MAX_GROUPS_PER_USER,
    page::Page,
    revocation::{RevocationBatch, RevocationReason},
    user_change::{AccountChange, UserState},
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const RELEASE_NAME: &str = include_str!("../../sql/queries/release_name.sql");
const LIST_USERS: &str = include_str!("../../sql/queries/list_users.sql");
const LIST_GROUP_MEMBERS: &str = include_str!("../../sql/queries/list_group_members.sql");
const SEARCH_USERS: &str = include_str!("../../sql/queries/search_users.sql");
const LOCK_USER_AND_ADMINS: &str = include_str!("../../sql/queries/lock_user_and_admins.sql");
const CHANGE_USER: &str = include_str!("../../sql/queries/change_user.sql");
const DELETE_USER: &str = include_str!("../../sql/queries/delete_user.sql");
const DELETE_USER_EMAILS: &str = include_str!("../../sql/queries/delete_user_emails.sql");

/// An update of a user by an administrator.
pub struct UserUpdate {
    /// The new values.
    pub change: AccountChange,
    /// The hash of the new password.
    pub new_hash: Option<String>,
    /// The ID of the notification about a new password.
    pub notification_id: Uuid,
    /// Whether the administrator signed in recently.
    pub recent_sign_in: Result<(), NoRecentSignIn>,
    /// The actor and the client for the audit events. Each kind of change gets an event of its own.
    pub event: AuditEvent,
}

/// The result of updating a user.
pub struct UpdatedUser {
    /// The user after the change.
    pub user: StoredUser,
    /// The revocation of all sessions and tokens, if the change requires it.
    pub batch: Option<RevocationBatch>,
}

impl StoredUser {
    /// Returns the state that a change can affect.
    pub(crate) fn state(&self) -> UserState {
        UserState {
            identity: self.account.identity.clone(),
            disabled: self.disabled,
        }
    }
}

impl Postgres {
    /// Ends the reservation of a name, and records it with the user who had the name last. Returns
    /// whether the name was reserved.
    pub async fn release_name(&self, name: &str, event: &AuditEvent) -> Result<bool, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let rows = db.query(RELEASE_NAME, &[&name]).await?;
        for row in &rows {
            let event = AuditEvent {
                subject_id: row.try_get(0)?,
                ..event.clone()
            };
            audit::insert(&mut db, &event).await?;
        }
        db.commit().await?;
        Ok(!rows.is_empty())
    }

    /// Lists a page of users, and one more if there is a next page. With `prefix`, it lists only
    /// users whose username or email address starts with it. With `group`, it lists only members.
    pub async fn list_users(
        &self,
        prefix: Option<&str>,
        group: Option<&str>,
        page: Page,
    ) -> Result<Vec<StoredUser>, Error> {
        let (mut db, limit) = (self.connection().await?, i64::from(page.limit) + 1);
        let (statement, params): (_, &[&(dyn ToSql + Sync)]) = match (&prefix, &group) {
            (None, None) => {
                let rows = db.query(LIST_USERS, &[&page.after, &limit]).await?;
                return rows.iter().map(read_user).collect();
            }
            (None, Some(group)) => (LIST_GROUP_MEMBERS, &[&page.after, &limit, group]),
            (Some(prefix), _) => (SEARCH_USERS, &[&page.after, &limit, prefix, &group]),
        };
        db.begin().await?;
        // The best index depends on the prefix and the group. A generic plan would scan all users
        // for a rare prefix.
        db.batch_execute("set local plan_cache_mode = force_custom_plan")
            .await?;
        let rows = db.query(statement, params).await?;
        db.commit().await?;
        rows.iter().map(read_user).collect()
    }

    /// Inserts a user, with its audit event. If `invitation` contains an email ID, it enqueues an
    /// invitation.
    pub async fn create_user(
        &self,
        user: &NewUser<'_>,
        invitation: Option<Uuid>,
        event: &AuditEvent,
    ) -> Result<StoredUser, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        groups::lock_assigned(&mut db, user.groups).await?;
        let user = insert_user(&mut db, user).await?;
        if let Some(email_id) = invitation {
            email_outbox::enqueue(
                &mut db,
                email_id,
                EmailTemplate::Invitation,
                user.account.id,
                event,
            )
            .await?;
        }
        if user.account.identity.role == Role::Admin {
            notify_of_admin(&mut db, user.account.id, event).await?;
        }
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(user)
    }

    /// Updates a user and, if necessary, revokes all sessions and tokens and invalidates codes.
    /// Returns `None` if there is no such user.
    ///
    /// A new password enqueues a notification.
    ///
    /// # Errors
    /// `forbidden` or `reauthentication_required` if the update requires a recent sign-in;
    /// `last_admin`, `username_taken`, `email_taken`, `invalid_request`, `unavailable`.
    pub async fn update_managed_user(
        &self,
        id: Uuid,
        update: &UserUpdate,
    ) -> Result<Option<UpdatedUser>, Error> {
        retry_on_deadlock!(self.try_update_managed_user(id, update).await)
    }

    async fn try_update_managed_user(
        &self,
        id: Uuid,
        update: &UserUpdate,
    ) -> Result<Option<UpdatedUser>, Error> {
        let (new_hash, has_new_password) = (update.new_hash.as_deref(), update.new_hash.is_some());
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some((user, is_last_admin)) = lock_user(&mut db, id).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        let (before, after) = (user.state(), user.state().changed(&update.change));
        if let Err(error) = check_update(&before, &after, is_last_admin, update) {
            db.roll_back().await?;
            return Err(error);
        }
        if after.identity.groups != before.identity.groups {
            groups::lock_assigned(&mut db, &after.identity.groups).await?;
        }
        let reason = before.ends(&after, has_new_password);
        let user = write_user(&mut db, id, (&before, &after), new_hash, reason.is_some()).await?;
        match reason {
            _any if before.moves(&after) => email_outbox::invalidate_codes(&mut db, id).await?,
            // The user can still accept an invitation, with the new role and groups.
            Some(RevocationReason::RoleChange | RevocationReason::GroupChange) => {
                email_outbox::invalidate_requested_codes(&mut db, id).await?;
            }
            Some(_) => email_outbox::invalidate_codes(&mut db, id).await?,
            None => {}
        }
        enqueue_notices(&mut db, id, (&before, &after), update).await?;
        let batch = match reason {
            Some(reason) => Some(sessions::revoke_all(&mut db, id, user.generation, reason).await?),
            None => None,
        };
        for (kind, reason) in before.events(&after, has_new_password) {
            audit::insert(
                &mut db,
                &AuditEvent {
                    kind,
                    reason: reason.map(|reason| reason.as_str().into()),
                    ..update.event.clone()
                },
            )
            .await?;
        }
        db.commit().await?;
        Ok(Some(UpdatedUser { user, batch }))
    }

    /// Deletes a user with all dependent rows, and revokes all sessions and tokens. Returns `None`
    /// if there is no such user.
    ///
    /// # Errors
    /// `last_admin`, `unavailable`.
    pub async fn delete_user(
        &self,
        id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        retry_on_deadlock!(self.try_delete_user(id, event).await)
    }

    async fn try_delete_user(
        &self,
        id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some((user, is_last_admin)) = lock_user(&mut db, id).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        if is_last_admin {
            db.roll_back().await?;
            return Err(Error::LastAdmin);
        }
        let batch =
            RevocationBatch::of_user(id, user.generation + 1, RevocationReason::UserDeleted);
        let batch = personal_access_tokens::delete_all(&mut db, id, batch).await?;
        db.execute(DELETE_USER, &[&id]).await?;
        db.execute(DELETE_USER_EMAILS, &[&id]).await?;
        revocations::insert(&mut db, &batch).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(batch))
    }
}

/// Notifies the user of a new password and of a lost email address, and administrators of a new
/// administrator. `states` are the states before and after the update.
async fn enqueue_notices(
    db: &mut Connection,
    id: Uuid,
    states: (&UserState, &UserState),
    update: &UserUpdate,
) -> Result<(), Error> {
    let (before, after) = states;
    if update.new_hash.is_some() {
        email_outbox::enqueue(
            db,
            update.notification_id,
            EmailTemplate::PasswordChanged,
            id,
            &update.event,
        )
        .await?;
    }
    let previous = before.identity.email.as_deref();
    if let Some(previous) = previous.filter(|_| before.has_lost_verified_address(after)) {
        let template = EmailTemplate::EmailChanged;
        let notice_id = Uuid::now_v7();
        email_outbox::enqueue_to(db, notice_id, template, id, previous, &update.event).await?;
    }
    if after.identity.role == Role::Admin && before.identity.role != Role::Admin {
        notify_of_admin(db, id, &update.event).await?;
    }
    Ok(())
}

/// Notifies a new administrator, and the administrator who granted the role.
async fn notify_of_admin(db: &mut Connection, id: Uuid, event: &AuditEvent) -> Result<(), Error> {
    let template = EmailTemplate::AdminRoleGranted;
    email_outbox::enqueue(db, Uuid::now_v7(), template, id, event).await?;
    if let Actor::Admin(actor) = event.actor {
        let template = EmailTemplate::AdminAdded;
        email_outbox::enqueue(db, Uuid::now_v7(), template, actor, event).await?;
    }
    Ok(())
}

fn check_update(
    before: &UserState,
    after: &UserState,
    is_last_admin: bool,
    update: &UserUpdate,
) -> Result<(), Error> {
    if before.requires_recent_sign_in(after, update.new_hash.is_some()) {
        update.recent_sign_in?;
    }
    if is_last_admin && !after.administers() {
        return Err(Error::LastAdmin);
    }
    if !after.identity.groups.is_within_limit() {
        return Err(Error::invalid_field(
            "groups",
            format!("must contain at most {MAX_GROUPS_PER_USER} groups"),
        ));
    }
    Ok(())
}

/// Locks a user, and returns whether this user is the only enabled administrator.
async fn lock_user(db: &mut Connection, id: Uuid) -> Result<Option<(StoredUser, bool)>, Error> {
    let mut locked = lock_user_and_admins(db, id).await?;
    // A concurrent transaction might have made the user an administrator after the statement
    // evaluated its condition. Repeating the statement locks the other administrators.
    if locked.len() == 1 && locked[0].state().administers() {
        locked = lock_user_and_admins(db, id).await?;
    }
    let has_other_admin = locked
        .iter()
        .any(|user| user.account.id != id && user.state().administers());
    let user = locked.into_iter().find(|user| user.account.id == id);
    Ok(user.map(|user| {
        let is_last_admin = user.state().administers() && !has_other_admin;
        (user, is_last_admin)
    }))
}

async fn lock_user_and_admins(db: &mut Connection, id: Uuid) -> Result<Vec<StoredUser>, Error> {
    db.query(LOCK_USER_AND_ADMINS, &[&id])
        .await?
        .iter()
        .map(read_user)
        .collect()
}

async fn write_user(
    db: &mut Connection,
    id: Uuid,
    (before, after): (&UserState, &UserState),
    new_hash: Option<&str>,
    increment_generation: bool,
) -> Result<StoredUser, Error> {
    let identity = &after.identity;
    // Unchanged groups are not written, because this version ignores names of a newer one.
    let groups: Option<Vec<&str>> =
        (before.identity.groups != identity.groups).then(|| identity.groups.iter().collect());
    let params: crate::postgres::Params = &[
        &id,
        &identity.username,
        &identity.email,
        &identity.email_verified,
        &identity.name,
        &identity.role.as_str(),
        &after.disabled,
        &new_hash,
        &increment_generation,
        &identity.version,
        &groups,
    ];
    let row = db.query_first(CHANGE_USER, params).await?;
    read_user(&row.ok_or_else(|| Error::internal("a locked row is missing"))?)
}
