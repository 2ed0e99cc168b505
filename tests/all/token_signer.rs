//! Tokens that the gateway never issued. Some are signed with its own key, which only its secret
//! and its database together give away: so that one claim alone is wrong, and no clock need be
//! turned.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_domain::master_secret::MasterSecret;
use serde_json::{Value, json};

use crate::{test_server::TestServer, test_stores::connect};

/// A key that signs whatever it is given.
pub struct TokenSigner {
    pair: Ed25519KeyPair,
    pub kid: String,
}

impl TokenSigner {
    /// The gateway's own key, unsealed as a replica does it.
    pub async fn of(server: &TestServer) -> TokenSigner {
        let database = connect(server.setting("DATABASE_URL")).await;
        let row = database
            .query_one("select kid, sealed_private_key from signing_keys", &[])
            .await
            .expect("one key");
        let (kid, sealed): (String, Vec<u8>) = (row.get(0), row.get(1));
        let secret =
            MasterSecret::parse(server.setting("LATCHKEY_SECRET")).expect("the secret of the test");
        let document = secret
            .sealing_key()
            .unseal(&sealed, &kid)
            .expect("sealed under this secret");
        TokenSigner {
            pair: Ed25519KeyPair::from_pkcs8(&document).expect("a key"),
            kid,
        }
    }

    /// Another key that goes by the same name.
    pub fn stranger(&self) -> TokenSigner {
        TokenSigner {
            pair: Ed25519KeyPair::generate().expect("there is randomness"),
            kid: self.kid.clone(),
        }
    }

    /// The public half, 32 bytes.
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The header of a good token.
    pub fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": "EdDSA", "kid": self.kid})
    }

    /// A token with these claims that is right in everything else.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), &claims.to_string())
    }

    /// A rightly signed token with any header and any payload.
    pub fn sign_as(&self, header: &Value, payload: &str) -> String {
        assemble(header, payload, |message| {
            self.pair.sign(message).as_ref().to_vec()
        })
    }
}

/// Header, payload, and whatever signs them.
pub fn assemble(header: &Value, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let message = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(payload.as_bytes())
    );
    format!("{message}.{}", encode(&sign(message.as_bytes())))
}

/// The claims with one of them replaced.
pub fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut changed = claims.clone();
    changed[name] = value;
    changed
}

/// The claims without one of them.
pub fn without(claims: &Value, name: &str) -> Value {
    let mut changed = claims.clone();
    changed
        .as_object_mut()
        .expect("claims are an object")
        .remove(name);
    changed
}
