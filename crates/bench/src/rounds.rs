//! Measuring: in every round each row runs right after its floors, so that a clock that drifts
//! moves both; the ratio of a row is the median of the ratios of its rounds.

use std::time::{Duration, Instant};

use crate::{
    Outcome,
    bench::{Bench, say},
    idle::{self, Idle},
    pace::{self, Plan},
    product,
    replica::ask,
    rows::{Floor, Row},
    usage,
};

/// Sessions that come into Redis at the same time.
const ADOPTING: usize = 16;

/// Two canaries are sent meanwhile.
const IDLE: Duration = Duration::from_secs(10);

/// By how much two bodies may differ in length.
const TOLERANCE: f64 = 0.05;

/// One run of a row or of a floor. What does not apply is nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Answers per second.
    pub rate: f64,
    /// Median time to answer, in microseconds.
    pub p50: Option<f64>,
    /// 99 of 100 answers came within so many microseconds.
    pub p99: Option<f64>,
    /// Microseconds of CPU for each answer: of the gateway or the bare handler.
    pub server: Option<f64>,
    /// Of Redis.
    pub redis: Option<f64>,
    /// Of PostgreSQL.
    pub postgres: Option<f64>,
    /// Commands to Redis for each answer, beyond what it would have got without any request.
    pub commands: Option<f64>,
    /// The most bytes in memory.
    pub memory: Option<f64>,
    /// The share of answers that were refusals, where some may be.
    pub refused: Option<f64>,
}

/// A row with all that was found.
pub struct Measured {
    /// The row.
    pub row: Row,
    /// The gateway, by round.
    pub ours: Vec<Sample>,
    /// Each floor, by round.
    pub floors: Vec<Vec<Sample>>,
    /// Why it was given up.
    pub failure: Option<String>,
}

/// Which of all the steps comes next, for whoever waits.
struct Progress {
    began: Instant,
    done: u32,
    all: u32,
}

impl Progress {
    fn step(&mut self, round: usize, rounds: usize, row: &str) {
        let left = self
            .began
            .elapsed()
            .checked_div(self.done)
            .map(|typical| typical * (self.all - self.done));
        let left = left
            .map(|left| format!(", {} s left", left.as_secs()))
            .unwrap_or_default();
        self.done += 1;
        say(&format!("round {round} of {rounds}: {row}{left}"));
    }
}

/// Measures rows, in so many rounds of so many seconds for each run.
pub fn measure(
    bench: &mut Bench,
    rows: &[Row],
    rounds: usize,
    seconds: u64,
) -> Outcome<Vec<Measured>> {
    warm_up(bench, rows)?;
    say("measuring the commands to Redis without requests");
    let idle = idle::watch(bench, &[&bench.server], IDLE)?;
    let empty = |row: &Row| Measured {
        row: *row,
        ours: vec![],
        floors: vec![vec![]; row.floors.len()],
        failure: None,
    };
    let mut measured: Vec<Measured> = rows.iter().map(empty).collect();
    let all = u32::try_from(rounds * rows.len())?;
    let mut progress = Progress {
        began: Instant::now(),
        done: 0,
        all,
    };
    for round in 1..=rounds {
        if bench.composer.renew()? {
            warm_up(bench, rows)?;
        }
        for one in &mut measured {
            progress.step(round, rounds, one.row.name);
            crate::interrupt::check()?;
            if one.failure.is_none()
                && let Err(error) = measure_once(bench, one, seconds, idle)
            {
                crate::interrupt::check()?;
                say(&format!("{} failed: {error}", one.row.name));
                one.failure = Some(error.to_string());
            }
        }
    }
    Ok(measured)
}

fn measure_once(bench: &Bench, measured: &mut Measured, seconds: u64, idle: Idle) -> Outcome<()> {
    let row = measured.row;
    let floors = row
        .floors
        .iter()
        .map(|floor| sample_floor(bench, &row, *floor, seconds));
    let floors = floors.collect::<Outcome<Vec<Sample>>>()?;
    let ours = sample(bench, &row, seconds, idle)?;
    measured.ours.push(ours);
    floors
        .into_iter()
        .zip(&mut measured.floors)
        .for_each(|(sample, all)| all.push(sample));
    Ok(())
}

