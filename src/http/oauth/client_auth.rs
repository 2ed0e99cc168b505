//! Client authentication of the OAuth 2.0 endpoints (RFC 6749 section 2.3.1).
//!
//! A registered client sends its secret in `Authorization: Basic` or in the form. The first-party
//! client of users has no secret.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use latchkey_domain::session::FIRST_PARTY_CLIENT;
use poem::{FromRequest, Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaRequest, Registry},
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    app::{App, origin::Origin, tokens::client_credentials::AuthenticatedClient},
    error::Error,
    http::{
        context::client_address::ClientOrigin,
        oauth::error::OAuthError,
        openapi::body::{self, Content, Fields},
    },
};

/// Result of the client authentication.
pub enum OAuthClientAuth {
    /// The first-party client of users, which has no secret. A missing client ID means this client.
    FirstParty,
    /// A registered client with a valid secret.
    Client(Box<AuthenticatedClient>),
}

impl OAuthClientAuth {
    /// Returns the registered client.
    ///
    /// # Errors
    /// `invalid_client` for the first-party client.
    pub fn require_client(self) -> Result<Box<AuthenticatedClient>, OAuthError> {
        match self {
            OAuthClientAuth::Client(client) => Ok(client),
            OAuthClientAuth::FirstParty => Err(OAuthError::invalid_client()),
        }
    }

    /// Returns the client ID of the registered client.
    pub fn client_id(&self) -> Option<Uuid> {
        match self {
            OAuthClientAuth::Client(authenticated) => Some(authenticated.client.id),
            OAuthClientAuth::FirstParty => None,
        }
    }
}

/// A form, and the client that sent it.
pub struct AuthenticatedForm<T> {
    pub form: T,
    pub client_auth: OAuthClientAuth,
}

/// A form that can contain client credentials.
pub trait ClientCredentials {
    /// Returns `client_id` and `client_secret`.
    fn client_credentials(&self) -> (Option<&str>, Option<&str>);
}

/// Implements [`ClientCredentials`] for forms with the fields `client_id` and `client_secret`.
macro_rules! impl_client_credentials {
    ($($form:ident),*) => {$(
        impl $crate::http::oauth::client_auth::ClientCredentials for $form {
            fn client_credentials(&self) -> (Option<&str>, Option<&str>) {
                (self.client_id.as_deref(), self.client_secret.as_deref())
            }
        }
    )*};
}
pub(super) use impl_client_credentials;

impl<'a, T: Content + ClientCredentials + 'static> ApiExtractor<'a> for AuthenticatedForm<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        body::register::<T>(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![body::meta::<T>(body::FORM)],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let form: T = read_form(request, body).await.map_err(OAuthError::from)?;
        let ClientOrigin(origin) =
            <ClientOrigin as FromRequest>::from_request(request, body).await?;
        let client_auth = authenticate(request, form.client_credentials(), &origin).await?;
        Ok(AuthenticatedForm { form, client_auth })
    }
}

async fn read_form<T: Content>(request: &Request, body: &mut RequestBody) -> Result<T, Error> {
    let bytes = body::read(request, body).await?;
    match body::media_type(request).as_str() {
        body::FORM => body::parse_known(Fields::from_form(&bytes)?),
        _other => Err(Error::UnsupportedMediaType(
            "`application/x-www-form-urlencoded`",
        )),
    }
}

async fn authenticate(
    request: &Request,
    (id, secret): (Option<&str>, Option<&str>),
    origin: &Origin,
) -> Result<OAuthClientAuth, OAuthError> {
    let app: &Arc<App> = request.data().expect("the request middleware sets it");
    let basic = basic_credentials(request)?;
    let (id, secret) = match &basic {
        None => (id, secret),
        Some(_) if secret.is_some() => {
            return Err(Error::invalid_field(
                "client_secret",
                "can't be combined with `Authorization`",
            )
            .into());
        }
        Some((basic_id, _)) if id.is_some_and(|id| id != basic_id) => {
            return Err(Error::invalid_field(
                "client_id",
                "differs from the client ID in `Authorization`",
            )
            .into());
        }
        Some((id, secret)) => (
            Some(id.as_str()),
            Some(secret.expose_secret()).filter(|secret| !secret.is_empty()),
        ),
    };
    match (id, secret) {
        (None | Some(FIRST_PARTY_CLIENT), None) => Ok(OAuthClientAuth::FirstParty),
        (Some(id), Some(secret)) => match app
            .oauth_clients
            .authenticate_client(id, secret, origin)
            .await?
        {
            Some(client) => Ok(OAuthClientAuth::Client(Box::new(client))),
            None => Err(OAuthError::invalid_client()),
        },
        (Some(_), None) | (None, Some(_)) => Err(OAuthError::invalid_client()),
    }
}

/// Returns the client ID and the secret in `Authorization: Basic` (RFC 6749 section 2.3.1).
///
/// If both are empty, the header counts as absent, because Swagger UI sends it for empty fields.
fn basic_credentials(request: &Request) -> Result<Option<(String, SecretString)>, OAuthError> {
    let mut fields = request.headers().get_all(header::AUTHORIZATION).iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(Error::invalid_field("Authorization", "is duplicated").into());
    }
    let Some(field) = first else { return Ok(None) };
    let pair = field
        .to_str()
        .ok()
        .and_then(parse_basic)
        .ok_or_else(OAuthError::invalid_client)?;
    Ok(Some(pair).filter(|(id, secret)| !id.is_empty() || !secret.expose_secret().is_empty()))
}

/// Decodes the client ID and the secret. Both are form-encoded before they are joined.
fn parse_basic(field: &str) -> Option<(String, SecretString)> {
    let (scheme, encoded) = field.split_once(' ')?;
    let decoded = STANDARD
        .decode(encoded.trim_matches(' '))
        .ok()
        .filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = Zeroizing::new(String::from_utf8(decoded).ok()?);
    let (id, secret) = decoded.split_once(':')?;
    // Copied, because a conversion of the text itself could leave a part of it in memory.
    let secret = Zeroizing::new(decode_form_value(secret)).as_str().into();
    Some((decode_form_value(id), secret))
}

fn decode_form_value(text: &str) -> String {
    // The text is parsed as the value of a pair, so `=` and `&` in it must be escaped.
    let escaped = Zeroizing::new(text.replace('=', "%3D").replace('&', "%26"));
    form_urlencoded::parse(Zeroizing::new(format!("={}", *escaped)).as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(text: &str) -> Option<(String, String)> {
        parse_basic(&format!("Basic {}", STANDARD.encode(text)))
            .map(|(id, secret)| (id, secret.expose_secret().to_owned()))
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        assert_eq!(
            credentials("a%3Ab:c+d%25"),
            Some(("a:b".into(), "c d%".into()))
        );
        assert_eq!(
            credentials("a:b:c&d=e"),
            Some(("a".into(), "b:c&d=e".into()))
        );
        assert_eq!(credentials(":"), Some((String::new(), String::new())));
        assert_eq!(credentials("a"), None);
        assert!(parse_basic("Bearer abc").is_none());
    }
}
