//! Personal access tokens: what programs of a user's sign in with. They outlive sessions and a
//! change of password, and nothing that ends everything of their user.
//!
//! A token is opaque, and the record decides. What was read of it is believed for ten minutes, so
//! that a check costs no more than that of an access token; within them, memory knows at once when
//! it was taken back.

use std::{sync::Arc, time::Duration};

use latchkey_domain::{
    access_token::{self, Claims},
    audit::EventKind,
    opaque_token::{Expiry, Label, OpaqueToken, OpaqueTokenKind, SECRET_BYTES},
    page::Page,
    revocation::{Reason, RevocationKeys},
    scope::Scopes,
};
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use crate::app::tokens::personal_access_token_cache::PersonalAccessTokenCache;

use crate::{
    app::{
        Gateway, Origin,
        clock::{self, moment},
    },
    error::{Chain, Error},
    postgres::{NewPersonalAccessToken, PersonalAccessToken, PersonalAccessTokenRow},
};

/// Live tokens of a user.
const MAX_TOKENS_PER_USER: i64 = 50;

/// The life of a token where nobody says otherwise.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(90 * 86_400);

/// The longest life: what nobody looked at for a year is forgotten.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 86_400);

/// A page of one's own tokens.
pub struct PersonalAccessTokenPage {
    /// The tokens, by id ascending.
    pub tokens: Vec<PersonalAccessToken>,
    /// Where the next page goes on, if there is one.
    pub next: Option<String>,
}

/// A token that is wanted.
pub struct PersonalAccessTokenRequest {
    /// What its owner calls it.
    pub name: Label,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it ends; in ninety days where it does not say.
    pub expires: Option<Expiry>,
}

impl Gateway {
    /// What a personal access token says, and what can be taken back of it.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired`, `token_revoked`, `unavailable`.
    pub(crate) async fn verify_personal_access_token(
        self: &Arc<Self>,
        token: &str,
    ) -> Result<(Arc<Claims>, RevocationKeys), Error> {
        let claims = match self.personal_tokens.get(token, clock::uptime()) {
            Some(claims) => claims,
            // Rare, and large: no check needs to have room for it.
            None => Box::pin(self.load_personal_access_token(token)).await?,
        };
        if claims.exp <= self.clock.now() {
            return Err(Error::TokenExpired);
        }
        let marks = RevocationKeys::PersonalAccessToken {
            id: claims.jti,
            sub: claims.sub,
            generation: claims.generation,
        };
        Ok((claims, marks))
    }

    async fn load_personal_access_token(
        self: &Arc<Self>,
        text: &str,
    ) -> Result<Arc<Claims>, Error> {
        let token = OpaqueToken::read(OpaqueTokenKind::PersonalAccessToken, text)
            .ok_or(Error::InvalidToken)?;
        // Before the statement is sent: what is taken back after it is in memory for longer than
        // this is believed.
        let asked = clock::uptime();
        let known = self.postgres.find_personal_access_token(token.id).await?;
        // Deleted or never there; nothing is told of it, and nothing more asked for it: anybody can
        // write such a text.
        let known = known
            .filter(|known| token.matches_hash(&known.secret_hash))
            .ok_or(Error::InvalidToken)?;
        if !known.is_usable() {
            return Err(Error::TokenRevoked);
        }
        let claims = Arc::new(self.personal_access_token_claims(token.id, known));
        // Of a crowd that comes with the same token one tells: each would take a connection.
        if self.personal_tokens.put(text, claims.clone(), asked) {
            self.record_use(token.id);
        }
        Ok(claims)
    }

    /// For the eyes of its owner: no reason to refuse anybody, nor to have the check wait.
    fn record_use(self: &Arc<Self>, id: Uuid) {
        let gateway = self.clone();
        drop(self.tasks.spawn(async move {
            if let Err(error) = gateway.postgres.touch_personal_access_token(id).await {
                tracing::debug!(
                    error = %Chain(&error),
                    "writing the last use of a personal access token failed"
                );
            }
        }));
    }

