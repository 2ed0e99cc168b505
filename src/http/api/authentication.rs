//! Sign-in, token refresh, and sign-out.

use std::sync::Arc;

use latchkey_domain::{
    account::SignInName,
    password::Password,
    scope::{Scope, Scopes},
    text::{ParsedText, Rejection, TextRules},
};
use poem::{Request, web::Data};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, OpenApi,
    payload::Json,
    registry::{MetaRequest, Registry},
};

use crate::{
    app::{App, revocation::WaitFor, sessions::sign_out::SessionCredential},
    error::Error,
    http::{
        Tag,
        api::{responses::RevocationResponse, schemas::TokenPairSchema},
        auth::{
            caller::{PresentedToken, Token, require_scope},
            cookie::SessionCookie,
        },
        context::client_address::ClientOrigin,
        openapi::{
            body::{self, Body, Fields, OptionalBody, body},
            params::{Param, SignOutScope},
            problem::{Problem, problems},
        },
    },
};

body! {
    /// Sign-in: either `username` or `email`. Each of them accepts a username or an email address.
    pub struct SignInRequest {
        /// Username or email address. Can't be combined with `email`.
        pub username: Optional<SignInName>,
        /// Email address or username. Can't be combined with `username`.
        pub email: Optional<SignInName>,
        /// Password.
        pub password: Required<Password>,
    }

    /// Sign-in as the form of OAuth 2.0's password grant (RFC 6749 section 4.3.2). `grant_type`,
    /// `client_id`, and `client_secret` are ignored.
    pub struct SignInForm {
        /// Username or email address. Can't be combined with `email`.
        pub username: Optional<SignInName>,
        /// Email address or username. Can't be combined with `username`.
        pub email: Optional<SignInName>,
        /// Password.
        pub password: Required<Password>,
        /// Requested scopes, separated by spaces. Scopes that the role of the user doesn't allow
        /// are omitted without an error. Default: all scopes of the user.
        pub scope: Optional<Scopes>,
    }

    /// Refresh token to exchange.
    pub struct RefreshTokensRequest {
        /// Refresh token.
        pub refresh_token: Required<RefreshTokenText>,
    }

    /// Session to revoke in addition to that of the access token or session cookie, if any.
    pub struct SignOutRequest {
        /// Refresh token of the session.
        pub refresh_token: Optional<RefreshTokenText>,
    }
}

/// A refresh token as sent. Only its length is checked here; the use case verifies the token.
pub struct RefreshTokenText(String);

impl ParsedText for RefreshTokenText {
    const RULES: TextRules = TextRules {
        format: None,
        min: 1,
        max: 1024,
        pattern: None,
        example: "lkr_7Zk2vQx9TnB4…",
    };

    fn parse(text: &str) -> Result<Self, Rejection> {
        latchkey_domain::text::length(text, Self::RULES).map(|()| RefreshTokenText(text.to_owned()))
    }
}

problems! {
    SignInProblems: [BODY] InvalidCredentials TooManyRequests;
    RefreshProblems: [BODY] InvalidRefreshToken RefreshTokenReused TooManyRequests;
    SignOutProblems: [BODY, CALLER] InvalidRefreshToken;
}

/// Credentials of a sign-in, sent as JSON or as a form.
pub struct SignInCredentials {
    /// Username or email address.
    pub name: SignInName,
    pub password: Password,
    /// Requested scopes; `None` requests all scopes of the user.
    pub scopes: Option<Scopes>,
}

