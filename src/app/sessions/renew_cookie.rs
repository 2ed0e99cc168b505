//! Signing a cookie anew while it is used, so that silence alone ends it.
//!
//! It costs a look at the user's row, and no more: where PostgreSQL is down the next cookie says
//! what the last one said. What was signed is remembered, so that a client that never takes it
//! costs no signature per request, and requests at the same moment share one.

use std::{net::IpAddr, sync::Arc};

use latchkey_domain::{
    access_token::{Claims, Kid},
    account::Identity,
    session_cookie,
};
use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::{
    app::{Cookie, Gateway, StoreState, clock::moment},
    error::{Chain, Error},
    postgres::SessionActivity,
};

/// Cookies that are remembered, about a kilobyte each. One that is forgotten is signed again.
const COOKIE_CACHE_SIZE: usize = 8192;

/// Cookies that were signed anew, by the key that signs, the token before and the quarter of its
/// life: so that a browser which lost the answer of the first quarter gets one in the second that
/// lasts as long as it should.
pub struct RenewedCookies(Cache<(Kid, Uuid, u64), Arc<Cookie>>);

impl Default for RenewedCookies {
    fn default() -> Self {
        RenewedCookies(Cache::new(COOKIE_CACHE_SIZE))
    }
}

impl Gateway {
    /// The next cookie of a caller who was let in with one, if it is time for it. Whatever goes
    /// wrong, the old one stays as good as it is.
    pub async fn renew_cookie(&self, claims: &Claims, address: IpAddr) -> Option<Arc<Cookie>> {
        let (now, sid) = (self.clock.now(), claims.sid?);
        let quarter = session_cookie::renewal_due(claims, now, self.cookie_seconds())?;
        let key = (self.signing_key().await.ok()?.kid(), claims.jti, quarter);
        // Rare, and large: no request needs to have room for it.
        let signed = Box::pin(
            self.renewed_cookies
                .0
                .get_or_insert_async(&key, self.sign_renewed(claims, sid, now, address)),
        )
        .await;
        signed
            .inspect_err(
                |error| tracing::debug!(error = %Chain(error), "session cookie not renewed"),
            )
            .ok()
    }

    async fn sign_renewed(
        &self,
        claims: &Claims,
        sid: Uuid,
        now: u64,
        address: IpAddr,
    ) -> Result<Arc<Cookie>, Error> {
        let identity = self.current_identity(claims).await?;
        let next = session_cookie::renewed_claims(
            claims,
            identity.as_ref(),
            Uuid::new_v4(),
            now,
            self.cookie_seconds(),
        );
        let cookie = self.cookie(next).await?;
        // With PostgreSQL down for long, the list of devices is what gives way.
        if !self.activity.is_full() {
            let (at, address) = (moment(now * 1000), address.to_string());
            self.activity.note(SessionActivity {
                sub: claims.sub,
                sid,
                counter: 0,
                at,
                address,
            });
        }
        Ok(Arc::new(cookie))
    }

    /// Who the user is; nothing where the record cannot say.
    async fn current_identity(&self, claims: &Claims) -> Result<Option<Identity>, Error> {
        if self.readiness().postgres == StoreState::Down {
            return Ok(None);
        }
        match self.postgres.find_user(claims.sub).await {
            Ok(Some(user)) if !user.disabled && user.generation <= claims.generation => {
                Ok(Some(user.account.identity))
            }
            // What took them back is being published.
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
