//! Health checks for load balancers and orchestrators. The handlers do no I/O, because a background
//! task checks the stores.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json, types::Example};

use crate::{
    app::{App, lifecycle::readiness::Status},
    http::Tag,
};

/// Readiness of this replica.
#[derive(Object)]
#[oai(rename = "Readiness", example)]
struct ReadinessSchema {
    /// `starting`, `ready`, `draining`, or `down`.
    status: String,
}

impl Example for ReadinessSchema {
    fn example() -> Self {
        ReadinessSchema {
            status: "ready".to_owned(),
        }
    }
}

#[derive(ApiResponse)]
enum ReadinessResponse {
    /// The replica accepts traffic.
    #[oai(status = 200)]
    Ready(Json<ReadinessSchema>),
    /// The replica is starting or draining, both stores are down, or its clock differs too much
    /// from those of both stores.
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
    /// Returns 200 if the replica accepts traffic.
    ///
    /// If only one store is down, the replica stays ready, because all replicas share the stores,
    /// and the load balancer would remove all of them. If both are down, if the clock of the
    /// replica differs too much from those of both stores, or while the replica starts or drains,
    /// the response is 503. For operators, `/health/ready` on the metrics listener returns the
    /// state of the stores, the source of checks, and each degraded component with its cause and
    /// its fix.
    #[oai(
        path = "/health/ready",
        method = "get",
        operation_id = "getReadiness",
        tag = "Tag::Health"
    )]
    async fn get_readiness(&self, app: Data<&Arc<App>>) -> ReadinessResponse {
        let status = app.lifecycle.status();
        let body = Json(ReadinessSchema {
            status: status.into_str().to_owned(),
        });
        if status == Status::Ready {
            ReadinessResponse::Ready(body)
        } else {
            ReadinessResponse::NotReady(body)
        }
    }
}
