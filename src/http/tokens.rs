//! Signing up, in and out; refreshing.

use std::sync::Arc;

use poem::{Request, web::Data};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, OpenApi,
    payload::Json,
    registry::{MetaRequest, Registry},
};

use super::{
    Tag,
    answers::{Ended, Signed, SignedUp},
    body::{self, Body, Members, OptionalBody, body},
    caller::{Shown, Token, demand},
    cookie::Jar,
    csrf::AsPage,
    origin::From,
    params::{LogoutScope, Param},
    problem::{Problem, problems},
    shapes::SignedUpShape,
};
use crate::{
    domain::{
        account::{DisplayName, Email, SignInName, Username},
        password::{NewPassword, Password},
        scope::{Scope, Scopes},
        text::{Parsed, Reason, Shape},
    },
    error::Error,
    gateway::{Credential, Gateway, SignUp, revocation::Patience},
};

body! {
    /// A new account: a user name, an address, or both.
    SignUpBody {
        /// The user name.
        username: Optional<Username>,
        /// The e-mail address.
        email: Optional<Email>,
        /// The password: at least 8 characters of any kind, and none of the 10,000 most common.
        password: Required<NewPassword>,
        /// What the person wants to be called.
        name: Optional<DisplayName>,
    }

    /// A sign-in: `username` or `email`, either of which may hold a user name or an address.
    LoginBody {
        /// The user name, or the address.
        username: Optional<SignInName>,
        /// The address, or the user name.
        email: Optional<SignInName>,
        /// The password.
        password: Required<Password>,
    }

    /// A sign-in as OAuth 2.0 clients send it (RFC 6749 section 4.3.2). Other members of that
    /// section are ignored.
    LoginForm {
        /// The user name, or the address.
        username: Optional<SignInName>,
        /// The address, or the user name.
        email: Optional<SignInName>,
        /// The password.
        password: Required<Password>,
        /// What the tokens are to be used for; all that the account may do, where it does not say.
        scope: Optional<Scopes>,
    }

    /// The refresh token of a pair.
    RefreshBody {
        /// The refresh token.
        refresh_token: Required<RefreshTokenText>,
    }

    /// The refresh token of the session that is to end, where no access token is sent.
    LogoutBody {
        /// The refresh token.
        refresh_token: Optional<RefreshTokenText>,
    }
}

/// A refresh token as it was sent. Whether it is one is not a matter of its form.
pub struct RefreshTokenText(String);

impl Parsed for RefreshTokenText {
    const SHAPE: Shape = Shape {
        format: None,
        min: 1,
        max: 1024,
        pattern: None,
        example: "lkr_…",
    };

    fn parse(text: &str) -> Result<Self, Reason> {
        crate::domain::text::length(text, Self::SHAPE).map(|()| RefreshTokenText(text.to_owned()))
    }
}

problems! {
    SignUpProblems: [BODY] SignupClosed WeakPassword UsernameTaken EmailTaken TooManyRequests;
    LoginProblems: [BODY] InvalidCredentials TooManyRequests;
    RefreshProblems: [BODY] InvalidRefreshToken RefreshTokenReused TooManyRequests;
    LogoutProblems: [BODY, CALLER] InvalidRefreshToken;
}

/// A sign-in, as a form or as JSON.
pub struct Login {
    /// The user name or the address.
    pub name: SignInName,
    /// The password.
    pub password: Password,
    /// What the tokens are to be used for.
    pub scopes: Option<Scopes>,
}

impl<'a> ApiExtractor<'a> for Login {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        body::register::<LoginBody>(registry);
        body::register::<LoginForm>(registry);
    }

    /// Two schemas: generators confuse the two media types where they share one.
    fn request_meta() -> Option<MetaRequest> {
        let content = vec![
            body::meta::<LoginForm>(body::FORM),
            body::meta::<LoginBody>(body::JSON),
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
                let LoginBody {
                    username,
                    email,
                    password,
                } = body::parse(Members::from_json(&bytes)?)?;
                Ok(Login::new(username, email, password)?)
            }
            body::FORM => Ok(Login::from_form(&bytes)?),
            _other => Err(Error::UnsupportedMediaType(
                "`application/x-www-form-urlencoded` or `application/json`",
            )
            .into()),
        }
    }
}

impl Login {
    /// A sign-in by one name.
    pub fn new(
        username: Option<SignInName>,
        email: Option<SignInName>,
        password: Password,
    ) -> Result<Login, Error> {
        match (username, email) {
            (Some(name), None) | (None, Some(name)) => Ok(Login {
                name,
                password,
                scopes: None,
            }),
            (None, None) => Err(Error::flaw("username", "or `email` must be given")),
            (Some(_), Some(_)) => Err(Error::flaw("email", "must not be given beside `username`")),
        }
    }

    fn from_form(bytes: &[u8]) -> Result<Login, Error> {
        let mut members = Members::from_form(bytes)?;
        members.ignore(&["grant_type", "client_id", "client_secret"]);
        let LoginForm {
            username,
            email,
            password,
            scope,
        } = body::parse(members)?;
        // Swagger UI sends an empty one where nothing is ticked.
        let scopes = scope.filter(|scopes| !scopes.is_empty());
        Ok(Login {
            scopes,
            ..Login::new(username, email, password)?
        })
    }
}

/// The operations.
pub struct TokensApi;

