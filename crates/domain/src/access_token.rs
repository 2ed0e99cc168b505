//! Access tokens: JWTs (RFC 7519) with the profile of RFC 9068, signed with Ed25519 (RFC 8037).

mod claims;

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use aws_lc_rs::{
    error::Unspecified,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Header, crypto};
use secrecy::SecretSlice;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use crate::access_token::claims::{
    Claims, ClientGrant, Holder, NoRecentSignIn, PersonalAccessTokenGrant, claims, client_claims,
    personal_claims,
};

use crate::revocation::RevocationKeys;

/// The kind of a token with these claims: the `typ` header (RFC 8725 section 3.11).
///
/// A token of one kind is never accepted as another. Other tokens of this server, such as tickets,
/// have further types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// An access token (RFC 9068 section 2.1), which is also the value of the session cookie.
    Access,
    /// The value of an application cookie.
    Application,
}

impl TokenKind {
    const fn header_type(self) -> &'static str {
        match self {
            TokenKind::Access => "at+jwt",
            TokenKind::Application => "latchkey-app+jwt",
        }
    }
}

/// Maximum length of a token. A typical token has about 900 bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// Length of a key ID before encoding.
const KID_BYTES: usize = 12;

/// The issuer, the audience, and the clock tolerance that tokens are validated with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPolicy {
    /// The `iss` claim, which must match exactly.
    pub issuer: String,
    /// The `aud` claim, which must match exactly.
    pub audience: String,
    /// Maximum time in seconds that `iat` and `nbf` can be in the future, because clocks differ.
    /// `exp` has no leeway.
    pub clock_skew: u64,
}

/// The ID of a key (`kid` header): the first 96 bits of the SHA-256 hash of the public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid([u8; KID_BYTES]);

impl Kid {
    fn from_public_key(public: &[u8]) -> Kid {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public);
        let mut kid = [0; KID_BYTES];
        kid.copy_from_slice(&digest.as_ref()[..KID_BYTES]);
        Kid(kid)
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Kid {
    type Err = InvalidKid;

    fn from_str(text: &str) -> Result<Kid, InvalidKid> {
        // The decoder requires a buffer that is slightly longer than its output.
        let mut bytes = [0; KID_BYTES + 3];
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, &mut bytes)
            .map_err(|_| InvalidKid)?;
        Ok(Kid(bytes[..length].try_into().map_err(|_| InvalidKid)?))
    }
}

/// A private key and its ID.
///
/// The parsed key and the encoded header are kept, because parsing costs more than signing.
pub struct SigningKey {
    kid: Kid,
    pair: Ed25519KeyPair,
    /// The encoded header with its trailing dot.
    header: String,
}

impl SigningKey {
    /// Generates a key and returns it as a PKCS #8 document, which must be sealed before storage.
    ///
    /// # Errors
    /// If the cryptographic library cannot generate a key.
    pub fn generate() -> Result<SecretSlice<u8>, Unspecified> {
        let document = Ed25519KeyPair::generate()?.to_pkcs8v1()?;
        Ok(document.as_ref().to_vec().into())
    }

    /// Parses a PKCS #8 document. Returns `None` if it does not contain an Ed25519 key.
    pub fn from_pkcs8(document: &[u8]) -> Option<SigningKey> {
        let pair = Ed25519KeyPair::from_pkcs8(document).ok()?;
        let kid = Kid::from_public_key(pair.public_key().as_ref());
        Some(SigningKey {
            kid,
            pair,
            header: encode_header(TokenKind::Access.header_type(), kid).ok()?,
        })
    }

