//! What answers look like.

pub mod clients;
pub mod personal_tokens;

use poem_openapi::{Object, Union, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::{Uuid, uuid};

use crate::{
    domain::{account::Account, agent},
    gateway::{Dashboard, Device, DevicePage, ManagedUser, Pair, StoredItem, UserPage},
};

const SOMEBODY: Uuid = uuid!("019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42");
const SOME_TIME: OffsetDateTime = datetime!(2026-11-20 08:00:00 UTC);

/// An access token, and the refresh token that renews it.
#[derive(Object)]
#[oai(rename = "Pair", example)]
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
    /// `user` or `admin`.
    role: String,
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
            role: user.identity.role.as_str().to_owned(),
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
            role: "user".to_owned(),
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
    /// `user` or `admin`.
    role: String,
    /// Whether signing in is refused.
    disabled: bool,
    /// When the account was made.
    created_at: OffsetDateTime,
}

impl From<ManagedUser> for ManagedUserShape {
    fn from(ManagedUser { account, disabled }: ManagedUser) -> Self {
        let UserShape { id, username, email, email_verified, name, role, created_at } = account.into();
        ManagedUserShape { id, username, email, email_verified, name, role, disabled, created_at }
    }
}

impl Example for ManagedUserShape {
    fn example() -> Self {
        let UserShape { id, username, email, email_verified, name, role, created_at } = UserShape::example();
        ManagedUserShape { id, username, email, email_verified, name, role, disabled: false, created_at }
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
        UserPageShape { items: page.users.into_iter().map(Into::into).collect(), next: page.next }
    }
}

impl Example for UserPageShape {
    fn example() -> Self {
        UserPageShape { items: vec![ManagedUserShape::example()], next: None }
    }
}

/// A new account, signed in.
#[derive(Object)]
#[oai(rename = "SignedUp", example)]
pub struct SignedUpShape {
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
    /// The account.
    user: UserShape,
}

impl SignedUpShape {
    /// The pair and the account in one object.
    pub fn new(pair: PairShape, user: UserShape) -> Self {
        SignedUpShape {
            access_token: pair.access_token,
            token_type: pair.token_type,
            expires_in: pair.expires_in,
            refresh_token: pair.refresh_token,
            refresh_expires_in: pair.refresh_expires_in,
            user,
        }
    }
}

impl Example for SignedUpShape {
    fn example() -> Self {
        SignedUpShape::new(PairShape::example(), UserShape::example())
    }
}

/// A new account, signed in by cookie.
#[derive(Object)]
#[oai(rename = "SignedUpPage", example)]
pub struct SignedUpPageShape {
    /// The account.
    pub user: UserShape,
}

impl Example for SignedUpPageShape {
    fn example() -> Self {
        SignedUpPageShape { user: UserShape::example() }
    }
}

/// A new account: with a pair for programs, and without one for pages, which get a cookie.
#[derive(Union)]
pub enum SignUpAnswer {
    /// For programs.
    Program(SignedUpShape),
    /// For pages.
    Page(SignedUpPageShape),
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
        let exp = i64::try_from(exp).ok().and_then(|exp| OffsetDateTime::from_unix_timestamp(exp).ok());
        BrowserShape { user: user.into(), expires_at: exp.unwrap_or(OffsetDateTime::UNIX_EPOCH) }
    }
}

impl Example for BrowserShape {
    fn example() -> Self {
        BrowserShape { user: UserShape::example(), expires_at: datetime!(2026-11-20 08:10:00 UTC) }
    }
}

/// An item.
#[derive(Object)]
#[oai(rename = "Item", example)]
pub struct ItemShape {
    /// The id.
    id: Uuid,
    /// The name.
    name: String,
    /// The description.
    description: Option<String>,
    /// When it was made.
    created_at: OffsetDateTime,
    /// When it was last changed.
    updated_at: OffsetDateTime,
}

