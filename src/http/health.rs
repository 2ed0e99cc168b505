//! Health, for balancers and orchestrators. No I/O: how the stores are is found out beforehand.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json, types::Example};

use super::Tag;
use crate::gateway::{Gateway, Status, StoreState};

/// How this replica is.
#[derive(Object)]
#[oai(rename = "Health", example)]
struct HealthShape {
    /// `starting`, `ready`, `draining` or `down`.
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

impl Example for HealthShape {
    fn example() -> Self {
        HealthShape {
            status: "ready".to_owned(),
            postgres: "up".to_owned(),
            redis: "up".to_owned(),
            check_source: "memory".to_owned(),
            degraded: Vec::new(),
        }
    }
}

/// 204.
#[derive(ApiResponse)]
enum Live {
    /// The process runs.
    #[oai(status = 200)]
    Yes,
}

#[derive(ApiResponse)]
enum Ready {
    /// Requests may come; the body says how the stores are.
    #[oai(status = 200)]
    Yes(Json<HealthShape>),
    /// Starting, draining, or neither store answers.
    #[oai(status = 503)]
    No(Json<HealthShape>),
}

/// The operations.
pub struct HealthApi;

#[OpenApi]
impl HealthApi {
    /// Does the process run?
    ///
    /// For an orchestrator, which restarts what does not answer. It says nothing of the stores: a
    /// restart mends none.
    #[oai(
        path = "/health/live",
        method = "get",
        operation_id = "live",
        tag = "Tag::Health"
    )]
    async fn live(&self) -> Live {
        Live::Yes
    }

    /// May requests come?
    ///
    /// One sick store takes no replica out of the balancer, because it would take all of them out
    /// at once.
    #[oai(
        path = "/health/ready",
        method = "get",
        operation_id = "ready",
        tag = "Tag::Health"
    )]
    async fn ready(&self, gateway: Data<&Arc<Gateway>>) -> Ready {
        let readiness = gateway.readiness();
        let state = |state| match state {
            StoreState::Up => "up".to_owned(),
            StoreState::Down => "down".to_owned(),
        };
        let body = Json(HealthShape {
            status: readiness.status.as_str().to_owned(),
            postgres: state(readiness.postgres),
            redis: state(readiness.redis),
            check_source: readiness.check_source.as_str().to_owned(),
            degraded: readiness.degraded,
        });
        if readiness.status == Status::Ready {
            Ready::Yes(body)
        } else {
            Ready::No(body)
        }
    }
}
