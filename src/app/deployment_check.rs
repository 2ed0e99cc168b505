//! Examines the deployment for `latchkey check`: the stores, the secret, the mail server, the
//! clocks, and the issuer. It changes nothing except a probe key in Redis, which expires.

use std::time::{Duration, Instant};

use latchkey_domain::clock_offset::{self, ClockSeverity};
use strum::IntoStaticStr;
use tokio::time::timeout;

use crate::{
    app::{App, impairment::clock_action},
    config::Signup,
    error::Diagnosis,
    issuer_probe::{self, IssuerOutcome},
    postgres::DatabaseExamination,
    redis,
};

/// A round trip from which a warning is reported: a request needs several of them.
const SLOW_ROUND_TRIP: Duration = Duration::from_millis(20);

/// The oldest version of PostgreSQL that is tested.
const OLDEST_POSTGRES: u32 = 15;

/// The timeout of the examination of a store. It exceeds the default timeouts of connecting.
const EXAMINATION_TIMEOUT: Duration = Duration::from_secs(15);

/// The part of the deployment that was examined. Its text is the word in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum CheckedPart {
    /// The PostgreSQL server, the database, and the rights of the role.
    Postgres,
    /// The Redis server and the rights of the user.
    Redis,
    /// The clocks of this machine and of the stores.
    Clock,
    /// The issuer in the settings and in the database.
    Issuer,
    /// The master secret and the signing keys.
    Secret,
    /// The mail server.
    Email,
    /// The registration of users.
    Signup,
    /// The way of a request from this machine through the proxy to a replica.
    Proxy,
}

/// The outcome of an examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindingOutcome {
    /// It works. Contains a sentence.
    Ok(String),
    /// It works, with a disadvantage.
    Warning(Diagnosis),
    /// It doesn't work.
    Failure(Diagnosis),
}

/// The outcome for one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The part.
    pub part: CheckedPart,
    /// The outcome.
    pub outcome: FindingOutcome,
}

impl App {
    /// Examines the deployment, in the order of the output.
    pub async fn examine_deployment(&self) -> Vec<Finding> {
        let (postgres, redis, email, proxy) = tokio::join!(
            timeout(EXAMINATION_TIMEOUT, self.postgres.examine()),
            timeout(EXAMINATION_TIMEOUT, self.examine_redis()),
            self.examine_email(),
            self.examine_proxy()
        );
        let mut findings = vec![Finding {
            part: CheckedPart::Postgres,
            outcome: match &postgres {
                Ok(Ok(database)) => assess_database(database),
                Ok(Err(error)) => FindingOutcome::Failure(error.diagnosis()),
                Err(_) => FindingOutcome::Failure(no_response("PostgreSQL")),
            },
        }];
        let mut add = |part, outcome| findings.push(Finding { part, outcome });
        let no_redis = |_| FindingOutcome::Failure(no_response("Redis"));
        add(CheckedPart::Redis, redis.unwrap_or_else(no_redis));
        add(CheckedPart::Clock, self.examine_clocks().await);
        if let Ok(Ok(database)) = &postgres
            && database.is_migrated
            && database.denied_tables.is_empty()
        {
            add(CheckedPart::Issuer, self.compare_issuer(database));
            add(CheckedPart::Secret, self.examine_secret().await);
        }
        add(CheckedPart::Email, email);
        add(CheckedPart::Signup, self.assess_signup());
        add(CheckedPart::Proxy, proxy);
        findings
    }

    async fn examine_redis(&self) -> FindingOutcome {
        let server = match self.redis.examine().await {
            Ok(server) => server,
            Err(error) => return FindingOutcome::Failure(redis::diagnose(&error)),
        };
        // The first probe can need further round trips, because it loads the script.
        let probe = || self.redis.probe(self.store_health.replica_id, None);
        let _ = probe().await;
        let started = Instant::now();
        if let Err(error) = probe().await {
            return FindingOutcome::Failure(redis::diagnose(&error));
        }
        if server.evicts_keys {
            return FindingOutcome::Failure(Diagnosis::new(
                "Redis evicts keys when its memory is full, so PostgreSQL would serve every check.",
                "Set `maxmemory-policy` of Redis to `noeviction`.",
            ));
        }
        let name = format!("Redis {}", server.version);
        assess_round_trip(&name, started.elapsed())
    }

