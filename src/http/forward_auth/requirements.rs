//! What a proxy may demand of the caller, in the query. A demand that is misspelt must never be
//! none: whatever is not understood is a 400, which proxies take for a refusal.

use latchkey_domain::{
    access_token::{Claims, Holder},
    account::Role,
    scope::Scopes,
    text::ParsedText,
};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchema};

use crate::{
    error::Error,
    http::openapi::{body, params::Parameter},
};

/// The names of the demands.
const NAMES: [&str; 2] = ["role", "scope"];

/// A role that the caller must have.
pub struct RequiredRole(Option<Role>);

impl RequiredRole {
    /// Refuses whoever has another.
    pub fn check(&self, claims: &Claims) -> Result<(), Error> {
        match self.0 {
            Some(role) if !claims.roles.contains(&role) => Err(Error::role_required(role.as_str())),
            _met => Ok(()),
        }
    }
}

impl Parameter for RequiredRole {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            enum_items: vec!["user".into(), "admin".into()],
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let role = |text| {
            Role::from_name(text)
                .ok_or_else(|| Error::invalid_field(name, "must be `user` or `admin`"))
        };
        Ok(RequiredRole(text.map(role).transpose()?))
    }
}

/// What the token must be good for: all of these scopes, separated by spaces.
pub struct RequiredScopes(Option<Scopes>);

impl RequiredScopes {
    /// Refuses a token that lacks one of them. A client is no person: it passes where it is said
    /// what it must be good for, and nowhere else, so that what is behind takes none for somebody
    /// who has signed in.
    pub fn check(&self, claims: &Claims) -> Result<(), Error> {
        match self.0 {
            None if claims.holder() == Holder::Client => Err(Error::Forbidden(
                "An OAuth client is allowed only if the check requires a scope.".into(),
            )),
            Some(scopes) if !scopes.is_within(Scopes::granted(&claims.scope)) => {
                Err(Error::InsufficientScope(scopes.to_string().into()))
            }
            _met => Ok(()),
        }
    }
}

impl Parameter for RequiredScopes {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some("items:read items:write".into()),
            max_length: Some(256),
            pattern: Scopes::RULES.pattern.map(str::to_owned),
            ..MetaSchema::new("string")
        }
    }

    /// Nothing at all is no demand, and whoever writes that means one.
    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let Some(text) = text else {
            return Ok(RequiredScopes(None));
        };
        let scopes = Scopes::parse(text).map_err(|reason| Error::invalid_field(name, reason))?;
        if scopes.is_empty() {
            Err(Error::invalid_field(
                name,
                "must contain at least one scope",
            ))
        } else {
            Ok(RequiredScopes(Some(scopes)))
        }
    }
}

/// There are no other parameters.
pub struct DenyUnknownQuery;

impl<'a> FromRequest<'a> for DenyUnknownQuery {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        let query = request.uri().query().unwrap_or_default();
        let strange = form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| !NAMES.contains(&name.as_ref()));
        match strange {
            None => Ok(DenyUnknownQuery),
            Some((name, _)) => Err(Error::invalid_field(
                body::shown(&name),
                "is unknown; valid parameters: `role`, `scope`",
            )
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_misspelt_is_no_demand_and_no_pass() {
        let scope = |text| RequiredScopes::read(Some(text), "scope").is_ok();
        assert!(scope("admin") && scope("items:read items:write") && scope("revocations:read"));
        for bad in [
            "",
            " ",
            "items",
            "items:read,items:write",
            "items:read items",
            "admin\t",
            "Admin",
        ] {
            assert!(!scope(bad), "{bad}");
        }
        let role = |text| RequiredRole::read(Some(text), "role").is_ok();
        assert!(role("admin") && role("user"));
        for bad in ["", "Admin", "admin ", "admin,user", "admins"] {
            assert!(!role(bad), "{bad}");
        }
        assert!(
            RequiredRole::read(None, "role").is_ok() && RequiredScopes::read(None, "scope").is_ok()
        );
    }
}
