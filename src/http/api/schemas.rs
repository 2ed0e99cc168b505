//! Schemas of responses.

pub mod applications;
pub mod clients;
pub mod groups;
pub mod items;
pub mod personal_access_tokens;
pub mod sessions;
pub mod user_export;

use latchkey_domain::account::{Account, Role};
use poem_openapi::{Enum, Object, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::{Uuid, uuid};

use crate::app::{
    admin::users::{ManagedUser, UserPage},
    sessions::issue::TokenPair,
};

/// IDs in the examples: one per kind, so that equal fields are recognizable.
pub const USER_ID: Uuid = uuid!("019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42");
pub const SESSION_ID: Uuid = uuid!("019a9f60-11c8-7a04-8f2b-5e7d90c3b1a6");
pub const ITEM_ID: Uuid = uuid!("019a9f62-3a90-7c55-b1e0-42f8a6d7c903");
pub const CLIENT_ID: Uuid = uuid!("019a9f64-58f2-7e19-a6c4-d03b7f5e2181");
pub const TOKEN_ID: Uuid = uuid!("019a9f66-92d7-7b6a-9c38-1f4ea05d8b27");
pub const EVENT_ID: Uuid = uuid!("019a9f68-c4ee-7f41-8d97-63b2e91c0a5f");

pub const EXAMPLE_TIME: OffsetDateTime = datetime!(2026-11-20 08:00:00 UTC);

/// Shortened tokens in the examples.
const EXAMPLE_ACCESS_TOKEN: &str = "eyJhbGciOiJFZERTQSI…";
const EXAMPLE_REFRESH_TOKEN: &str = "lkr_7Zk2vQx9TnB4…";

/// Access token and refresh token.
#[derive(Object)]
#[oai(rename = "TokenPair", example)]
pub struct TokenPairSchema {
    /// Access token: a JWT. Send it as `Authorization: Bearer TOKEN`.
    access_token: String,
    /// Always `bearer`.
    token_type: String,
    /// Lifetime of the access token in seconds.
    expires_in: u64,
    /// Refresh token for one exchange.
    refresh_token: String,
    /// Lifetime of the refresh token in seconds, if it is not used.
    refresh_expires_in: u64,
    /// `true` after a sign-in with a password that an administrator or the operator has set;
    /// otherwise absent. Not enforced: the user should change the password with `POST
    /// /user/password`.
    #[oai(skip_serializing_if_is_none)]
    password_change_required: Option<bool>,
}

impl From<TokenPair> for TokenPairSchema {
    fn from(pair: TokenPair) -> Self {
        TokenPairSchema {
            access_token: pair.access_token,
            token_type: "bearer".to_owned(),
            expires_in: pair.expires_in,
            refresh_token: pair.refresh_token,
            refresh_expires_in: pair.refresh_expires_in,
            password_change_required: pair.password_change_required.then_some(true),
        }
    }
}

impl Example for TokenPairSchema {
    fn example() -> Self {
        TokenPairSchema {
            access_token: EXAMPLE_ACCESS_TOKEN.to_owned(),
            token_type: "bearer".to_owned(),
            expires_in: 900,
            refresh_token: EXAMPLE_REFRESH_TOKEN.to_owned(),
            refresh_expires_in: 604_800,
            password_change_required: None,
        }
    }
}

/// Role of a user.
#[derive(Enum)]
#[oai(rename = "Role", rename_all = "snake_case")]
enum RoleSchema {
    /// Access to the own data.
    User,
    /// Administration of users and OAuth clients.
    Admin,
}

impl From<Role> for RoleSchema {
    fn from(role: Role) -> Self {
        match role {
            Role::User => RoleSchema::User,
            Role::Admin => RoleSchema::Admin,
        }
    }
}

/// User.
#[derive(Object)]
#[oai(rename = "User", example)]
pub struct UserSchema {
    /// User ID, equal to `sub` in tokens.
    id: Uuid,
    /// Username.
    username: Option<String>,
    /// Email address.
    email: Option<String>,
    /// Whether the email address is verified.
    email_verified: bool,
    /// Display name.
    name: Option<String>,
    /// Role.
    role: RoleSchema,
    /// Names of the groups, sorted.
    groups: Vec<String>,
    /// Time of creation.
    created_at: OffsetDateTime,
    /// Whether an administrator or the operator has set the current password. Not enforced; the
    /// user should change it.
    password_change_required: bool,
}

impl From<Account> for UserSchema {
    fn from(user: Account) -> Self {
        UserSchema {
            id: user.id,
            username: user.identity.username,
            email: user.identity.email,
            email_verified: user.identity.email_verified,
            name: user.identity.name,
            role: user.identity.role.into(),
            groups: user.identity.groups.iter().map(str::to_owned).collect(),
            created_at: user.created_at,
            password_change_required: user.password_change_required,
        }
    }
}

impl Example for UserSchema {
    fn example() -> Self {
        UserSchema {
            id: USER_ID,
            username: Some("john".to_owned()),
            email: Some("john@example.com".to_owned()),
            email_verified: false,
            name: Some("John Doe".to_owned()),
            role: RoleSchema::User,
            groups: vec!["finance".to_owned()],
            created_at: EXAMPLE_TIME,
            password_change_required: false,
        }
    }
}

/// User with the fields that only administrators see.
#[derive(Object)]
#[oai(rename = "AdminUser", example)]
pub struct AdminUserSchema {
    /// User ID, equal to `sub` in tokens.
    pub id: Uuid,
    /// Username.
    username: Option<String>,
    /// Email address.
    email: Option<String>,
    /// Whether the email address is verified.
    email_verified: bool,
    /// Display name.
    name: Option<String>,
    /// Role.
    role: RoleSchema,
    /// Names of the groups, sorted.
    groups: Vec<String>,
    /// Whether the user is disabled and can't sign in.
    disabled: bool,
    /// Time of creation.
    created_at: OffsetDateTime,
    /// Whether an administrator or the operator has set the current password. Not enforced; the
    /// user should change it.
    password_change_required: bool,
}

impl From<ManagedUser> for AdminUserSchema {
    fn from(ManagedUser { account, disabled }: ManagedUser) -> Self {
        let UserSchema {
            id,
            username,
            email,
            email_verified,
            name,
            role,
            groups,
            created_at,
            password_change_required,
        } = account.into();
        AdminUserSchema {
            id,
            username,
            email,
            email_verified,
            name,
            role,
            groups,
            disabled,
            created_at,
            password_change_required,
        }
    }
}

impl Example for AdminUserSchema {
    fn example() -> Self {
        let UserSchema {
            id,
            username,
            email,
            email_verified,
            name,
            role,
            groups,
            created_at,
            password_change_required,
        } = UserSchema::example();
        AdminUserSchema {
            id,
            username,
            email,
            email_verified,
            name,
            role,
            groups,
            disabled: false,
            created_at,
            password_change_required,
        }
    }
}

/// A page of users.
#[derive(Object)]
#[oai(rename = "AdminUserPage", example)]
pub struct AdminUserPageSchema {
    /// Users, oldest first.
    data: Vec<AdminUserSchema>,
    /// Value of `after` for the next page; `null` on the last page.
    next: Option<String>,
}

impl From<UserPage> for AdminUserPageSchema {
    fn from(page: UserPage) -> Self {
        AdminUserPageSchema {
            data: page.users.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for AdminUserPageSchema {
    fn example() -> Self {
        AdminUserPageSchema {
            data: vec![AdminUserSchema::example()],
            next: None,
        }
    }
}

/// Registered user and the tokens of the session. With `X-Latchkey-Request: 1`, the session cookie
/// replaces the tokens, and `user` is the only field.
#[derive(Object)]
#[oai(rename = "SignUpResponse", example)]
pub struct SignUpSchema {
    /// Access token: a JWT. Send it as `Authorization: Bearer TOKEN`. Absent with a session cookie.
    #[oai(skip_serializing_if_is_none)]
    access_token: Option<String>,
    /// Always `bearer`. Absent with a session cookie.
    #[oai(skip_serializing_if_is_none)]
    token_type: Option<String>,
    /// Lifetime of the access token in seconds. Absent with a session cookie.
    #[oai(skip_serializing_if_is_none)]
    expires_in: Option<u64>,
    /// Refresh token for one exchange. Absent with a session cookie.
    #[oai(skip_serializing_if_is_none)]
    refresh_token: Option<String>,
    /// Lifetime of the refresh token in seconds, if it is not used. Absent with a session cookie.
    #[oai(skip_serializing_if_is_none)]
    refresh_expires_in: Option<u64>,
    /// Registered user.
    user: UserSchema,
}

impl SignUpSchema {
    pub fn with_tokens(user: UserSchema, pair: TokenPairSchema) -> Self {
        SignUpSchema {
            access_token: Some(pair.access_token),
            token_type: Some(pair.token_type),
            expires_in: Some(pair.expires_in),
            refresh_token: Some(pair.refresh_token),
            refresh_expires_in: Some(pair.refresh_expires_in),
            user,
        }
    }

    pub fn with_cookie(user: UserSchema) -> Self {
        SignUpSchema {
            access_token: None,
            token_type: None,
            expires_in: None,
            refresh_token: None,
            refresh_expires_in: None,
            user,
        }
    }
}

impl Example for SignUpSchema {
    fn example() -> Self {
        SignUpSchema::with_tokens(UserSchema::example(), TokenPairSchema::example())
    }
}

/// Browser session.
#[derive(Object)]
#[oai(rename = "BrowserSession", example)]
pub struct BrowserSessionSchema {
    /// Signed-in user.
    user: UserSchema,
    /// Expiration time of the session cookie, if no request renews it.
    expires_at: OffsetDateTime,
}

impl BrowserSessionSchema {
    /// `exp` is the expiration time of the session cookie in seconds since the Unix epoch.
    pub fn new(user: Account, exp: u64) -> Self {
        let expires_at = i64::try_from(exp)
            .ok()
            .and_then(|exp| OffsetDateTime::from_unix_timestamp(exp).ok());
        BrowserSessionSchema {
            user: user.into(),
            expires_at: expires_at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        }
    }
}

impl Example for BrowserSessionSchema {
    fn example() -> Self {
        BrowserSessionSchema {
            user: UserSchema::example(),
            expires_at: datetime!(2026-11-20 08:10:00 UTC),
        }
    }
}
