//! Issues the credentials of a session: an access token and a refresh token, or a session cookie.
//! Sign-in, registration, refresh, and cookie renewal use it.

use std::sync::Arc;

use latchkey_domain::{
    access_token::{self, Claims, TokenKind},
    account::{Account, Identity},
    refresh_token::RefreshToken,
    scope::Scopes,
    session::{BROWSER_CLIENT, FIRST_PARTY_CLIENT, Session},
    session_cookie,
};
use uuid::Uuid;

use crate::{
    app::{
        origin::Origin,
        sessions::{Sessions, list::MAX_SESSIONS_PER_USER},
    },
    error::{Chain, Error},
    postgres::NewSession,
};

/// An access token and a refresh token. It has no `Debug`, because both are credentials.
pub struct TokenPair {
    pub access_token: String,
    /// The lifetime of the access token, in seconds.
    pub expires_in: u64,
    pub refresh_token: String,
    /// The time until the refresh token expires if it isn't used, in seconds.
    pub refresh_expires_in: u64,
    /// The scopes of the access token, separated by spaces.
    pub scope: String,
    /// Whether the user signed in with a password that an administrator or the operator has set.
    pub password_change_required: bool,
}

/// A session cookie or an application cookie. It has no `Debug`, because it is a credential.
pub struct Cookie {
    /// The value of the cookie, an access token or an application token.
    pub token: String,
    /// The claims of this token.
    pub claims: Arc<Claims>,
}

/// What a client receives for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    TokenPair,
    Cookie,
}

impl CredentialKind {
    /// Returns the client ID of a session with this credential.
    pub(crate) const fn client_id(self) -> &'static str {
        match self {
            CredentialKind::TokenPair => FIRST_PARTY_CLIENT,
            CredentialKind::Cookie => BROWSER_CLIENT,
        }
    }
}

/// The first credential of a session. It has no `Debug`, because it contains a credential.
pub enum FirstCredential {
    TokenPair(TokenPair),
    Cookie(Cookie),
}

impl Sessions {
    /// Builds a session that starts now. It isn't stored yet.
    pub(crate) fn build_session(
        &self,
        client_id: &str,
        user_id: Uuid,
        generation: i64,
        scopes: Scopes,
    ) -> Session {
        let now = self.clock.now();
        Session {
            session_id: Uuid::now_v7(),
            user_id,
            generation,
            client_id: client_id.to_owned(),
            scope: scopes.to_string(),
            auth_time: now,
            expires_at: now + self.settings.session_max_lifetime.as_secs(),
        }
    }

    /// Builds the row of a session. The caller inserts it before it issues a credential.
    pub(crate) fn row<'a>(
        &self,
        session: &'a Session,
        address: &'a str,
        origin: &'a Origin,
    ) -> NewSession<'a> {
        NewSession {
            session,
            address,
            agent: origin.agent.as_deref(),
            most: MAX_SESSIONS_PER_USER,
        }
    }

    /// Issues the first credential of a session whose row is stored.
    ///
    /// # Errors
    /// `invalid_credentials`, `internal`, `unavailable`.
    pub(crate) async fn issue_first(
        &self,
        kind: CredentialKind,
        session: &Session,
        account: &Account,
    ) -> Result<FirstCredential, Error> {
        Ok(match kind {
            CredentialKind::TokenPair => {
                FirstCredential::TokenPair(self.issue_first_pair(session, account).await?)
            }
            CredentialKind::Cookie => {
                FirstCredential::Cookie(self.issue_first_cookie(session, account).await?)
            }
        })
    }

    /// Issues the first token pair of a session whose row is stored, and caches the session in
    /// Redis. If Redis is unavailable, the first refresh restores the session from PostgreSQL.
    ///
    /// # Errors
    /// `invalid_credentials`, `internal`, `unavailable`.
    pub(crate) async fn issue_first_pair(
        &self,
        session: &Session,
        account: &Account,
    ) -> Result<TokenPair, Error> {
        match self
            .redis
            .create_session(
                session,
                &account.identity,
                self.settings.session_idle_timeout.as_secs(),
            )
            .await
        {
            // The session was revoked meanwhile, for example by a password change: reject the
            // sign-in.
            Ok(false) => return Err(Error::InvalidCredentials),
            Ok(true) => {}
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "caching a new session in Redis failed")
            }
        }
        let pair = self
            .issue_pair(session, &account.identity, 0, session.auth_time)
            .await?;
        Ok(TokenPair {
            password_change_required: account.password_change_required,
            ..pair
        })
    }

    /// Issues the first cookie of a session whose row is stored. Redis doesn't cache the session,
    /// because it has no refresh token.
    ///
    /// # Errors
    /// `internal`, `unavailable`.
    pub(crate) async fn issue_first_cookie(
        &self,
        session: &Session,
        account: &Account,
    ) -> Result<Cookie, Error> {
        let (now, lifetime) = (session.auth_time, self.idle_seconds(TokenKind::Access));
        let claims = access_token::claims(
            &self.policy,
            session,
            &account.identity,
            Uuid::new_v4(),
            now,
            lifetime,
        );
        self.sign_cookie(TokenKind::Access, claims).await
    }

    /// Signs the claims of a session cookie or an application cookie.
    pub(super) async fn sign_cookie(
        &self,
        kind: TokenKind,
        claims: Claims,
    ) -> Result<Cookie, Error> {
        let key = self.keys.signing_key().await?;
        let token = key.sign_as(kind, &claims).map_err(Error::internal)?;
        Ok(Cookie {
            token,
            claims: Arc::new(claims),
        })
    }

    /// Returns the seconds for which a browser keeps a cookie, for `Max-Age`.
    ///
    /// A browser keeps the session cookie for the rest of the session, because an expired one can be
    /// renewed while applications are in use. The server rejects it otherwise.
    pub fn cookie_max_age(&self, cookie: &Cookie) -> u64 {
        let claims = &cookie.claims;
        let end = match session_cookie::kind(claims) {
            TokenKind::Access => claims.session_exp.unwrap_or(claims.exp),
            TokenKind::Application => claims.exp,
        };
        end.saturating_sub(self.clock.now())
    }

    /// The idle timeout of session cookies or application cookies, in seconds.
    pub(super) fn idle_seconds(&self, kind: TokenKind) -> u64 {
        match kind {
            TokenKind::Access => self.settings.cookie_idle_timeout.as_secs(),
            TokenKind::Application => self.settings.application_idle_timeout.as_secs(),
        }
    }

    /// Issues a token pair with the issue time `now`. The caller reads it before it sends the
    /// statement or script that permits the pair, so that no token outlives the entry of a
    /// concurrent revocation.
    ///
    /// # Errors
    /// `internal`, `unavailable`.
    pub(crate) async fn issue_pair(
        &self,
        session: &Session,
        identity: &Identity,
        counter: u64,
        now: u64,
    ) -> Result<TokenPair, Error> {
        let lifetime = self.settings.access_lifetime.as_secs();
        let claims = access_token::claims(
            &self.policy,
            session,
            identity,
            Uuid::new_v4(),
            now,
            lifetime,
        );
        let refresh_token = RefreshToken {
            user_id: session.user_id,
            session_id: session.session_id,
            counter,
        };
        Ok(TokenPair {
            access_token: self.keys.sign(&claims).await?,
            expires_in: claims.exp.saturating_sub(now),
            refresh_token: self.refresh_key.sign(&refresh_token),
            refresh_expires_in: self
                .settings
                .session_idle_timeout
                .as_secs()
                .min(session.expires_at.saturating_sub(now)),
            scope: claims.scope,
            password_change_required: false,
        })
    }
}
