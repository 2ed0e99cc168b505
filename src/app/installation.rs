//! Examines the installation for `latchkey check`: the stores, the secret, the mail server, the
//! clocks, and the issuer. It changes nothing.

use std::time::{Duration, Instant};

use latchkey_domain::clock_offset::{self, ClockSeverity};
use strum::IntoStaticStr;

use crate::{
    app::{App, impairment::SYNCHRONIZE_CLOCK},
    error::Diagnosis,
    issuer_probe::{self, IssuerOutcome},
    postgres::DatabaseExamination,
    redis,
};

/// A round trip from which a warning is reported: a request needs several of them.
const SLOW_ROUND_TRIP: Duration = Duration::from_millis(20);

/// The part of the installation that was examined. Its text is the word in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Subject {
    /// The PostgreSQL server, the database, and the rights of the role.
    Postgres,
    /// The Redis server and the rights of the user.
    Redis,
    /// The clocks of this machine and of the stores.
    Clocks,
    /// The issuer in the settings and in the database.
    Issuer,
    /// The master secret and the signing keys.
    Secret,
    /// The mail server.
    Email,
    /// The way of a request from this machine through the proxy to a replica.
    Proxy,
}

/// The outcome of an examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It works. Contains a sentence.
    Ok(String),
    /// It works, with a disadvantage.
    Warning(Diagnosis),
    /// It doesn't work.
    Failure(Diagnosis),
}

/// The outcome for one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The subject.
    pub subject: Subject,
    /// The outcome.
    pub outcome: Outcome,
}

impl App {
    /// Examines the installation, in the order of the output.
    pub async fn examine_installation(&self) -> Vec<Finding> {
        let (postgres, redis, email, proxy) = tokio::join!(
            self.postgres.examine(),
            self.examine_redis(),
            self.examine_email(),
            self.examine_proxy()
        );
        let mut findings = vec![Finding {
            subject: Subject::Postgres,
            outcome: match &postgres {
                Ok(database) => assess_database(database),
                Err(error) => Outcome::Failure(error.diagnosis()),
            },
        }];
        let mut add = |subject, outcome| findings.push(Finding { subject, outcome });
        add(Subject::Redis, redis);
        add(Subject::Clocks, self.examine_clocks().await);
        if let Ok(database) = &postgres {
            add(Subject::Issuer, self.compare_issuer(database));
            if database.is_migrated && database.denied_tables.is_empty() {
                add(Subject::Secret, self.examine_secret().await);
            }
        }
        add(Subject::Email, email);
        add(Subject::Proxy, proxy);
        findings
    }

    async fn examine_redis(&self) -> Outcome {
        let server = match self.redis.examine().await {
            Ok(server) => server,
            Err(error) => return Outcome::Failure(redis::diagnose(&error)),
        };
        let started = Instant::now();
        if let Err(error) = self.redis.probe().await {
            return Outcome::Failure(redis::diagnose(&error));
        }
        if server.evicts_keys {
            return Outcome::Failure(Diagnosis::new(
                "Redis evicts keys when its memory is full, so PostgreSQL would serve every check.",
                "Set `maxmemory-policy` of Redis to `noeviction`.",
            ));
        }
        let name = format!("Redis {}", server.version);
        assess_round_trip(&name, started.elapsed())
    }

    async fn examine_clocks(&self) -> Outcome {
        let (postgres, redis) = tokio::join!(self.probe_postgres(), self.probe_redis());
        let (Ok(postgres), Ok(redis)) = (postgres, redis) else {
            return Outcome::Warning(Diagnosis::new(
                "The clocks can't be compared, because a store does not respond.",
                "Repeat the command when both stores respond.",
            ));
        };
        let tolerance = u64::try_from(self.config.clock_skew.as_millis()).unwrap_or(u64::MAX);
        match clock_offset::assess(Some(postgres), Some(redis), tolerance) {
            None => Outcome::Ok("The clocks agree within a second.".to_owned()),
            Some(problem) => {
                let diagnosis = Diagnosis::new(problem.to_string(), SYNCHRONIZE_CLOCK);
                match problem.severity {
                    ClockSeverity::Warning => Outcome::Warning(diagnosis),
                    ClockSeverity::Degraded | ClockSeverity::Unusable => {
                        Outcome::Failure(diagnosis)
                    }
                }
            }
        }
    }

    fn compare_issuer(&self, database: &DatabaseExamination) -> Outcome {
        let configured = self.config.issuer.as_str();
        match &database.issuer {
            None => Outcome::Ok("The first start will store the issuer.".to_owned()),
            Some(stored) if stored == configured => {
                Outcome::Ok("`LATCHKEY_ISSUER` is the issuer of the database.".to_owned())
            }
            Some(stored) => Outcome::Failure(Diagnosis::new(
                format!("`LATCHKEY_ISSUER` differs from the issuer of the database ({stored})."),
                "Set `LATCHKEY_ISSUER` to the issuer of the database, or use another database.",
            )),
        }
    }