    async fn examine_clocks(&self) -> FindingOutcome {
        let (postgres, redis) = tokio::join!(self.probe_postgres(), self.probe_redis());
        let (Ok(postgres), Ok(redis)) = (postgres, redis) else {
            return FindingOutcome::Warning(Diagnosis::new(
                "The clocks can't be compared, because a store can't be used.",
                "Repeat the command when both stores can be used.",
            ));
        };
        let tolerance = u64::try_from(self.config.clock_skew.as_millis()).unwrap_or(u64::MAX);
        match clock_offset::assess_clocks(Some(postgres), Some(redis), &[], tolerance) {
            None => FindingOutcome::Ok("The clocks agree within a second.".to_owned()),
            Some(deviation) => {
                let action = clock_action(deviation.clock);
                let diagnosis = Diagnosis::new(deviation.to_string(), action);
                match deviation.severity {
                    ClockSeverity::Warning => FindingOutcome::Warning(diagnosis),
                    ClockSeverity::Degraded | ClockSeverity::Unusable => {
                        FindingOutcome::Failure(diagnosis)
                    }
                }
            }
        }
    }

    fn compare_issuer(&self, database: &DatabaseExamination) -> FindingOutcome {
        let configured = self.config.issuer.as_str();
        match &database.issuer {
            None => FindingOutcome::Ok("The first start will store the issuer.".to_owned()),
            Some(stored) if stored == configured => {
                FindingOutcome::Ok("`LATCHKEY_ISSUER` is the issuer of the database.".to_owned())
            }
            Some(stored) => FindingOutcome::Failure(Diagnosis::new(
                format!("`LATCHKEY_ISSUER` differs from the issuer of the database ({stored})."),
                "Set `LATCHKEY_ISSUER` to the issuer of the database, or use another database.",
            )),
        }
    }

    async fn examine_secret(&self) -> FindingOutcome {
        match self.postgres.list_signing_keys().await {
            Err(error) => FindingOutcome::Failure(crate::postgres::diagnose(&error)),
            Ok(stored) if stored.is_empty() => {
                FindingOutcome::Ok("The first start will create a signing key.".to_owned())
            }
            Ok(stored) if self.keys.can_decrypt_signers(&stored) => {
                FindingOutcome::Ok("`LATCHKEY_SECRET` decrypts the signing keys.".to_owned())
            }
            Ok(_) => FindingOutcome::Failure(Diagnosis::new(
                "`LATCHKEY_SECRET` can't decrypt a signing key of this database.",
                "Set the same `LATCHKEY_SECRET` for all replicas; during rotation, set both \
                 secrets, separated by a comma.",
            )),
        }
    }

    async fn examine_email(&self) -> FindingOutcome {
        match self.mail.check_server().await {
            Ok(text) => FindingOutcome::Ok(text.to_owned()),
            Err(reason) => FindingOutcome::Failure(Diagnosis::new(
                format!("The mail server can't be used: {reason}."),
                "Check `LATCHKEY_SMTP_URL` and `LATCHKEY_EMAIL_FROM`. `latchkey mail test ADDRESS` \
                 prints the response of the mail server.",
            )),
        }
    }

    fn assess_signup(&self) -> FindingOutcome {
        let is_public = !self.config.issuer.is_loopback();
        match self.config.signup {
            Signup::Open if is_public && self.mail.is_enabled() => {
                FindingOutcome::Warning(Diagnosis::new(
                    "`LATCHKEY_SIGNUP=open` discloses whether an email address has an account.",
                    "If visitors can register, set `LATCHKEY_SIGNUP=verify`. Otherwise, set \
                     `LATCHKEY_SIGNUP=admin`.",
                ))
            }
            Signup::Open => FindingOutcome::Ok("Users register without a code.".to_owned()),
            Signup::Verify => FindingOutcome::Ok("Users register with an emailed code.".to_owned()),
            Signup::Admin => {
                FindingOutcome::Ok("Only administrators and the operator create users.".to_owned())
            }
        }
    }

    async fn examine_proxy(&self) -> FindingOutcome {
        let issuer = self.config.issuer.as_str();
        match issuer_probe::probe_issuer(issuer).await {
            IssuerOutcome::SameIssuer => {
                FindingOutcome::Ok(format!("{issuer} leads to this deployment."))
            }
            IssuerOutcome::OtherIssuer => FindingOutcome::Failure(Diagnosis::new(
                format!("{issuer} did not return the metadata of this issuer."),
                "Correct `LATCHKEY_ISSUER`, or the configuration of the proxy.",
            )),
            IssuerOutcome::Failed(status) => {
                let diagnosis = Diagnosis::new(
                    format!("{issuer} returned {status} for its metadata."),
                    "Check that the proxy forwards `/.well-known/` to a running replica.",
                );
                if status.is_server_error() {
                    FindingOutcome::Warning(diagnosis)
                } else {
                    FindingOutcome::Failure(diagnosis)
                }
            }
            IssuerOutcome::Untrusted(reason) => FindingOutcome::Failure(Diagnosis::new(
                format!("The TLS connection to {issuer} failed: {reason}."),
                "Correct the certificate of the proxy, or the trusted certificates of this machine.",
            )),
            IssuerOutcome::Unreachable(reason) => FindingOutcome::Warning(Diagnosis::new(
                format!("{issuer} can't be reached from this machine: {reason}."),
                "Start a replica and the proxy, then repeat the command, or check the issuer from \
                 another machine.",
            )),
        }
    }
}

