//! Who is calling: a handler that wants to know says so in its signature.

use std::sync::Arc;

use poem::{Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaOAuthFlow, MetaOAuthFlows, MetaOAuthScope, MetaSecurityScheme, Registry},
};

use crate::{
    domain::{access_token::Claims, account::Role},
    error::Error,
    gateway::Gateway,
};

/// The name of the scheme in the document.
const SCHEME: &str = "session";

/// A signed-in caller: the claims of a token that was good when the request came.
pub struct Caller(pub Claims);

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(SCHEME, scheme());
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SCHEME]
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        let token = bearer(request)?.ok_or(Error::Unauthenticated)?;
        let gateway = request.data::<Arc<Gateway>>().expect("the edge sets it");
        Ok(Caller(gateway.verify(token).await?))
    }
}

/// A caller who administers everybody.
pub struct Admin(pub Claims);

impl<'a> ApiExtractor<'a> for Admin {
    const TYPES: &'static [ApiExtractorType] = Caller::TYPES;
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Caller::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        Caller::security_schemes()
    }

    /// The claims are those of a live token: another role would have ended it.
    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let Caller(claims) = Caller::from_request(request, body, options).await?;
        if claims.roles.contains(&Role::Admin) { Ok(Admin(claims)) } else { Err(Error::Forbidden.into()) }
    }
}

/// OAuth's password flow: Swagger UI's *Authorize* signs in with it, and sends the token as a bearer token.
fn scheme() -> MetaSecurityScheme {
    let scope = |name, description| MetaOAuthScope { name, description: Some(description) };
    let password = MetaOAuthFlow {
        authorization_url: None,
        token_url: Some("/login"),
        refresh_url: None,
        scopes: vec![
            scope("user:read", "Read one's own account"),
            scope("user:write", "Change one's own account"),
            scope("items:read", "Read one's own items"),
            scope("items:write", "Change one's own items"),
            scope("admin", "Administer everybody"),
        ],
    };
    MetaSecurityScheme {
        ty: "oauth2",
        description: Some(
            "Sign in with user name (or address) and password; the access token is sent as `Authorization: Bearer …`.",
        ),
        name: None,
        key_in: None,
        scheme: None,
        bearer_format: None,
        flows: Some(MetaOAuthFlows {
            implicit: None,
            password: Some(password),
            client_credentials: None,
            authorization_code: None,
        }),
        openid_connect_url: None,
    }
}

/// The bearer token of the request (RFC 6750 section 2.1). Another scheme counts as none; two fields are ambiguous.
pub fn bearer(request: &Request) -> Result<Option<&str>, Error> {
    let mut fields = request.headers().get_all(header::AUTHORIZATION).iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(Error::flaw("Authorization", "is there twice"));
    }
    let Some(field) = first else { return Ok(None) };
    let Some((scheme, token)) = field.to_str().ok().and_then(|field| field.split_once(' ')) else { return Ok(None) };
    Ok(scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[&str]) -> Result<Option<String>, Error> {
        let request =
            fields.iter().fold(Request::builder(), |builder, field| builder.header(header::AUTHORIZATION, *field));
        bearer(&request.finish()).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn only_one_bearer_token_counts() {
        assert_eq!(read(&["bEaReR  abc"]).unwrap().as_deref(), Some("abc"));
        assert_eq!(read(&["Basic abc"]).unwrap(), None);
        assert_eq!(read(&["Bearer"]).unwrap(), None);
        assert!(read(&["Bearer a", "Bearer b"]).is_err());
    }
}
