//! Whether an account exists, and whether it is disabled, is not told by the time that an answer
//! takes. Two minutes on a machine that does nothing else: `./dev timings`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, TestServer},
    test_stores::execute,
};

/// Of each kind.
const ROUNDS: usize = 2_000;

/// The most that medians may differ.
const MOST: f64 = 0.02;

const KINDS: [&str; 3] = ["known", "unknown", "disabled"];

/// Sends one of each kind in turn, beginning with another one each time; the median of each.
async fn medians(
    server: &TestServer,
    path: &str,
    expected: u16,
    body: impl Fn(&str) -> Value,
) -> [Duration; 3] {
    let mut taken = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        for turn in 0..KINDS.len() {
            let kind = (round + turn) % KINDS.len();
            let began = Instant::now();
            let response = server.post(path, body(KINDS[kind])).await;
            taken[kind].push(began.elapsed());
            assert_eq!(response.status, expected, "{}", response.string());
        }
    }
    taken.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

fn are_alike(path: &str, medians: [Duration; 3]) {
    KINDS
        .iter()
        .zip(medians)
        .for_each(|(kind, median)| println!("{path:18}{kind:10}{median:?}"));
    let seconds = medians.map(|median| median.as_secs_f64());
    let (least, most) = (
        seconds.iter().copied().fold(f64::MAX, f64::min),
        seconds.iter().copied().fold(0.0, f64::max),
    );
    let difference = most / least - 1.0;
    println!("{path:18}differ by {:.2} %", difference * 100.0);
    assert!(difference < MOST, "{path}: {medians:?}");
}

#[tokio::test]
#[ignore = "minutes, on a machine that does nothing else: ./dev timings"]
async fn no_answer_tells_by_its_time_who_has_an_account() {
    let (server, _mails) = TestServer::with_mail(&[]).await;
    for name in ["known", "disabled"] {
        server
            .sign_up_with_email(name, &format!("{name}@example.com"))
            .await;
    }
    execute(
        &server,
        "update users set disabled = true where username = 'disabled'",
    )
    .await;
    // The right password of the disabled one: that it is right must not show either.
    let login = |kind: &str| {
        let password = if kind == "disabled" {
            PASSWORD
        } else {
            "not the password"
        };
        json!({"username": kind, "password": password})
    };
    are_alike("/login", medians(&server, "/login", 401, login).await);
    let forgot = |kind: &str| json!({"email": format!("{kind}@example.com")});
    are_alike(
        "/password/forgot",
        medians(&server, "/password/forgot", 202, forgot).await,
    );
}
