//! The mixture of `--outage`, by kind of request: what is sent, and what came of it.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    Outcome,
    pace::{Answer, percentile},
    seed,
    traffic::Composer,
};

/// One kind of requests.
struct Kind {
    name: &'static str,
    per_second: u64,
    /// The status of a good answer.
    status: u16,
    /// The request of a user; counters are those of all sessions.
    request: fn(&Composer, u64, &[u64]) -> String,
    /// Whose it is, for the first of them to the last.
    users: (u64, u64),
}

/// They look and create all the time: nobody ends their sessions.
const READERS: (u64, u64) = (1, 2_000);

/// Each session is refreshed once, so that no token is a matter of what became of the one before.
const REFRESHING: (u64, u64) = (2_001, 8_000);

/// Each signs out once. The last user of all has signed out already.
const LEAVING: (u64, u64) = (8_001, seed::USERS - 1);

const KINDS: [Kind; 7] = [
    Kind {
        name: "verify",
        per_second: 200,
        status: 204,
        request: |make, user, _| make.verify(user),
        users: READERS,
    },
    Kind {
        name: "user",
        per_second: 60,
        status: 200,
        request: |make, user, _| make.user(user),
        users: READERS,
    },
    Kind {
        name: "item",
        per_second: 60,
        status: 200,
        request: |make, user, _| make.item(user),
        users: READERS,
    },
    Kind {
        name: "create",
        per_second: 40,
        status: 201,
        request: |make, user, _| make.create(user),
        users: READERS,
    },
    Kind {
        name: "login",
        per_second: 7,
        status: 200,
        request: |make, user, _| make.login(user),
        users: READERS,
    },
    Kind {
        name: "refresh",
        per_second: 25,
        status: 200,
        request: refresh,
        users: REFRESHING,
    },
    Kind {
        name: "logout",
        per_second: 8,
        status: 204,
        request: |make, user, _| make.logout(user),
        users: LEAVING,
    },
];

fn refresh(make: &Composer, user: u64, counters: &[u64]) -> String {
    make.refresh_at(
        user,
        counters[usize::try_from(user - 1).expect("users are few")],
    )
}

/// Requests a second, of all kinds.
pub const RATE: u64 = 400;

/// Without a common divisor with the rate: it spreads the kinds over the second.
const STRIDE: u64 = 37;

/// Whether there are sessions enough for so many runs.
pub fn fits(runs: u64, length: Duration) -> Outcome<()> {
    let seconds = |kind: &Kind| (kind.users.1 - kind.users.0 + 1) / kind.per_second / runs;
    let once = KINDS.iter().filter(|kind| kind.users != READERS);
    let most = once.map(seconds).min().unwrap_or_default();
    if length.as_secs() <= most {
        return Ok(());
    }
    Err(format!(
        "the sessions suffice for {most} seconds per run, and {} are requested",
        length.as_secs()
    )
    .into())
}

/// Requests of one run.
pub struct Mixture {
    /// In the order in which they are due.
    pub requests: Vec<String>,
}

impl Mixture {
    /// Those of so long; `turn` counts the runs, which share no session that can be used once only.
    pub fn new(make: &Composer, turn: usize, length: Duration, counters: &[u64]) -> Mixture {
        let (count, mut next) = (
            RATE * length.as_secs(),
            KINDS.map(|kind| kind.per_second * length.as_secs() * turn as u64),
        );
        let requests = (0..count).map(|request| {
            let at = kind_of(request);
            let (kind, (first, last)) = (&KINDS[at], KINDS[at].users);
            let user = first + next[at] % (last - first + 1);
            next[at] += 1;
            (kind.request)(make, user, counters)
        });
        Mixture {
            requests: requests.collect(),
        }
    }

