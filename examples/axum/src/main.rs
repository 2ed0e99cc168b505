//! An axum application. Latchkey checks the access token of each request to a protected route.

mod latchkey;

use std::{env, error::Error};

use axum::{Extension, Json, Router, routing::get};
use tokio::net::TcpListener;
use tower_http::auth::AsyncRequireAuthorizationLayer;

use crate::latchkey::{Identity, RequireUser};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let user = RequireUser::new(&setting("AUTH_URL", "http://127.0.0.1:8000"))?;
    let reader = user.clone().with("scope", "items:read");
    let admin = user.clone().with("role", "admin");
    let layer = AsyncRequireAuthorizationLayer::new;
    let app = Router::new()
        .route("/me", get(me).route_layer(layer(user)))
        .route("/items", get(items).route_layer(layer(reader)))
        .route("/admin", get(me).route_layer(layer(admin)));
    let listener = TcpListener::bind(setting("LISTEN", "127.0.0.1:9000")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

fn setting(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

async fn me(Extension(identity): Extension<Identity>) -> Json<Identity> {
    Json(identity)
}

async fn items() -> Json<[&'static str; 2]> {
    Json(["Book", "Lamp"])
}
