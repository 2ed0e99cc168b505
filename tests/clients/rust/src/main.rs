//! Example for a client generated with openapi-generator: from sign-up to sign-out. The argument is
//! the URL of a server; each completed step is printed. docs/how-to/generate-client.md describes
//! how to generate the client.

use latchkey_client::{
    apis::{
        Error,
        authentication_api::{refresh_tokens, sign_in, sign_out, sign_up},
        configuration::Configuration,
        current_user_api::get_current_user,
        items_sample_api::{create_item, get_item, list_items, update_item},
        sessions_api::{list_sessions, revoke_session},
    },
    models::{
        CreateItemRequest, ErrorCode, ErrorResponse, Item, RefreshTokensRequest, Role,
        SignInRequest, SignUpRequest, TokenPair, UpdateItemRequest,
    },
};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const NAMES: [&str; 5] = ["Book", "Lamp", "Chair", "Table", "Clock"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let url = std::env::args()
        .nth(1)
        .ok_or("the URL of the server is missing")?;
    let public = Configuration {
        base_path: url,
        ..Configuration::default()
    };
    let username = format!("john-{}", Uuid::new_v4().simple());
    let password = Uuid::new_v4().to_string();

    let body = SignUpRequest {
        username: Some(Some(username.clone())),
        ..SignUpRequest::new(password.clone())
    };
    let user = sign_up(&public, body, None).await?.user;
    assert_eq!(
        (user.username.as_deref(), user.role),
        (Some(username.as_str()), Role::User)
    );
    println!("sign up");

    let sign_in_with = async |password: &str| {
        let body = SignInRequest {
            username: Some(Some(username.clone())),
            ..SignInRequest::new(password.to_owned())
        };
        sign_in(&public, body).await
    };
    let tokens = sign_in_with(&password).await?;
    let client = with_token(&public, &tokens);
    expect_error(sign_in_with("wrong").await, ErrorCode::InvalidCredentials);
    println!("sign in");

    let items = create_and_list_items(&client).await?;
    assert_eq!(
        items
            .iter()
            .map(|item| item.name.as_str())
            .collect::<Vec<_>>(),
        NAMES
    );
    println!("pages");

    prevent_lost_update(&client, &items[0].id.to_string()).await?;
    println!("lost update");

    // A refresh token works once. Store the new one.
    let body = RefreshTokensRequest::new(tokens.refresh_token);
    let tokens = refresh_tokens(&public, body).await?;
    let client = with_token(&public, &tokens);
    assert_eq!(
        get_current_user(&client).await?.username.as_deref(),
        Some(username.as_str())
    );
    println!("refresh");

    let phone = with_token(&public, &sign_in_with(&password).await?);
    let sessions = list_sessions(&client, None, None).await?.data;
    assert_eq!(sessions.len(), 3, "one of the sign-up, two of the sign-ins");
    for session in sessions.iter().filter(|session| !session.current) {
        revoke_session(&client, &session.id.to_string(), None, None).await?;
    }
    expect_error(get_current_user(&phone).await, ErrorCode::TokenRevoked);
    println!("sessions");

    sign_out(&client, None, None, None, None).await?;
    expect_error(get_current_user(&client).await, ErrorCode::TokenRevoked);
    println!("sign out");
    Ok(())
}

/// A client that sends the access token of the pair.
fn with_token(public: &Configuration, tokens: &TokenPair) -> Configuration {
    Configuration {
        oauth_access_token: Some(tokens.access_token.clone()),
        ..public.clone()
    }
}

/// Creates items, and lists all of them in pages of two.
async fn create_and_list_items(client: &Configuration) -> Result<Vec<Item>, Failure> {
    for name in NAMES {
        create_item(client, CreateItemRequest::new(name.to_owned()), None).await?;
    }
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let page = list_items(client, Some(2), after.as_deref()).await?;
        items.extend(page.data);
        after = page.next;
        if after.is_none() {
            return Ok(items);
        }
    }
}

/// The second update uses an ETag that the first update has replaced.
async fn prevent_lost_update(client: &Configuration, id: &str) -> Result<(), Failure> {
    let update = async |name: &str, etag: &str| {
        let body = UpdateItemRequest {
            name: Some(name.to_owned()),
            ..UpdateItemRequest::new()
        };
        update_item(client, id, body, Some(etag), None).await
    };
    let etag = get_etag(client, id).await?;
    update("A better book", &etag).await?;
    expect_error(update("Lost", &etag).await, ErrorCode::PreconditionFailed);
    assert_eq!(get_item(client, id).await?.name, "A better book");
    Ok(())
}

/// The generated functions don't return response headers.
async fn get_etag(client: &Configuration, id: &str) -> Result<String, Failure> {
    let request = client
        .client
        .get(format!("{}/items/{id}", client.base_path));
    let token = client.oauth_access_token.as_deref().unwrap_or_default();
    let response = request
        .bearer_auth(token)
        .send()
        .await?
        .error_for_status()?;
    Ok(response.headers()["etag"].to_str()?.to_owned())
}

/// Every error has a code from a closed list. The generated errors have one variant per status with
/// the same body, so read the error from the response body.
fn expect_error<T: std::fmt::Debug, E: std::fmt::Debug>(
    result: Result<T, Error<E>>,
    code: ErrorCode,
) {
    let Err(Error::ResponseError(response)) = result else {
        panic!("expected {code:?}, got {result:?}")
    };
    let error: ErrorResponse = serde_json::from_str(&response.content).expect("an error response");
    assert_eq!(error.code, code, "{}", error.detail);
}
