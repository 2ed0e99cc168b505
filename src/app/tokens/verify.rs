//! Verifies the token of a request. Every protected operation calls [`Tokens::verify`].
//!
//! For an access token, it checks the signature and the claims; the signature check is cached. For
//! a personal access token, it reads the row, whose claims are cached for ten minutes. Then it
//! checks whether the signing key, user, OAuth client, session, or token is revoked
//! (`app::revocation`).

use std::sync::Arc;

use futures_util::FutureExt;
use latchkey_domain::{
    access_token::{
        self, Claims, NoRecentSignIn, SignedToken, TokenError, TokenKind, Validity, VerifyingKeys,
    },
    application_token,
    opaque_token::OpaqueTokenKind,
    revocation::{RevocationKeys, lease::LogPosition},
    session_cookie,
    web_origin::WebOrigin,
};

use crate::{
    app::{revocation::Subscription, tokens::Tokens},
    error::Error,
};

impl Tokens {
    /// Verifies the signature and the claims of an access token for this server, and returns
    /// whether it is expired. Doesn't check the revocation of the token, its session, or its user.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked` if the signing key is revoked, `busy`, `unavailable`.
    pub(crate) async fn verify_signed(&self, token: &str) -> Result<Validity, Error> {
        self.keys
            .verify_with(|keys| {
                let now = self.clock.now();
                let validate =
                    |signed: &SignedToken| signed.validate_claims(keys, &self.policy, now);
                let signatures = &self.caches.signatures;
                signatures.verify(token, TokenKind::Access, keys, validate)
            })
            .await
    }

    /// Verifies the signature and the claims of an application token for this application, like
    /// [`Tokens::verify_signed`].
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked` if the signing key is revoked, `busy`, `unavailable`.
    pub(crate) async fn verify_signed_for_application(
        &self,
        token: &str,
        application: &WebOrigin,
    ) -> Result<Validity, Error> {
        self.keys
            .verify_with(|keys| {
                let now = self.clock.now();
                let validate = |signed: &SignedToken| {
                    if application_token::is_for(&signed.claims, application) {
                        signed.validate_for_any_audience(keys, &self.policy, now)
                    } else {
                        Err(TokenError::Audience(signed.claims.aud.clone()))
                    }
                };
                let signatures = &self.caches.signatures;
                signatures.verify(token, TokenKind::Application, keys, validate)
            })
            .await
    }

    /// Verifies an access token like [`Tokens::verify_signed`], but for any audience.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked` if the signing key is revoked, `busy`, `unavailable`.
    pub(crate) async fn verify_signed_for_any_audience(
        &self,
        token: &str,
    ) -> Result<Validity, Error> {
        let now = self.clock.now();
        let verify = |keys: &VerifyingKeys| {
            let signed = access_token::verify_signature(token, TokenKind::Access, keys)?;
            signed.validate_for_any_audience(keys, &self.policy, now)
        };
        self.keys.verify_with(verify).await
    }

    /// Verifies only the signature and the issuer of an access token.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked` if the signing key is revoked, `busy`, `unavailable`.
    pub(crate) async fn verify_issued(&self, token: &str) -> Result<SignedToken, Error> {
        let verify = |keys: &VerifyingKeys| {
            let signed = access_token::verify_signature(token, TokenKind::Access, keys)?;
            if signed.claims.iss == self.policy.issuer {
                Ok(signed)
            } else {
                Err(TokenError::Issuer(signed.claims.iss.clone()))
            }
        };
        self.keys.verify_with(verify).await
    }

    /// Verifies an access token or a personal access token, including revocation, and returns its
    /// claims.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired`, `token_revoked`, `busy`, `unavailable`.
    pub async fn verify(self: &Arc<Self>, token: &str) -> Result<Arc<Claims>, Error> {
        let (claims, keys) = match OpaqueTokenKind::PersonalAccessToken.matches_prefix(token) {
            true => self.verify_personal_access_token(token).await?,
            false => require_unexpired(self.verify_signed(token).await?)?,
        };
        self.require_unrevoked(claims, &keys).await
    }