    /// Returns the ID that the tokens of this key contain in their header.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// Returns the public key (32 bytes).
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Signs the claims of an access token, and returns it in compact serialization (RFC 7515
    /// section 3.1).
    ///
    /// # Errors
    /// If serialization or signing fails.
    pub fn sign(&self, claims: &Claims) -> Result<String, Unspecified> {
        self.sign_as(TokenKind::Access, claims)
    }

    /// Signs the claims of a token of this kind.
    ///
    /// # Errors
    /// If serialization or signing fails.
    pub fn sign_as(&self, kind: TokenKind, claims: &Claims) -> Result<String, Unspecified> {
        match kind {
            TokenKind::Access => self.serialize_compact(&self.header, claims),
            TokenKind::Application => self.sign_with_type(kind.header_type(), claims),
        }
    }

    /// Signs the claims of another token, with its own `typ` header.
    pub(crate) fn sign_with_type(
        &self,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<String, Unspecified> {
        self.serialize_compact(&encode_header(typ, self.kid)?, claims)
    }

    fn serialize_compact(
        &self,
        header: &str,
        claims: &impl Serialize,
    ) -> Result<String, Unspecified> {
        let payload = serde_json::to_vec(claims).map_err(|_| Unspecified)?;
        // Base64url needs four characters per three bytes. The dot and the signature need 87.
        let mut token = String::with_capacity(header.len() + payload.len().div_ceil(3) * 4 + 87);
        token.push_str(header);
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.pair.try_sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

/// Encodes the header of a token, with its trailing dot.
fn encode_header(typ: &str, kid: Kid) -> Result<String, Unspecified> {
    let header = Header {
        typ: Some(typ.to_owned()),
        kid: Some(kid.to_string()),
        ..Header::new(Algorithm::EdDSA)
    };
    let json = serde_json::to_vec(&header).map_err(|_| Unspecified)?;
    Ok(format!("{}.", URL_SAFE_NO_PAD.encode(json)))
}

/// The public keys whose tokens are accepted, by key ID.
///
/// The key determines the algorithm. The `alg` header never selects one (RFC 8725 section 3.1).
#[derive(Default)]
pub struct VerifyingKeys(HashMap<Kid, DecodingKey>);

impl VerifyingKeys {
    /// Adds an Ed25519 public key (32 bytes), so that its tokens are accepted.
    pub fn add(&mut self, public: &[u8]) {
        self.0.insert(
            Kid::from_public_key(public),
            DecodingKey::from_ed_der(public),
        );
    }
}

/// The fields that the header of a token contains.
///
/// Any other field is rejected, for example `jku`, `jwk`, `x5u`, `x5c`, and `crit`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

/// A token with a valid signature.
///
/// The result can be cached, because a signature stays valid. The claims must be validated for each
/// request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedToken {
    /// The ID of the key that signed the token.
    pub kid: Kid,
    /// The kind of the token.
    pub kind: TokenKind,
    /// The claims of the token.
    pub claims: Arc<Claims>,
}

/// A token with a valid signature and valid claims, before or after its expiry.
#[derive(Debug, PartialEq, Eq)]
pub enum Validity {
    /// The token can be used now.
    Valid(SignedToken),
    /// The token has expired. Its claims still identify the session for a sign-out.
    Expired(SignedToken),
}

/// The text is not a key ID.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidKid;

/// The reason why an access token is invalid.
///
/// Only the operator sees the reason. API responses do not contain it, because it helps an
/// attacker.
#[derive(Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The text is not a JWT with the header of an access token.
    Malformed,
    /// The key is unknown. Contains its ID, or `None` if the `kid` header is not a key ID.
    UnknownKey(Option<Kid>),
    /// The signature is not valid for the key.
    Signature,
    /// The signature is valid, but the claims are not those of an access token.
    Claims,
    /// The issuer is another one. Contains the `iss` claim.
    Issuer(String),
    /// The audience is another one. Contains the `aud` claim.
    Audience(String),
    /// The token is not valid yet. Contains its first valid second since the Unix epoch.
    NotYetValid(u64),
}

/// Verifies the signature and validates the claims of an access token, but does not check
/// revocation.
///
/// `now` is in seconds since the Unix epoch.
///
/// # Errors
/// The first reason why the token is invalid.
pub fn diagnose(
    token: &str,
    keys: &VerifyingKeys,
    policy: &TokenPolicy,
    now: u64,
) -> Result<Validity, TokenError> {
    verify_signature(token, TokenKind::Access, keys)?.validate_claims(keys, policy, now)
}

/// Verifies the format and the signature of a token of this kind.
///
/// The result does not depend on the time, so that it can be cached.
///
/// # Errors
/// The first reason why the token is invalid.
pub fn verify_signature(
    token: &str,
    kind: TokenKind,
    keys: &VerifyingKeys,
) -> Result<SignedToken, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed);
    }
    let (kid, claims): (_, Claims) = verify_with_type(token, kind.header_type(), keys)?;
    if claims.is_complete() {
        Ok(SignedToken {
            kid,
            kind,
            claims: Arc::new(claims),
        })
    } else {
        Err(TokenError::Claims)
    }
}

