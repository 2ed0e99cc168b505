//! Use case: confirm the caller's password, so that the sign-in of a browser is recent again.

use std::sync::Arc;

use latchkey_domain::{access_token::Claims, password::Password};

use crate::{
    app::{accounts::Accounts, origin::Origin, sessions::issue::Cookie},
    error::Error,
};

impl Accounts {
    /// Verifies the caller's password, and issues the next cookie of the same session, whose
    /// sign-in is recent.
    ///
    /// Earlier cookies of the session stay valid, and keep their time of sign-in.
    ///
    /// # Errors
    /// `forbidden` without a session cookie; `incorrect_password`, `token_revoked`,
    /// `too_many_requests`, `busy`, `unavailable`.
    pub async fn confirm_password(
        &self,
        caller: &Claims,
        password: Password,
        origin: &Origin,
    ) -> Result<Cookie, Error> {
        // The limit prevents an attacker with a stolen cookie from guessing the password.
        let attempt = self
            .rate_limits
            .sign_in_attempt(&caller.sub.to_string(), origin);
        self.rate_limits
            .run_rate_limited(
                attempt,
                &origin.request_limits,
                self.try_confirm_password(caller, password, origin),
            )
            .await
    }

    async fn try_confirm_password(
        &self,
        caller: &Claims,
        password: Password,
        origin: &Origin,
    ) -> Result<Cookie, Error> {
        // Read before the checks, so that the cookie doesn't outlive the entry of a concurrent
        // revocation.
        let now = self.sessions.clock.now();
        let user = self
            .verify_current_password(caller, &Arc::new(password), origin)
            .await?
            .user;
        if user.disabled || user.generation > caller.generation {
            return Err(Error::TokenRevoked);
        }
        self.sessions
            .sign_confirmed(caller, &user.account.identity, now, origin.address)
            .await
    }
}
