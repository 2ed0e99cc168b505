//! The baseline: the responses of the server from bare poem-openapi handlers, without middleware,
//! stores, and checks. Only the cost of HTTP remains, so no server of this framework can be faster.
//!
//! `baseline BYTES` listens on a free port of the loopback interface, prints its address, and runs
//! until it is killed. BYTES is the length of an access token, so that a response with tokens is as
//! long as the server's.

use std::{convert::Infallible, io, process::ExitCode, sync::Arc};

use http_body_util::combinators::BoxBody;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use poem::{
    Endpoint, EndpointExt, Request, Response, Route,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use poem_openapi::{ApiResponse, Object, OpenApi, OpenApiService, param::Path, payload::Json};
use time::{OffsetDateTime, macros::datetime};
use tokio::net::{TcpListener, TcpStream};
use uuid::{Uuid, uuid};

/// The server uses the same allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USER_ID: Uuid = uuid!("00000000-0000-7000-8000-100000000001");
const TIMESTAMP: OffsetDateTime = datetime!(2026-11-20 08:00:00.123456 UTC);

const PAGE_SIZE: usize = 20;

#[derive(Object)]
struct User {
    id: Uuid,
    username: Option<String>,
    email: Option<String>,
    email_verified: bool,
    name: Option<String>,
    role: String,
    created_at: OffsetDateTime,
}

#[derive(Object)]
struct Item {
    id: Uuid,
    name: String,
    description: Option<String>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

#[derive(Object)]
struct ItemPage {
    items: Vec<Item>,
    next: Option<String>,
}

#[derive(Object)]
struct NewItem {
    name: String,
    description: Option<String>,
}

#[derive(Object)]
struct RefreshRequest {
    refresh_token: String,
}

#[derive(Object)]
struct TokenResponse {
    access_token: String,
    token_type: String,
    expires_in: u64,
    refresh_token: String,
    refresh_expires_in: u64,
}

#[derive(ApiResponse)]
enum VerifyResponse {
    #[oai(status = 204)]
    NoContent(
        #[oai(header = "X-Auth-User")] String,
        #[oai(header = "X-Auth-Session")] String,
    ),
}

#[derive(ApiResponse)]
enum OkResponse<T: Send + Sync + poem_openapi::types::ToJSON> {
    #[oai(status = 200)]
    Ok(Json<T>),
}

#[derive(ApiResponse)]
enum ItemResponse {
    #[oai(status = 200)]
    Ok(Json<Item>, #[oai(header = "ETag")] String),
}

#[derive(ApiResponse)]
enum CreatedItemResponse {
    #[oai(status = 201)]
    Created(
        Json<Item>,
        #[oai(header = "Location")] String,
        #[oai(header = "ETag")] String,
    ),
}

struct Baseline {
    access_token: String,
}

#[OpenApi]
impl Baseline {
    #[oai(path = "/auth/verify", method = "get")]
    async fn verify(&self) -> VerifyResponse {
        VerifyResponse::NoContent(USER_ID.to_string(), USER_ID.to_string())
    }

    #[oai(path = "/user", method = "get")]
    async fn get_user(&self) -> OkResponse<User> {
        OkResponse::Ok(Json(User {
            id: USER_ID,
            username: Some("user-100000000001".to_owned()),
            email: Some("user-100000000001@example.com".to_owned()),
            email_verified: true,
            name: Some("John Doe".to_owned()),
            role: "user".to_owned(),
            created_at: TIMESTAMP,
        }))
    }

    #[oai(path = "/items/:id", method = "get")]
    async fn get_item(&self, id: Path<Uuid>) -> ItemResponse {
        ItemResponse::Ok(
            Json(build_item(id.0, "Book", Some("A nice book"))),
            "\"1\"".to_owned(),
        )
    }

    #[oai(path = "/items", method = "get")]
    async fn list_items(&self) -> OkResponse<ItemPage> {
        let items = (0..PAGE_SIZE)
            .map(|_| build_item(USER_ID, "Book", Some("A nice book")))
            .collect();
        OkResponse::Ok(Json(ItemPage {
            items,
            next: Some("AAAAAAAAcACQABAAAAABIQ".to_owned()),
        }))
    }

    #[oai(path = "/items", method = "post")]
    async fn create_item(&self, Json(body): Json<NewItem>) -> CreatedItemResponse {
        let item = build_item(USER_ID, &body.name, body.description.as_deref());
        let location = format!("/items/{}", item.id);
        CreatedItemResponse::Created(Json(item), location, "\"1\"".to_owned())
    }

    #[oai(path = "/refresh", method = "post")]
    async fn refresh(&self, Json(body): Json<RefreshRequest>) -> OkResponse<TokenResponse> {
        OkResponse::Ok(Json(TokenResponse {
            access_token: self.access_token.clone(),
            token_type: "bearer".to_owned(),
            expires_in: 900,
            refresh_token: body.refresh_token,
            refresh_expires_in: 604_800,
        }))
    }
}

fn build_item(id: Uuid, name: &str, description: Option<&str>) -> Item {
    let description = description.map(str::to_owned);
    Item {
        id,
        name: name.to_owned(),
        description,
        created_at: TIMESTAMP,
        updated_at: TIMESTAMP,
    }
}

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let Some(bytes) = argument.and_then(|argument| argument.parse().ok()) else {
        return fail("BYTES must be a number; `./dev bench` runs this program");
    };
    match run(bytes) {
        Ok(never) => match never {},
        Err(error) => fail(&format!("can't serve on the loopback interface ({error})")),
    }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// Serves responses with access tokens of this length.
fn run(bytes: usize) -> io::Result<Infallible> {
    let access_token = "x".repeat(bytes);
    let service = OpenApiService::new(Baseline { access_token }, "baseline", "0");
    let endpoint = Arc::new(Route::new().nest("/", service).map_to_response());
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(endpoint))
}

/// Serves connections with hyper directly, because the framework's own server costs more.
async fn serve<E: Endpoint<Output = Response> + 'static>(
    endpoint: Arc<E>,
) -> io::Result<Infallible> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let local = listener.local_addr()?;
    println!("{local}");
    loop {
        let (stream, remote) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve_connection(
            stream,
            LocalAddr(local.into()),
            RemoteAddr(remote.into()),
            endpoint.clone(),
        ));
    }
}

async fn serve_connection<E: Endpoint<Output = Response> + 'static>(
    stream: TcpStream,
    local: LocalAddr,
    remote: RemoteAddr,
    endpoint: Arc<E>,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (endpoint, local, remote) = (endpoint.clone(), local.clone(), remote.clone());
        async move {
            let request = Request::from((request, local, remote, Scheme::HTTP));
            let response = endpoint.get_response(request).await;
            Ok::<_, Infallible>(hyper::Response::<BoxBody<Bytes, io::Error>>::from(response))
        }
    });
    // An error means that the client closed the connection early.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
