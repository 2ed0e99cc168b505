//! Creates, lists, verifies, and revokes personal access tokens, which authenticate the scripts
//! and tools of a user. They survive a sign-out and a password change, but not an operation that
//! revokes all credentials of the user.
//!
//! A token is opaque, and its row in PostgreSQL decides. The claims from the row are cached for ten
//! minutes, so that a check costs no more than that of an access token. The revocation set rejects
//! a revoked token immediately, and invalidates claims with an earlier identity of the user. A
//! replica without a lease reads the row for each check.

use std::{sync::Arc, time::Duration};

use latchkey_domain::{
    access_token::{self, Claims},
    audit::EventKind,
    opaque_token::{Expiry, Label, OpaqueToken, OpaqueTokenKind},
    page::Page,
    revocation::{RevocationKeys, RevocationReason},
    scope::Scopes,
};
use secrecy::SecretString;
use time::OffsetDateTime;
use uuid::Uuid;

pub use crate::app::tokens::personal_access_token_cache::{
    PersonalAccessTokenCache, VersionedClaims,
};

pub use crate::postgres::PersonalAccessToken;

use crate::{
    app::{
        clock::{self, timestamp_from_ms},
        origin::Origin,
        tokens::{Tokens, generate_opaque_token},
    },
    error::{Chain, Error},
    postgres::{NewPersonalAccessToken, PersonalAccessTokenRow},
};

/// The maximum number of active tokens of a user.
pub const MAX_TOKENS_PER_USER: i64 = 50;

/// The lifetime of a token if the request contains no expiry.
pub const DEFAULT_LIFETIME_DAYS: u64 = 90;
const DEFAULT_LIFETIME: Duration = Duration::from_secs(DEFAULT_LIFETIME_DAYS * 86_400);

/// The maximum lifetime of a token, so that forgotten tokens expire.
pub const MAX_LIFETIME_DAYS: u64 = 366;
const MAX_LIFETIME: Duration = Duration::from_secs(MAX_LIFETIME_DAYS * 86_400);

/// A page of the caller's tokens.
pub struct PersonalAccessTokenPage {
    /// The tokens, in ascending order of their IDs.
    pub tokens: Vec<PersonalAccessToken>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// A request to create a token.
pub struct PersonalAccessTokenRequest {
    /// The ID of the token, a UUIDv7, so that a repeated request doesn't create a second token. By
    /// default the server generates one.
    pub id: Option<Uuid>,
    /// The display name.
    pub name: Label,
    pub scopes: Scopes,
    /// The expiry, by default 90 days from now.
    pub expires: Option<Expiry>,
}

impl Tokens {
    /// Verifies a personal access token, except for its revocation. Returns its claims and its
    /// revocation keys.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired`, `token_revoked`, `unavailable`.
    pub(crate) async fn verify_personal_access_token(
        self: &Arc<Self>,
        token: &str,
    ) -> Result<(Arc<Claims>, RevocationKeys), Error> {
        let cached = self
            .caches
            .personal_access_tokens
            .get(token, clock::boot_time());
        let claims = match cached {
            Some(token) if self.is_identity_current(&token) => token.claims,
            cached => {
                // Boxed: cold path, keeps the caller's future small.
                let loaded = Box::pin(self.load_personal_access_token(token)).await;
                loaded.map_err(|error| match error {
                    // A cached token was valid, so it is revoked.
                    Error::InvalidToken if cached.is_some() => Error::TokenRevoked,
                    other => other,
                })?
            }
        };
        if claims.exp <= self.clock.now() {
            return Err(Error::TokenExpired);
        }
        let keys = RevocationKeys::PersonalAccessToken {
            id: claims.jti,
            user_id: claims.sub,
            generation: claims.generation,
        };
        Ok((claims, keys))
    }

    fn is_identity_current(&self, token: &VersionedClaims) -> bool {
        self.revocations
            .is_identity_current(token.claims.sub, token.identity_version)
    }

