//! The request mixture of `--outage`: builds the requests, and groups the responses by kind and
//! phase.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    Outcome,
    pace::{TimedResponse, percentile},
    seed,
    traffic::RequestBuilder,
};

/// One kind of request.
struct RequestKind {
    name: &'static str,
    per_second: u64,
    /// The status of the expected response.
    status: u16,
    /// Builds the request of a user. The slice contains the rotation counters of all sessions.
    request: fn(&RequestBuilder, u64, &[u64]) -> String,
    /// The first and the last user of this kind.
    users: (u64, u64),
}

/// These users read and create items during all runs and never sign out.
const READERS: (u64, u64) = (1, 2_000);

/// Each session is refreshed once, so that no request depends on the response to an earlier one.
const REFRESHING: (u64, u64) = (2_001, 8_000);

/// Each user signs out once. The last seeded user is excluded, because the recovery probe signs it
/// out.
const SIGNING_OUT: (u64, u64) = (8_001, seed::USER_COUNT - 1);

const KINDS: [RequestKind; 7] = [
    RequestKind {
        name: "verify",
        per_second: 200,
        status: 204,
        request: |builder, user, _| builder.verify(user),
        users: READERS,
    },
    RequestKind {
        name: "user",
        per_second: 60,
        status: 200,
        request: |builder, user, _| builder.user(user),
        users: READERS,
    },
    RequestKind {
        name: "item",
        per_second: 60,
        status: 200,
        request: |builder, user, _| builder.item(user),
        users: READERS,
    },
    RequestKind {
        name: "create",
        per_second: 40,
        status: 201,
        request: |builder, user, _| builder.create(user),
        users: READERS,
    },
    RequestKind {
        name: "login",
        per_second: 7,
        status: 200,
        request: |builder, user, _| builder.login(user),
        users: READERS,
    },
    RequestKind {
        name: "refresh",
        per_second: 25,
        status: 200,
        request: refresh,
        users: REFRESHING,
    },
    RequestKind {
        name: "logout",
        per_second: 8,
        status: 204,
        request: |builder, user, _| builder.logout(user),
        users: SIGNING_OUT,
    },
];

fn refresh(builder: &RequestBuilder, user: u64, counters: &[u64]) -> String {
    builder.refresh_at(
        user,
        counters[usize::try_from(user - 1).expect("a user number fits usize")],
    )
}

/// Requests per second of all kinds together.
pub const REQUESTS_PER_SECOND: u64 = 400;

/// Coprime to the rate, so that each kind is spread over the second.
const STRIDE: u64 = 37;

/// Returns an error if the sessions do not suffice for `runs` runs of this length.
pub fn check_capacity(runs: u64, length: Duration) -> Outcome<()> {
    let seconds = |kind: &RequestKind| (kind.users.1 - kind.users.0 + 1) / kind.per_second / runs;
    let single_use = KINDS.iter().filter(|kind| kind.users != READERS);
    let max_seconds = single_use.map(seconds).min().unwrap_or_default();
    if length.as_secs() <= max_seconds {
        return Ok(());
    }
    Err(format!(
        "the sessions suffice for {max_seconds} seconds per run, and {} are requested",
        length.as_secs()
    )
    .into())
}

/// Requests of one run.
pub struct Mixture {
    /// The requests, in the order of their due times.
    pub requests: Vec<String>,
}

impl Mixture {
    /// Builds the requests of one run. Different runs use different sessions for refreshes and
    /// sign-outs.
    pub fn new(
        builder: &RequestBuilder,
        run: usize,
        length: Duration,
        counters: &[u64],
    ) -> Mixture {
        let (count, mut next) = (
            REQUESTS_PER_SECOND * length.as_secs(),
            KINDS.map(|kind| kind.per_second * length.as_secs() * run as u64),
        );
        let requests = (0..count).map(|request| {
            let index = kind_index(request);
            let (kind, (first, last)) = (&KINDS[index], KINDS[index].users);
            let user = first + next[index] % (last - first + 1);
            next[index] += 1;
            (kind.request)(builder, user, counters)
        });
        Mixture {
            requests: requests.collect(),
        }
    }

