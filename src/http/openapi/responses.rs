//! Success responses, and their descriptions in the OpenAPI document.
//!
//! [`Json`] is the response 200, and `()` is the one without a body. A description belongs to an
//! operation, not to a type, so each handler describes its response in the last paragraph of its
//! documentation.

use poem::{
    IntoResponse, Response,
    http::{HeaderMap, HeaderValue, StatusCode},
};
use poem_openapi::{
    ApiResponse,
    payload::Json,
    registry::{MetaHeader, MetaOperation, MetaResponse, MetaResponses, Registry},
    types::{ToJSON, Type},
};

/// Response 201 with a JSON body.
pub struct Created<T>(pub T);

impl<T: ToJSON> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.0).into_response();
        response.set_status(StatusCode::CREATED);
        response
    }
}

impl<T: ToJSON> ApiResponse for Created<T> {
    fn meta() -> MetaResponses {
        let mut meta = Json::<T>::meta();
        for response in &mut meta.responses {
            response.status = Some(StatusCode::CREATED.as_u16());
        }
        meta
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// Declares responses without a body.
macro_rules! empty_responses {
    ($($(#[doc = $doc:literal])+ $name:ident $status:ident;)*) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl IntoResponse for $name {
            fn into_response(self) -> Response {
                StatusCode::$status.into_response()
            }
        }

        impl ApiResponse for $name {
            fn meta() -> MetaResponses {
                let response = MetaResponse {
                    description: "",
                    status: Some(StatusCode::$status.as_u16()),
                    status_range: None,
                    content: Vec::new(),
                    headers: Vec::new(),
                };
                MetaResponses { responses: vec![response] }
            }

            fn register(_: &mut Registry) {}
        }
    )*};
}

empty_responses! {
    /// Response 202: the request is processed later.
    Accepted ACCEPTED;
    /// Response 204.
    NoContent NO_CONTENT;
}

/// One or two headers of a response.
pub trait ResponseHeaders: Send {
    fn meta() -> Vec<MetaHeader>;

    fn write(self, headers: &mut HeaderMap);
}

/// Declares headers with a text as value.
macro_rules! response_headers {
    ($($name:ident $header:literal;)*) => {$(
        #[doc = concat!("The response header `", $header, "`.")]
        pub struct $name(pub String);

        impl ResponseHeaders for $name {
            fn meta() -> Vec<MetaHeader> {
                vec![MetaHeader {
                    name: $header.to_owned(),
                    description: None,
                    required: true,
                    deprecated: false,
                    schema: String::schema_ref(),
                }]
            }

            fn write(self, headers: &mut HeaderMap) {
                let value = HeaderValue::try_from(self.0).expect("printable ASCII text");
                headers.insert($header, value);
            }
        }
    )*};
}

response_headers! {
    CacheControl "cache-control";
    ContentDisposition "content-disposition";
    ETag "etag";
    Location "location";
    Pragma "pragma";
}

impl<A: ResponseHeaders, B: ResponseHeaders> ResponseHeaders for (A, B) {
    fn meta() -> Vec<MetaHeader> {
        A::meta().into_iter().chain(B::meta()).collect()
    }

    fn write(self, headers: &mut HeaderMap) {
        self.0.write(headers);
        self.1.write(headers);
    }
}

/// A response with headers.
pub struct WithHeaders<R, H>(pub R, pub H);

impl<R: IntoResponse, H: ResponseHeaders> IntoResponse for WithHeaders<R, H> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        self.1.write(response.headers_mut());
        response
    }
}

impl<R: ApiResponse, H: ResponseHeaders> ApiResponse for WithHeaders<R, H> {
    fn meta() -> MetaResponses {
        let mut meta = R::meta();
        for response in &mut meta.responses {
            response.headers.extend(H::meta());
        }
        meta
    }

    fn register(registry: &mut Registry) {
        R::register(registry);
    }
}

/// Moves the last paragraph of an operation's description, such as `Response 204: The item was
/// deleted.`, to that response.
///
/// # Panics
/// If a response has no description, or the described response doesn't exist.
pub fn describe(operation: &mut MetaOperation) {
    let id = operation.operation_id.unwrap_or_default();
    let responses = &mut operation.responses.responses;
    let paragraph = operation
        .description
        .and_then(|description| description.rsplit_once("\n\nResponse "));
    if let Some((description, paragraph)) = paragraph {
        operation.description = Some(description);
        let (status, text) = paragraph.split_once(": ").unwrap_or((paragraph, ""));
        let response = responses
            .iter_mut()
            .find(|response| response.status == status.parse().ok())
            .unwrap_or_else(|| panic!("{id} has no response {status}; correct its paragraph"));
        response.description = text;
    }
    let is_described = |response: &MetaResponse| !response.description.is_empty();
    assert!(
        responses.iter().all(is_described),
        "{id} doesn't describe its response; end its documentation with `Response STATUS: …`"
    );
}