impl From<StoredItem> for ItemShape {
    fn from(item: StoredItem) -> Self {
        ItemShape {
            id: item.id,
            name: item.name,
            description: item.description,
            created_at: item.created_at,
            updated_at: item.updated_at,
        }
    }
}

impl Example for ItemShape {
    fn example() -> Self {
        ItemShape {
            id: SOMEBODY,
            name: "Book".to_owned(),
            description: Some("A nice book".to_owned()),
            created_at: SOME_TIME,
            updated_at: SOME_TIME,
        }
    }
}

/// A page of items.
#[derive(Object)]
#[oai(rename = "ItemPage", example)]
pub struct ItemPageShape {
    /// The items, by id ascending.
    pub items: Vec<ItemShape>,
    /// Send this as `after` to get the next page; `null` on the last.
    pub next: Option<String>,
}

impl Example for ItemPageShape {
    fn example() -> Self {
        ItemPageShape { items: vec![ItemShape::example()], next: None }
    }
}

/// A sign-in that is still good: a device, mostly.
#[derive(Object)]
#[oai(rename = "Session", example)]
pub struct SessionShape {
    /// The id, `sid` in tokens.
    id: Uuid,
    /// When it began.
    created_at: OffsetDateTime,
    /// When it was last refreshed, give or take a second.
    last_seen_at: OffsetDateTime,
    /// When it ends if it is not used again; never after its absolute end.
    ends_at: OffsetDateTime,
    /// The address it was last seen at.
    address: Option<String>,
    /// What began it, in words.
    agent: Option<String>,
    /// Whether this request belongs to it.
    current: bool,
}

impl SessionShape {
    fn new(device: Device, current: Option<Uuid>) -> Self {
        SessionShape {
            id: device.sid,
            created_at: device.created_at,
            last_seen_at: device.refreshed_at,
            ends_at: device.live_until,
            address: device.address,
            agent: device.agent.as_deref().map(agent::in_words),
            current: Some(device.sid) == current,
        }
    }
}

impl Example for SessionShape {
    fn example() -> Self {
        SessionShape {
            id: SOMEBODY,
            created_at: SOME_TIME,
            last_seen_at: SOME_TIME,
            ends_at: datetime!(2026-11-27 08:00:00 UTC),
            address: Some("192.0.2.1".to_owned()),
            agent: Some("Firefox on Linux".to_owned()),
            current: true,
        }
    }
}

/// A page of sessions.
#[derive(Object)]
#[oai(rename = "SessionPage", example)]
pub struct SessionPageShape {
    /// The sessions, by id ascending, which is from the oldest.
    items: Vec<SessionShape>,
    /// Send this as `after` to get the next page; `null` on the last.
    next: Option<String>,
}

impl SessionPageShape {
    /// The page as seen from one of the sessions, or from elsewhere.
    pub fn new(page: DevicePage, current: Option<Uuid>) -> Self {
        let items = page.devices.into_iter().map(|device| SessionShape::new(device, current)).collect();
        SessionPageShape { items, next: page.next }
    }
}

impl Example for SessionPageShape {
    fn example() -> Self {
        SessionPageShape { items: vec![SessionShape::example()], next: None }
    }
}

/// The account, its sessions and how much is in it.
#[derive(Object)]
#[oai(rename = "Dashboard", example)]
pub struct DashboardShape {
    /// The account.
    user: UserShape,
    /// Its live sessions.
    sessions: Vec<SessionShape>,
    /// How many items it has.
    item_count: i64,
}

impl DashboardShape {
    /// The dashboard as seen from one of its sessions, or from elsewhere.
    pub fn new(dashboard: Dashboard, current: Option<Uuid>) -> Self {
        DashboardShape {
            user: dashboard.user.into(),
            sessions: dashboard.sessions.into_iter().map(|device| SessionShape::new(device, current)).collect(),
            item_count: dashboard.items,
        }
    }
}

impl Example for DashboardShape {
    fn example() -> Self {
        DashboardShape { user: UserShape::example(), sessions: vec![SessionShape::example()], item_count: 3 }
    }
}
