//! The rows of the table: what is sent, from how many callers, and what is the most that this
//! machine could do.

use crate::{
    pgbench::{self, Statement},
    traffic::{Traffic, Whose},
};

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// How `--only` calls it.
    pub name: &'static str,
    /// What is sent.
    pub traffic: Traffic,
    /// Connections, each with one request at a time.
    pub callers: u16,
    /// What it is compared with.
    pub floors: &'static [Floor],
    /// What its rate is to be, as a share of its first floor's, where that was set.
    pub aim: Option<f64>,
}

/// Something that does a part of the work of a row and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// The same requests to a handler without middleware and without stores.
    Handler,
    /// The same statement by `pgbench`.
    Statement(Statement),
    /// The script of a refresh.
    Script,
    /// The signature of an access token, on one core.
    Signature,
    /// Argon2 on all cores.
    Hashes,
}

impl Floor {
    /// As the table calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Floor::Handler => "bare handler",
            Floor::Statement(_) => "pgbench",
            Floor::Script => "Redis script alone",
            Floor::Signature => "signatures on one core",
            Floor::Hashes => "Argon2 on all cores",
        }
    }
}

/// Enough to keep both sides busy all the time.
const MANY: u16 = 64;

/// Too few for that: nothing can be gathered, and waiting costs.
const FEW: u16 = 4;

/// A hash takes a core for milliseconds: more callers only wait.
const SIGN_INS: u16 = 16;

/// A row of the gateway against the bare handler, and a statement if there is one.
const fn row(name: &'static str, traffic: Traffic, callers: u16, floors: &'static [Floor]) -> Row {
    Row {
        name,
        traffic,
        callers,
        floors,
        aim: None,
    }
}

impl Row {
    const fn aiming(self, aim: f64) -> Row {
        Row {
            aim: Some(aim),
            ..self
        }
    }
}

const USER: &[Floor] = &[Floor::Handler, Floor::Statement(pgbench::USER)];
const ITEM: &[Floor] = &[Floor::Handler, Floor::Statement(pgbench::ITEM)];
const PAGE: &[Floor] = &[Floor::Handler, Floor::Statement(pgbench::PAGE)];
const CREATE: &[Floor] = &[Floor::Handler, Floor::Statement(pgbench::CREATE)];

/// All of them, in the order of the table.
pub const ALL: &[Row] = &[
    row(
        "verify",
        Traffic::Verify(Whose::Many),
        MANY,
        &[Floor::Handler],
    )
    .aiming(0.90),
    row(
        "verify hot",
        Traffic::Verify(Whose::One),
        MANY,
        &[Floor::Handler],
    ),
    row(
        "verify cookie",
        Traffic::VerifyCookie,
        MANY,
        &[Floor::Handler],
    ),
    row(
        "verify personal",
        Traffic::VerifyPersonal,
        MANY,
        &[Floor::Handler],
    ),
    row("user", Traffic::User(Whose::Many), MANY, USER).aiming(0.65),
    row(
        "user hot",
        Traffic::User(Whose::One),
        MANY,
        &[Floor::Handler],
    ),
    row("user at 4 callers", Traffic::User(Whose::Many), FEW, USER),
    row("item", Traffic::Item, MANY, ITEM).aiming(0.50),
    row("item at 4 callers", Traffic::Item, FEW, ITEM),
    row("page", Traffic::Page, MANY, PAGE),
    row("create", Traffic::Create, MANY, CREATE),
    row("create at 4 callers", Traffic::Create, FEW, CREATE),
    row(
        "refresh",
        Traffic::Refresh,
        MANY,
        &[Floor::Handler, Floor::Script, Floor::Signature],
    )
    .aiming(0.33),
    row("login", Traffic::Login, SIGN_INS, &[Floor::Hashes]).aiming(0.90),
    row("mixed", Traffic::Mixed, MANY, &[]),
];

/// The rows whose names begin like one of these; all where there is none. The name that fits
/// nothing is the error.
pub fn chosen(names: &[String]) -> Result<Vec<Row>, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| !ALL.iter().any(|row| row.name.starts_with(name.as_str())))
    {
        let known: Vec<&str> = ALL.iter().map(|row| row.name).collect();
        return Err(format!(
            "no row starts with `{unknown}`\nhint: the rows are {}",
            known.join(", ")
        ));
    }
    let wanted = |row: &&Row| {
        names.is_empty() || names.iter().any(|name| row.name.starts_with(name.as_str()))
    };
    Ok(ALL.iter().filter(wanted).copied().collect())
}
