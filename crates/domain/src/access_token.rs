//! Access tokens: JWTs (RFC 7519) of the profile RFC 9068, signed with Ed25519 (RFC 8037).

mod claims;

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use aws_lc_rs::{
    error::Unspecified,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Header, crypto};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use crate::access_token::claims::{
    Claims, ClientGrant, Holder, PersonalAccessTokenGrant, claims, client_claims, personal_claims,
};

use crate::revocation::RevocationKeys;

/// The media type of access tokens (RFC 9068 section 2.1): nothing else that we mint passes as one.
const TYPE: &str = "at+jwt";

/// A token is about 900 bytes; nothing longer is looked at.
const MAX_BYTES: usize = 4096;

/// Bytes of a key's id before encoding.
const KID_BYTES: usize = 12;

/// Whose tokens are made and accepted here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPolicy {
    /// `iss`, exactly.
    pub issuer: String,
    /// `aud`, exactly.
    pub audience: String,
    /// Seconds that `iat` and `nbf` may lie ahead, for clocks that disagree. `exp` has no leeway.
    pub clock_skew: u64,
}

/// The id of a key, which tokens name in their header: 96 bits of the public key's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kid([u8; KID_BYTES]);

impl Kid {
    fn of(public: &[u8]) -> Kid {
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
        // Into a buffer that is a little longer, which the decoder wants.
        let mut bytes = [0; KID_BYTES + 3];
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, &mut bytes)
            .map_err(|_| InvalidKid)?;
        Ok(Kid(bytes[..length].try_into().map_err(|_| InvalidKid)?))
    }
}

/// A private key and its id. Both the key and the header of its tokens are prepared once: to read
/// the key again costs more than a signature.
pub struct SigningKey {
    kid: Kid,
    pair: Ed25519KeyPair,
    /// Encoded, with the dot behind it.
    header: String,
}

impl SigningKey {
    /// A new key, as the PKCS #8 document that is sealed and stored.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let document = Ed25519KeyPair::generate()?.to_pkcs8v1()?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads a stored key.
    pub fn from_pkcs8(document: &[u8]) -> Option<SigningKey> {
        let pair = Ed25519KeyPair::from_pkcs8(document).ok()?;
        let kid = Kid::of(pair.public_key().as_ref());
        Some(SigningKey {
            kid,
            pair,
            header: header(TYPE, kid).ok()?,
        })
    }

    /// The key's id, which tokens name in their header.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// The public half, 32 bytes.
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Signs the claims: the compact serialization of RFC 7515 section 3.1.
    pub fn sign(&self, claims: &Claims) -> Result<String, Unspecified> {
        self.compact(&self.header, claims)
    }

    /// Signs what is no access token, under the type that says so.
    pub(crate) fn sign_as(
        &self,
        kind: &str,
        claims: &impl Serialize,
    ) -> Result<String, Unspecified> {
        self.compact(&header(kind, self.kid)?, claims)
    }

