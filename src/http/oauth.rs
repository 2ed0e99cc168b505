//! The OAuth face: the same stories under the names, errors and headers of RFC 6749, 7009, 7662 and
//! 8414.

mod asker;
mod metadata;
mod refusal;
mod shapes;

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use super::{
    Tag,
    body::body,
    origin::From,
    problem::{Problem, problems},
};
use crate::{
    domain::{
        scope::Scopes,
        text::{self, Parsed, Reason, Shape},
    },
    error::Error,
    gateway::Gateway,
};
use asker::{Asker, Asking};
use metadata::{MetadataShape, MetadataShown};
use refusal::Refusal;
use shapes::{Introspected, IntrospectionShape, Issued, IssuedShape, Revoked};

body! {
    /// What a token is wanted for (RFC 6749 sections 4.4 and 6). Parameters that are not known are
    /// ignored.
    TokenForm {
        /// `refresh_token` or `client_credentials`.
        grant_type: Required<Word>,
        /// The refresh token, for that grant.
        refresh_token: Optional<TokenText>,
        /// What the token is to be used for; all that may be had, where it does not say.
        scope: Optional<Word>,
        /// Whom a client's token is to be for (RFC 8707); the client's first audience, where it
        /// does not say.
        resource: Optional<Word>,
        /// The client, unless it is in `Authorization`; `latchkey` for what people use themselves.
        client_id: Optional<Word>,
        /// The client's secret, unless it is in `Authorization`.
        client_secret: Optional<Word>,
    }

    /// A token to be taken back (RFC 7009). Parameters that are not known are ignored,
    /// `token_type_hint` among them.
    RevocationForm {
        /// The token: a refresh token, an access token or a personal access token.
        token: Required<TokenText>,
        /// The client, unless it is in `Authorization`.
        client_id: Optional<Word>,
        /// The client's secret, unless it is in `Authorization`.
        client_secret: Optional<Word>,
    }

    /// A token to be looked at (RFC 7662). Parameters that are not known are ignored,
    /// `token_type_hint` among them.
    IntrospectionForm {
        /// The token: an access token or a personal access token.
        token: Required<TokenText>,
        /// The client, unless it is in `Authorization`.
        client_id: Optional<Word>,
        /// The client's secret, unless it is in `Authorization`.
        client_secret: Optional<Word>,
    }
}

/// A parameter as it was sent.
pub struct Word(String);

impl Parsed for Word {
    const SHAPE: Shape = Shape {
        format: None,
        min: 1,
        max: 1024,
        pattern: None,
        example: "client_credentials",
    };

    fn parse(text: &str) -> Result<Self, Reason> {
        text::length(text, Self::SHAPE).map(|()| Word(text.to_owned()))
    }
}

/// A token as it was sent. Whether it is one is not a matter of its form.
pub struct TokenText(String);

impl Parsed for TokenText {
    const SHAPE: Shape = Shape {
        format: None,
        min: 1,
        max: 8192,
        pattern: None,
        example: "eyJ…",
    };

    fn parse(text: &str) -> Result<Self, Reason> {
        text::length(text, Self::SHAPE).map(|()| TokenText(text.to_owned()))
    }
}

impl std::ops::Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// What a token is wanted for: at least one scope (RFC 6749 section 3.3), none of them unknown.
fn wanted_scopes(text: &str) -> Result<Scopes, Refusal> {
    let wanted = text
        .parse::<Scopes>()
        .ok()
        .filter(|scopes| !scopes.is_empty());
    wanted.ok_or_else(Refusal::scope)
}

asker::asking!(TokenForm, RevocationForm, IntrospectionForm);

problems! {
    MetadataProblems: [];
}

/// The operations.
pub struct OAuthApi;

