//! The rows of the table: their traffic, number of callers, and baselines.

use crate::{
    pgbench::{self, Statement},
    traffic::{Traffic, UserSet},
};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The name, as in `--only`.
    pub name: &'static str,
    pub traffic: Traffic,
    /// Number of connections, each with one request at a time.
    pub callers: u16,
    /// The programs that the server is compared with.
    pub baselines: &'static [Baseline],
    /// The intended ratio to the rate of the first baseline, if there is one.
    pub target: Option<f64>,
}

/// A program that does a part of the work of a row and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// The same requests to a handler without middleware and stores.
    Handler,
    /// The same statement, sent by `pgbench`.
    Statement(Statement),
    /// The Redis script of a refresh.
    RefreshScript,
    /// The signature of an access token, on one core.
    Signature,
    /// Argon2 on all cores.
    PasswordHash,
}

impl Baseline {
    /// Returns the name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Baseline::Handler => "bare handler",
            Baseline::Statement(_) => "pgbench",
            Baseline::RefreshScript => "Redis script alone",
            Baseline::Signature => "signatures on one core",
            Baseline::PasswordHash => "Argon2 on all cores",
        }
    }
}

/// Enough callers to keep the load generator and the server busy.
const MANY_CALLERS: u16 = 64;

/// Too few callers for batching, so that round trips limit the rate.
const FEW_CALLERS: u16 = 4;

/// A password hash occupies a core for milliseconds, so more callers only wait.
const SIGN_IN_CALLERS: u16 = 16;

/// Builds a row without a target.
const fn row(
    name: &'static str,
    traffic: Traffic,
    callers: u16,
    baselines: &'static [Baseline],
) -> Row {
    Row {
        name,
        traffic,
        callers,
        baselines,
        target: None,
    }
}

impl Row {
    const fn with_target(self, target: f64) -> Row {
        Row {
            target: Some(target),
            ..self
        }
    }
}

const USER: &[Baseline] = &[Baseline::Handler, Baseline::Statement(pgbench::USER)];
const ITEM: &[Baseline] = &[Baseline::Handler, Baseline::Statement(pgbench::ITEM)];
const PAGE: &[Baseline] = &[Baseline::Handler, Baseline::Statement(pgbench::PAGE)];
const CREATE: &[Baseline] = &[Baseline::Handler, Baseline::Statement(pgbench::CREATE)];

/// All rows, in the order of the table.
pub const ALL: &[Row] = &[
    row(
        "verify",
        Traffic::Verify(UserSet::All),
        MANY_CALLERS,
        &[Baseline::Handler],
    )
    .with_target(0.90),
    row(
        "verify hot",
        Traffic::Verify(UserSet::One),
        MANY_CALLERS,
        &[Baseline::Handler],
    ),
    row(
        "verify cookie",
        Traffic::VerifyCookie,
        MANY_CALLERS,
        &[Baseline::Handler],
    ),
    row(
        "verify personal",
        Traffic::VerifyPersonal,
        MANY_CALLERS,
        &[Baseline::Handler],
    ),
    row("user", Traffic::User(UserSet::All), MANY_CALLERS, USER).with_target(0.65),
    row(
        "user hot",
        Traffic::User(UserSet::One),
        MANY_CALLERS,
        &[Baseline::Handler],
    ),
    row(
        "user at 4 callers",
        Traffic::User(UserSet::All),
        FEW_CALLERS,
        USER,
    ),
    row("item", Traffic::Item, MANY_CALLERS, ITEM).with_target(0.50),
    row("item at 4 callers", Traffic::Item, FEW_CALLERS, ITEM),
    row("page", Traffic::Page, MANY_CALLERS, PAGE),
    row("create", Traffic::Create, MANY_CALLERS, CREATE),
    row("create at 4 callers", Traffic::Create, FEW_CALLERS, CREATE),
    row(
        "refresh",
        Traffic::Refresh,
        MANY_CALLERS,
        &[
            Baseline::Handler,
            Baseline::RefreshScript,
            Baseline::Signature,
        ],
    )
    .with_target(0.33),
    row(
        "login",
        Traffic::Login,
        SIGN_IN_CALLERS,
        &[Baseline::PasswordHash],
    )
    .with_target(0.90),
    row("mixed", Traffic::Mixed, MANY_CALLERS, &[]),
];

/// Returns the rows whose names start with one of the given names, or all rows if none is given. A
/// name that matches no row is an error.
pub fn select_rows(names: &[String]) -> Result<Vec<Row>, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| !ALL.iter().any(|row| row.name.starts_with(name.as_str())))
    {
        let all_names: Vec<&str> = ALL.iter().map(|row| row.name).collect();
        return Err(format!(
            "no row starts with `{unknown}`\nhint: the rows are {}",
            all_names.join(", ")
        ));
    }
    let is_selected = |row: &&Row| {
        names.is_empty() || names.iter().any(|name| row.name.starts_with(name.as_str()))
    };
    Ok(ALL.iter().filter(is_selected).copied().collect())
}
