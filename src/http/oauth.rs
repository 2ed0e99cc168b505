//! OAuth 2.0 endpoints: the use cases under the names, errors, and headers of RFC 6749, 7009, 7662,
//! and 8414.

mod client_auth;
mod error;
mod metadata;
mod schemas;

use std::sync::Arc;

use latchkey_domain::{
    scope::Scopes,
    text::{self, ParsedText, Rejection, TextRules},
};
use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

pub use crate::http::oauth::error::error_example;
use crate::{
    app::App,
    error::Error,
    http::{
        Tag,
        context::client_address::ClientOrigin,
        oauth::{
            client_auth::{AuthenticatedForm, OAuthClientAuth},
            error::{
                IntrospectTokenErrors, IssueTokenErrors, OAuthError, OperationError,
                RevokeTokenErrors,
            },
            metadata::MetadataSchema,
            schemas::{IntrospectionSchema, IssuedTokenSchema},
        },
        openapi::{
            body::body,
            problem::{Problem, problems},
            responses::{CacheControl, Pragma, WithHeaders},
        },
    },
};

body! {
    /// Token request (RFC 6749 sections 4.4 and 6). Unknown parameters are ignored.
    pub struct IssueTokenRequest {
        /// Grant type: `refresh_token` or `client_credentials`.
        pub grant_type: Required<FormValue>,
        /// Refresh token. Required by the grant `refresh_token`.
        pub refresh_token: Optional<RawToken>,
        /// Requested scopes, separated by spaces. Default: all granted scopes.
        pub scope: Optional<FormValue>,
        /// Audience of the access token (RFC 8707). Default: the first audience of the client. With
        /// the grant `refresh_token`, only the audience of this server is allowed.
        pub resource: Optional<FormValue>,
        /// Client ID, unless it is in `Authorization`; `latchkey` for tokens of users.
        pub client_id: Optional<FormValue>,
        /// Client secret, unless it is in `Authorization`.
        pub client_secret: Optional<FormValue>,
    }

    /// Revocation request (RFC 7009). Unknown parameters are ignored, and so is `token_type_hint`.
    pub struct RevokeTokenRequest {
        /// Refresh token, access token, personal access token, or value of the session cookie.
        pub token: Required<RawToken>,
        /// Client ID, unless it is in `Authorization`.
        pub client_id: Optional<FormValue>,
        /// Client secret, unless it is in `Authorization`.
        pub client_secret: Optional<FormValue>,
    }

    /// Introspection request (RFC 7662). Unknown parameters are ignored, and so is
    /// `token_type_hint`.
    pub struct IntrospectTokenRequest {
        /// Access token or personal access token.
        pub token: Required<RawToken>,
        /// Client ID, unless it is in `Authorization`.
        pub client_id: Optional<FormValue>,
        /// Client secret, unless it is in `Authorization`.
        pub client_secret: Optional<FormValue>,
    }
}

/// A form parameter as sent. Only its length is checked here.
pub struct FormValue(String);

impl ParsedText for FormValue {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 1024,
        pattern: None,
        example: "client_credentials",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES).map(|()| FormValue(text.to_owned()))
    }
}

/// A token as sent. Only its length is checked here; the use cases verify the token.
pub struct RawToken(String);

impl ParsedText for RawToken {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 8192,
        pattern: None,
        example: "eyJhbGciOiJFZERTQSI…",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        text::length(text, Self::RULES).map(|()| RawToken(text.to_owned()))
    }
}