#[OpenApi]
impl OAuthApi {
    /// Have a token
    ///
    /// `refresh_token`: as `POST /refresh`, for what people use themselves (the client `latchkey`,
    /// which has no secret). `client_credentials`: a token that a registered client has for itself;
    /// it has no refresh token. There is no password grant (RFC 9700 section 2.4).
    #[oai(
        path = "/oauth/token",
        method = "post",
        operation_id = "issueToken",
        tag = "Tag::OAuth"
    )]
    async fn token(
        &self,
        gateway: Data<&Arc<Gateway>>,
        From(origin): From,
        asking: Asking<TokenForm>,
    ) -> Result<Issued, Refusal> {
        let Asking { form, asker } = asking;
        let scopes = form.scope.as_deref().map(wanted_scopes).transpose()?;
        match form.grant_type.0.as_str() {
            "refresh_token" => {
                let token = form
                    .refresh_token
                    .ok_or_else(|| Error::flaw("refresh_token", "is missing"))?;
                if let Asker::Client(_) = asker {
                    // No registered client has refresh tokens.
                    return Err(Error::InvalidRefreshToken.into());
                }
                if form
                    .resource
                    .is_some_and(|resource| *resource != *gateway.config().audience())
                {
                    return Err(Refusal::audience());
                }
                let pair = gateway.refresh(&token.0, scopes, &origin).await?;
                Ok(Issued::of(IssuedShape::refreshed(pair)))
            }
            "client_credentials" => {
                let client = asker.client()?;
                let audience = form.resource.as_ref().map(|resource| resource.0.as_str());
                let granted = gateway.grant_to_client(&client, scopes, audience).await?;
                Ok(Issued::of(IssuedShape::granted(granted)))
            }
            _other => Err(Refusal::grant_type()),
        }
    }

    /// Give a token back
    ///
    /// When the answer comes, no replica accepts it any more. A refresh token, or a browser's
    /// cookie, takes its session along, with every access token of it; any other access token, and
    /// a personal one, ends alone. A token that is none is fine, too.
    #[oai(
        path = "/oauth/revoke",
        method = "post",
        operation_id = "revokeToken",
        tag = "Tag::OAuth"
    )]
    async fn revoke(
        &self,
        gateway: Data<&Arc<Gateway>>,
        From(origin): From,
        asking: Asking<RevocationForm>,
    ) -> Result<Revoked, Refusal> {
        let Asking { form, asker } = asking;
        gateway
            .revoke_token(&form.token.0, asker.id(), &origin)
            .await?;
        Ok(Revoked::Gone)
    }

    /// Look at a token
    ///
    /// For registered clients, of tokens for their audiences. What is not good, for whatever
    /// reason, is `{"active": false}` and nothing else; so is a refresh token, which lets no
    /// request pass.
    #[oai(
        path = "/oauth/introspect",
        method = "post",
        operation_id = "introspectToken",
        tag = "Tag::OAuth"
    )]
    async fn introspect(
        &self,
        gateway: Data<&Arc<Gateway>>,
        asking: Asking<IntrospectionForm>,
    ) -> Result<Introspected, Refusal> {
        let Asking { form, asker } = asking;
        let asker = asker.client()?;
        let claims = gateway
            .introspect(&form.token.0, &asker.client.audiences)
            .await?;
        Ok(Introspected::Told(Json(IntrospectionShape::new(
            claims.as_deref(),
        ))))
    }

    /// Metadata of this server
    ///
    /// What there is, for libraries that find out by themselves (RFC 8414).
    #[oai(
        path = "/.well-known/oauth-authorization-server",
        method = "get",
        operation_id = "getServerMetadata",
        tag = "Tag::OAuth"
    )]
    async fn metadata(
        &self,
        gateway: Data<&Arc<Gateway>>,
    ) -> Result<MetadataShown, Problem<MetadataProblems>> {
        let issuer = gateway.config().issuer.as_str();
        Ok(MetadataShown::Shown(
            Json(MetadataShape::of(issuer)),
            metadata::CACHED.to_owned(),
        ))
    }
}
