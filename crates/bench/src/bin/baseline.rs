//! The baseline: the responses of the server from bare poem-openapi handlers, without middleware,
//! stores, and checks. Only the cost of HTTP remains, so no server of this framework can be faster.
//!
//! `baseline BYTES` listens on a free port of the loopback interface, prints its address, and runs
//! until it is killed. BYTES is the length of an access token, so that a response with tokens is as
//! long as the server's.

use std::{convert::Infallible, io, sync::Arc};

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

/// The same as the gateway's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SOMEBODY: Uuid = uuid!("00000000-0000-7000-8000-100000000001");
const SOME_TIME: OffsetDateTime = datetime!(2026-11-20 08:00:00.123456 UTC);

/// The items of one page.
const PAGE: usize = 20;

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
struct Exchange {
    refresh_token: String,
}

#[derive(Object)]
struct Pair {
    access_token: String,
    token_type: String,
    expires_in: u64,
    refresh_token: String,
    refresh_expires_in: u64,
}

#[derive(ApiResponse)]
enum Verified {
    #[oai(status = 204)]
    Passes(
        #[oai(header = "X-Auth-User")] String,
        #[oai(header = "X-Auth-Session")] String,
    ),
}

#[derive(ApiResponse)]
enum Shown<T: Send + Sync + poem_openapi::types::ToJSON> {
    #[oai(status = 200)]
    Plain(Json<T>),
}

#[derive(ApiResponse)]
enum ItemShown {
    #[oai(status = 200)]
    Shown(Json<Item>, #[oai(header = "ETag")] String),
}

#[derive(ApiResponse)]
enum ItemMade {
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
    async fn verify(&self) -> Verified {
        Verified::Passes(SOMEBODY.to_string(), SOMEBODY.to_string())
    }

    #[oai(path = "/user", method = "get")]
    async fn user(&self) -> Shown<User> {
        Shown::Plain(Json(User {
            id: SOMEBODY,
            username: Some("user-100000000001".to_owned()),
            email: Some("user-100000000001@example.com".to_owned()),
            email_verified: true,
            name: Some("John Doe".to_owned()),
            role: "user".to_owned(),
            created_at: SOME_TIME,
        }))
    }

    #[oai(path = "/items/:id", method = "get")]
    async fn show(&self, id: Path<Uuid>) -> ItemShown {
        ItemShown::Shown(
            Json(item(id.0, "Book", Some("A nice book"))),
            "\"1\"".to_owned(),
        )
    }

    #[oai(path = "/items", method = "get")]
    async fn list(&self) -> Shown<ItemPage> {
        let items = (0..PAGE)
            .map(|_| item(SOMEBODY, "Book", Some("A nice book")))
            .collect();
        Shown::Plain(Json(ItemPage {
            items,
            next: Some("AAAAAAAAcACQABAAAAABIQ".to_owned()),
        }))
    }

    #[oai(path = "/items", method = "post")]
    async fn create(&self, Json(body): Json<NewItem>) -> ItemMade {
        let item = item(SOMEBODY, &body.name, body.description.as_deref());
        let location = format!("/items/{}", item.id);
        ItemMade::Created(Json(item), location, "\"1\"".to_owned())
    }

    #[oai(path = "/refresh", method = "post")]
    async fn refresh(&self, Json(body): Json<Exchange>) -> Shown<Pair> {
        Shown::Plain(Json(Pair {
            access_token: self.access_token.clone(),
            token_type: "bearer".to_owned(),
            expires_in: 900,
            refresh_token: body.refresh_token,
            refresh_expires_in: 604_800,
        }))
    }
}

fn item(id: Uuid, name: &str, description: Option<&str>) -> Item {
    let description = description.map(str::to_owned);
    Item {
        id,
        name: name.to_owned(),
        description,
        created_at: SOME_TIME,
        updated_at: SOME_TIME,
    }
}

fn main() -> io::Result<()> {
    let Some(bytes) = std::env::args()
        .nth(1)
        .and_then(|argument| argument.parse().ok())
    else {
        eprintln!("error: this program is part of `./dev bench`");
        return Ok(());
    };
    let access_token = "x".repeat(bytes);
    let service = OpenApiService::new(Baseline { access_token }, "baseline", "0");
    let endpoint = Arc::new(Route::new().nest("/", service).map_to_response());
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(endpoint))
}

/// Without the framework's own server, which costs more than hyper below it.
async fn serve<E: Endpoint<Output = Response> + 'static>(endpoint: Arc<E>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let local = listener.local_addr()?;
    println!("{local}");
    loop {
        let (stream, remote) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(converse(
            stream,
            LocalAddr(local.into()),
            RemoteAddr(remote.into()),
            endpoint.clone(),
        ));
    }
}

async fn converse<E: Endpoint<Output = Response> + 'static>(
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
    // An error is a client that broke off.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
