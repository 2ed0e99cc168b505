//! Applications behind a proxy: creation, lookup, change, and deletion.

use latchkey_domain::{
    account::Role,
    application::{ApplicationOrigin, ApplicationSetting, MAX_APPLICATIONS, Requirement},
    audit::AuditEvent,
    group::GroupNames,
    page::Page,
    scope::Scopes,
    text::ParsedText,
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{Connection, Postgres, audit},
};

const LIST_ALL_APPLICATIONS: &str = include_str!("../../sql/queries/list_all_applications.sql");
const LIST_APPLICATIONS: &str = include_str!("../../sql/queries/list_applications.sql");
const FIND_APPLICATION: &str = include_str!("../../sql/queries/find_application.sql");
const HAS_APPLICATIONS: &str = include_str!("../../sql/queries/has_applications.sql");
const LOCK_APPLICATIONS_FOR_INSERT: &str =
    include_str!("../../sql/queries/lock_applications_for_insert.sql");
const INSERT_APPLICATION: &str = include_str!("../../sql/queries/insert_application.sql");
const UPDATE_APPLICATION: &str = include_str!("../../sql/queries/update_application.sql");
const DELETE_APPLICATION: &str = include_str!("../../sql/queries/delete_application.sql");

/// A row of `applications`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApplication {
    pub id: Uuid,
    pub origin: ApplicationOrigin,
    pub requirement: Requirement,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A change of an application. `None` keeps a value.
#[derive(Debug, Clone, Default)]
pub struct ApplicationChange {
    pub origin: Option<ApplicationOrigin>,
    /// `Some(None)` clears the requirement.
    pub role: Option<Option<Role>>,
    /// `Some(None)` clears the requirement.
    pub scopes: Option<Option<Scopes>>,
    /// `Some(None)` clears the requirement.
    pub groups: Option<Option<GroupNames>>,
}

/// The columns of a requirement.
struct RequirementColumns<'a> {
    role: Option<&'static str>,
    scope: String,
    groups: Vec<&'a str>,
}

impl<'a> RequirementColumns<'a> {
    fn new(requirement: &'a Requirement) -> RequirementColumns<'a> {
        let groups = requirement.groups.as_ref();
        RequirementColumns {
            role: requirement.role.map(Role::as_str),
            scope: requirement
                .scopes
                .map(|scopes| scopes.to_string())
                .unwrap_or_default(),
            groups: groups
                .map(|names| names.iter().collect())
                .unwrap_or_default(),
        }
    }
}

impl Postgres {
    /// Lists all applications.
    pub async fn list_all_applications(&self) -> Result<Vec<StoredApplication>, Error> {
        let mut db = self.connection().await?;
        let rows = db.query(LIST_ALL_APPLICATIONS, &[]).await?;
        rows.iter().map(read_application).collect()
    }

    /// Lists a page of all applications, and one more if there is a next page.
    pub async fn list_applications(&self, page: Page) -> Result<Vec<StoredApplication>, Error> {
        let params: crate::postgres::Params = &[&page.after, &(i64::from(page.limit) + 1)];
        let mut db = self.connection().await?;
        let rows = db.query(LIST_APPLICATIONS, params).await?;
        rows.iter().map(read_application).collect()
    }

    /// Finds an application by its ID.
    pub async fn find_application(&self, id: Uuid) -> Result<Option<StoredApplication>, Error> {
        let mut db = self.connection().await?;
        let row = db.query_first(FIND_APPLICATION, &[&id]).await?;
        row.as_ref().map(read_application).transpose()
    }

    /// Inserts the applications of the setting if there is none yet. Concurrent replicas insert
    /// them once.
    pub async fn create_initial_applications(
        &self,
        initial: &[ApplicationSetting],
        event: impl Fn(Uuid) -> AuditEvent,
    ) -> Result<(), Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        db.execute(LOCK_APPLICATIONS_FOR_INSERT, &[]).await?;
        if db.query_first(HAS_APPLICATIONS, &[]).await?.is_some() {
            return db.roll_back().await;
        }
        for setting in initial {
            let id = Uuid::now_v7();
            insert(&mut db, id, &setting.origin, &setting.requirement).await?;
            audit::insert(&mut db, &event(id)).await?;
        }
        db.commit().await
    }

    /// Inserts an application, with its audit event.
    ///
    /// # Errors
    /// `application_taken`, `invalid_request` if there are too many applications, `unavailable`.
    pub async fn create_application(
        &self,
        id: Uuid,
        origin: &ApplicationOrigin,
        requirement: &Requirement,
        event: &AuditEvent,
    ) -> Result<StoredApplication, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        db.execute(LOCK_APPLICATIONS_FOR_INSERT, &[]).await?;
        let Some(row) = insert(&mut db, id, origin, requirement).await? else {
            db.roll_back().await?;
            return Err(Error::malformed(format!(
                "There are {MAX_APPLICATIONS} applications, which is the maximum. Delete one first."
            )));
        };
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        read_application(&row)
    }

    /// Changes an application, with an audit event. Returns `None` if there is no such application.
    ///
    /// # Errors
    /// `application_taken`, `unavailable`.
    pub async fn update_application(
        &self,
        id: Uuid,
        change: &ApplicationChange,
        event: &AuditEvent,
    ) -> Result<Option<StoredApplication>, Error> {
        let requirement = Requirement {
            role: change.role.flatten(),
            scopes: change.scopes.flatten(),
            groups: change.groups.clone().flatten(),
        };
        let columns = RequirementColumns::new(&requirement);
        let params: crate::postgres::Params = &[
            &id,
            &change.origin.as_ref().map(ApplicationOrigin::as_str),
            &change.role.is_some(),
            &columns.role,
            &change.scopes.is_some(),
            &columns.scope,
            &change.groups.is_some(),
            &columns.groups,
        ];
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some(row) = db.query_first(UPDATE_APPLICATION, params).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        read_application(&row).map(Some)
    }

    /// Deletes an application, with an audit event. Returns `false` if there is no such application.
    pub async fn delete_application(&self, id: Uuid, event: &AuditEvent) -> Result<bool, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        if db.query_first(DELETE_APPLICATION, &[&id]).await?.is_none() {
            db.roll_back().await?;
            return Ok(false);
        }
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(true)
    }
}

async fn insert(
    db: &mut Connection,
    id: Uuid,
    origin: &ApplicationOrigin,
    requirement: &Requirement,
) -> Result<Option<Row>, Error> {
    let columns = RequirementColumns::new(requirement);
    let params: crate::postgres::Params = &[
        &id,
        &origin.as_str(),
        &columns.role,
        &columns.scope,
        &columns.groups,
        &MAX_APPLICATIONS,
    ];
    db.query_first(INSERT_APPLICATION, params).await
}

fn read_application(row: &Row) -> Result<StoredApplication, Error> {
    let (origin, scope): (&str, &str) = (row.try_get("origin")?, row.try_get("scope")?);
    let (role, groups): (Option<&str>, Vec<&str>) = (row.try_get("role")?, row.try_get("groups")?);
    let role = role.map(str::parse).transpose();
    let requirement = Requirement {
        role: role.map_err(|_| Error::internal("an unknown role is stored"))?,
        scopes: Some(Scopes::parse_granted(scope)).filter(|scopes| !scopes.is_empty()),
        groups: Some(GroupNames::from_trusted(groups.into_iter()))
            .filter(|groups| !groups.is_empty()),
    };
    Ok(StoredApplication {
        id: row.try_get("id")?,
        origin: ApplicationOrigin::parse(origin)
            .map_err(|_| Error::internal("an invalid origin of an application is stored"))?,
        requirement,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