    async fn load_personal_access_token(
        self: &Arc<Self>,
        text: &str,
    ) -> Result<Arc<Claims>, Error> {
        let token = OpaqueToken::read(OpaqueTokenKind::PersonalAccessToken, text)
            .ok_or(Error::InvalidToken)?;
        // Read before the query: the entry of a later revocation outlives the cached claims.
        let queried_at = clock::boot_time();
        let row = self.postgres.find_personal_access_token(token.id).await?;
        // A deleted and an unknown token return the same error without further queries, because an
        // attacker can send any text.
        let row = row
            .filter(|row| token.matches_hash(&row.secret_hash))
            .ok_or(Error::InvalidToken)?;
        if !row.is_usable() {
            return Err(Error::TokenRevoked);
        }
        let identity_version = row.user.account.identity.version;
        let claims = Arc::new(self.personal_access_token_claims(token.id, row));
        let versioned = VersionedClaims {
            claims: claims.clone(),
            identity_version,
        };
        // Of concurrent requests with the same token, one stores the use, because each write needs
        // a connection.
        if self
            .caches
            .personal_access_tokens
            .put(text, versioned, queried_at)
        {
            self.store_last_use(token.id);
        }
        Ok(claims)
    }

    /// Stores the time of the last use, in the background: the check doesn't wait for it, and a
    /// failure rejects no request.
    fn store_last_use(self: &Arc<Self>, id: Uuid) {
        let tokens = self.clone();
        self.tasks.spawn(async move {
            let outcome = tokens.postgres.touch_personal_access_token(id).await;
            outcome.inspect_err(|error| {
                tracing::debug!(
                    error = %Chain(error),
                    "writing the last use of a personal access token failed"
                );
            })
        });
    }

    pub(crate) fn personal_access_token_claims(
        &self,
        id: Uuid,
        row: PersonalAccessTokenRow,
    ) -> Claims {
        let unix_seconds = |at: OffsetDateTime| u64::try_from(at.unix_timestamp()).unwrap_or(0);
        let account = row.user.account;
        let grant = access_token::PersonalAccessTokenGrant {
            id,
            user_id: account.id,
            generation: row.generation,
            scope: row.scope,
            created_at: unix_seconds(row.created_at),
            expires_at: unix_seconds(row.expires_at),
        };
        access_token::personal_claims(&self.policy, &grant, &account.identity)
    }

    /// Creates a token for the caller, whose sign-in must be recent. Returns the text of the token,
    /// which is not stored. The scopes must be within those of the caller's own token.
    ///
    /// If a token with the requested ID exists, or was revoked recently, the error is about the
    /// field `id`.
    ///
    /// # Errors
    /// `reauthentication_required`, `invalid_request`, `token_revoked`, `unavailable`.
    pub async fn create_personal_access_token(
        &self,
        caller: &Claims,
        request: PersonalAccessTokenRequest,
        origin: &Origin,
    ) -> Result<(PersonalAccessToken, SecretString), Error> {
        self.require_recent_sign_in(caller)?;
        let session_id = caller.sid.ok_or(Error::ReauthenticationRequired)?;
        let (scopes, expires_at) = (
            validate_scopes(caller, request.scopes)?,
            self.validate_expiry(request.expires)?,
        );
        // The list of tokens is in the order of their IDs, which is that of the time.
        if request.id.is_some_and(|id| id.get_version_num() != 7) {
            return Err(Error::invalid_field("id", "must be a UUIDv7"));
        }
        let id = request.id.unwrap_or_else(Uuid::now_v7);
        let token = generate_opaque_token(OpaqueTokenKind::PersonalAccessToken, id)?;
        let new = NewPersonalAccessToken {
            id: token.id,
            user_id: caller.sub,
            generation: caller.generation,
            session_id,
            name: request.name.as_str(),
            secret_hash: token.hash(),
            scopes,
            expires_at,
            most: MAX_TOKENS_PER_USER,
        };
        let event = origin.self_event(EventKind::PersonalAccessTokenCreated, caller);
        let Some(created_at) = self
            .postgres
            .create_personal_access_token(&new, &event)
            .await?
        else {
            return Err(self.find_creation_error(&new).await?);
        };
        let (id, name, scope) = (token.id, new.name.to_owned(), scopes.to_string());
        Ok((
            PersonalAccessToken {
                id,
                name,
                scope,
                created_at,
                expires_at,
                last_used_at: None,
            },
            token.text(),
        ))
    }

