//! The JSON Web Key Set: the public keys that verify access tokens.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json, types::Example};

use crate::{
    app::{App, keys::PublicKey},
    http::{
        Tag,
        openapi::{
            problem::{Problem, problems},
            responses::{CacheControl, WithHeaders},
        },
    },
};

/// Public key that verifies access tokens (RFC 7517 section 4, RFC 8037 section 2).
#[derive(Object)]
#[oai(rename = "Jwk", example)]
struct JwkSchema {
    /// Key type: `OKP`.
    kty: String,
    /// Curve: `Ed25519`.
    crv: String,
    /// Public key: 32 bytes in base64url.
    x: String,
    /// Key ID, equal to `kid` in the header of tokens.
    kid: String,
    /// Algorithm: `EdDSA`. Accept no other algorithm, whatever the header of a token contains.
    alg: String,
    /// Intended use: `sig`.
    #[oai(rename = "use")]
    purpose: String,
}

impl From<PublicKey> for JwkSchema {
    fn from(key: PublicKey) -> Self {
        JwkSchema {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            x: URL_SAFE_NO_PAD.encode(&key.bytes),
            kid: key.kid.to_string(),
            alg: "EdDSA".to_owned(),
            purpose: "sig".to_owned(),
        }
    }
}

impl Example for JwkSchema {
    fn example() -> Self {
        JwkSchema {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            // From RFC 8037, appendix A.2.
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned(),
            kid: "IbEWGB40V5GB4eS3".to_owned(),
            alg: "EdDSA".to_owned(),
            purpose: "sig".to_owned(),
        }
    }
}

/// JSON Web Key Set (RFC 7517 section 5).
#[derive(Object)]
#[oai(rename = "Jwks", example)]
struct JwksSchema {
    /// The signing key, the next signing key, and earlier keys whose tokens have not expired.
    keys: Vec<JwkSchema>,
}

impl Example for JwksSchema {
    fn example() -> Self {
        JwksSchema {
            keys: vec![JwkSchema::example()],
        }
    }
}

problems! {
    JwksProblems: [];
}

pub struct WellKnownApi;

#[OpenApi]
impl WellKnownApi {
    /// Get the JSON Web Key Set
    ///
    /// Returns the public keys (RFC 7517) that verify access tokens.
    ///
    /// To validate an access token (RFC 9068 section 4), check the signature with the key of its
    /// `kid`, `alg` (`EdDSA`), `typ` (`at+jwt`), `iss` (the issuer), `aud` (your audience), and
    /// `exp`. The same keys sign identity assertions, whose `typ` is `JWT`; don't accept them as
    /// access tokens. A valid signature doesn't prove that the token is unrevoked: follow `GET
    /// /revocations`, or call `POST /oauth/introspect`. `GET /auth/verify` accepts only tokens for
    /// the audience of this server.
    ///
    /// Claims for authorization: `sub` (user or OAuth client), `client_id`, `sid` (session; absent
    /// for OAuth clients), `jti`, `scope` (separated by spaces), `roles`, `groups` (absent without
    /// groups), `generation`, `auth_time`, and for users `username`, `email`, `email_verified`, and
    /// `name`. A personal access token isn't a JWT; introspect it.
    ///
    /// A key is published for twice the `max-age` of this response before it signs tokens, and
    /// until its last token expires. A revoked key is removed immediately.
    ///
    /// Response 200: The key set.
    #[oai(
        path = "/.well-known/jwks.json",
        method = "get",
        operation_id = "getJwks",
        tag = "Tag::ForwardAuthentication"
    )]
    async fn get_jwks(
        &self,
        app: Data<&Arc<App>>,
    ) -> Result<WithHeaders<Json<JwksSchema>, CacheControl>, Problem<JwksProblems>> {
        let keys = app
            .keys
            .public_keys()?
            .into_iter()
            .map(JwkSchema::from)
            .collect();
        let max_age = app.config.jwks_max_age.as_secs();
        Ok(WithHeaders(
            Json(JwksSchema { keys }),
            CacheControl(format!("public, max-age={max_age}")),
        ))
    }
}
