//! The body of an error response, and the request that it belongs to.

use std::sync::Arc;

use poem::http::HeaderValue;
use poem_openapi::{Object, types::Example};

use crate::{
    error::{Code, Context, Error},
    http::openapi::problem::examples,
};

tokio::task_local! {
    /// The request that this task serves.
    pub static REQUEST: RequestContext;
}

/// The parts of an error response that depend on the request and on the configuration.
#[derive(Clone)]
pub struct RequestContext {
    /// The request ID, as in the response header.
    pub id: HeaderValue,
    /// The URL of the error pages, without a slash at its end.
    pub pages: Arc<str>,
}

impl RequestContext {
    /// Returns the context of the current task. Outside of a request, the ID is empty and the URL
    /// is relative.
    pub fn current() -> RequestContext {
        REQUEST
            .try_with(Clone::clone)
            .unwrap_or_else(|_| RequestContext {
                id: HeaderValue::from_static(""),
                pages: pages_url("").into(),
            })
    }

    fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// Returns the `detail` of an error in the response to this request.
    pub fn detail(&self, error: &Error, retry_after: Option<u64>) -> String {
        let context = Context {
            request_id: self.id(),
            retry_after,
        };
        error.detail(context).into_owned()
    }
}

/// Returns the URL of the error pages of the server with this issuer.
pub fn pages_url(issuer: &str) -> String {
    format!("{issuer}/problems")
}

/// Error response (RFC 9457).
#[derive(Object)]
#[oai(rename = "ErrorResponse", example)]
pub(crate) struct ProblemBody {
    /// URL of the page that explains the error code.
    #[oai(rename = "type", validator(max_length = 2048))]
    kind: String,
    /// Short summary of the error code.
    title: String,
    /// HTTP status code.
    status: u16,
    /// Cause of this error, and how to fix it.
    detail: String,
    /// Error code. Use it in program logic. Newer versions can add codes: treat an unknown code as
    /// the HTTP status.
    code: String,
    /// Request ID, equal to the `X-Request-Id` header. Include it in support requests.
    request_id: String,
    /// Invalid fields, if the code is `invalid_request` and the fields are known.
    #[oai(skip_serializing_if_is_none)]
    errors: Option<Vec<FieldErrorBody>>,
}

/// An invalid field of a request. It never contains the value.
#[derive(Object)]
#[oai(rename = "FieldError")]
struct FieldErrorBody {
    /// Name of the field, parameter, or header.
    field: String,
    /// Reason, for example `is missing`.
    reason: String,
}

impl ProblemBody {
    /// Creates the body for an error in the response to this request.
    pub(crate) fn new(
        error: &Error,
        context: &RequestContext,
        retry_after: Option<u64>,
    ) -> ProblemBody {
        let code = error.code();
        let errors = match error {
            Error::InvalidRequest { field_errors, .. } if !field_errors.is_empty() => {
                let body = field_errors.iter().map(|field_error| FieldErrorBody {
                    field: field_error.field.clone(),
                    reason: field_error.reason.clone().into_owned(),
                });
                Some(body.collect())
            }
            _other => None,
        };
        ProblemBody {
            kind: format!("{}/{}", context.pages, code.slug()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: context.detail(error, retry_after),
            code: code.slug().to_owned(),
            request_id: context.id().to_owned(),
            errors,
        }
    }
}

impl Example for ProblemBody {
    fn example() -> Self {
        examples::body(&examples::error(Code::InvalidRequest))
    }
}