    /// Groups the responses by kind and phase: before, during, and after the outage.
    pub fn classify(
        &self,
        responses: &[TimedResponse],
        (outage_start, outage_end): (Duration, Duration),
    ) -> Vec<KindResult> {
        let mut results: Vec<KindResult> = KINDS.iter().map(KindResult::new).collect();
        for response in responses {
            // A request in flight at the start of the outage belongs to the outage.
            let phase = usize::from(response.due + response.took >= outage_start)
                + usize::from(response.due >= outage_end);
            results[kind_index(response.request as u64)].add(response, phase, outage_end);
        }
        results
    }
}

/// Returns the index of a request's kind.
fn kind_index(request: u64) -> usize {
    let mut slot = request * STRIDE % REQUESTS_PER_SECOND;
    for (index, kind) in KINDS.iter().enumerate() {
        if slot < kind.per_second {
            return index;
        }
        slot -= kind.per_second;
    }
    unreachable!("the rates of all kinds add up to the total rate")
}

/// The responses of one kind.
pub struct KindResult {
    kind: &'static RequestKind,
    phases: [PhaseResult; 3],
    /// Time from the end of the outage to the last error, of requests that were due after the
    /// outage.
    last_error: Option<Duration>,
}

/// The responses of one kind in one phase.
#[derive(Default)]
struct PhaseResult {
    expected: usize,
    /// Number of unexpected responses, by status.
    errors: BTreeMap<u16, usize>,
    /// Latencies of all responses, in microseconds.
    micros: Vec<u128>,
}

impl KindResult {
    fn new(kind: &'static RequestKind) -> KindResult {
        KindResult {
            kind,
            phases: Default::default(),
            last_error: None,
        }
    }

    fn add(&mut self, response: &TimedResponse, phase: usize, outage_end: Duration) {
        let result = &mut self.phases[phase];
        result.micros.push(response.took.as_micros());
        if response.status == self.kind.status {
            result.expected += 1;
            return;
        }
        *result.errors.entry(response.status).or_default() += 1;
        if phase == 2 {
            let elapsed = (response.due + response.took).saturating_sub(outage_end);
            self.last_error = self.last_error.max(Some(elapsed));
        }
    }

    /// Formats a line of the table.
    pub fn line(&self) -> Vec<String> {
        let share = |phase: &PhaseResult| {
            phase
                .share()
                .map_or("–".to_owned(), |share| format!("{:.2} %", share * 100.0))
        };
        let p99 = |phase: &PhaseResult| {
            phase
                .p99()
                .map_or("–".to_owned(), |micros| format!("{:.1}", micros / 1000.0))
        };
        let mut cells = vec![self.kind.name.to_owned(), self.kind.per_second.to_string()];
        cells.extend(self.phases.iter().map(share));
        cells.extend(self.phases.iter().map(p99));
        cells.push(self.last_error.map_or("–".to_owned(), |last| {
            format!("{:.2}", last.as_secs_f64())
        }));
        cells.push(self.format_errors());
        cells
    }

    /// Formats the errors of all phases, such as `503 × 12`.
    fn format_errors(&self) -> String {
        let mut all: BTreeMap<u16, usize> = BTreeMap::new();
        for (status, count) in self.phases.iter().flat_map(|phase| &phase.errors) {
            *all.entry(*status).or_default() += count;
        }
        all.iter()
            .map(|(status, count)| format!("{status} × {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    pub fn json(&self) -> Value {
        let phase = |phase: &PhaseResult| {
            let errors: BTreeMap<String, usize> = phase
                .errors
                .iter()
                .map(|(status, count)| (status.to_string(), *count))
                .collect();
            json!({
                "responses": phase.micros.len(),
                "expected": phase.share(),
                "p99_us": phase.p99(),
                "errors": errors,
            })
        };
        let [before, during, after] = &self.phases;
        json!({
            "kind": self.kind.name,
            "per_second": self.kind.per_second,
            "before": phase(before),
            "during": phase(during),
            "after": phase(after),
            "last_error_after_seconds": self.last_error.map(|last| last.as_secs_f64()),
        })
    }
}

impl PhaseResult {
    fn share(&self) -> Option<f64> {
        (!self.micros.is_empty()).then(|| self.expected as f64 / self.micros.len() as f64)
    }

    fn p99(&self) -> Option<f64> {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        percentile(&sorted, 99.0).map(|micros| micros as f64)
    }
}