    /// Finds the reason for which PostgreSQL created no token: a revoked session, an ID that is
    /// already used, or too many active tokens.
    async fn find_creation_error(&self, new: &NewPersonalAccessToken<'_>) -> Result<Error, Error> {
        if self
            .postgres
            .is_session_revoked(new.user_id, new.session_id)
            .await?
        {
            return Ok(Error::TokenRevoked);
        }
        if self.postgres.is_token_id_used(new.id).await? {
            return Ok(Error::invalid_field("id", "is already used by a token"));
        }
        Ok(Error::malformed(format!(
            "You have {MAX_TOKENS_PER_USER} personal access tokens, which is the maximum. Revoke \
             one first."
        )))
    }

    /// Returns the expiry after this number of days from now.
    pub fn expiry_after_days(&self, days: u64) -> Expiry {
        let lifetime = Duration::from_secs(days.saturating_mul(86_400));
        Expiry(timestamp_from_ms(self.clock.now_ms()) + lifetime)
    }

    fn validate_expiry(&self, requested: Option<Expiry>) -> Result<OffsetDateTime, Error> {
        let now = timestamp_from_ms(self.clock.now_ms());
        match requested {
            None => Ok(now + DEFAULT_LIFETIME),
            Some(Expiry(expiry)) if expiry > now && expiry <= now + MAX_LIFETIME => Ok(expiry),
            Some(_) => Err(Error::invalid_field(
                "expires_at",
                format!("must be in the future, at most {MAX_LIFETIME_DAYS} days from now"),
            )),
        }
    }

    /// Returns a page of the active tokens of the caller.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_personal_access_tokens(
        &self,
        caller: &Claims,
        page: Page,
    ) -> Result<PersonalAccessTokenPage, Error> {
        let (tokens, next) = page.cut(
            self.postgres
                .list_personal_access_tokens(caller.sub, page)
                .await?,
            |token| token.id,
        );
        Ok(PersonalAccessTokenPage { tokens, next })
    }

    /// Deletes a token of the caller. While PostgreSQL keeps the revocation, the operation is
    /// idempotent: a repetition publishes a revocation that is committed but not published.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn revoke_personal_access_token(
        self: &Arc<Self>,
        caller: &Claims,
        id: Uuid,
        origin: &Origin,
    ) -> Result<(), Error> {
        let (tokens, user_id, reason) = (
            self.clone(),
            caller.sub,
            RevocationReason::PersonalAccessTokenRevoked,
        );
        let event = origin
            .self_event(EventKind::PersonalAccessTokenRevoked, caller)
            .with_reason(reason.as_str());
        self.tasks
            .run_to_completion(async move {
                let batch = tokens
                    .postgres
                    .revoke_personal_access_token(user_id, id, reason, &event)
                    .await?
                    .ok_or(Error::NotFound)?;
                tokens.revocations.publish(&batch).await
            })
            .await
    }
}

fn validate_scopes(caller: &Claims, requested: Scopes) -> Result<Scopes, Error> {
    match () {
        () if requested.is_empty() => Err(Error::invalid_field(
            "scope",
            "must contain at least one scope",
        )),
        () if !requested.is_within(Scopes::parse_granted(&caller.scope)) => Err(
            Error::invalid_field("scope", "exceeds the scopes of your token"),
        ),
        () => Ok(requested),
    }
}
