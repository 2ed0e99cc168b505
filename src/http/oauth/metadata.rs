//! What there is, for clients that find out by themselves (RFC 8414).

use poem_openapi::{ApiResponse, Object, payload::Json, types::Example};

use crate::domain::scope::Scope;

/// It changes with releases only.
pub const CACHED: &str = "public, max-age=300";

/// How a registered client proves that it is itself.
const PROOFS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// There is no authorization endpoint, so no type of response is supported. But the member is
/// required, and an empty list is to be left out (RFC 8414 sections 2 and 3.2): so clients that
/// check refuse both. `none` is the registered word that promises nothing (OAuth 2.0 Multiple
/// Response Type Encoding Practices, section 4).
const RESPONSE_TYPES: [&str; 1] = ["none"];

/// The metadata of the authorization server.
#[derive(Object)]
#[oai(rename = "ServerMetadata", example)]
pub struct MetadataShape {
    /// Exactly `iss` of every token.
    issuer: String,
    /// Where tokens are had.
    token_endpoint: String,
    /// Where tokens are taken back.
    revocation_endpoint: String,
    /// Where tokens are looked at.
    introspection_endpoint: String,
    /// The keys that sign tokens.
    jwks_uri: String,
    /// All scopes.
    scopes_supported: Vec<String>,
    /// `none`: there is no authorization endpoint.
    response_types_supported: Vec<String>,
    /// In which ways tokens are had.
    grant_types_supported: Vec<String>,
    /// How clients prove that they are themselves; `none` is for what people use themselves.
    token_endpoint_auth_methods_supported: Vec<String>,
    /// The same where tokens are taken back.
    revocation_endpoint_auth_methods_supported: Vec<String>,
    /// The same where tokens are looked at.
    introspection_endpoint_auth_methods_supported: Vec<String>,
    /// Where people read on.
    service_documentation: String,
}

impl MetadataShape {
    /// That of the gateway with this issuer.
    pub fn of(issuer: &str) -> MetadataShape {
        let at = |path: &str| format!("{issuer}{path}");
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let or_none = [&PROOFS[..], &["none"]].concat();
        MetadataShape {
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

impl Example for MetadataShape {
    fn example() -> Self {
        MetadataShape::of("https://auth.example.com")
    }
}

/// 200 with metadata.
#[derive(ApiResponse)]
pub enum MetadataShown {
    /// The metadata.
    #[oai(status = 200)]
    Shown(Json<MetadataShape>, #[oai(header = "Cache-Control")] String),
}
