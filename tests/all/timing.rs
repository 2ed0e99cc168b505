//! Response times do not reveal whether a user exists or is disabled.
//!
//! The test takes two minutes and requires an idle machine: `./dev timings`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, TestServer},
    test_stores::execute,
};

/// The number of requests per kind of user.
const REQUESTS_PER_KIND: usize = 2_000;

/// The maximum relative difference of the medians.
const MAX_MEDIAN_DIFFERENCE: f64 = 0.02;

const KINDS: [&str; 3] = ["known", "unknown", "disabled"];

/// All orders of the three kinds. A request can delay the next one, for example because the mail
/// worker is active, so each kind follows itself and each other kind equally often.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [2, 0, 1],
    [1, 2, 0],
    [0, 2, 1],
    [1, 0, 2],
    [2, 1, 0],
];

/// Sends a request of each kind per round, in all orders. Returns the median of each kind.
async fn measure_medians(
    server: &TestServer,
    path: &str,
    expected: u16,
    body: impl Fn(&str) -> Value,
) -> [Duration; 3] {
    let mut times = [const { Vec::new() }; 3];
    for round in 0..REQUESTS_PER_KIND {
        for kind in ORDERS[round % ORDERS.len()] {
            let started_at = Instant::now();
            let response = server.post(path, body(KINDS[kind])).await;
            times[kind].push(started_at.elapsed());
            assert_eq!(response.status, expected, "{}", response.string());
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

fn assert_similar(path: &str, medians: [Duration; 3]) {
    KINDS
        .iter()
        .zip(medians)
        .for_each(|(kind, median)| println!("{path:18}{kind:10}{median:?}"));
    let seconds = medians.map(|median| median.as_secs_f64());
    let (fastest, slowest) = (
        seconds.iter().copied().fold(f64::MAX, f64::min),
        seconds.iter().copied().fold(0.0, f64::max),
    );
    let difference = slowest / fastest - 1.0;
    println!("{path:18}differ by {:.2} %", difference * 100.0);
    assert!(difference < MAX_MEDIAN_DIFFERENCE, "{path}: {medians:?}");
}

#[tokio::test]
#[ignore = "takes minutes and requires an idle machine: ./dev timings"]
async fn response_time_reveals_no_user() {
    let (server, _mail_server) = TestServer::with_mail(&[]).await;
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
    let verifying = [
        ("LATCHKEY_SIGNUP", "verify"),
        ("LATCHKEY_LIMIT_CODE", "1000000/1h"),
    ];
    let verify = server.replica_with(&verifying).await;
    execute(&server, "update users set email_verified = true").await;
    // The disabled user sends the correct password, which must not be revealed either.
    let sign_in = |kind: &str| {
        let password = if kind == "disabled" {
            PASSWORD
        } else {
            "not the password"
        };
        json!({"username": kind, "password": password})
    };
    assert_similar(
        "/login",
        measure_medians(&server, "/login", 401, sign_in).await,
    );
    let request_code = |kind: &str| json!({"email": format!("{kind}@example.com")});
    assert_similar(
        "/password/forgot",
        measure_medians(&server, "/password/forgot", 202, request_code).await,
    );
    let sign_up = |kind: &str| {
        json!({
            "email": format!("{kind}@example.com"),
            "username": "another",
            "password": PASSWORD,
        })
    };
    assert_similar(
        "/signup",
        measure_medians(&verify, "/signup", 202, sign_up).await,
    );
    let confirm = |kind: &str| {
        let mut body = sign_up(kind);
        body["code"] = json!("00000-00000");
        body
    };
    let responses = measure_medians(&verify, "/signup/confirm", 400, confirm);
    assert_similar("/signup/confirm", responses.await);
}