#[OpenApi]
impl TokensApi {
    /// Sign up
    ///
    /// Makes an account and signs it in. A taken user name or address is a 409. Where only
    /// administrators make accounts (`LATCHKEY_SIGNUP=admin`), it is a 403. A page that sends
    /// `X-Latchkey-Request: 1` gets the cookie, and no tokens.
    #[oai(
        path = "/signup",
        method = "post",
        operation_id = "signUp",
        tag = "Tag::SigningIn"
    )]
    async fn sign_up(
        &self,
        gateway: Data<&Arc<Gateway>>,
        AsPage(page): AsPage,
        jar: Jar,
        From(origin): From,
        Body(body): Body<SignUpBody>,
    ) -> Result<SignedUp, Problem<SignUpProblems>> {
        let request = SignUp {
            username: body.username,
            email: body.email,
            password: body.password.0,
            name: body.name,
        };
        let answer = if page {
            let (cookie, user) = gateway.sign_up_browser(request, &origin).await?;
            jar.put(&cookie);
            SignedUpShape::by_cookie(user.into())
        } else {
            let (pair, user) = gateway.sign_up(request, &origin).await?;
            SignedUpShape::with_pair(user.into(), pair.into())
        };
        Ok(SignedUp::Created(Json(answer), "/user".to_owned()))
    }

    /// Sign in
    ///
    /// With user name or address, and password; as JSON, or as the form that OAuth 2.0 clients send
    /// (`x-form` of this document), which may ask for narrower scopes than the account has.
    /// Unknown, wrong and disabled look alike.
    #[oai(
        path = "/login",
        method = "post",
        operation_id = "logIn",
        tag = "Tag::SigningIn"
    )]
    async fn log_in(
        &self,
        gateway: Data<&Arc<Gateway>>,
        From(origin): From,
        login: Login,
    ) -> Result<Signed, Problem<LoginProblems>> {
        let pair = gateway
            .log_in(&login.name, login.password, login.scopes, &origin)
            .await?;
        Ok(Signed::In(Json(pair.into())))
    }

    /// Refresh
    ///
    /// Exchanges the refresh token for the next pair. A refresh token is good once; sent again
    /// within ten seconds, as tabs and lost answers do, it gives the same pair again. An older one
    /// ends the session, because one of the two who have it is a thief.
    #[oai(
        path = "/refresh",
        method = "post",
        operation_id = "refresh",
        tag = "Tag::SigningIn"
    )]
    async fn refresh(
        &self,
        gateway: Data<&Arc<Gateway>>,
        From(origin): From,
        Body(body): Body<RefreshBody>,
    ) -> Result<Signed, Problem<RefreshProblems>> {
        let pair = gateway
            .refresh(&body.refresh_token.0, None, &origin)
            .await?;
        Ok(Signed::In(Json(pair.into())))
    }

    /// Sign out
    ///
    /// Ends the session that the access token, even an expired one, or the refresh token belongs
    /// to. When the answer comes, no replica accepts that session any more. Repeating it is 204
    /// again. `others` and `all` want a live access token with the scope `user:write`. A browser's
    /// cookie does as well as an access token, and is cleared.
    #[oai(
        path = "/logout",
        method = "post",
        operation_id = "logOut",
        tag = "Tag::SigningIn"
    )]
    // Each is a part of the request, by which the document knows it.
    #[allow(clippy::too_many_arguments)]
    async fn log_out(
        &self,
        gateway: Data<&Arc<Gateway>>,
        From(origin): From,
        /// Which sessions end.
        scope: Param<LogoutScope>,
        /// `respond-async` (RFC 7240): 202 as soon as it is published, a moment before every
        /// replica knows.
        #[oai(name = "Prefer")]
        prefer: Param<Patience>,
        jar: Jar,
        Shown(token): Shown,
        OptionalBody(body): OptionalBody<LogoutBody>,
    ) -> Result<Ended, Problem<LogoutProblems>> {
        let (Param(scope), Param(patience)) = (scope, prefer);
        if scope != LogoutScope::Session {
            let caller = token
                .ok_or(Error::Unauthenticated)?
                .verify(&gateway)
                .await?;
            demand(&caller, Scope::UserWrite)?;
            match scope {
                LogoutScope::Others => gateway.log_out_others(&caller, patience, &origin).await?,
                LogoutScope::Session | LogoutScope::All => {
                    gateway.log_out_all(&caller, patience, &origin).await?;
                    jar.clear_if_shown();
                }
            }
            return Ok(patience.into());
        }
        let refresh_token = body
            .and_then(|body| body.refresh_token)
            .map(|token| Credential::Refresh(token.0));
        let credentials: Vec<_> = [token.map(Token::into_credential), refresh_token]
            .into_iter()
            .flatten()
            .collect();
        if credentials.is_empty() {
            return Err(Error::Unauthenticated.into());
        }
        gateway.log_out(&credentials, patience, &origin).await?;
        jar.clear_if_shown();
        Ok(patience.into())
    }
}

#[cfg(test)]
mod tests {
    use super::{body::Content, *};

    #[test]
    fn the_form_takes_what_oauth_clients_add() {
        assert!(
            Login::from_form(
                b"grant_type=password&username=john&password=secret123\
                  &scope=&client_id=&client_secret="
            )
            .is_ok()
        );
        assert!(Login::from_form(b"username=john&password=secret123&role=admin").is_err());
    }

    #[test]
    fn schemas_list_what_is_read() {
        let names = |schema: Vec<body::MemberSchema>| {
            schema
                .into_iter()
                .map(|member| member.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(LoginBody::schema()),
            ["username", "email", "password"]
        );
    }
}
