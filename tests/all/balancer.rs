//! Replicas behind a load balancer: the real nginx and the real HAProxy, as `deploy/` configures
//! them.

mod load; // background load
mod pool; // the replicas, and the balancers in front of them
mod rolling_restart; // rolling restarts, and a killed replica

use std::net::{IpAddr, Ipv4Addr};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    deployed::Proxy,
    metrics,
    outage::OwnRedis,
    revocation_stream::reader::Reader,
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
};
use pool::{KINDS, Kind, Pool};

/// More than the number of replicas, so that each replica gets a request.
const REQUESTS_PER_ROUND: usize = 6;

/// Sends a request through a balancer and checks the response against the OpenAPI document.
async fn send_through(
    balancer: &Proxy,
    replica: &TestServer,
    method: Method,
    path: &str,
    session: &Session,
) -> TestResponse {
    let request =
        reqwest::Client::new().request(method, format!("http://{}{path}", balancer.address));
    replica
        .send(request.bearer_auth(&session.access_token))
        .await
}

#[tokio::test]
async fn sign_out_on_one_replica_is_enforced_on_all() {
    let pool = Pool::with(&[]).await;
    let [first, second, _] = &pool.replicas[..] else {
        panic!("three replicas")
    };
    first.sign_up("john").await;
    for kind in KINDS {
        let balancer = pool.behind(kind).await;
        let session = first.sign_in("john").await;
        for _ in 0..REQUESTS_PER_ROUND {
            send_through(&balancer, first, Method::GET, "/auth/verify", &session)
                .await
                .is(204, "");
        }
        second.sign_out(&session.access_token).await.is(204, "");
        for replica in &pool.replicas {
            assert_eq!(
                replica.verify(&session.access_token).await,
                (401, "token_revoked".into())
            );
        }
        for _ in 0..REQUESTS_PER_ROUND {
            send_through(&balancer, first, Method::GET, "/auth/verify", &session)
                .await
                .is(401, "token_revoked");
        }
    }
}

/// Signs in from an IP address with forged address headers.
///
/// Returns the IP addresses in the list of sessions and in the audit log.
async fn sign_in_with_forged_headers(
    balancer: &Proxy,
    replica: &TestServer,
    from: IpAddr,
) -> Value {
    let forged_ip = "203.0.113.9";
    let client = reqwest::Client::builder()
        .local_address(from)
        .build()
        .expect("a client");
    let url = |path: &str| format!("http://{}{path}", balancer.address);
    let request = client
        .post(url("/login"))
        .json(&json!({"username": "john", "password": PASSWORD}));
    let forged = request
        .header("x-forwarded-for", forged_ip)
        .header("forwarded", format!("for={forged_ip}"))
        .header("x-real-ip", forged_ip)
        .header("x-forwarded-host", "evil.example");
    // The client of `TestServer::send` has a fixed source address.
    let tokens: Value = forged
        .send()
        .await
        .expect("the server responds")
        .json()
        .await
        .expect("JSON");
    let session = Session {
        access_token: tokens["access_token"].as_str().expect("a token").to_owned(),
        refresh_token: tokens["refresh_token"]
            .as_str()
            .expect("a token")
            .to_owned(),
    };
    let sessions = send_through(balancer, replica, Method::GET, "/sessions", &session).await;
    let current = |item: &&Value| item["current"] == true;
    let session_address = sessions.body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .find(current)
        .expect("the current session")["ip_address"]
        .clone();
    let audit = send_through(balancer, replica, Method::GET, "/user/audit", &session).await;
    json!([session_address, audit.body["data"][0]["ip_address"]])
}

#[tokio::test]
async fn forged_address_headers_are_ignored() {
    let pool = Pool::with(&[]).await;
    pool.replicas[0].sign_up("john").await;
    for kind in KINDS {
        let balancer = pool.behind(kind).await;
        for last_octet in [2, 3] {
            let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last_octet));
            let recorded = sign_in_with_forged_headers(&balancer, &pool.replicas[0], from).await;
            assert_eq!(
                recorded,
                json!([from.to_string(), from.to_string()]),
                "{kind:?}"
            );
        }
    }
}

#[tokio::test]
async fn revocation_stream_passes_unbuffered() {
    let pool = Pool::with(&[]).await;
    let [first, second, _] = &pool.replicas[..] else {
        panic!("three replicas")
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
        reader.read_until("heartbeat").await;
        let session = first.sign_in("john").await;
        second.sign_out(&session.access_token).await.is(204, "");
        let session_id = session.claim("sid");
        let event = reader.first("revoked").await;
        assert!(event.is_of("session", &session_id), "{kind:?}: {event:?}");
    }
}

/// A replica that rejects a request before it reads the body is healthy. If a balancer counted
/// this as a failure, an attacker could remove all replicas from the pool.
#[tokio::test]
async fn rejected_requests_remove_no_replica_from_the_pool() {
    let pool = Pool::with(&[]).await;
    for kind in KINDS {
        let balancer = pool.behind(kind).await;
        let url = |path: &str| format!("http://{}{path}", balancer.address);
        let client = reqwest::Client::new();
        let send_unauthenticated = async |number: usize| {
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
        let attack = futures_util::future::join_all((0..60).map(send_unauthenticated));
        let other_requests = async {
            let mut statuses = Vec::new();
            for _ in 0..60 {
                let response = reqwest::get(url("/auth/verify"))
                    .await
                    .expect("the server responds");
                statuses.push(response.status().as_u16());
            }
            statuses
        };
        let (attack, other_requests) = tokio::join!(attack, other_requests);
        assert!(
            attack.iter().all(|status| *status == 401),
            "{kind:?}: {attack:?}"
        );
        assert!(
            other_requests.iter().all(|status| *status == 401),
            "{kind:?}: {other_requests:?}"
        );
    }
}

/// Returns the number of readiness checks that succeeded on this replica.
async fn count_readiness_checks(replica: &TestServer) -> f64 {
    metrics::value(
        replica,
        "latchkey_http_request_duration_seconds_count{operation=\"getReadiness\",status=\"200\"}",
    )
    .await
}

#[tokio::test]
async fn redis_outage_removes_no_replica_from_the_pool() {
    let mut own_redis = OwnRedis::start();
    let pool = Pool::with(&[
        ("REDIS_URL", &own_redis.redis.url()),
        ("LATCHKEY_REDIS_TIMEOUT", "1s"),
    ])
    .await;
    let balancer = pool.behind(Kind::HaProxy).await;
    let session = pool.replicas[0].sign_up("john").await;
    own_redis.redis.kill();
    for replica in &pool.replicas {
        wait_until("the replica detects the outage", || async {
            replica.readiness().await.text("redis") == "down"
        })
        .await;
        // HAProxy removes a server after half as many failed checks.
        let goal = count_readiness_checks(replica).await + 4.0;
        wait_until("the balancer checks the replica", || async {
            count_readiness_checks(replica).await >= goal
        })
        .await;
    }
    assert!(
        !balancer.errors().contains("is DOWN"),
        "{}",
        balancer.errors()
    );
    for _ in 0..REQUESTS_PER_ROUND {
        send_through(
            &balancer,
            &pool.replicas[0],
            Method::GET,
            "/auth/verify",
            &session,
        )
        .await
        .is(204, "");
        send_through(&balancer, &pool.replicas[0], Method::GET, "/user", &session)
            .await
            .is(200, "");
    }
}
