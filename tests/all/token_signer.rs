//! Signs tokens that the server never issued.
//!
//! Some tests sign with the server's own key, which requires its master secret and its database.
//! Such a token can have exactly one invalid claim, and tests don't have to change the clock.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_domain::master_secret::MasterSecret;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{test_server::TestServer, test_stores::connect};

/// A key pair that signs arbitrary headers and payloads.
pub struct TokenSigner {
    pair: Ed25519KeyPair,
    pub kid: String,
}

impl TokenSigner {
    /// Unseals the server's own signing key, as a replica does.
    pub async fn of(server: &TestServer) -> TokenSigner {
        let database = connect(server.setting("DATABASE_URL")).await;
        let row = database
            .query_one("select kid, sealed_private_key from signing_keys", &[])
            .await
            .expect("one signing key");
        let (kid, sealed): (String, Vec<u8>) = (row.get(0), row.get(1));
        let secret =
            MasterSecret::parse(server.setting("LATCHKEY_SECRET")).expect("a valid master secret");
        let document = secret
            .sealing_key()
            .unseal(&sealed, &kid)
            .expect("a key that is sealed under this secret");
        TokenSigner {
            pair: Ed25519KeyPair::from_pkcs8(document.expose_secret()).expect("a PKCS #8 key pair"),
            kid,
        }
    }

    /// Returns an unrelated key pair with the same key ID.
    pub fn with_unrelated_key(&self) -> TokenSigner {
        TokenSigner {
            pair: Ed25519KeyPair::generate().expect("randomness"),
            kid: self.kid.clone(),
        }
    }

    /// Returns the public key, 32 bytes.
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// Returns the header of a valid token.
    pub fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": "EdDSA", "kid": self.kid})
    }

    /// Signs a token with these claims and a valid header.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), &claims.to_string())
    }

    /// Signs a token with an arbitrary header and payload.
    pub fn sign_as(&self, header: &Value, payload: &str) -> String {
        assemble(header, payload, |message| {
            self.pair.sign(message).as_ref().to_vec()
        })
    }
}

/// Assembles a token from a header, a payload, and a signature function.
pub fn assemble(header: &Value, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(payload.as_bytes())
    );
    format!("{message}.{}", encode(&sign(message.as_bytes())))
}

/// Returns the claims with one claim replaced.
pub fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut changed = claims.clone();
    changed[name] = value;
    changed
}

/// Returns the claims without one claim.
pub fn without(claims: &Value, name: &str) -> Value {
    let mut changed = claims.clone();
    changed.as_object_mut().expect("an object").remove(name);
    changed
}