    /// Sorts answers by kind and by when they were due: before Redis was gone, until it was back,
    /// after that.
    pub fn judge(&self, responses: &[Answer], (gone, back): (Duration, Duration)) -> Vec<Part> {
        let mut parts: Vec<Part> = KINDS.iter().map(Part::new).collect();
        for response in responses {
            // What was under way when Redis went has met it.
            let phase = usize::from(response.due + response.took >= gone)
                + usize::from(response.due >= back);
            parts[kind_of(response.request as u64)].add(response, phase, back);
        }
        parts
    }
}

/// Which kind a request is of: its place in the list.
fn kind_of(request: u64) -> usize {
    let mut slot = request * STRIDE % RATE;
    for (at, kind) in KINDS.iter().enumerate() {
        if slot < kind.per_second {
            return at;
        }
        slot -= kind.per_second;
    }
    unreachable!("the rates of all kinds together are the rate")
}

/// All answers of one kind.
pub struct Part {
    kind: &'static Kind,
    phases: [Phase; 3],
    /// When the last refusal of what was due after the return of Redis came, from there on.
    last_refusal: Option<Duration>,
}

/// Before, during, or after.
#[derive(Default)]
struct Phase {
    good: usize,
    /// All other answers, by status.
    refused: BTreeMap<u16, usize>,
    /// Of all.
    micros: Vec<u128>,
}

impl Part {
    fn new(kind: &'static Kind) -> Part {
        Part {
            kind,
            phases: Default::default(),
            last_refusal: None,
        }
    }

    fn add(&mut self, response: &Answer, phase: usize, back: Duration) {
        let found = &mut self.phases[phase];
        found.micros.push(response.took.as_micros());
        if response.status == self.kind.status {
            found.good += 1;
            return;
        }
        *found.refused.entry(response.status).or_default() += 1;
        if phase == 2 {
            let came = (response.due + response.took).saturating_sub(back);
            self.last_refusal = self.last_refusal.max(Some(came));
        }
    }

    /// A line of the table.
    pub fn line(&self) -> Vec<String> {
        let share = |phase: &Phase| {
            phase
                .share()
                .map_or("–".to_owned(), |share| format!("{:.2} %", share * 100.0))
        };
        let slow = |phase: &Phase| {
            phase
                .p99()
                .map_or("–".to_owned(), |micros| format!("{:.1}", micros / 1000.0))
        };
        let mut cells = vec![self.kind.name.to_owned(), self.kind.per_second.to_string()];
        cells.extend(self.phases.iter().map(share));
        cells.extend(self.phases.iter().map(slow));
        cells.push(self.last_refusal.map_or("–".to_owned(), |last| {
            format!("{:.2}", last.as_secs_f64())
        }));
        cells.push(self.refusals());
        cells
    }

    /// Of all phases together: `503 × 12`.
    fn refusals(&self) -> String {
        let mut all: BTreeMap<u16, usize> = BTreeMap::new();
        for (status, count) in self.phases.iter().flat_map(|phase| &phase.refused) {
            *all.entry(*status).or_default() += count;
        }
        all.iter()
            .map(|(status, count)| format!("{status} × {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let phase = |phase: &Phase| {
            let refused: BTreeMap<String, usize> = phase
                .refused
                .iter()
                .map(|(status, count)| (status.to_string(), *count))
                .collect();
            json!({
                "responses": phase.micros.len(),
                "expected": phase.share(),
                "p99_us": phase.p99(),
                "errors": refused,
            })
        };
        let [before, during, after] = &self.phases;
        json!({
            "kind": self.kind.name,
            "per_second": self.kind.per_second,
            "before": phase(before),
            "during": phase(during),
            "after": phase(after),
            "last_error_after_seconds": self.last_refusal.map(|last| last.as_secs_f64()),
        })
    }
}

impl Phase {
    fn share(&self) -> Option<f64> {
        (!self.micros.is_empty()).then(|| self.good as f64 / self.micros.len() as f64)
    }

    fn p99(&self) -> Option<f64> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        percentile(&sorted, 99.0).map(|micros| micros as f64)
    }
}
