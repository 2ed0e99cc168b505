//! Health checks for load balancers and orchestrators. The handlers do no I/O, because a background
//! task checks the stores.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json, types::Example};

use crate::{
    app::{App, lifecycle::readiness::Status, store_health::StoreState},
    http::Tag,
};

/// Readiness of this replica.
#[derive(Object)]
#[oai(rename = "Readiness", example)]
struct ReadinessSchema {
    /// `starting`, `ready`, `draining`, or `down`.
    status: String,
    /// Status of PostgreSQL at the last check: `up` or `down`.
    postgres: String,
    /// Status of Redis at the last check: `up` or `down`.
    redis: String,
    /// Source of this replica's token checks: `memory`; without a lease `redis`, `postgres`, or
    /// `unavailable`.
    check_source: String,
    /// Problems, each with its effect and fix.
    degraded: Vec<String>,
}

impl Example for ReadinessSchema {
    fn example() -> Self {
        ReadinessSchema {
            status: "ready".to_owned(),
            postgres: "up".to_owned(),
            redis: "up".to_owned(),
            check_source: "memory".to_owned(),
            degraded: Vec::new(),
        }
    }
}

#[derive(ApiResponse)]
enum ReadinessResponse {
    /// The replica accepts traffic. The body contains the status of the stores.
    #[oai(status = 200)]
    Ready(Json<ReadinessSchema>),
    /// The replica is starting or draining, or both stores are down.
    #[oai(status = 503)]
    NotReady(Json<ReadinessSchema>),
}

pub struct HealthApi;

#[OpenApi]
impl HealthApi {
    /// Check liveness
    ///
    /// Returns 200 while the process runs; doesn't check stores.
    ///
    /// Restart the process if it doesn't respond. A restart doesn't repair a store.
    ///
    /// Response 200: The process is running.
    #[oai(
        path = "/health/live",
        method = "get",
        operation_id = "getLiveness",
        tag = "Tag::Health"
    )]
    async fn get_liveness(&self) {}

    /// Check readiness
    ///
    /// Returns 200 if the replica accepts traffic; the body reports store status.
    ///
    /// If only one store is down, the replica stays ready, because all replicas share the stores,
    /// and the load balancer would remove all of them. If both are down, or while the replica
    /// starts or drains, the response is 503.
    #[oai(
        path = "/health/ready",
        method = "get",
        operation_id = "getReadiness",
        tag = "Tag::Health"
    )]
    async fn get_readiness(&self, app: Data<&Arc<App>>) -> ReadinessResponse {
        let readiness = app.lifecycle.readiness();
        let store_status = |state| match state {
            StoreState::Up => "up".to_owned(),
            StoreState::Down => "down".to_owned(),
        };
        let body = Json(ReadinessSchema {
            status: readiness.status.into_str().to_owned(),
            postgres: store_status(readiness.postgres),
            redis: store_status(readiness.redis),
            check_source: readiness.check_source.as_str().to_owned(),
            degraded: readiness.degraded,
        });
        if readiness.status == Status::Ready {
            ReadinessResponse::Ready(body)
        } else {
            ReadinessResponse::NotReady(body)
        }
    }
}