/// Verifies the format and the signature of a token with this `typ` header, and returns its claims.
/// The caller limits the length.
pub(crate) fn verify_with_type<C: DeserializeOwned>(
    token: &str,
    typ: &str,
    keys: &VerifyingKeys,
) -> Result<(Kid, C), TokenError> {
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    let header = URL_SAFE_NO_PAD
        .decode(header)
        .map_err(|_| TokenError::Malformed)?;
    let header: StrictHeader =
        serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
    if header.alg != "EdDSA" || header.typ != typ {
        return Err(TokenError::Malformed);
    }
    let kid = header
        .kid
        .parse()
        .map_err(|_| TokenError::UnknownKey(None))?;
    let key = keys.0.get(&kid).ok_or(TokenError::UnknownKey(Some(kid)))?;
    if !crypto::verify(signature, message.as_bytes(), key, Algorithm::EdDSA).unwrap_or(false) {
        return Err(TokenError::Signature);
    }
    let payload = URL_SAFE_NO_PAD
        .decode(payload)
        .map_err(|_| TokenError::Claims)?;
    let claims = serde_json::from_slice(&payload).map_err(|_| TokenError::Claims)?;
    Ok((kid, claims))
}

impl SignedToken {
    /// Returns the keys by which the token can be revoked.
    pub fn revocation_keys(&self) -> RevocationKeys {
        let kid = self.kid;
        let &Claims {
            sub,
            sid,
            jti,
            generation,
            ..
        } = self.claims.as_ref();
        match sid {
            Some(session_id) => RevocationKeys::Session {
                kid,
                user_id: sub,
                session_id,
                jti,
                generation,
            },
            None => RevocationKeys::Client {
                kid,
                id: sub,
                jti,
                generation,
            },
        }
    }

    /// Validates everything except the signature: key, issuer, audience, and times.
    ///
    /// The key can be revoked after the signature was verified. `now` is in seconds since the Unix
    /// epoch.
    ///
    /// # Errors
    /// The first reason why the token is invalid.
    pub fn validate_claims(
        &self,
        keys: &VerifyingKeys,
        policy: &TokenPolicy,
        now: u64,
    ) -> Result<Validity, TokenError> {
        match self.claims.aud == policy.audience {
            true => self.validate_for_any_audience(keys, policy, now),
            false => Err(TokenError::Audience(self.claims.aud.clone())),
        }
    }

    /// Validates the token as [`SignedToken::validate_claims`] does, except for its audience.
    ///
    /// Introspection requires it, because this server also issues tokens for other audiences.
    ///
    /// # Errors
    /// The first reason why the token is invalid.
    pub fn validate_for_any_audience(
        &self,
        keys: &VerifyingKeys,
        policy: &TokenPolicy,
        now: u64,
    ) -> Result<Validity, TokenError> {
        let claims = &self.claims;
        let valid_from = claims.iat.max(claims.nbf);
        match () {
            () if !keys.0.contains_key(&self.kid) => Err(TokenError::UnknownKey(Some(self.kid))),
            () if claims.iss != policy.issuer => Err(TokenError::Issuer(claims.iss.clone())),
            () if valid_from > now + policy.clock_skew => Err(TokenError::NotYetValid(valid_from)),
            () if claims.exp <= now => Ok(Validity::Expired(self.clone())),
            () => Ok(Validity::Valid(self.clone())),
        }
    }
}

#[cfg(test)]
#[path = "access_token_tests.rs"]
mod tests;