/// One run of the gateway.
fn sample(bench: &Bench, row: &Row, seconds: u64, idle: Idle) -> Outcome<Sample> {
    let (shot, spent) = bench.drive(&bench.server, row.traffic, row.callers, seconds)?;
    let each = |whole: f64| Some(whole / shot.responses);
    Ok(Sample {
        rate: shot.rate(),
        p50: Some(shot.p50),
        p99: Some(shot.p99),
        server: each(spent.server),
        redis: each(spent.redis),
        postgres: each(spent.postgres),
        commands: each(spent.commands - idle.commands * spent.seconds),
        memory: Some(usage::peak(bench.server.pid())? as f64),
        refused: (row.traffic.tolerated() > 0.0).then(|| shot.refused / shot.responses),
    })
}

fn sample_floor(bench: &Bench, row: &Row, floor: Floor, seconds: u64) -> Outcome<Sample> {
    let rate = |rate: f64| Sample {
        rate,
        ..Sample::default()
    };
    Ok(match floor {
        Floor::Handler => {
            let (shot, spent) = bench.drive(&bench.floor, row.traffic, row.callers, seconds)?;
            let server = Some(spent.server / shot.responses);
            Sample {
                p50: Some(shot.p50),
                p99: Some(shot.p99),
                server,
                ..rate(shot.rate())
            }
        }
        Floor::Statement(statement) => {
            let found = bench.pgbench.run(statement, row.callers, seconds)?;
            Sample {
                postgres: Some(found.micros),
                ..rate(found.rate)
            }
        }
        Floor::Script => {
            let (url, counters) = (bench.stores.redis.url(), bench.stores.redis()?.counters()?);
            let before = usage::of_process(bench.stores.redis.pid());
            let (began, duration) = (Instant::now(), Duration::from_secs(seconds));
            let found = product::rotations(&url, &counters, row.callers.into(), duration)?;
            let used = usage::of_process(bench.stores.redis.pid()).saturating_sub(before);
            Sample {
                redis: Some(used as f64 / (found * began.elapsed().as_secs_f64())),
                ..rate(found)
            }
        }
        Floor::Signature => rate(1e6 / bench.composer.keys().signature_micros()?),
        Floor::Hashes => rate(product::hashes(
            &bench.password,
            Duration::from_secs(seconds),
        )?),
    })
}

/// Fills caches, brings sessions into Redis, and sees that both servers answer what they should.
fn warm_up(bench: &Bench, rows: &[Row]) -> Outcome<()> {
    if rows.iter().any(|row| !row.traffic.repeats()) {
        adopt_all(bench)?;
    }
    for row in rows {
        say(&format!("warming up: {}", row.name));
        compare(bench, row).map_err(|error| format!("{}: {error}", row.name))?;
        bench
            .drive(&bench.server, row.traffic, row.callers, 1)
            .map_err(|error| format!("{}: {error}", row.name))?;
    }
    Ok(())
}

/// The first refresh of a seeded session takes it in from the record, which is not what the row
/// measures.
pub fn adopt_all(bench: &Bench) -> Outcome<()> {
    let requests = bench
        .composer
        .first_refreshes(&bench.stores.redis()?.counters()?);
    say(&format!(
        "warming up: restoring {} sessions",
        requests.len()
    ));
    let (to, count) = (&[bench.server.address], requests.len());
    pace::run(
        &Plan {
            to,
            requests: &requests,
            count,
            connections: ADOPTING,
            rate: None,
        },
        200,
    )
    .map(drop)
}

/// A floor with another answer would be no floor.
fn compare(bench: &Bench, row: &Row) -> Outcome<()> {
    let Some(status) = row.traffic.status() else {
        return Ok(());
    };
    let request = bench.requests(row.traffic, 1)?.swap_remove(0);
    let (found, body) = ask(bench.server.address, &request)?;
    if found != status {
        return Err(format!("the server responded {found} instead of {status}").into());
    }
    if !row.floors.contains(&Floor::Handler) {
        return Ok(());
    }
    let ours = body.len();
    let (found, body) = ask(bench.floor.address, &request)?;
    let theirs = body.len();
    if found != status || (ours as f64 - theirs as f64).abs() > TOLERANCE * ours as f64 {
        return Err(format!(
            "the baseline responds {found} with {theirs} bytes, the server {status} with {ours}"
        )
        .into());
    }
    Ok(())
}
