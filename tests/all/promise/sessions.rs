//! Sessions without sign-ins: rows by the thousand, and tokens that are signed here, with the gateway's own key.

use std::sync::atomic::{AtomicUsize, Ordering};

use latchkey::domain::{
    access_token::{self, Realm, SigningKey},
    account::{Identity, Role},
    master_secret::MasterSecret,
    session::{FIRST_PARTY_CLIENT, Session},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{gateway::Gateway, stack::connect};

/// Seconds that a token lives: longer than any run.
const LIFETIME: u64 = 3600;

/// Those in front are never ended: they show that what is alive is accepted.
pub const SURVIVORS: usize = 8;

/// The user and the session of a number differ in one digit.
const USERS: u128 = 0x0000_0000_0000_7000_8000_0000_0000_0000;
const SESSIONS: u128 = 0x0000_0000_0000_7000_a000_0000_0000_0000;

/// All sessions of a run.
pub struct Sessions {
    key: SigningKey,
    realm: Realm,
    count: usize,
    next: AtomicUsize,
}

impl Sessions {
    /// Makes this many, behind the gateway's back, each of a user of its own. `database` is the record's own address.
    pub async fn make(gateway: &Gateway, database: &str, count: usize) -> Sessions {
        let client = connect(database).await;
        let [users, sessions] = [USERS, SESSIONS].map(|ids| Uuid::from_u128(ids).simple().to_string()[..20].to_owned());
        let scope = Role::User.scopes().to_string();
        let rows = format!(
            "insert into users (id, username, password_hash)
             select ('{users}' || lpad(to_hex(n), 12, '0'))::uuid, 'user' || n, 'none' from generate_series(0, {count} - 1) n;
             insert into sessions (sid, user_id, gen, client_id, scope, created_at, ends_at)
             select ('{sessions}' || lpad(to_hex(n), 12, '0'))::uuid, ('{users}' || lpad(to_hex(n), 12, '0'))::uuid, 1,
                 '{FIRST_PARTY_CLIENT}', '{scope}', now(), now() + interval '30 days' from generate_series(0, {count} - 1) n;
             analyze users, sessions"
        );
        client.batch_execute(&rows).await.expect("the statements are right");
        let issuer = gateway.setting("LATCHKEY_ISSUER").to_owned();
        let realm = Realm { audience: issuer.clone(), issuer, clock_skew: 0 };
        Sessions { key: signing_key(gateway, &client).await, realm, count, next: AtomicUsize::new(SURVIVORS) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many were given out, those in front included.
    pub fn given(&self) -> usize {
        self.next.load(Ordering::Relaxed).min(self.count)
    }

    /// One that is alive, for whoever is to end it.
    pub fn next(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.count).then_some(number)
    }

    /// A token of this one.
    pub fn token(&self, number: usize) -> String {
        let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).expect("after 1970");
        let session = Session {
            sid: Uuid::from_u128(SESSIONS | number as u128),
            sub: Uuid::from_u128(USERS | number as u128),
            generation: 1,
            client_id: FIRST_PARTY_CLIENT.to_owned(),
            scope: Role::User.scopes().to_string(),
            auth_time: now,
            ends_at: now + 30 * 86_400,
        };
        let identity = Identity {
            version: 1,
            role: Role::User,
            username: Some(format!("user{number}")),
            email: None,
            email_verified: false,
            name: None,
        };
        let claims = access_token::claims(&self.realm, &session, &identity, Uuid::new_v4(), now, LIFETIME);
        self.key.sign(&claims).expect("there is randomness")
    }
}

/// Secret and record together give the gateway's key away.
async fn signing_key(gateway: &Gateway, client: &tokio_postgres::Client) -> SigningKey {
    let newest = "select kid, sealed_private_key from signing_keys order by created_at desc limit 1";
    let row = client.query_one(newest, &[]).await.expect("it has a key");
    let secret = MasterSecret::parse(gateway.setting("LATCHKEY_SECRET")).expect("a secret");
    let document = secret.sealing_key().unseal(row.get(1), row.get(0)).expect("sealed under this secret");
    SigningKey::from_pkcs8(&document).expect("a key")
}
