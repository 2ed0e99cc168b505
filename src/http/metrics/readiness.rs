//! The details of the readiness, for operators.

use poem::{Response, http::StatusCode};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::app::{
    lifecycle::{
        impairments::DegradedComponent,
        readiness::{Readiness, Status},
    },
    store_health::StoreState,
};

#[derive(Serialize)]
struct ReadinessDetails<'a> {
    status: &'static str,
    postgres: &'static str,
    redis: &'static str,
    check_source: &'static str,
    degraded: Vec<DegradedDetails<'a>>,
}

#[derive(Serialize)]
struct DegradedDetails<'a> {
    component: &'static str,
    reason: &'a str,
    since: String,
    action: &'a str,
}

/// Renders the readiness as JSON, with the status code of the public endpoint.
pub fn render(readiness: &Readiness) -> Response {
    let code = match readiness.status {
        Status::Ready => StatusCode::OK,
        Status::Starting | Status::Draining | Status::Down => StatusCode::SERVICE_UNAVAILABLE,
    };
    let details = ReadinessDetails {
        status: readiness.status.into_str(),
        postgres: format_state(readiness.postgres),
        redis: format_state(readiness.redis),
        check_source: readiness.check_source.as_str(),
        degraded: readiness.degraded.iter().map(describe).collect(),
    };
    let body = serde_json::to_string(&details).unwrap_or_default();
    Response::builder()
        .status(code)
        .content_type("application/json")
        .body(body)
}

fn describe(degraded: &DegradedComponent) -> DegradedDetails<'_> {
    DegradedDetails {
        component: degraded.impairment.component.into_str(),
        reason: &degraded.impairment.diagnosis.reason,
        since: format_time(degraded.since),
        action: &degraded.impairment.diagnosis.action,
    }
}

fn format_state(state: StoreState) -> &'static str {
    match state {
        StoreState::Up => "up",
        StoreState::Down => "down",
    }
}

/// Formats a time with seconds.
fn format_time(time: OffsetDateTime) -> String {
    let seconds = time.replace_nanosecond(0).unwrap_or(time);
    seconds.format(&Rfc3339).unwrap_or_default()
}
