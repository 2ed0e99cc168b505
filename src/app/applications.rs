//! Applications behind a proxy: their administration, and the set that every check uses.
//!
//! Every replica keeps all applications in memory, and reads them every second, so that a check needs
//! no store. A stricter requirement takes effect after at most two seconds, and later while
//! PostgreSQL is unavailable. A revocation doesn't depend on it.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use latchkey_domain::{
    application::{
        Application, ApplicationOrigin, ApplicationSet, ApplicationSetting, Requirement,
    },
    audit::{Actor, AuditEvent, EventKind},
    page::Page,
};
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

pub use crate::postgres::{ApplicationChange, StoredApplication};

use crate::{
    app::admin::actor::AdminActor,
    config::Config,
    error::{Chain, Error},
    postgres::Postgres,
};

/// The time between two reads of all applications.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Administers applications, and keeps all of them in memory.
pub struct Applications {
    postgres: Arc<Postgres>,
    settings: ApplicationSettings,
    current: Arc<ArcSwap<ApplicationSet>>,
    /// Held from reading all applications until they are stored, so that an earlier read never
    /// replaces a later one.
    reloading: Mutex<()>,
}

/// What the origin of an application must not conflict with, and the initial applications.
pub(super) struct ApplicationSettings {
    initial: Vec<ApplicationSetting>,
    issuer: Url,
    audience: String,
    has_trusted_proxy: bool,
}

impl ApplicationSettings {
    pub(super) fn new(config: &Config) -> ApplicationSettings {
        ApplicationSettings {
            initial: config.applications.0.clone(),
            issuer: config.issuer.url().clone(),
            audience: config.audience().to_owned(),
            has_trusted_proxy: !config.trusted_proxies.0.is_empty(),
        }
    }
}

/// A page of applications.
pub struct ApplicationPage {
    /// The applications in ascending order of ID.
    pub applications: Vec<StoredApplication>,
    /// The cursor of the next page; `None` for the last page.
    pub next: Option<String>,
}

impl Applications {
    pub(super) fn new(postgres: Arc<Postgres>, settings: ApplicationSettings) -> Applications {
        Applications {
            postgres,
            settings,
            current: Arc::default(),
            reloading: Mutex::default(),
        }
    }

    /// Returns a handle to the current set, for components that administer no application.
    pub(super) fn handle(&self) -> Arc<ArcSwap<ApplicationSet>> {
        self.current.clone()
    }

    /// Returns all applications. The set is loaded before the server responds to a request.
    pub fn current(&self) -> Arc<ApplicationSet> {
        self.current.load_full()
    }

    /// Creates the initial applications if there is none, and loads all applications.
    ///
    /// # Errors
    /// `unavailable`.
    pub(super) async fn load_or_create(&self) -> Result<(), Error> {
        if !self.settings.initial.is_empty() {
            let event =
                |id| AuditEvent::new(EventKind::ApplicationCreated, Actor::Server, Some(id));
            self.postgres
                .create_initial_applications(&self.settings.initial, event)
                .await?;
        }
        self.reload().await
    }

    /// Reads all applications.
    ///
    /// # Errors
    /// `unavailable`.
    async fn reload(&self) -> Result<(), Error> {
        let _guard = self.reloading.lock().await;
        let stored = self.postgres.list_all_applications().await?;
        let applications = stored.into_iter().map(|row| Application {
            id: row.id,
            origin: row.origin,
            requirement: row.requirement,
        });
        let set = ApplicationSet::new(applications.collect());
        if **self.current.load() != set {
            self.current.store(Arc::new(set));
        }
        Ok(())
    }

    /// Reads all applications after a committed change. A failure is no failure of the change: the
    /// worker reads them again.
    async fn reload_after_change(&self) {
        if let Err(error) = self.reload().await {
            tracing::debug!(error = %Chain(&error), "the changed applications were not read yet");
        }
    }