    pub(crate) fn personal_access_token_claims(
        &self,
        id: Uuid,
        known: PersonalAccessTokenRow,
    ) -> Claims {
        let seconds = |at: OffsetDateTime| u64::try_from(at.unix_timestamp()).unwrap_or(0);
        let account = known.user.account;
        let token = access_token::PersonalAccessTokenGrant {
            id,
            sub: account.id,
            generation: known.generation,
            scope: known.scope,
            created_at: seconds(known.created_at),
            expires_at: seconds(known.expires_at),
        };
        access_token::personal_claims(&self.policy, &token, &account.identity)
    }

    /// Makes a token for the caller, who has just proved to know the password; its text is known
    /// once. It may be used for nothing that the caller's own token may not.
    ///
    /// # Errors
    /// `reauthentication_required`, `invalid_request`, `token_revoked`, `unavailable`.
    pub async fn create_personal_access_token(
        &self,
        caller: &Claims,
        wanted: PersonalAccessTokenRequest,
        origin: &Origin,
    ) -> Result<(PersonalAccessToken, Zeroizing<String>), Error> {
        self.require_recent_sign_in(caller)?;
        let sid = caller.sid.ok_or(Error::ReauthenticationRequired)?;
        let (scopes, expires_at) = (
            requested_scopes(caller, wanted.scopes)?,
            self.requested_expiry(wanted.expires)?,
        );
        let token = self.new_token(OpaqueTokenKind::PersonalAccessToken, Uuid::now_v7())?;
        let new = NewPersonalAccessToken {
            id: token.id,
            user: caller.sub,
            generation: caller.generation,
            sid,
            name: wanted.name.as_str(),
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
            return Err(self.creation_error(caller).await?);
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

    async fn creation_error(&self, caller: &Claims) -> Result<Error, Error> {
        let all = Page {
            limit: u8::MAX,
            after: Uuid::nil(),
        };
        let live = self
            .postgres
            .list_personal_access_tokens(caller.sub, all)
            .await?
            .len();
        Ok(match i64::try_from(live) {
            Ok(live) if live < MAX_TOKENS_PER_USER => Error::TokenRevoked,
            _many => Error::malformed(
                "You have 50 personal access tokens, which is the maximum. Revoke one first.",
            ),
        })
    }

    fn requested_expiry(&self, wanted: Option<Expiry>) -> Result<OffsetDateTime, Error> {
        let now = moment(self.clock.now_ms());
        match wanted {
            None => Ok(now + DEFAULT_LIFETIME),
            Some(Expiry(end)) if end > now && end <= now + MAX_LIFETIME => Ok(end),
            Some(_) => Err(Error::invalid_field(
                "expires_at",
                "must be in the future, at most 366 days from now",
            )),
        }
    }

    /// A fresh token. Its text is known once.
    pub(crate) fn new_token(
        &self,
        purpose: OpaqueTokenKind,
        id: Uuid,
    ) -> Result<OpaqueToken, Error> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        aws_lc_rs::rand::fill(secret.as_mut_slice()).map_err(Error::internal)?;
        Ok(OpaqueToken::new(purpose, id, secret))
    }

    /// A page of the caller's live tokens.
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

    /// Deletes a token of the caller's. Repeating it is fine for a while, and finishes what could
    /// not be published.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn revoke_personal_access_token(
        self: &Arc<Self>,
        caller: &Claims,
        id: Uuid,
        origin: &Origin,
    ) -> Result<(), Error> {
        let (gateway, sub, reason) = (self.clone(), caller.sub, Reason::TokenDeleted);
        let event = origin
            .self_event(EventKind::PersonalAccessTokenRevoked, caller)
            .with_reason(reason.as_str());
        self.run_to_completion(async move {
            let ending = gateway
                .postgres
                .revoke_personal_access_token(sub, id, reason, &event)
                .await?
                .ok_or(Error::NotFound)?;
            gateway.publish(&ending).await
        })
        .await
    }
}

fn requested_scopes(caller: &Claims, wanted: Scopes) -> Result<Scopes, Error> {
    match () {
        () if wanted.is_empty() => Err(Error::invalid_field(
            "scope",
            "must contain at least one scope",
        )),
        () if !wanted.is_within(Scopes::granted(&caller.scope)) => Err(Error::invalid_field(
            "scope",
            "exceeds the scopes of your token",
        )),
        () => Ok(wanted),
    }
}
