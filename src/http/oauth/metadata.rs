//! Authorization server metadata, for clients that discover the endpoints (RFC 8414).

use latchkey_domain::scope::Scope;
use poem_openapi::{Object, types::Example};

/// `Cache-Control` of the metadata, which changes only with a release or a setting.
pub const CACHE_CONTROL: &str = "public, max-age=300";

/// Authentication methods of registered clients.
const CLIENT_AUTH_METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// Supported response types: only `none`, because there is no authorization endpoint.
///
/// The field is required (RFC 8414 section 2), and a field with an empty list must be omitted
/// (section 3.2). Strict clients therefore reject an empty list and a missing field. `none` is a
/// registered value (OAuth 2.0 Multiple Response Type Encoding Practices, section 4).
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
    pub fn new(issuer: &str) -> MetadataSchema {
        let url = |path: &str| format!("{issuer}{path}");
        let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let with_none = [&CLIENT_AUTH_METHODS[..], &["none"]].concat();
        MetadataSchema {
            issuer: issuer.to_owned(),
            token_endpoint: url("/oauth/token"),
            revocation_endpoint: url("/oauth/revoke"),
            introspection_endpoint: url("/oauth/introspect"),
            jwks_uri: url("/.well-known/jwks.json"),
            scopes_supported: Scope::ALL
                .iter()
                .map(|scope| scope.as_str().to_owned())
                .collect(),
            response_types_supported: list(&RESPONSE_TYPES),
            grant_types_supported: list(&["refresh_token", "client_credentials"]),
            token_endpoint_auth_methods_supported: list(&with_none),
            revocation_endpoint_auth_methods_supported: list(&with_none),
            introspection_endpoint_auth_methods_supported: list(&CLIENT_AUTH_METHODS),
            service_documentation: url("/docs"),
        }
    }
}

impl Example for MetadataSchema {
    fn example() -> Self {
        MetadataSchema::new("https://auth.example.com")
    }
}