    /// Reads all applications every second until the process exits. During an outage of PostgreSQL,
    /// the last set is used.
    pub(super) async fn run_reload_worker(self: Arc<Self>) {
        let mut is_failing = false;
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            match self.reload().await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            error = %Chain(&error),
                            "reading the applications failed; retrying"
                        );
                    }
                }
            }
        }
    }

    /// Creates an application.
    ///
    /// # Errors
    /// `forbidden` or `reauthentication_required` without a recent sign-in; `application_taken`,
    /// `invalid_request`, `unavailable`.
    pub async fn create_application(
        &self,
        actor: &AdminActor,
        origin: &ApplicationOrigin,
        requirement: &Requirement,
    ) -> Result<StoredApplication, Error> {
        actor.require_recent_sign_in()?;
        self.require_possible(origin)?;
        let id = Uuid::now_v7();
        let event = actor.event(EventKind::ApplicationCreated, id);
        let created = self
            .postgres
            .create_application(id, origin, requirement, &event)
            .await?;
        self.reload_after_change().await;
        Ok(created)
    }

    /// Returns a page of all applications.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_applications(&self, page: Page) -> Result<ApplicationPage, Error> {
        let rows = self.postgres.list_applications(page).await?;
        let (applications, next) = page.cut(rows, |application| application.id);
        Ok(ApplicationPage { applications, next })
    }

    /// Returns an application.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get_application(&self, id: Uuid) -> Result<StoredApplication, Error> {
        let found = self.postgres.find_application(id).await?;
        found.ok_or(Error::NotFound)
    }

    /// Returns the application with this origin.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn find_by_origin(
        &self,
        origin: &ApplicationOrigin,
    ) -> Result<StoredApplication, Error> {
        let stored = self.postgres.list_all_applications().await?;
        let mut stored = stored.into_iter();
        let found = stored.find(|application| application.origin == *origin);
        found.ok_or(Error::NotFound)
    }

    /// Changes an application. Every replica uses the change after at most two seconds.
    ///
    /// # Errors
    /// `forbidden` or `reauthentication_required` without a recent sign-in; `not_found`,
    /// `application_taken`, `invalid_request`, `unavailable`.
    pub async fn update_application(
        &self,
        actor: &AdminActor,
        id: Uuid,
        change: &ApplicationChange,
    ) -> Result<StoredApplication, Error> {
        actor.require_recent_sign_in()?;
        if let Some(origin) = &change.origin {
            self.require_possible(origin)?;
        }
        let event = actor.event(EventKind::ApplicationUpdated, id);
        let updated = self.postgres.update_application(id, change, &event).await?;
        self.reload_after_change().await;
        updated.ok_or(Error::NotFound)
    }

    /// Deletes an application. Browsers can't sign in to it any more, and its cookies are rejected
    /// after at most two seconds.
    ///
    /// # Errors
    /// `forbidden` or `reauthentication_required` without a recent sign-in; `not_found`,
    /// `unavailable`.
    pub async fn delete_application(&self, actor: &AdminActor, id: Uuid) -> Result<(), Error> {
        actor.require_recent_sign_in()?;
        let event = actor.event(EventKind::ApplicationDeleted, id);
        let is_deleted = self.postgres.delete_application(id, &event).await?;
        self.reload_after_change().await;
        if is_deleted {
            Ok(())
        } else {
            Err(Error::NotFound)
        }
    }

    /// Rejects an origin that this server can't protect.
    fn require_possible(&self, origin: &ApplicationOrigin) -> Result<(), Error> {
        let settings = &self.settings;
        if !settings.has_trusted_proxy {
            return Err(Error::malformed(
                "Applications require a proxy. Set LATCHKEY_TRUSTED_PROXIES to its IP address.",
            ));
        }
        match origin.conflict(&settings.issuer, &settings.audience) {
            Some(conflict) => Err(Error::invalid_field("origin", conflict.reason())),
            None => Ok(()),
        }
    }
}