    fn compact(&self, header: &str, claims: &impl Serialize) -> Result<String, Unspecified> {
        let payload = serde_json::to_vec(claims).map_err(|_| Unspecified)?;
        // Four characters for three bytes, and a signature of 64 bytes with its dot.
        let mut token = String::with_capacity(header.len() + payload.len().div_ceil(3) * 4 + 87);
        token.push_str(header);
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.pair.try_sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

/// The header of what a key signs, encoded, with the dot behind it.
fn header(kind: &str, kid: Kid) -> Result<String, Unspecified> {
    let header = Header {
        typ: Some(kind.to_owned()),
        kid: Some(kid.to_string()),
        ..Header::new(Algorithm::EdDSA)
    };
    let json = serde_json::to_vec(&header).map_err(|_| Unspecified)?;
    Ok(format!("{}.", URL_SAFE_NO_PAD.encode(json)))
}

/// The public keys whose tokens are accepted, by their exact ids. A key fixes its algorithm; a
/// header never chooses one.
#[derive(Default)]
pub struct VerifyingKeys(HashMap<Kid, DecodingKey>);

impl VerifyingKeys {
    /// Accepts tokens of this Ed25519 key.
    pub fn add(&mut self, public: &[u8]) {
        self.0
            .insert(Kid::of(public), DecodingKey::from_ed_der(public));
    }
}

/// The header of our tokens, and of no other: `jku`, `jwk`, `x5u`, `x5c`, `crit` and whatever else
/// is unknown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

/// A token that one of our keys signed. That never changes, so it may be remembered; whether the
/// token counts is judged anew each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedToken {
    /// The key.
    pub kid: Kid,
    /// What it says.
    pub claims: Arc<Claims>,
}

/// A token whose signature and claims are right.
#[derive(Debug, PartialEq, Eq)]
pub enum Validity {
    /// It may be used now.
    Valid(SignedToken),
    /// It could be used until its `exp`. It still tells which session to end.
    Expired(SignedToken),
}

/// Why a text is no token of ours; callers need not know more, and attackers must not.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidKid;

/// The same, for the operator who asks: whoever has the settings may know.
#[derive(Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It is no JWT of our profile.
    Malformed,
    /// It names a key that is not among ours: which, where that could be a key's id.
    UnknownKey(Option<Kid>),
    /// The key did not sign it.
    Signature,
    /// It was signed with our key, but is no access token.
    Claims,
    /// It was issued by somebody else, under our key.
    Issuer(String),
    /// It is for somebody else.
    Audience(String),
    /// It counts from a later moment, in seconds since the epoch.
    NotYetValid(u64),
}

/// Checks signature and claims, and says what is wrong. Revocation is not asked here.
pub fn diagnose(
    token: &str,
    keys: &VerifyingKeys,
    policy: &TokenPolicy,
    now: u64,
) -> Result<Validity, TokenError> {
    verify_signature(token, keys)?.validate_claims(keys, policy, now)
}

/// Checks form and signature, and nothing that could be otherwise a moment later.
pub fn verify_signature(token: &str, keys: &VerifyingKeys) -> Result<SignedToken, TokenError> {
    if token.len() > MAX_BYTES {
        return Err(TokenError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
    let header = URL_SAFE_NO_PAD
        .decode(header)
        .map_err(|_| TokenError::Malformed)?;
    let header: StrictHeader =
        serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
    if header.alg != "EdDSA" || header.typ != TYPE {
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
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| TokenError::Claims)?;
    if claims.is_complete() {
        Ok(SignedToken {
            kid,
            claims: Arc::new(claims),
        })
    } else {
        Err(TokenError::Claims)
    }
}

impl SignedToken {
    /// All of it that can be taken back.
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
            Some(sid) => RevocationKeys::Session {
                kid,
                sub,
                sid,
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

    /// Everything but the signature: that the key still counts, for whom the token is, and when.
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

    /// The same for whoever asks on behalf of another audience: we have issued it, but need not be
    /// whom it is for.
    pub fn validate_for_any_audience(
        &self,
        keys: &VerifyingKeys,
        policy: &TokenPolicy,
        now: u64,
    ) -> Result<Validity, TokenError> {
        let claims = &self.claims;
        let begins = claims.iat.max(claims.nbf);
        match () {
            () if !keys.0.contains_key(&self.kid) => Err(TokenError::UnknownKey(Some(self.kid))),
            () if claims.iss != policy.issuer => Err(TokenError::Issuer(claims.iss.clone())),
            () if begins > now + policy.clock_skew => Err(TokenError::NotYetValid(begins)),
            () if claims.exp <= now => Ok(Validity::Expired(self.clone())),
            () => Ok(Validity::Valid(self.clone())),
        }
    }
}

#[cfg(test)]
#[path = "access_token_tests.rs"]
mod tests;