    async fn examine_secret(&self) -> Outcome {
        match self.postgres.list_signing_keys().await {
            Err(error) => Outcome::Failure(crate::postgres::diagnose(&error)),
            Ok(stored) if stored.is_empty() => {
                Outcome::Ok("The first start will create a signing key.".to_owned())
            }
            Ok(stored) if self.keys.can_decrypt_signers(&stored) => {
                Outcome::Ok("`LATCHKEY_SECRET` decrypts the signing keys.".to_owned())
            }
            Ok(_) => Outcome::Failure(Diagnosis::new(
                "`LATCHKEY_SECRET` can't decrypt a signing key of this database.",
                "Set the same `LATCHKEY_SECRET` for all replicas; during rotation, set both \
                 secrets, separated by a comma.",
            )),
        }
    }

    async fn examine_email(&self) -> Outcome {
        match self.mail.check_server().await {
            Ok(text) => Outcome::Ok(text.to_owned()),
            Err(reason) => Outcome::Failure(Diagnosis::new(
                format!("The mail server can't be used: {reason}."),
                "Check the mail server and `LATCHKEY_SMTP_URL`.",
            )),
        }
    }

    async fn examine_proxy(&self) -> Outcome {
        let issuer = self.config.issuer.as_str();
        match issuer_probe::request_metadata(issuer).await {
            IssuerOutcome::Same => Outcome::Ok(format!("{issuer} leads to this installation.")),
            IssuerOutcome::Other => Outcome::Failure(Diagnosis::new(
                format!("{issuer} leads to another server."),
                "Correct `LATCHKEY_ISSUER`, or the configuration of the proxy.",
            )),
            // A certificate that isn't trusted, for example.
            IssuerOutcome::Untrusted(reason) => Outcome::Failure(Diagnosis::new(
                format!("The TLS connection to {issuer} failed: {reason}."),
                "Correct the certificate of the proxy, or the trusted certificates of this machine.",
            )),
            IssuerOutcome::Unreachable(reason) => Outcome::Warning(Diagnosis::new(
                format!("{issuer} can't be reached from this machine: {reason}."),
                "Start a replica and the proxy, then repeat the command, or check the issuer from \
                 another machine.",
            )),
        }
    }
}

fn assess_database(database: &DatabaseExamination) -> Outcome {
    let version = &database.version;
    if database.encoding != "UTF8" {
        return Outcome::Failure(Diagnosis::new(
            format!("The encoding of the database is {}.", database.encoding),
            "Create another database with `CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE \
             template0`, and set `DATABASE_URL` to it.",
        ));
    }
    if !database.is_migrated && !database.can_create {
        return Outcome::Failure(Diagnosis::new(
            "Migrations are missing, and the role can't create tables.",
            "Run `latchkey migrate` with the role that owns the tables, or `GRANT CREATE ON SCHEMA \
             public TO ROLE_NAME`.",
        ));
    }
    if !database.denied_tables.is_empty() {
        return Outcome::Failure(Diagnosis::new(
            format!(
                "The role can't read or write `{}`.",
                database.denied_tables.join("`, `")
            ),
            "Grant the rights in `deploy/roles.sql` to the role in `DATABASE_URL`.",
        ));
    }
    let migrations = if database.is_migrated {
        "all migrations are applied"
    } else {
        "the first start will apply the migrations"
    };
    let name = format!("PostgreSQL {version}, {}, {migrations}", database.encoding);
    assess_round_trip(&name, database.round_trip)
}

/// Reports a server that works, with its round trip.
fn assess_round_trip(server: &str, round_trip: Duration) -> Outcome {
    let milliseconds = round_trip.as_secs_f64() * 1_000.0;
    let text = format!("{server}, round trip {milliseconds:.1} ms.");
    if round_trip < SLOW_ROUND_TRIP {
        Outcome::Ok(text)
    } else {
        Outcome::Warning(Diagnosis::new(
            text,
            "Move the replicas closer to the store, or increase its timeouts.",
        ))
    }
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
        assert_eq!(ok, Outcome::Ok(text.to_owned()));
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
                Outcome::Failure(diagnosis) if diagnosis.action.contains(fix)
            );
            assert!(is_reported, "{fix}: {outcome:?}");
        }
    }

    #[test]
    fn slow_round_trip_is_a_warning() {
        let slow = assess_round_trip("Redis 7.2.4", Duration::from_millis(60));
        assert!(matches!(slow, Outcome::Warning(_)), "{slow:?}");
    }
}
