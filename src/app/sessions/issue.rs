//! Signing in leads to a session, whichever way it was done; and a session to a pair of tokens or
//! to a cookie.

use std::sync::Arc;

use latchkey_domain::{
    access_token::{self, Claims},
    account::{Account, Identity},
    refresh_token::RefreshToken,
    scope::Scopes,
    session::Session,
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin, sessions::list::MAX_SESSIONS_PER_USER},
    error::{Chain, Error},
    postgres::NewSession,
};

/// An access token and the refresh token that renews it. It has no `Debug`, because both are
/// credentials.
pub struct TokenPair {
    /// The access token.
    pub access_token: String,
    /// Its lifetime in seconds.
    pub expires_in: u64,
    /// The refresh token.
    pub refresh_token: String,
    /// How long it may lie unused, in seconds.
    pub refresh_expires_in: u64,
    /// What the access token may be used for.
    pub scope: String,
}

/// The browser's cookie. It has no `Debug`, because it is a credential.
pub struct Cookie {
    /// Its value, an access token.
    pub token: String,
    /// What that says.
    pub claims: Arc<Claims>,
}

impl Gateway {
    /// A session that begins now, of a client, for a user of this generation.
    pub(crate) fn new_session(
        &self,
        client: &str,
        user: Uuid,
        generation: i64,
        scopes: Scopes,
    ) -> Session {
        let now = self.clock.now();
        Session {
            sid: Uuid::now_v7(),
            sub: user,
            generation,
            client_id: client.to_owned(),
            scope: scopes.to_string(),
            auth_time: now,
            ends_at: now + self.config.session_max_lifetime.as_secs(),
        }
    }

    /// The session's row. Whoever permits the session inserts it before anything is issued.
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

    /// The first tokens of a session that the record holds. Redis is told of it if it answers; if
    /// not, the first refresh finds it in the record.
    pub(crate) async fn first_pair(
        &self,
        session: &Session,
        account: &Account,
    ) -> Result<TokenPair, Error> {
        match self
            .redis
            .create_session(session, &account.identity, self.idle_seconds())
            .await
        {
            // A change of password was through before: what was proved is wrong by now.
            Ok(false) => return Err(Error::InvalidCredentials),
            Ok(true) => {}
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "caching a new session in Redis failed")
            }
        }
        self.pair(session, &account.identity, 0, session.auth_time)
            .await
    }

    /// The cookie of a session that the record holds. It has no refresh token, so that Redis need
    /// not know of it.
    pub(crate) async fn first_cookie(
        &self,
        session: &Session,
        account: &Account,
    ) -> Result<Cookie, Error> {
        let (now, lifetime) = (session.auth_time, self.cookie_seconds());
        self.cookie(access_token::claims(
            &self.policy,
            session,
            &account.identity,
            Uuid::new_v4(),
            now,
            lifetime,
        ))
        .await
    }

    /// The cookie with these claims.
    pub(crate) async fn cookie(&self, claims: Claims) -> Result<Cookie, Error> {
        let token = self.sign(&claims).await?;
        Ok(Cookie {
            token,
            claims: Arc::new(claims),
        })
    }

    /// Seconds until a cookie's end, for the browser that is to forget it then.
    pub fn seconds_left(&self, cookie: &Cookie) -> u64 {
        cookie.claims.exp.saturating_sub(self.clock.now())
    }

    /// How long a cookie lives unused, in seconds.
    pub(crate) fn cookie_seconds(&self) -> u64 {
        self.config.cookie_idle_timeout.as_secs()
    }

    /// A pair as of `now`, which was read before the statement or script that permits it was sent.
    pub(crate) async fn pair(
        &self,
        session: &Session,
        identity: &Identity,
        counter: u64,
        now: u64,
    ) -> Result<TokenPair, Error> {
        let lifetime = self.config.access_lifetime.as_secs();
        let claims = access_token::claims(
            &self.policy,
            session,
            identity,
            Uuid::new_v4(),
            now,
            lifetime,
        );
        let refresh_token = RefreshToken {
            sub: session.sub,
            sid: session.sid,
            counter,
        };
        Ok(TokenPair {
            access_token: self.sign(&claims).await?,
            expires_in: claims.exp.saturating_sub(now),
            refresh_token: self.refresh_key.seal(&refresh_token),
            refresh_expires_in: self.idle_seconds().min(session.ends_at.saturating_sub(now)),
            scope: claims.scope,
        })
    }
}
