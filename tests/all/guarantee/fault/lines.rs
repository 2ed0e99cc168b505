//! Lines between replicas and stores that are slow, cut or half open.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    guarantee::fleet::{Fleet, REPLICAS},
    proxy::{Line, Proxy},
};

/// How long it lasts: longer than a lease, and than what is waited for a store.
const WHILE: Duration = Duration::from_millis(700);

/// Ways to be slow, beginning with those that a lease just about survives.
const SLOW: [Line; 5] = [
    Line::Late(Duration::from_millis(20)),
    Line::Silent,
    Line::Held,
    Line::Late(Duration::from_millis(45)),
    Line::Late(Duration::from_millis(200)),
];

pub async fn delay(fleet: &Fleet, round: usize) {
    set_for_a_while(&struck(fleet, round), SLOW[round % SLOW.len()]).await;
}

pub async fn cut(fleet: &Fleet, round: usize) {
    set_for_a_while(&struck(fleet, round), Line::Cut).await;
}

pub async fn lose(fleet: &Fleet, round: usize) {
    set_for_a_while(&struck(fleet, round), Line::Lost).await;
}

/// One replica's line to Redis, those of all, one's to PostgreSQL, those of all; each replica has
/// its turn.
fn struck(fleet: &Fleet, round: usize) -> Vec<&Proxy> {
    let which = round / 4 % REPLICAS;
    let replicas = fleet
        .replicas
        .iter()
        .enumerate()
        .filter(|(at, _)| round % 2 == 1 || *at == which);
    replicas
        .map(|(_, replica)| {
            if round % 4 < 2 {
                &replica.redis
            } else {
                &replica.postgres
            }
        })
        .collect()
}

async fn set_for_a_while(lines: &[&Proxy], line: Line) {
    lines.iter().for_each(|proxy| proxy.set(line));
    sleep(WHILE).await;
    lines.iter().for_each(|proxy| proxy.set(Line::Open));
}
