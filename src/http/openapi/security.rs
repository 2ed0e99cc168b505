//! Extractors of credentials, and their security requirements in the OpenAPI document.
//!
//! In the framework, an extractor declares only the names of its security schemes. Therefore, it
//! declares the scope as a further name after its scheme, and [`attach_scopes`] joins them.

use std::collections::HashMap;

use latchkey_domain::scope::Scope;
use poem::Request;
use poem_openapi::registry::MetaOperation;

use crate::error::Error;

/// A security scheme, and the scope that its token must have.
#[derive(Clone, Copy)]
pub struct Requirement {
    scheme: &'static str,
    scope: Option<Scope>,
}

impl Requirement {
    /// Requires a credential of the scheme.
    pub const fn scheme(scheme: &'static str) -> Requirement {
        Requirement {
            scheme,
            scope: None,
        }
    }

    /// Requires a token of the OAuth 2.0 scheme with this scope.
    pub const fn scope(scheme: &'static str, scope: Scope) -> Requirement {
        Requirement {
            scheme,
            scope: Some(scope),
        }
    }
}

/// A credential that a handler takes as an argument.
///
/// `credential_extractors!` lets the framework extract it.
pub trait Credential: Sized + Send {
    /// The alternatives that the document lists.
    const REQUIREMENTS: &'static [Requirement];

    /// Whether the operation accepts requests without a credential.
    const IS_OPTIONAL: bool = false;

    /// Reads the credential from the request.
    fn extract(request: &Request) -> impl Future<Output = Result<Self, Error>> + Send;
}

/// Implements the framework's extractor for credentials. A generic implementation would conflict
/// with that of the framework.
macro_rules! credential_extractors {
    ($($name:ident),* $(,)?) => {$(
        impl<'a> poem_openapi::ApiExtractor<'a> for $name {
            const TYPES: &'static [poem_openapi::ApiExtractorType] =
                &[poem_openapi::ApiExtractorType::SecurityScheme];
            type ParamType = ();
            type ParamRawType = ();

            fn security_schemes() -> Vec<&'static str> {
                $crate::http::openapi::security::list_names(
                    <$name as $crate::http::openapi::security::Credential>::REQUIREMENTS,
                )
            }

            fn has_security_fallback() -> bool {
                <$name as $crate::http::openapi::security::Credential>::IS_OPTIONAL
            }

            async fn from_request(
                request: &'a poem::Request,
                _: &mut poem::RequestBody,
                _: poem_openapi::ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                Ok(<$name as $crate::http::openapi::security::Credential>::extract(request).await?)
            }
        }
    )*};
}
pub(crate) use credential_extractors;

/// Returns the name of each scheme, followed by the name of its scope.
pub fn list_names(requirements: &[Requirement]) -> Vec<&'static str> {
    let names = |requirement: &Requirement| {
        let scope = requirement.scope.map(Scope::as_str);
        [requirement.scheme].into_iter().chain(scope)
    };
    requirements.iter().flat_map(names).collect()
}

/// Moves the names of scopes to the requirements of the schemes that precede them.
pub fn attach_scopes(operation: &mut MetaOperation) {
    let mut requirements: Vec<HashMap<_, Vec<_>>> = Vec::new();
    for requirement in std::mem::take(&mut operation.security) {
        let is_scope = |name: &&str| Scope::ALL.iter().any(|scope| scope.as_str() == *name);
        match requirement.keys().copied().find(is_scope) {
            Some(scope) => requirements
                .last_mut()
                .into_iter()
                .flat_map(HashMap::values_mut)
                .for_each(|scopes| scopes.push(scope)),
            None => requirements.push(requirement),
        }
    }
    operation.security = requirements;
}