    /// Verifies an application token for this application, like [`Tokens::verify`].
    ///
    /// # Errors
    /// `invalid_token`, `token_expired`, `token_revoked`, `busy`, `unavailable`.
    pub async fn verify_application_token(
        &self,
        token: &str,
        application: &WebOrigin,
    ) -> Result<Arc<Claims>, Error> {
        let validity = self.verify_signed_for_application(token, application);
        let (claims, keys) = require_unexpired(validity.await?)?;
        self.require_unrevoked(claims, &keys).await
    }

    async fn require_unrevoked(
        &self,
        claims: Arc<Claims>,
        keys: &RevocationKeys,
    ) -> Result<Arc<Claims>, Error> {
        if self.revocations.is_revoked(keys).await? {
            Err(Error::TokenRevoked)
        } else {
            Ok(claims)
        }
    }

    /// Verifies a session cookie like [`Tokens::verify`]. Rejects other tokens, because a renewal
    /// would extend their lifetime.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired`, `token_revoked`, `busy`, `unavailable`.
    pub async fn verify_cookie(self: &Arc<Self>, token: &str) -> Result<Arc<Claims>, Error> {
        let claims = self.verify(token).await?;
        if session_cookie::is_cookie(&claims) {
            Ok(claims)
        } else {
            Err(Error::InvalidToken)
        }
    }

    /// Returns whether this server signed the token as a session cookie.
    ///
    /// An expired cookie counts, too. Otherwise a cookie that an attacker planted would become the
    /// only one at the moment when the cookie of the user expires.
    ///
    /// # Errors
    /// `busy`, `unavailable`.
    pub async fn is_signed_cookie(&self, token: &str) -> Result<bool, Error> {
        match self.verify_issued(token).await {
            Ok(signed) => Ok(session_cookie::is_cookie(&signed.claims)),
            // With a revoked key, an attacker could sign cookies.
            Err(Error::InvalidToken | Error::TokenRevoked) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Verifies an unexpired access token for any audience. Doesn't check revocation, but returns
    /// the revocation keys.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired`, `token_revoked` if the signing key is revoked, `busy`,
    /// `unavailable`.
    pub(crate) async fn verify_for_any_audience(
        &self,
        token: &str,
    ) -> Result<(Arc<Claims>, RevocationKeys), Error> {
        require_unexpired(self.verify_signed_for_any_audience(token).await?)
    }

    /// Verifies the signature and the issuer of an access token, and returns its claims. This
    /// suffices to revoke the token, even if it is expired.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked` if the signing key is revoked, `busy`, `unavailable`.
    pub(crate) async fn verify_ignoring_expiry(&self, token: &str) -> Result<Arc<Claims>, Error> {
        Ok(self.verify_issued(token).await?.claims)
    }

    /// Requires a sign-in within the last five minutes, for the deletion of the current user, and
    /// for operations that create or change a credential, a role, a username, or an email address.
    ///
    /// # Errors
    /// `NoRecentSignIn`, which is `forbidden` or `reauthentication_required` in a response.
    pub(crate) fn require_recent_sign_in(&self, caller: &Claims) -> Result<(), NoRecentSignIn> {
        caller.require_recent_sign_in(self.clock.now())
    }

    /// Subscribes to revocations: after a position, or with a snapshot first. The token is verified
    /// again before each batch.
    ///
    /// # Errors
    /// `busy` if too many streams are open, or this replica drains.
    pub fn subscribe_to_revocations(
        self: &Arc<Self>,
        token: String,
        position: Option<LogPosition<String>>,
    ) -> Result<Subscription, Error> {
        let (tokens, token) = (self.clone(), Arc::<str>::from(token));
        let check = move || {
            let (tokens, token) = (tokens.clone(), token.clone());
            async move { tokens.verify(&token).await.map(drop) }.boxed()
        };
        self.revocations.subscribe(Box::new(check), position)
    }
}

fn require_unexpired(validity: Validity) -> Result<(Arc<Claims>, RevocationKeys), Error> {
    match validity {
        Validity::Valid(signed) => {
            let keys = signed.revocation_keys();
            Ok((signed.claims, keys))
        }
        Validity::Expired(_) => Err(Error::TokenExpired),
    }
}