impl std::ops::Deref for FormValue {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Parses the requested scopes: at least one (RFC 6749 section 3.3), and none of them unknown.
fn parse_scopes(text: &str) -> Result<Scopes, OAuthError> {
    let scopes = text
        .parse::<Scopes>()
        .ok()
        .filter(|scopes| !scopes.is_empty());
    scopes.ok_or_else(OAuthError::invalid_scope)
}

client_auth::impl_client_credentials!(
    IssueTokenRequest,
    RevokeTokenRequest,
    IntrospectTokenRequest
);

problems! {
    MetadataProblems: [];
}

type IssuedTokenResponse = WithHeaders<Json<IssuedTokenSchema>, (CacheControl, Pragma)>;

/// Forbids caches to store the token (RFC 6749 section 5.1).
fn issued_token_response(token: IssuedTokenSchema) -> IssuedTokenResponse {
    let no_store = CacheControl("no-store".to_owned());
    WithHeaders(Json(token), (no_store, Pragma("no-cache".to_owned())))
}

pub struct OAuthApi;

#[OpenApi]
impl OAuthApi {
    /// Request an access token
    ///
    /// Token endpoint (RFC 6749 section 3.2) for `client_credentials` and `refresh_token`.
    ///
    /// `client_credentials` returns an access token for a registered client, without a refresh
    /// token. `refresh_token` exchanges a refresh token of a user, as `POST /refresh` does; use the
    /// client ID `latchkey`, which has no secret. There is no password grant (RFC 9700 section
    /// 2.4); users sign in at `POST /login`.
    ///
    /// Response 200: The access token was issued.
    #[oai(
        path = "/oauth/token",
        method = "post",
        operation_id = "issueToken",
        tag = "Tag::OAuth"
    )]
    async fn issue_token(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        request: AuthenticatedForm<IssueTokenRequest>,
    ) -> Result<IssuedTokenResponse, OperationError<IssueTokenErrors>> {
        let AuthenticatedForm { form, client_auth } = request;
        let scopes = form.scope.as_deref().map(parse_scopes).transpose()?;
        match form.grant_type.0.as_str() {
            "refresh_token" => {
                let token = form
                    .refresh_token
                    .ok_or_else(|| Error::invalid_field("refresh_token", "is missing"))?;
                if let OAuthClientAuth::Client(_) = client_auth {
                    // OAuth clients receive no refresh tokens.
                    return Err(Error::InvalidRefreshToken.into());
                }
                if form
                    .resource
                    .is_some_and(|resource| *resource != *app.config.audience())
                {
                    return Err(OAuthError::invalid_target().into());
                }
                let pair = app.sessions.refresh(&token.0, scopes, &origin).await?;
                Ok(issued_token_response(IssuedTokenSchema::for_session(pair)))
            }
            "client_credentials" => {
                let client = client_auth.require_client()?;
                let audience = form.resource.as_ref().map(|resource| resource.0.as_str());
                let issued = app
                    .tokens
                    .issue_client_token(&client, scopes, audience)
                    .await?;
                Ok(issued_token_response(IssuedTokenSchema::for_client(issued)))
            }
            _other => Err(OAuthError::unsupported_grant_type().into()),
        }
    }

    /// Revoke a token
    ///
    /// Revocation endpoint (RFC 7009). Revoking a refresh token or cookie revokes the session;
    /// unknown tokens return 200.
    ///
    /// An access token or a personal access token is revoked individually. Send a user's token
    /// without client authentication; with it, the response is 400 `unauthorized_client`. A
    /// client's token requires the authentication of that client. After 200, every replica rejects
    /// the token.
    ///
    /// Response 200: Every replica rejects the token.
    #[oai(
        path = "/oauth/revoke",
        method = "post",
        operation_id = "revokeToken",
        tag = "Tag::OAuth"
    )]
    async fn revoke_token(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        request: AuthenticatedForm<RevokeTokenRequest>,
    ) -> Result<(), OperationError<RevokeTokenErrors>> {
        let AuthenticatedForm { form, client_auth } = request;
        app.tokens
            .revoke_token(&form.token.0, client_auth.client_id(), &origin)
            .await?;
        Ok(())
    }

    /// Introspect a token
    ///
    /// Introspection endpoint (RFC 7662) for registered clients and their audiences.
    ///
    /// Returns the claims of an access token or personal access token that is valid and has an
    /// audience of the client. For all other tokens, including refresh tokens, the response is
    /// `{"active": false}`.
    ///
    /// Response 200: The state and claims of the token.
    #[oai(
        path = "/oauth/introspect",
        method = "post",
        operation_id = "introspectToken",
        tag = "Tag::OAuth"
    )]
    async fn introspect_token(
        &self,
        app: Data<&Arc<App>>,
        request: AuthenticatedForm<IntrospectTokenRequest>,
    ) -> Result<Json<IntrospectionSchema>, OperationError<IntrospectTokenErrors>> {
        let AuthenticatedForm { form, client_auth } = request;
        let authenticated = client_auth.require_client()?;
        let claims = app
            .tokens
            .introspect(&form.token.0, &authenticated.client.audiences)
            .await?;
        Ok(Json(IntrospectionSchema::new(claims.as_deref())))
    }

    /// Get authorization server metadata
    ///
    /// Returns the metadata of RFC 8414.
    ///
    /// OAuth client libraries use it to find the endpoints of this server.
    ///
    /// Response 200: The metadata of this server.
    #[oai(
        path = "/.well-known/oauth-authorization-server",
        method = "get",
        operation_id = "getAuthorizationServerMetadata",
        tag = "Tag::OAuth"
    )]
    async fn get_metadata(
        &self,
        app: Data<&Arc<App>>,
    ) -> Result<WithHeaders<Json<MetadataSchema>, CacheControl>, Problem<MetadataProblems>> {
        let issuer = app.config.issuer.as_str();
        Ok(WithHeaders(
            Json(MetadataSchema::new(issuer)),
            CacheControl(metadata::CACHE_CONTROL.to_owned()),
        ))
    }
}
