//! What others find out by themselves: the keys that verify our tokens.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json, types::Example};

use super::{
    Tag,
    problem::{Problem, problems},
};
use crate::gateway::{Gateway, PublicKey};

/// A key that verifies access tokens (RFC 7517 section 4, RFC 8037 section 2).
#[derive(Object)]
#[oai(rename = "Jwk", example)]
struct JwkShape {
    /// The kind of key: `OKP`.
    kty: String,
    /// The curve: `Ed25519`.
    crv: String,
    /// The public key, 32 bytes in base64url.
    x: String,
    /// The id, which tokens name in their header.
    kid: String,
    /// The algorithm: `EdDSA`. Whatever a token's header says, this one alone counts.
    alg: String,
    /// What it is for: `sig`.
    #[oai(rename = "use")]
    purpose: String,
}

impl From<PublicKey> for JwkShape {
    fn from(key: PublicKey) -> Self {
        JwkShape {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: URL_SAFE_NO_PAD.encode(&key.bytes),
            kid: key.kid.to_string(),
            alg: "EdDSA".to_owned(),
            purpose: "sig".to_owned(),
        }
    }
}

impl Example for JwkShape {
    fn example() -> Self {
        JwkShape {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            // Of RFC 8037, appendix A.2.
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned(),
            kid: "IbEWGB40V5GB4eS3".to_owned(),
            alg: "EdDSA".to_owned(),
            purpose: "sig".to_owned(),
        }
    }
}

/// Keys that verify access tokens (RFC 7517 section 5).
#[derive(Object)]
#[oai(rename = "Jwks", example)]
struct JwksShape {
    /// The one that signs, those whose tokens still live, and the one that signs next.
    keys: Vec<JwkShape>,
}

impl Example for JwksShape {
    fn example() -> Self {
        JwksShape {
            keys: vec![JwkShape::example()],
        }
    }
}

/// 200 with keys.
#[derive(ApiResponse)]
enum Jwks {
    /// The keys.
    #[oai(status = 200)]
    Keys(Json<JwksShape>, #[oai(header = "Cache-Control")] String),
}

problems! {
    JwksProblems: [];
}

/// The operations.
pub struct WellKnownApi;

#[OpenApi]
impl WellKnownApi {
    /// The keys that verify access tokens
    ///
    /// A JWK Set (RFC 7517). A key is here for twice as long as the answer may be kept before it
    /// signs, and until the last of its tokens is dead. One that was taken back is not here any
    /// more.
    #[oai(
        path = "/.well-known/jwks.json",
        method = "get",
        operation_id = "getJwks",
        tag = "Tag::Gateway"
    )]
    async fn jwks(&self, gateway: Data<&Arc<Gateway>>) -> Result<Jwks, Problem<JwksProblems>> {
        let keys = gateway
            .public_keys()?
            .into_iter()
            .map(JwkShape::from)
            .collect();
        let max_age = gateway.config().jwks_max_age.as_secs();
        Ok(Jwks::Keys(
            Json(JwksShape { keys }),
            format!("public, max-age={max_age}"),
        ))
    }
}
