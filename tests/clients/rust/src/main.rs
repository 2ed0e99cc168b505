//! A client from openapi-generator: an account's whole life. The address of a gateway is its
//! argument; each step that was completed is told on standard output. How the client is made:
//! README.md, "Generate a client".

use latchkey_client::{
    apis::{
        Error,
        account_api::{end_session, get_user, list_sessions},
        configuration::Configuration,
        items_api::{create_item, get_item, list_items, update_item},
        signing_in_api::{log_in, log_out, refresh, sign_up},
    },
    models::{
        Item, ItemBody, ItemPatchBody, LoginBody, Problem, ProblemCode, RefreshBody, Role,
        SignUpBody, TokenPair,
    },
};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const NAMES: [&str; 5] = ["Book", "Lamp", "Chair", "Table", "Clock"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let address = std::env::args()
        .nth(1)
        .ok_or("the address of a gateway is missing")?;
    let anybody = Configuration {
        base_path: address,
        ..Configuration::default()
    };
    let username = format!("john-{}", Uuid::new_v4().simple());
    let password = Uuid::new_v4().to_string();

    let body = SignUpBody {
        username: Some(Some(username.clone())),
        ..SignUpBody::new(password.clone())
    };
    let user = sign_up(&anybody, body, None).await?.user;
    assert_eq!(
        (user.username.as_deref(), user.role),
        (Some(username.as_str()), Role::User)
    );
    println!("sign up");

    let sign_in = async |password: &str| {
        let body = LoginBody {
            username: Some(Some(username.clone())),
            ..LoginBody::new(password.to_owned())
        };
        log_in(&anybody, body).await
    };
    let pair = sign_in(&password).await?;
    let client = signed_in(&anybody, &pair);
    refused(sign_in("wrong").await, ProblemCode::InvalidCredentials);
    println!("sign in");

    let items = pages(&client).await?;
    assert_eq!(
        items
            .iter()
            .map(|item| item.name.as_str())
            .collect::<Vec<_>>(),
        NAMES
    );
    println!("pages");

    lost_update(&client, &items[0].id.to_string()).await?;
    println!("lost update");

    // Once: whoever comes with it again later has stolen it.
    let client = signed_in(
        &anybody,
        &refresh(&anybody, RefreshBody::new(pair.refresh_token)).await?,
    );
    assert_eq!(
        get_user(&client).await?.username.as_deref(),
        Some(username.as_str())
    );
    println!("refresh");

    let phone = signed_in(&anybody, &sign_in(&password).await?);
    let devices = list_sessions(&client, None, None).await?.items;
    assert_eq!(devices.len(), 3, "of the sign-up, and two of the sign-in");
    for device in devices.iter().filter(|device| !device.current) {
        end_session(&client, &device.id.to_string(), None, None).await?;
    }
    refused(get_user(&phone).await, ProblemCode::TokenRevoked);
    println!("devices");

    log_out(&client, None, None, None, None).await?;
    refused(get_user(&client).await, ProblemCode::TokenRevoked);
    println!("sign out");
    Ok(())
}

/// A client that sends the access token of this pair.
fn signed_in(anybody: &Configuration, pair: &TokenPair) -> Configuration {
    Configuration {
        oauth_access_token: Some(pair.access_token.clone()),
        ..anybody.clone()
    }
}

/// Makes some items, and reads all of them in pages of two.
async fn pages(client: &Configuration) -> Result<Vec<Item>, Failure> {
    for name in NAMES {
        create_item(client, ItemBody::new(name.to_owned()), None).await?;
    }
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let page = list_items(client, Some(2), after.as_deref()).await?;
        items.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(items);
        }
    }
}

/// Two people change what both have read: the second one is told.
async fn lost_update(client: &Configuration, id: &str) -> Result<(), Failure> {
    let change = async |name: &str, etag: &str| {
        let body = ItemPatchBody {
            name: Some(name.to_owned()),
            ..ItemPatchBody::new()
        };
        update_item(client, id, body, Some(etag), None).await
    };
    let etag = etag(client, id).await?;
    change("A better book", &etag).await?;
    refused(change("Lost", &etag).await, ProblemCode::PreconditionFailed);
    assert_eq!(get_item(client, id).await?.name, "A better book");
    Ok(())
}

/// The generated functions keep the headers of answers to themselves.
async fn etag(client: &Configuration, id: &str) -> Result<String, Failure> {
    let request = client
        .client
        .get(format!("{}/items/{id}", client.base_path));
    let token = client.oauth_access_token.as_deref().unwrap_or_default();
    let answer = request
        .bearer_auth(token)
        .send()
        .await?
        .error_for_status()?;
    Ok(answer.headers()["etag"].to_str()?.to_owned())
}

/// Each refusal is a problem with a code of a closed list. The generated errors have a variant for
/// each status, all of them with the same problem in it: read it from the body instead.
fn refused<T: std::fmt::Debug, E: std::fmt::Debug>(answer: Result<T, Error<E>>, code: ProblemCode) {
    let Err(Error::ResponseError(refusal)) = answer else {
        panic!("{code:?} was expected, not {answer:?}")
    };
    let problem: Problem = serde_json::from_str(&refusal.content).expect("a problem");
    assert_eq!(problem.code, code, "{}", problem.detail);
}
