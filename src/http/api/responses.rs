//! The response of operations that revoke tokens.

use poem_openapi::ApiResponse;

use crate::{app::revocation::WaitFor, http::openapi::params::RESPOND_ASYNC};

/// The status is 204, or 202 if the request contains `Prefer: respond-async`.
#[derive(ApiResponse)]
pub enum RevocationResponse {
    /// Every replica rejects the revoked tokens.
    #[oai(status = 204)]
    Enforced,
    /// The revocation is stored and published. Replicas enforce it shortly after this response.
    #[oai(status = 202)]
    Published(#[oai(header = "Preference-Applied")] String),
}

impl From<WaitFor> for RevocationResponse {
    fn from(wait_for: WaitFor) -> RevocationResponse {
        match wait_for {
            WaitFor::Enforced => RevocationResponse::Enforced,
            WaitFor::Published => RevocationResponse::Published(RESPOND_ASYNC.to_owned()),
        }
    }
}
