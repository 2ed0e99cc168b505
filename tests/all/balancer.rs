//! Replicas behind a load balancer: the real nginx and the real HAProxy, as `deploy/` configures
//! them.

mod load; // people who work meanwhile
mod pool; // the replicas, and who stands in front of them
mod rolling_restart; // rolling restarts, and a replica that is killed

use std::net::{IpAddr, Ipv4Addr};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    deployed::Proxy,
    metrics,
    outage::OwnRedis,
    revocation_stream::reader::Reader,
    test_server::{PASSWORD, Session, TestResponse, TestServer, until},
};
use pool::{KINDS, Kind, Pool};

/// More than there are replicas, so that each is asked.
const ROUND: usize = 6;

/// A request with a token by way of a balancer; its answer is compared with the document.
async fn ask_by(
    balancer: &Proxy,
    any: &TestServer,
    method: Method,
    path: &str,
    session: &Session,
) -> TestResponse {
    let request =
        reqwest::Client::new().request(method, format!("http://{}{path}", balancer.address));
    any.send(request.bearer_auth(&session.access_token)).await
}

#[tokio::test]
async fn who_signs_out_on_one_replica_is_out_on_all() {
    let pool = Pool::with(&[]).await;
    let [first, second, _] = &pool.replicas[..] else {
        panic!("three")
    };
    first.sign_up("john").await;
    for kind in KINDS {
        let balancer = pool.behind(kind).await;
        let john = first.sign_in("john").await;
        for _ in 0..ROUND {
            ask_by(&balancer, first, Method::GET, "/auth/verify", &john)
                .await
                .is(204, "");
        }
        second.log_out(&john.access_token).await.is(204, "");
        for replica in &pool.replicas {
            assert_eq!(
                replica.verify(&john.access_token).await,
                (401, "token_revoked".into())
            );
        }
        for _ in 0..ROUND {
            ask_by(&balancer, first, Method::GET, "/auth/verify", &john)
                .await
                .is(401, "token_revoked");
        }
    }
}

/// Of a sign-in from that address, with whatever a client may claim: what was kept of where it came
/// from.
async fn addresses_seen(balancer: &Proxy, any: &TestServer, from: IpAddr) -> Value {
    let claimed = "203.0.113.9";
    let client = reqwest::Client::builder()
        .local_address(from)
        .build()
        .expect("a client");
    let url = |path: &str| format!("http://{}{path}", balancer.address);
    let request = client
        .post(url("/login"))
        .json(&json!({"username": "john", "password": PASSWORD}));
    let planted = request
        .header("x-forwarded-for", claimed)
        .header("forwarded", format!("for={claimed}"))
        .header("x-real-ip", claimed)
        .header("x-forwarded-host", "evil.example");
    // Not by way of `TestServer::send`, which has an address of its own.
    let pair: Value = planted
        .send()
        .await
        .expect("it responds")
        .json()
        .await
        .expect("JSON");
    let session = Session {
        access_token: pair["access_token"].as_str().expect("a token").to_owned(),
        refresh_token: pair["refresh_token"].as_str().expect("a token").to_owned(),
    };
    let sessions = ask_by(balancer, any, Method::GET, "/sessions", &session).await;
    let current = |item: &&Value| item["current"] == true;
    let session_address = sessions.body["data"]
        .as_array()
        .expect("items")
        .iter()
        .find(current)
        .expect("it")["ip_address"]
        .clone();
    let audit = ask_by(balancer, any, Method::GET, "/user/audit", &session).await;
    json!([session_address, audit.body["data"][0]["ip_address"]])
}