impl<'a> ApiExtractor<'a> for SignInCredentials {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        body::register::<SignInRequest>(registry);
        body::register::<SignInForm>(registry);
    }

    /// Each media type has its own schema, because client generators confuse types that share one.
    fn request_meta() -> Option<MetaRequest> {
        let content = vec![
            body::meta::<SignInForm>(body::FORM),
            body::meta::<SignInRequest>(body::JSON),
        ];
        Some(MetaRequest {
            description: None,
            content,
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut poem::RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = body::read(request, body).await?;
        match body::media_type(request).as_str() {
            body::JSON => {
                let SignInRequest {
                    username,
                    email,
                    password,
                } = body::parse(Fields::from_json(&bytes)?)?;
                Ok(SignInCredentials::new(username, email, password)?)
            }
            body::FORM => Ok(SignInCredentials::from_form(&bytes)?),
            _other => Err(Error::UnsupportedMediaType(
                "`application/x-www-form-urlencoded` or `application/json`",
            )
            .into()),
        }
    }
}

impl SignInCredentials {
    /// Creates the credentials from either `username` or `email`.
    ///
    /// # Errors
    /// If neither or both of them are present.
    pub fn new(
        username: Option<SignInName>,
        email: Option<SignInName>,
        password: Password,
    ) -> Result<SignInCredentials, Error> {
        match (username, email) {
            (Some(name), None) | (None, Some(name)) => Ok(SignInCredentials {
                name,
                password,
                scopes: None,
            }),
            (None, None) => Err(Error::invalid_field(
                "username",
                "provide `username` or `email`",
            )),
            (Some(_), Some(_)) => Err(Error::invalid_field(
                "email",
                "can't be combined with `username`",
            )),
        }
    }

    fn from_form(bytes: &[u8]) -> Result<SignInCredentials, Error> {
        let mut fields = Fields::from_form(bytes)?;
        fields.ignore(&["grant_type", "client_id", "client_secret"]);
        let SignInForm {
            username,
            email,
            password,
            scope,
        } = body::parse(fields)?;
        // Swagger UI sends an empty `scope` if no scope is selected.
        let scopes = scope.filter(|scopes| !scopes.is_empty());
        Ok(SignInCredentials {
            scopes,
            ..SignInCredentials::new(username, email, password)?
        })
    }
}

pub struct AuthenticationApi;

#[OpenApi]
impl AuthenticationApi {
    /// Sign in with a password
    ///
    /// Authenticates a user by username or email and password and returns an access token and a
    /// refresh token.
    ///
    /// The session gets all scopes of the user. To request fewer scopes, send the form of OAuth
    /// 2.0's password grant (RFC 6749 section 4.3.2) with `scope`; its schema is `x-form` in the
    /// OpenAPI document. Unknown users, wrong passwords, and disabled users get the same response.
    /// A user can have 100 sessions; a further sign-in revokes the oldest one.
    ///
    /// Response 200: The tokens were issued.
    #[oai(
        path = "/login",
        method = "post",
        operation_id = "signIn",
        tag = "Tag::Authentication"
    )]
    async fn sign_in(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        credentials: SignInCredentials,
    ) -> Result<Json<TokenPairSchema>, Problem<SignInProblems>> {
        let pair = app
            .sessions
            .sign_in(
                &credentials.name,
                credentials.password,
                credentials.scopes,
                &origin,
            )
            .await?;
        Ok(Json(pair.into()))
    }

    /// Refresh an access token
    ///
    /// Exchanges a refresh token for a new token pair. Reuse after the reuse interval revokes the
    /// session.
    ///
    /// Each refresh token works once; store the new one. Within the reuse interval (10 seconds by
    /// default), the previous refresh token returns the same new refresh token, so that a client
    /// can retry after a lost response. Any other reuse returns 401 `refresh_token_reused` and
    /// revokes the session, because the token might be stolen (RFC 9700 section 4.14.2).
    ///
    /// Response 200: The tokens were issued.
    #[oai(
        path = "/refresh",
        method = "post",
        operation_id = "refreshTokens",
        tag = "Tag::Authentication"
    )]
    async fn refresh(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<RefreshTokensRequest>,
    ) -> Result<Json<TokenPairSchema>, Problem<RefreshProblems>> {
        let pair = app
            .sessions
            .refresh(&body.refresh_token.0, None, &origin)
            .await?;
        Ok(Json(pair.into()))
    }

    /// Sign out
    ///
    /// Revokes the session of the given access token, refresh token, or cookie. After 204, every
    /// replica rejects the session.
    ///
    /// An expired access token is accepted, and repeating the request returns 204 again. If the
    /// request also contains `refresh_token`, both sessions are revoked. The session cookie is
    /// used, and then cleared, only without an access token; `DELETE /session` always revokes its
    /// session. Personal access tokens and tokens of OAuth clients have no session and return 401;
    /// revoke them with `POST /oauth/revoke`.
    ///
    /// `scope=others` and `scope=all` require a valid access token or session
    /// cookie of a user session with the scope `user:write`; `all` revokes the personal access
    /// tokens of the user as well. `refresh_token` is then ignored.
    ///
    /// Response 204: The session was revoked, and every replica rejects it.
    #[oai(
        path = "/logout",
        method = "post",
        operation_id = "signOut",
        tag = "Tag::Authentication"
    )]
    // poem-openapi derives the parameters of the operation from the arguments.
    #[allow(clippy::too_many_arguments)]
    async fn sign_out(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        /// Sessions to revoke: `session` (the given session), `others` (all other sessions of the
        /// user), or `all`.
        scope: Param<SignOutScope>,
        /// `respond-async` (RFC 7240) returns 202 after the revocation is published, without
        /// waiting until every replica enforces it.
        #[oai(name = "Prefer")]
        prefer: Param<WaitFor>,
        session_cookie: SessionCookie,
        PresentedToken(token): PresentedToken,
        OptionalBody(body): OptionalBody<SignOutRequest>,
    ) -> Result<RevocationResponse, Problem<SignOutProblems>> {
        let (Param(scope), Param(wait_for)) = (scope, prefer);
        if scope != SignOutScope::Session {
            let caller = token.ok_or(Error::Unauthenticated)?.verify(&app).await?;
            require_scope(&caller, Scope::UserWrite)?;
            if scope == SignOutScope::Others {
                app.sessions
                    .sign_out_others(&caller, wait_for, &origin)
                    .await?;
            } else {
                app.sessions
                    .sign_out_all(&caller, wait_for, &origin)
                    .await?;
                session_cookie.clear_if_presented();
            }
            return Ok(wait_for.into());
        }
        let refresh_token = body
            .and_then(|body| body.refresh_token)
            .map(|token| SessionCredential::Refresh(token.0));
        let credentials: Vec<_> = [token.map(Token::into_credential), refresh_token]
            .into_iter()
            .flatten()
            .collect();
        if credentials.is_empty() {
            return Err(Error::Unauthenticated.into());
        }
        app.sessions
            .sign_out(&credentials, wait_for, &origin)
            .await?;
        session_cookie.clear_if_presented();
        Ok(wait_for.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api::authentication::body::Content;

    #[test]
    fn sign_in_form_ignores_only_oauth_parameters() {
        assert!(
            SignInCredentials::from_form(
                b"grant_type=password&username=john&password=secret123\
                  &scope=&client_id=&client_secret="
            )
            .is_ok()
        );
        assert!(
            SignInCredentials::from_form(b"username=john&password=secret123&role=admin").is_err()
        );
    }

    #[test]
    fn sign_in_schema_lists_request_fields() {
        let field_names = |schema: Vec<body::FieldSchema>| {
            schema
                .into_iter()
                .map(|field| field.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            field_names(SignInRequest::schema()),
            ["username", "email", "password"]
        );
    }
}
