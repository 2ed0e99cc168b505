//! What the record says of a token, while neither memory nor Redis can tell.

use std::collections::BTreeMap;

use deadpool_postgres::Pool;
use uuid::Uuid;

use super::{Connection, Postgres, gather::Gatherer, pools::gatherer};
use crate::{domain::revocation::Marks, error::Error};

const FIND: &str = include_str!("../../sql/queries/find_standing.sql");

/// The record speaks against it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused;

pub(super) fn finder(lanes: &Pool, stories: &Pool) -> Gatherer<Marks, (), Refused> {
    gatherer(lanes, stories, find)
}

async fn find(mut db: Connection, asked: BTreeMap<Marks, ()>) -> Result<BTreeMap<Marks, Refused>, Error> {
    let asked: Vec<Marks> = asked.into_keys().collect();
    let of = |id: fn(&Marks) -> Uuid| -> Vec<Uuid> { asked.iter().map(id).collect() };
    let (subs, sids, jtis) = (of(|marks| marks.sub), of(|marks| marks.sid), of(|marks| marks.jti));
    let generations: Vec<i64> = asked.iter().map(|marks| marks.generation).collect();
    let kids: Vec<String> = asked.iter().map(|marks| marks.kid.to_string()).collect();
    let rows = db.all(FIND, &[&subs, &sids, &jtis, &generations, &kids]).await?;
    let refused = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Uuid>, _>>()?;
    Ok(asked.into_iter().filter(|marks| refused.contains(&marks.jti)).map(|marks| (marks, Refused)).collect())
}

impl Postgres {
    /// Whether the record speaks against a token. Checks that wait at the same moment share a statement; none joins one that
    /// was sent already.
    pub async fn refuses(&self, marks: &Marks) -> Result<bool, Error> {
        Ok(self.standings.ask(*marks, (), self.deadline()).await?.is_some())
    }
}