#[tokio::test]
async fn the_address_is_the_clients_whatever_it_claims() {
    let pool = Pool::with(&[]).await;
    pool.replicas[0].sign_up("john").await;
    for kind in KINDS {
        let balancer = pool.behind(kind).await;
        for last in [2, 3] {
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
            let seen = addresses_seen(&balancer, &pool.replicas[0], from).await;
            assert_eq!(
                seen,
                json!([from.to_string(), from.to_string()]),
                "{kind:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_stream_comes_through_as_it_is_written() {
    let pool = Pool::with(&[]).await;
    let [first, second, _] = &pool.replicas[..] else {
        panic!("three")
    };
    let (admin, _) = (first.admin("root").await, first.sign_up("john").await);
    for kind in KINDS {
        let balancer = pool.behind(kind).await;
        let request =
            reqwest::Client::new().get(format!("http://{}/revocations", balancer.address));
        let mut reader = Reader::with(
            request
                .header("accept", "text/event-stream")
                .bearer_auth(&admin.access_token),
        )
        .await;
        reader.until("heartbeat").await;
        let john = first.sign_in("john").await;
        second.log_out(&john.access_token).await.is(204, "");
        let sid = john.claim("sid");
        let told = reader.first("revoked").await;
        assert!(told.is_of("session", &sid), "{kind:?}: {told:?}");
    }
}

/// What is refused before its body was read is no fault of the replica that refused it: nobody else
/// may notice.
#[tokio::test]
async fn whoever_is_refused_takes_no_replica_out_of_the_pool() {
    let pool = Pool::with(&[]).await;
    for kind in KINDS {
        let balancer = pool.behind(kind).await;
        let url = |path: &str| format!("http://{}{path}", balancer.address);
        let client = reqwest::Client::new();
        let refused = async |number: usize| {
            let request = if number.is_multiple_of(2) {
                client.put(url("/items/x"))
            } else {
                client.post(url("/items"))
            };
            let response = request
                .header("content-type", "application/json")
                .body(vec![b' '; 64_000])
                .send()
                .await;
            response
                .map(|response| response.status().as_u16())
                .unwrap_or_default()
        };
        let attack = futures_util::future::join_all((0..60).map(refused));
        let others = async {
            let mut statuses = Vec::new();
            for _ in 0..60 {
                let response = reqwest::get(url("/auth/verify"))
                    .await
                    .expect("it responds");
                statuses.push(response.status().as_u16());
            }
            statuses
        };
        let (attack, others) = tokio::join!(attack, others);
        assert!(
            attack.iter().all(|status| *status == 401),
            "{kind:?}: {attack:?}"
        );
        assert!(
            others.iter().all(|status| *status == 401),
            "{kind:?}: {others:?}"
        );
    }
}

/// How often a balancer has asked this replica.
async fn looks(replica: &TestServer) -> f64 {
    metrics::value(
        replica,
        "latchkey_http_request_duration_seconds_count{operation=\"getReadiness\",status=\"200\"}",
    )
    .await
}

#[tokio::test]
async fn redis_that_is_down_takes_no_replica_out_of_the_pool() {
    let mut own = OwnRedis::start();
    let pool = Pool::with(&[
        ("REDIS_URL", &own.redis.url()),
        ("LATCHKEY_REDIS_TIMEOUT", "1s"),
    ])
    .await;
    let balancer = pool.behind(Kind::HaProxy).await;
    let john = pool.replicas[0].sign_up("john").await;
    own.redis.kill();
    for replica in &pool.replicas {
        until("it knows", || async {
            replica.get("/health/ready").await.text("redis") == "down"
        })
        .await;
        // Twice as many as would take it out.
        let enough = looks(replica).await + 4.0;
        until("the balancer looks", || async {
            looks(replica).await >= enough
        })
        .await;
    }
    assert!(
        !balancer.errors().contains("is DOWN"),
        "{}",
        balancer.errors()
    );
    for _ in 0..ROUND {
        ask_by(
            &balancer,
            &pool.replicas[0],
            Method::GET,
            "/auth/verify",
            &john,
        )
        .await
        .is(204, "");
        ask_by(&balancer, &pool.replicas[0], Method::GET, "/user", &john)
            .await
            .is(200, "");
    }
}
