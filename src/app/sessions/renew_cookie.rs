//! Renews session cookies and application cookies while they are used (sliding expiration), so that
//! only an unused cookie expires before the maximum lifetime of its session.
//!
//! A renewal reads the user's row. If PostgreSQL is unavailable, the new cookie repeats the
//! identity of the previous one. Renewed cookies are cached: concurrent requests share one
//! signature, and a client that ignores the new cookie doesn't cause a signature per request.

use std::{net::IpAddr, sync::Arc};

use latchkey_domain::{
    access_token::{Claims, Kid, TokenKind},
    account::Identity,
    session_cookie,
};
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::{
    app::{
        clock::timestamp_from_ms,
        sessions::{Sessions, issue::Cookie},
        store_health::StoreState,
    },
    error::{Chain, Error},
    postgres::SessionActivity,
};

/// The number of cached cookies, about 1 kB each. An evicted cookie is signed again.
const COOKIE_CACHE_SIZE: usize = 8192;

/// Renewed cookies, by signing key, previous token, and quarter of its lifetime. Because of the
/// quarter, a browser that missed a renewal doesn't receive the same, older cookie later.
pub struct RenewedCookies(Cache<(Kid, Uuid, u64), Arc<Cookie>>);

impl Default for RenewedCookies {
    fn default() -> Self {
        RenewedCookies(Cache::new(COOKIE_CACHE_SIZE))
    }
}

impl Sessions {
    /// Returns the renewed cookie if a renewal is due. After a failure it returns `None`, and the
    /// current cookie stays valid until it expires.
    pub async fn renew_cookie(&self, claims: &Claims, address: IpAddr) -> Option<Arc<Cookie>> {
        let (now, session_id) = (self.clock.now(), claims.sid?);
        let idle = self.idle_seconds(session_cookie::kind(claims));
        let quarter = session_cookie::renewal_due(claims, now, idle)?;
        let key = (
            self.keys.signing_key().await.ok()?.kid(),
            claims.jti,
            quarter,
        );
        // Boxed: cold path, keeps the caller's future small.
        let renewed = Box::pin(
            self.renewed_cookies
                .0
                .get_or_insert_async(&key, self.sign_renewed(claims, session_id, now, address)),
        )
        .await;
        renewed
            .inspect_err(
                |error| tracing::debug!(error = %Chain(error), "session cookie not renewed"),
            )
            .ok()
    }

    async fn sign_renewed(
        &self,
        claims: &Claims,
        session_id: Uuid,
        now: u64,
        address: IpAddr,
    ) -> Result<Arc<Cookie>, Error> {
        let identity = self.load_identity(claims).await?;
        let kind = session_cookie::kind(claims);
        let renewed_claims = session_cookie::renewed_claims(
            claims,
            identity.as_ref(),
            Uuid::new_v4(),
            now,
            self.idle_seconds(kind),
        );
        let cookie = self.sign_cookie(kind, renewed_claims).await?;
        self.store_activity(claims.sub, session_id, now, address);
        Ok(Arc::new(cookie))
    }

    /// Signs the next cookie of a session whose user has confirmed the password at `now`, in
    /// seconds since the Unix epoch.
    ///
    /// The caller has verified the password and that the session isn't revoked. It reads `now`
    /// before, so that no cookie outlives the entry of a concurrent revocation.
    ///
    /// # Errors
    /// `forbidden` without a session cookie; `internal`, `unavailable`.
    pub(crate) async fn sign_confirmed(
        &self,
        claims: &Claims,
        identity: &Identity,
        now: u64,
        address: IpAddr,
    ) -> Result<Cookie, Error> {
        let session_id = claims.sid.ok_or_else(Error::session_required)?;
        // Another access token must not become a session cookie, which is renewed.
        if !session_cookie::is_cookie(claims) {
            return Err(Error::session_required());
        }
        let confirmed_claims = session_cookie::confirmed_claims(
            claims,
            identity,
            Uuid::new_v4(),
            now,
            self.idle_seconds(TokenKind::Access),
        );
        let cookie = self
            .sign_cookie(TokenKind::Access, confirmed_claims)
            .await?;
        self.store_activity(claims.sub, session_id, now, address);
        Ok(cookie)
    }

    /// Stores the use of a session, in the background.
    pub(super) fn store_activity(
        &self,
        user_id: Uuid,
        session_id: Uuid,
        now: u64,
        address: IpAddr,
    ) {
        // During a long outage of PostgreSQL this update is dropped. Only the session list depends
        // on it.
        if !self.activity.is_full() {
            let (at, address) = (timestamp_from_ms(now * 1000), address.to_string());
            self.activity.add(SessionActivity {
                user_id,
                session_id,
                counter: 0,
                at,
                address,
            });
        }
    }

    /// Reads the current identity of the user. Returns `None` if PostgreSQL is unavailable.
    pub(super) async fn load_identity(&self, claims: &Claims) -> Result<Option<Identity>, Error> {
        if self.store_health.postgres.state() == StoreState::Down {
            return Ok(None);
        }
        match self.postgres.find_user(claims.sub).await {
            Ok(Some(user)) if !user.disabled && user.generation <= claims.generation => {
                Ok(Some(user.account.identity))
            }
            // The user is disabled or deleted, or the generation was incremented. The revocation is
            // committed, and is about to be published.
            Ok(_) => Err(Error::TokenRevoked),
            Err(error) => {
                tracing::debug!(
                    error = %Chain(&error),
                    "session cookie renewed with cached identity"
                );
                Ok(None)
            }
        }
    }
}
