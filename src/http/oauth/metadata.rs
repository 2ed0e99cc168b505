//! What there is, for clients that find out by themselves (RFC 8414).

use latchkey_domain::scope::Scope;
use poem_openapi::{ApiResponse, Object, payload::Json, types::Example};

/// It changes with releases only.
pub const CACHED: &str = "public, max-age=300";

/// How a registered client proves that it is itself.
const PROOFS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// There is no authorization endpoint, so no type of response is supported. But the member is
/// required, and an empty list is to be left out (RFC 8414 sections 2 and 3.2): so clients that
/// check refuse both. `none` is the registered word that promises nothing (OAuth 2.0 Multiple
/// Response Type Encoding Practices, section 4).
const RESPONSE_TYPES: [&str; 1] = ["none"];

/// Authorization server metadata (RFC 8414).
#[derive(Object)]
#[oai(rename = "AuthorizationServerMetadata", example)]
pub struct MetadataSchema {
    /// Issuer: the base URL of this server, equal to `iss` in tokens.
    issuer: String,
    /// URL of the token endpoint.
    token_endpoint: String,
    /// URL of the revocation endpoint.
    revocation_endpoint: String,
    /// URL of the introspection endpoint.
    introspection_endpoint: String,
    /// URL of the JSON Web Key Set.
    jwks_uri: String,
    /// Supported scopes.
    scopes_supported: Vec<String>,
    /// Always `none`, because there is no authorization endpoint.
    response_types_supported: Vec<String>,
    /// Supported grant types.
    grant_types_supported: Vec<String>,
    /// Client authentication methods of the token endpoint; `none` is for tokens of users.
    token_endpoint_auth_methods_supported: Vec<String>,
    /// Client authentication methods of the revocation endpoint; `none` is for tokens of users.
    revocation_endpoint_auth_methods_supported: Vec<String>,
    /// Client authentication methods of the introspection endpoint.
    introspection_endpoint_auth_methods_supported: Vec<String>,
    /// URL of the API reference.
    service_documentation: String,
}

impl MetadataSchema {
    /// That of the gateway with this issuer.
    pub fn of(issuer: &str) -> MetadataSchema {
        let at = |path: &str| format!("{issuer}{path}");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let or_none = [&PROOFS[..], &["none"]].concat();
        MetadataSchema {
            issuer: issuer.to_owned(),
            token_endpoint: at("/oauth/token"),
            revocation_endpoint: at("/oauth/revoke"),
            introspection_endpoint: at("/oauth/introspect"),
            jwks_uri: at("/.well-known/jwks.json"),
            scopes_supported: Scope::ALL
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect(),
            response_types_supported: words(&RESPONSE_TYPES),
            grant_types_supported: words(&["refresh_token", "client_credentials"]),
            token_endpoint_auth_methods_supported: words(&or_none),
            revocation_endpoint_auth_methods_supported: words(&or_none),
            introspection_endpoint_auth_methods_supported: words(&PROOFS),
            service_documentation: at("/docs"),
        }
    }
}

impl Example for MetadataSchema {
    fn example() -> Self {
        MetadataSchema::of("https://auth.example.com")
    }
}

/// 200 with metadata.
#[derive(ApiResponse)]
pub enum MetadataShown {
    /// The metadata of this server.
    #[oai(status = 200)]
    Shown(
        Json<MetadataSchema>,
        #[oai(header = "Cache-Control")] String,
    ),
}
