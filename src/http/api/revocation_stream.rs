//! Revocations as a stream of server-sent events (HTML standard, section "Server-sent events").

mod events;

use std::sync::Arc;

use futures_util::stream;
use latchkey_domain::{
    access_token::Holder, account::Role, revocation::lease::LogPosition, scope::Scope,
};
use poem::{Body, IntoResponse, Request, Response, web::Data};
use poem_openapi::{
    ApiResponse, OpenApi,
    registry::{MetaMediaType, MetaParamIn, MetaResponse, MetaResponses, MetaSchema, Registry},
    types::Type,
};

pub use crate::http::api::revocation_stream::events::example;
use crate::{
    app::{App, revocation::Subscription},
    error::Error,
    http::{
        Tag,
        api::revocation_stream::events::{
            RevocationStreamEventSchema, example_position, write_event,
        },
        auth::caller::{
            BEARER, CLIENT_CREDENTIALS, COOKIE, PASSWORD, PresentedToken, Token, admin_required,
            authenticate, require_scope,
        },
        openapi::{
            params::{Param, Parameter},
            problem::{Problem, problems},
            security::{Credential, Requirement, credential_extractors},
        },
    },
};

/// Media type of server-sent events.
pub const MEDIA_TYPE: &str = "text/event-stream";

/// Reconnection delay of clients in milliseconds.
///
/// A client must consider its list outdated after three seconds without an event, so it has to
/// reconnect earlier.
const RECONNECT_DELAY_MS: u32 = 1000;

problems! {
    StreamProblems: [CALLER];
}

/// Access token of an administrator, or of an OAuth client with the scope `revocations:read`.
///
/// The stream keeps the token, because it verifies the token again before each batch.
pub struct RevocationSubscriber(String);

credential_extractors!(RevocationSubscriber);

impl Credential for RevocationSubscriber {
    const REQUIREMENTS: &'static [Requirement] = &[
        Requirement::scheme(BEARER),
        Requirement::scope(PASSWORD, Scope::Admin),
        Requirement::scope(CLIENT_CREDENTIALS, Scope::RevocationsRead),
        Requirement::scheme(COOKIE),
    ];

    async fn extract(request: &Request) -> Result<Self, Error> {
        let claims = authenticate(request).await?;
        let required_scope = match claims.holder() {
            Holder::Client => Scope::RevocationsRead,
            _user if claims.roles.contains(&Role::Admin) => Scope::Admin,
            _user => return Err(admin_required()),
        };
        require_scope(&claims, required_scope)?;
        match PresentedToken::extract(request).await? {
            PresentedToken(Some(Token::Bearer(token) | Token::Cookie(token))) => {
                Ok(RevocationSubscriber(token))
            }
            PresentedToken(None) => Err(Error::Unauthenticated),
        }
    }
}

/// Log position of the last event that the client received. An invalid value starts a snapshot.
pub struct LastEventId(Option<LogPosition<String>>);

impl Parameter for LastEventId {
    const IN: MetaParamIn = MetaParamIn::Header;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        let example = example_position().to_string();
        MetaSchema {
            example: Some(example.into()),
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, _: &'static str) -> Result<Self, Error> {
        Ok(LastEventId(text.and_then(|text| text.parse().ok())))
    }
}

/// Streams batches of events until the subscription ends or the client disconnects.
struct RevocationStreamResponse(Subscription);

impl IntoResponse for RevocationStreamResponse {
    fn into_response(self) -> Response {
        let batches = stream::unfold(
            (self.0, format!("retry: {RECONNECT_DELAY_MS}\n\n")),
            |(mut subscription, mut text)| async move {
                subscription
                    .next()
                    .await?
                    .iter()
                    .for_each(|event| write_event(&mut text, event));
                Some((Ok::<_, std::io::Error>(text), (subscription, String::new())))
            },
        );
        Response::builder()
            .content_type(MEDIA_TYPE)
            // nginx buffers responses by default, which would delay events.
            .header("x-accel-buffering", "no")
            .body(Body::from_bytes_stream(batches))
    }
}

impl ApiResponse for RevocationStreamResponse {
    /// Describes the data of one event. `src/http/document/events.rs` lists the events by name.
    fn meta() -> MetaResponses {
        let response = MetaResponse {
            description: "Server-sent events until the client disconnects or its token is invalid.",
            status: Some(200),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: MEDIA_TYPE,
                schema: RevocationStreamEventSchema::schema_ref(),
            }],
            headers: Vec::new(),
        };
        MetaResponses {
            responses: vec![response],
        }
    }

    fn register(registry: &mut Registry) {
        RevocationStreamEventSchema::register(registry);
    }
}

pub struct RevocationStreamApi;

#[OpenApi]
impl RevocationStreamApi {
    /// Stream revocations
    ///
    /// Server-sent events for services that validate tokens locally, or that hold connections open
    /// longer than a token lives. Requires an administrator, or an OAuth client with the scope
    /// `revocations:read` and a token for the audience of this server (`LATCHKEY_AUDIENCE`).
    ///
    /// Without a valid `Last-Event-ID`, the stream sends `snapshot`, then every revocation in force
    /// as `revoked`, and then `synced`. From then on it sends each new revocation as `revoked`, and
    /// `heartbeat` once per second. A `heartbeat` confirms that the stream contains all revocations
    /// up to one lease ago (`LATCHKEY_LEASE`, 250 ms by default). Consider the list current for
    /// three seconds after a `heartbeat`.
    ///
    /// A `revoked` event matches a token by the claim `sid` (`session`), `jti` (`token`), or the
    /// header `kid` (`key`). A `user` or `client` event matches the claim `sub` if the claim
    /// `generation` is lower than `min_generation`. The extension `x-events` of the response
    /// contains the schema of each event.
    ///
    /// Revocations might be missing after `snapshot`, after `degraded`, after three seconds without
    /// an event, and after the stream closes. Until the next `heartbeat`, introspect each token
    /// (`POST /oauth/introspect`), or reject it. If `previous_sequence` is larger than the
    /// `sequence` of every `snapshot`, `synced`, and `revoked` event since the last `snapshot`, an
    /// event is missing: close the stream, and reconnect without `Last-Event-ID`. Keep each entry
    /// until its `expires_at` time, also if another `snapshot` arrives.
    ///
    /// The server closes the stream when the token expires or is revoked, when the client doesn't
    /// read for ten seconds, and when the replica stops. Send `Last-Event-ID` to resume; if the
    /// position is still available, no `snapshot` is sent.
    #[oai(
        path = "/revocations",
        method = "get",
        operation_id = "streamRevocations",
        tag = "Tag::ForwardAuthentication"
    )]
    async fn stream_revocations(
        &self,
        app: Data<&Arc<App>>,
        RevocationSubscriber(token): RevocationSubscriber,
        /// `id` of the last event received. An unknown value starts with a snapshot.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Param<LastEventId>,
    ) -> Result<RevocationStreamResponse, Problem<StreamProblems>> {
        let Param(LastEventId(position)) = last_event_id;
        Ok(RevocationStreamResponse(
            app.tokens.subscribe_to_revocations(token, position)?,
        ))
    }
}
