//! What answers look like.

pub mod clients;
pub mod items;
pub mod personal_tokens;
pub mod sessions;

use poem_openapi::{Enum, Object, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::{Uuid, uuid};

use crate::{
    domain::account::{Account, Role},
    gateway::{ManagedUser, Pair, UserPage},
};

const SOMEBODY: Uuid = uuid!("019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42");
const SOME_TIME: OffsetDateTime = datetime!(2026-11-20 08:00:00 UTC);

/// An access token, and the refresh token that renews it.
#[derive(Object)]
#[oai(rename = "TokenPair", example)]
pub struct PairShape {
    /// The access token: a JWT, sent as `Authorization: Bearer …`.
    access_token: String,
    /// Always `bearer`.
    token_type: String,
    /// Lifetime of the access token in seconds.
    expires_in: u64,
    /// The refresh token: opaque, good for one exchange.
    refresh_token: String,
    /// How long the refresh token may lie unused, in seconds.
    refresh_expires_in: u64,
}

impl From<Pair> for PairShape {
    fn from(pair: Pair) -> Self {
        PairShape {
            access_token: pair.access_token,
            token_type: "bearer".to_owned(),
            expires_in: pair.expires_in,
            refresh_token: pair.refresh_token,
            refresh_expires_in: pair.refresh_expires_in,
        }
    }
}

impl Example for PairShape {
    fn example() -> Self {
        PairShape {
            access_token: "eyJ…".to_owned(),
            token_type: "bearer".to_owned(),
            expires_in: 900,
            refresh_token: "lkr_…".to_owned(),
            refresh_expires_in: 604_800,
        }
    }
}

/// What an account may do.
#[derive(Enum)]
#[oai(rename = "Role", rename_all = "snake_case")]
enum RoleShape {
    /// Its own data.
    User,
    /// Everybody's.
    Admin,
}

impl From<Role> for RoleShape {
    fn from(role: Role) -> Self {
        match role {
            Role::User => RoleShape::User,
            Role::Admin => RoleShape::Admin,
        }
    }
}

/// An account.
#[derive(Object)]
#[oai(rename = "User", example)]
pub struct UserShape {
    /// The id, `sub` in tokens.
    id: Uuid,
    /// The user name.
    username: Option<String>,
    /// The e-mail address.
    email: Option<String>,
    /// Whether somebody proved to read mail at the address.
    email_verified: bool,
    /// What the person wants to be called.
    name: Option<String>,
    /// What it may do.
    role: RoleShape,
    /// When the account was made.
    created_at: OffsetDateTime,
}

impl From<Account> for UserShape {
    fn from(user: Account) -> Self {
        UserShape {
            id: user.id,
            username: user.identity.username,
            email: user.identity.email,
            email_verified: user.identity.email_verified,
            name: user.identity.name,
            role: user.identity.role.into(),
            created_at: user.created_at,
        }
    }
}

impl Example for UserShape {
    fn example() -> Self {
        UserShape {
            id: SOMEBODY,
            username: Some("john".to_owned()),
            email: Some("john@example.com".to_owned()),
            email_verified: false,
            name: Some("John Doe".to_owned()),
            role: RoleShape::User,
            created_at: SOME_TIME,
        }
    }
}

/// An account as administrators see it.
#[derive(Object)]
#[oai(rename = "ManagedUser", example)]
pub struct ManagedUserShape {
    /// The id, `sub` in tokens.
    pub id: Uuid,
    /// The user name.
    username: Option<String>,
    /// The e-mail address.
    email: Option<String>,
    /// Whether somebody proved to read mail at the address.
    email_verified: bool,
    /// What the person wants to be called.
    name: Option<String>,
    /// What it may do.
    role: RoleShape,
    /// Whether signing in is refused.
    disabled: bool,
    /// When the account was made.
    created_at: OffsetDateTime,
}

impl From<ManagedUser> for ManagedUserShape {
    fn from(ManagedUser { account, disabled }: ManagedUser) -> Self {
        let UserShape {
            id,
            username,
            email,
            email_verified,
            name,
            role,
            created_at,
        } = account.into();
        ManagedUserShape {
            id,
            username,
            email,
            email_verified,
            name,
            role,
            disabled,
            created_at,
        }
    }
}

impl Example for ManagedUserShape {
    fn example() -> Self {
        let UserShape {
            id,
            username,
            email,
            email_verified,
            name,
            role,
            created_at,
        } = UserShape::example();
        ManagedUserShape {
            id,
            username,
            email,
            email_verified,
            name,
            role,
            disabled: false,
            created_at,
        }
    }
}

/// A page of accounts.
#[derive(Object)]
#[oai(rename = "UserPage", example)]
pub struct UserPageShape {
    /// The accounts, by id ascending.
    items: Vec<ManagedUserShape>,
    /// Send this as `after` to get the next page; `null` on the last.
    next: Option<String>,
}

impl From<UserPage> for UserPageShape {
    fn from(page: UserPage) -> Self {
        UserPageShape {
            items: page.users.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for UserPageShape {
    fn example() -> Self {
        UserPageShape {
            items: vec![ManagedUserShape::example()],
            next: None,
        }
    }
}

/// A new account, signed in. A program gets a pair of tokens beside it; a page that sent
/// `X-Latchkey-Request: 1` gets a cookie instead, and the account alone.
#[derive(Object)]
#[oai(rename = "SignedUp", example)]
pub struct SignedUpShape {
    /// The access token: a JWT, sent as `Authorization: Bearer …`. Not for pages.
    #[oai(skip_serializing_if_is_none)]
    access_token: Option<String>,
    /// Always `bearer`. Not for pages.
    #[oai(skip_serializing_if_is_none)]
    token_type: Option<String>,
    /// Lifetime of the access token in seconds. Not for pages.
    #[oai(skip_serializing_if_is_none)]
    expires_in: Option<u64>,
    /// The refresh token: opaque, good for one exchange. Not for pages.
    #[oai(skip_serializing_if_is_none)]
    refresh_token: Option<String>,
    /// How long the refresh token may lie unused, in seconds. Not for pages.
    #[oai(skip_serializing_if_is_none)]
    refresh_expires_in: Option<u64>,
    /// The account.
    user: UserShape,
}

impl SignedUpShape {
    /// For a program.
    pub fn with_pair(user: UserShape, pair: PairShape) -> Self {
        SignedUpShape {
            access_token: Some(pair.access_token),
            token_type: Some(pair.token_type),
            expires_in: Some(pair.expires_in),
            refresh_token: Some(pair.refresh_token),
            refresh_expires_in: Some(pair.refresh_expires_in),
            user,
        }
    }

    /// For a page.
    pub fn by_cookie(user: UserShape) -> Self {
        SignedUpShape {
            access_token: None,
            token_type: None,
            expires_in: None,
            refresh_token: None,
            refresh_expires_in: None,
            user,
        }
    }
}

impl Example for SignedUpShape {
    fn example() -> Self {
        SignedUpShape::with_pair(UserShape::example(), PairShape::example())
    }
}

/// A browser that is signed in.
#[derive(Object)]
#[oai(rename = "Browser", example)]
pub struct BrowserShape {
    /// The account.
    user: UserShape,
    /// When the cookie ends, unless it is used before.
    expires_at: OffsetDateTime,
}

impl BrowserShape {
    /// The account, and the cookie's end in seconds since the epoch.
    pub fn new(user: Account, exp: u64) -> Self {
        let exp = i64::try_from(exp)
            .ok()
            .and_then(|exp| OffsetDateTime::from_unix_timestamp(exp).ok());
        BrowserShape {
            user: user.into(),
            expires_at: exp.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        }
    }
}

impl Example for BrowserShape {
    fn example() -> Self {
        BrowserShape {
            user: UserShape::example(),
            expires_at: datetime!(2026-11-20 08:10:00 UTC),
        }
    }
}
