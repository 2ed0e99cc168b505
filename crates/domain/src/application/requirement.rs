//! What an application requires of a user.

use std::fmt;

use crate::{
    access_token::Claims,
    account::Role,
    group::{GroupNames, RequiredGroupNames},
    scope::Scopes,
    text::{ParsedText, Rejection},
};

/// A required role, scopes, and groups. Without any of them, every signed-in user is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirement {
    /// The role, compared exactly.
    pub role: Option<Role>,
    /// The scopes, all of which the token must have.
    pub scopes: Option<Scopes>,
    /// The groups, of which the user must be in at least one. An unknown group has no members.
    pub groups: Option<GroupNames>,
}

/// The requirement that a token doesn't meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// The role.
    Role(Role),
    /// The scopes.
    Scopes(Scopes),
    /// The groups.
    Groups,
}

impl Requirement {
    /// Whether every signed-in user is allowed.
    pub fn is_empty(&self) -> bool {
        *self == Requirement::default()
    }

    /// Requires that the token meets the requirement.
    ///
    /// # Errors
    /// The first unmet requirement.
    pub fn check(&self, claims: &Claims) -> Result<(), Unmet> {
        if let Some(role) = self.role
            && !claims.roles.contains(&role)
        {
            return Err(Unmet::Role(role));
        }
        if let Some(scopes) = self.scopes
            && !scopes.is_within(Scopes::parse_granted(&claims.scope))
        {
            return Err(Unmet::Scopes(scopes));
        }
        match &self.groups {
            Some(groups) if !groups.intersects(&claims.groups) => Err(Unmet::Groups),
            _met => Ok(()),
        }
    }

    /// Parses a query such as `role=admin&group=finance%20legal`, as in the URL of a check.
    ///
    /// # Errors
    /// The reason, which follows the name of the setting.
    pub fn parse_query(query: &str) -> Result<Requirement, Rejection> {
        let mut requirement = Requirement::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let is_repeated = match &*name {
                "role" => requirement.role.replace(Role::parse(&value)?).is_some(),
                "scope" => {
                    let scopes = Scopes::parse(&value)?;
                    if scopes.is_empty() {
                        return Err("must contain at least one scope in `scope`".into());
                    }
                    requirement.scopes.replace(scopes).is_some()
                }
                "group" => {
                    let RequiredGroupNames(groups) = RequiredGroupNames::parse(&value)?;
                    requirement.groups.replace(groups).is_some()
                }
                _unknown => {
                    return Err("can have only the parameters `role`, `scope`, and `group`".into());
                }
            };
            if is_repeated {
                return Err("must have each of `role`, `scope`, and `group` at most once".into());
            }
        }
        Ok(requirement)
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(role) = self.role {
            query.append_pair("role", role.as_str());
        }
        if let Some(scopes) = self.scopes {
            query.append_pair("scope", &scopes.to_string());
        }
        if let Some(groups) = &self.groups {
            query.append_pair("group", &groups.as_str().replace(',', " "));
        }
        f.write_str(&query.finish())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        access_token::{self, TokenPolicy},
        account::Identity,
        session::{BROWSER_CLIENT, Session},
    };

    fn claims(role: Role, scope: &str, groups: &str) -> Claims {
        let session = Session {
            session_id: Uuid::nil(),
            user_id: Uuid::nil(),
            generation: 1,
            client_id: BROWSER_CLIENT.into(),
            scope: scope.into(),
            auth_time: 0,
            expires_at: 1_000,
        };
        let identity = Identity {
            version: 1,
            role,
            username: None,
            email: None,
            email_verified: false,
            name: None,
            groups: GroupNames::from_trusted(groups.split(' ').filter(|name| !name.is_empty())),
        };
        let policy = TokenPolicy {
            issuer: "i".into(),
            audience: "a".into(),
            clock_skew: 5,
        };
        access_token::claims(&policy, &session, &identity, Uuid::nil(), 0, 600)
    }

    #[test]
    fn every_part_must_be_met() {
        let check =
            |query: &str, claims: &Claims| Requirement::parse_query(query).unwrap().check(claims);
        let user = claims(Role::User, "user:read items:read", "finance staff");
        let admin = claims(Role::Admin, "user:read admin", "");
        for query in ["", "role=user", "scope=items:read", "group=legal%20staff"] {
            assert_eq!(check(query, &user), Ok(()), "{query}");
        }
        assert_eq!(check("role=admin", &user), Err(Unmet::Role(Role::Admin)));
        assert_eq!(check("role=user", &admin), Err(Unmet::Role(Role::User)));
        let scopes = Scopes::parse("items:read items:write").unwrap();
        assert_eq!(
            check("scope=items:read%20items:write", &user),
            Err(Unmet::Scopes(scopes))
        );
        assert_eq!(check("group=legal", &user), Err(Unmet::Groups));
        assert_eq!(check("group=finance", &admin), Err(Unmet::Groups));
        let both = "role=user&group=legal";
        assert_eq!(check(both, &user), Err(Unmet::Groups));
    }

    #[test]
    fn query_is_parsed_and_written() {
        for query in [
            "",
            "role=admin",
            "scope=items%3Aread+items%3Awrite",
            "role=user&scope=user%3Aread&group=finance+legal",
        ] {
            let requirement = Requirement::parse_query(query).unwrap();
            assert_eq!(requirement.to_string(), query);
            assert_eq!(requirement.is_empty(), query.is_empty());
        }
        for query in [
            "role=",
            "role=owner",
            "role=user&role=user",
            "scope=",
            "scope=unknown",
            "group=",
            "group=A",
            "groups=finance",
            "role",
        ] {
            assert!(Requirement::parse_query(query).is_err(), "{query}");
        }
    }
}
