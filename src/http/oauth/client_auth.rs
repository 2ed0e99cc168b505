//! Who asks for a token, takes one back or looks at one: a registered client, which proves it with
//! its secret (RFC 6749 section 2.3.1: in `Authorization: Basic`, or in the form), or what people
//! use themselves, which has none.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use latchkey_domain::session::FIRST_PARTY_CLIENT;
use poem::{FromRequest, Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaRequest, Registry},
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    app::{AuthenticatedClient, Gateway, Origin},
    error::Error,
    http::{
        middleware::client_address::ClientOrigin,
        oauth::error::Refusal,
        openapi::body::{self, Content, Fields},
    },
};

/// Whoever asks.
pub enum OAuthClientAuth {
    /// A person, or what a person uses.
    Person,
    /// A registered client, which has proved that it is itself.
    Client(Box<AuthenticatedClient>),
}

impl OAuthClientAuth {
    /// The client, where only one may ask.
    pub fn client(self) -> Result<Box<AuthenticatedClient>, Refusal> {
        match self {
            OAuthClientAuth::Client(client) => Ok(client),
            OAuthClientAuth::Person => Err(Refusal::client()),
        }
    }

    /// The client's id.
    pub fn id(&self) -> Option<Uuid> {
        match self {
            OAuthClientAuth::Client(proved) => Some(proved.client.id),
            OAuthClientAuth::Person => None,
        }
    }
}

/// A form, and who sent it.
pub struct AuthenticatedForm<T> {
    /// The form.
    pub form: T,
    /// Who sent it.
    pub asker: OAuthClientAuth,
}

/// A form that may say who sends it.
pub trait ClientCredentials {
    /// `client_id` and `client_secret`.
    fn client(&self) -> (Option<&str>, Option<&str>);
}

macro_rules! asking {
    ($($form:ident),*) => {$(
        impl $crate::http::oauth::client_auth::ClientCredentials for $form {
            fn client(&self) -> (Option<&str>, Option<&str>) {
                (self.client_id.as_deref(), self.client_secret.as_deref())
            }
        }
    )*};
}
pub(super) use asking;

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
        let form: T = read(request, body).await.map_err(Refusal::from)?;
        let ClientOrigin(origin) =
            <ClientOrigin as FromRequest>::from_request(request, body).await?;
        let asker = prove(request, form.client(), &origin).await?;
        Ok(AuthenticatedForm { form, asker })
    }
}

async fn read<T: Content>(request: &Request, body: &mut RequestBody) -> Result<T, Error> {
    let bytes = body::read(request, body).await?;
    match body::media_type(request).as_str() {
        body::FORM => body::parse_known(Fields::from_form(&bytes)?),
        _other => Err(Error::UnsupportedMediaType(
            "`application/x-www-form-urlencoded`",
        )),
    }
}

async fn prove(
    request: &Request,
    (id, secret): (Option<&str>, Option<&str>),
    origin: &Origin,
) -> Result<OAuthClientAuth, Refusal> {
    let gateway: &Arc<Gateway> = request.data().expect("the edge sets it");
    let basic = basic(request)?;
    let (id, secret) = match &basic {
        None => (id, secret),
        Some(_) if secret.is_some() => {
            return Err(Error::invalid_field(
                "client_secret",
                "can't be combined with `Authorization`",
            )
            .into());
        }
        Some((named, _)) if id.is_some_and(|id| id != named) => {
            return Err(Error::invalid_field(
                "client_id",
                "differs from the client ID in `Authorization`",
            )
            .into());
        }
        Some((id, secret)) => (
            Some(id.as_str()),
            Some(secret.as_str()).filter(|secret| !secret.is_empty()),
        ),
    };
    match (id, secret) {
        (None | Some(FIRST_PARTY_CLIENT), None) => Ok(OAuthClientAuth::Person),
        (Some(id), Some(secret)) => match gateway.authenticate_client(id, secret, origin).await? {
            Some(client) => Ok(OAuthClientAuth::Client(Box::new(client))),
            None => Err(Refusal::client()),
        },
        (Some(_), None) | (None, Some(_)) => Err(Refusal::client()),
    }
}

/// Id and secret of `Authorization: Basic`, each of them form-encoded in there (RFC 6749 section
/// 2.3.1). One of which nothing is filled in is none: Swagger UI sends it.
fn basic(request: &Request) -> Result<Option<(String, Zeroizing<String>)>, Refusal> {
    let mut fields = request.headers().get_all(header::AUTHORIZATION).iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(Error::invalid_field("Authorization", "is duplicated").into());
    }
    let Some(field) = first else { return Ok(None) };
    let pair = field
        .to_str()
        .ok()
        .and_then(read_basic)
        .ok_or_else(Refusal::client)?;
    Ok(Some(pair).filter(|(id, secret)| !id.is_empty() || !secret.is_empty()))
}

fn read_basic(field: &str) -> Option<(String, Zeroizing<String>)> {
    let (scheme, encoded) = field.split_once(' ')?;
    let decoded = STANDARD
        .decode(encoded.trim_matches(' '))
        .ok()
        .filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = Zeroizing::new(String::from_utf8(decoded).ok()?);
    let (id, secret) = decoded.split_once(':')?;
    Some((form_decoded(id), Zeroizing::new(form_decoded(secret))))
}

fn form_decoded(text: &str) -> String {
    // As a value without a name, in which `=` and `&` stand for nothing.
    let escaped = text.replace('=', "%3D").replace('&', "%26");
    form_urlencoded::parse(format!("={escaped}").as_bytes())
        .map(|(_, value)| value.into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, String)> {
        read_basic(&format!("Basic {}", STANDARD.encode(text)))
            .map(|(id, secret)| (id, secret.to_string()))
    }

    #[test]
    fn id_and_secret_are_form_encoded() {
        assert_eq!(read("a%3Ab:c+d%25"), Some(("a:b".into(), "c d%".into())));
        assert_eq!(read("a:b:c&d=e"), Some(("a".into(), "b:c&d=e".into())));
        assert_eq!(read(":"), Some((String::new(), String::new())));
        assert_eq!(read("a"), None);
        assert!(read_basic("Bearer abc").is_none());
    }
}