fn no_response(store: &str) -> Diagnosis {
    Diagnosis::new(
        format!("{store} did not respond within {EXAMINATION_TIMEOUT:?}."),
        format!("Check the {store} server, its load, and the network."),
    )
}

fn assess_database(database: &DatabaseExamination) -> FindingOutcome {
    let version = &database.version;
    if database.encoding != "UTF8" {
        return FindingOutcome::Failure(Diagnosis::new(
            format!("The encoding of the database is {}.", database.encoding),
            "Create another database with `CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE \
             template0`, and set `DATABASE_URL` to it.",
        ));
    }
    if !database.is_migrated && !database.can_create {
        return FindingOutcome::Failure(Diagnosis::new(
            "Migrations are missing, and the role can't create tables.",
            "Run `latchkey migrate` with the role that owns the tables, or `GRANT CREATE ON SCHEMA \
             public TO ROLE_NAME`.",
        ));
    }
    if !database.denied_tables.is_empty() {
        return FindingOutcome::Failure(Diagnosis::new(
            format!(
                "The role can't read or write `{}`.",
                database.denied_tables.join("`, `")
            ),
            "Grant the rights in `deploy/roles.sql` to the role in `DATABASE_URL`.",
        ));
    }
    let major = version.split(|c: char| !c.is_ascii_digit()).next();
    let major = major.and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < OLDEST_POSTGRES) {
        return FindingOutcome::Warning(Diagnosis::new(
            format!("PostgreSQL {version} is not tested with this version of Latchkey."),
            format!("Update PostgreSQL to version {OLDEST_POSTGRES} or later."),
        ));
    }
    let migrations = if database.is_migrated {
        "all migrations are applied"
    } else {
        "the next start will apply missing migrations"
    };
    let name = format!("PostgreSQL {version}, {}, {migrations}", database.encoding);
    assess_round_trip(&name, database.round_trip)
}

/// Reports a server that works, with its round trip.
fn assess_round_trip(server: &str, round_trip: Duration) -> FindingOutcome {
    let milliseconds = round_trip.as_secs_f64() * 1_000.0;
    if round_trip < SLOW_ROUND_TRIP {
        return FindingOutcome::Ok(format!("{server}, round trip {milliseconds:.1} ms."));
    }
    FindingOutcome::Warning(Diagnosis::new(
        format!("{server}: a round trip takes {milliseconds:.1} ms, and a request needs several."),
        "Move the replicas closer to the store, or increase `LATCHKEY_DATABASE_TIMEOUT` and \
         `LATCHKEY_REDIS_TIMEOUT`.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> DatabaseExamination {
        DatabaseExamination {
            version: "17.2".to_owned(),
            encoding: "UTF8".to_owned(),
            is_migrated: true,
            can_create: false,
            denied_tables: Vec::new(),
            issuer: None,
            round_trip: Duration::from_millis(1),
        }
    }

    #[test]
    fn unusable_database_is_a_failure_with_the_fix() {
        let ok = assess_database(&database());
        let text = "PostgreSQL 17.2, UTF8, all migrations are applied, round trip 1.0 ms.";
        assert_eq!(ok, FindingOutcome::Ok(text.to_owned()));
        let mut latin = database();
        latin.encoding = "LATIN1".to_owned();
        let mut empty = database();
        empty.is_migrated = false;
        let mut denied = database();
        denied.denied_tables.push("users".to_owned());
        for (database, fix) in [
            (latin, "ENCODING 'UTF8'"),
            (empty, "GRANT CREATE"),
            (denied, "deploy/roles.sql"),
        ] {
            let outcome = assess_database(&database);
            let is_reported = matches!(
                &outcome,
                FindingOutcome::Failure(diagnosis) if diagnosis.action.contains(fix)
            );
            assert!(is_reported, "{fix}: {outcome:?}");
        }
    }

    #[test]
    fn untested_version_of_postgres_is_a_warning() {
        for (version, is_tested) in [
            ("9.6.24", false),
            ("14.18 (Debian 14.18-1)", false),
            ("15.18 (Debian 15.18-0+deb12u1)", true),
            ("18beta1", true),
        ] {
            let mut database = database();
            database.version = version.to_owned();
            let outcome = assess_database(&database);
            let is_ok = matches!(outcome, FindingOutcome::Ok(_));
            assert_eq!(is_ok, is_tested, "{version}: {outcome:?}");
        }
    }

    #[test]
    fn slow_round_trip_is_a_warning() {
        let slow = assess_round_trip("Redis 7.2.4", Duration::from_millis(60));
        assert!(matches!(slow, FindingOutcome::Warning(_)), "{slow:?}");
    }
}
