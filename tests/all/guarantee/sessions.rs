//! Sessions without sign-ins, personal tokens, and tokens of a client: rows by the thousand, and
//! tokens that are signed here, with the gateway's own key.

use std::sync::atomic::{AtomicUsize, Ordering};

use latchkey_domain::{
    access_token::{self, Claims, ClientGrant, SigningKey, TokenPolicy},
    account::{Identity, Role},
    master_secret::MasterSecret,
    opaque_token::{OpaqueToken, OpaqueTokenKind, SECRET_BYTES},
    scope::{Scope, Scopes},
    session::{FIRST_PARTY_CLIENT, Session},
};
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{test_server::TestServer, test_stores::connect};

/// Seconds that a token lives: longer than any run.
const LIFETIME: u64 = 3600;

/// Those in front are never ended: they show that what is alive is accepted.
pub const SURVIVORS: usize = 8;

/// The user and the session of a number differ in one digit.
const USERS: u128 = 0x0000_0000_0000_7000_8000_0000_0000_0000;
const SESSIONS: u128 = 0x0000_0000_0000_7000_a000_0000_0000_0000;

/// The personal token and the token of a client.
const PERSONAL: u128 = 0x0000_0000_0000_7000_b000_0000_0000_0000;
const OF_CLIENT: u128 = 0x0000_0000_0000_7000_9000_0000_0000_0000;

/// Something that is checked, and ended once.
#[derive(Clone)]
pub struct Held {
    token: String,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// It is signed out.
    Session,
    /// Whoever has it gives it back.
    Personal,
    /// Its client gives it back.
    OfClient { id: Uuid, secret: String },
}

impl Held {
    /// The request of a check.
    pub fn check(&self) -> String {
        // What a client is to be good for must be said.
        let path = "/auth/verify?scope=items:read";
        format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n",
            self.token
        )
    }

    /// The request that ends it.
    pub fn end(&self) -> String {
        let Held { token, kind } = self;
        let form = match kind {
            Kind::Session => {
                return format!(
                    "POST /logout HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
                     content-length: 0\r\n\r\n"
                );
            }
            Kind::Personal => format!("token={token}"),
            Kind::OfClient { id, secret } => {
                format!("token={token}&client_id={id}&client_secret={secret}")
            }
        };
        let length = form.len();
        format!(
            "POST /oauth/revoke HTTP/1.1\r\nhost: a\r\n\
             content-type: application/x-www-form-urlencoded\r\n\
             content-length: {length}\r\n\r\n{form}"
        )
    }
}

/// Everything that a run ends: of four, two are sessions, one is a personal token and one a
/// client's.
pub struct Sessions {
    key: SigningKey,
    realm: TokenPolicy,
    count: usize,
    next: AtomicUsize,
    /// Of this run alone.
    random: [u8; SECRET_BYTES],
    client: Uuid,
}

impl Sessions {
    /// Makes this many, behind the gateway's back, each of a user of its own. `database` is the
    /// record's own address.
    pub async fn make(server: &TestServer, database: &str, count: usize) -> Sessions {
        let client = connect(database).await;
        let [users, sessions] =
            [USERS, SESSIONS].map(|ids| Uuid::from_u128(ids).simple().to_string()[..20].to_owned());
        let scope = Role::User.scopes().to_string();
        let rows = format!(
            "insert into users (id, username, password_hash)
             select ('{users}' || lpad(to_hex(n), 12, '0'))::uuid, 'user' || n, 'none'
             from generate_series(0, {count} - 1) n;
             insert into sessions
                 (id, user_id, generation, client_id, scope, created_at, expires_at)
             select ('{sessions}' || lpad(to_hex(n), 12, '0'))::uuid,
                 ('{users}' || lpad(to_hex(n), 12, '0'))::uuid, 1,
                 '{FIRST_PARTY_CLIENT}', '{scope}', now(), now() + interval '30 days'
             from generate_series(0, {count} - 1) n;
             analyze users, sessions"
        );
        client
            .batch_execute(&rows)
            .await
            .expect("the statements are right");
        let issuer = server.setting("LATCHKEY_ISSUER").to_owned();
        let realm = TokenPolicy {
            audience: issuer.clone(),
            issuer,
            clock_skew: 0,
        };
        let mut random = [0; SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut random).expect("there is randomness");
        let key = signing_key(server, &client).await;
        let next = AtomicUsize::new(SURVIVORS);
        let made = Sessions {
            key,
            realm,
            count,
            next,
            random,
            client: Uuid::now_v7(),
        };
        made.insert_opaque(&client).await;
        made
    }

    /// The client, and the personal tokens.
    async fn insert_opaque(&self, client: &tokio_postgres::Client) {
        let register = "insert into oauth_clients (id, name, secret_hash, scope, audiences) \
            values ($1, 'run', $2, 'items:read', $3)";
        let (hash, audience) = (self.secret().hash(), vec![self.realm.audience.clone()]);
        client
            .execute(register, &[&self.client, &hash, &audience])
            .await
            .expect("the statement is right");
        let numbers = (0..self.count).filter(|number| number % 4 == 2);
        let tokens: Vec<_> = numbers
            .clone()
            .map(|number| self.personal(number))
            .collect();
        let ids: Vec<Uuid> = tokens.iter().map(|token| token.id).collect();
        let hashes: Vec<Vec<u8>> = tokens.iter().map(OpaqueToken::hash).collect();
        let users: Vec<Uuid> = numbers
            .map(|number| Uuid::from_u128(USERS | number as u128))
            .collect();
        let insert = "insert into personal_access_tokens
                (id, user_id, generation, name, secret_hash, scope, expires_at)
             select id, user_id, 1, 'run', hash, 'items:read', now() + interval '1 day'
             from unnest($1::uuid[], $2::uuid[], $3::bytea[]) as token (id, user_id, hash)";
        client
            .execute(insert, &[&ids, &users, &hashes])
            .await
            .expect("the statement is right");
        client
            .batch_execute("analyze personal_access_tokens")
            .await
            .expect("the statement is right");
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

    /// What this one is known by: of a session, another token each time.
    pub fn held(&self, number: usize) -> Held {
        match number % 4 {
            2 => Held {
                token: self.personal(number).text().to_string(),
                kind: Kind::Personal,
            },
            3 => {
                let kind = Kind::OfClient {
                    id: self.client,
                    secret: self.secret().text().to_string(),
                };
                Held {
                    token: self.signed(&self.claims_of_client(number)),
                    kind,
                }
            }
            _session => Held {
                token: self.signed(&self.claims(number)),
                kind: Kind::Session,
            },
        }
    }

    fn signed(&self, claims: &Claims) -> String {
        self.key.sign(claims).expect("there is randomness")
    }

    fn secret(&self) -> OpaqueToken {
        OpaqueToken::new(
            OpaqueTokenKind::ClientSecret,
            self.client,
            Zeroizing::new(self.random),
        )
    }

    fn personal(&self, number: usize) -> OpaqueToken {
        let mut secret = self.random;
        secret[..8].copy_from_slice(&number.to_be_bytes());
        OpaqueToken::new(
            OpaqueTokenKind::PersonalAccessToken,
            Uuid::from_u128(PERSONAL | number as u128),
            Zeroizing::new(secret),
        )
    }

    fn claims_of_client(&self, number: usize) -> Claims {
        let scopes = Scopes::of(&[Scope::ItemsRead]);
        let grant = ClientGrant {
            client: self.client,
            generation: 1,
            audience: self.realm.audience.clone(),
            scopes,
        };
        let jti = Uuid::from_u128(OF_CLIENT | number as u128);
        access_token::client_claims(&self.realm, &grant, jti, now(), LIFETIME)
    }

    fn claims(&self, number: usize) -> Claims {
        let session = Session {
            sid: Uuid::from_u128(SESSIONS | number as u128),
            sub: Uuid::from_u128(USERS | number as u128),
            generation: 1,
            client_id: FIRST_PARTY_CLIENT.to_owned(),
            scope: Role::User.scopes().to_string(),
            auth_time: now(),
            ends_at: now() + 30 * 86_400,
        };
        let identity = Identity {
            version: 1,
            role: Role::User,
            username: Some(format!("user{number}")),
            email: None,
            email_verified: false,
            name: None,
        };
        access_token::claims(
            &self.realm,
            &session,
            &identity,
            Uuid::new_v4(),
            now(),
            LIFETIME,
        )
    }
}

fn now() -> u64 {
    u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).expect("after 1970")
}

/// Secret and record together give the gateway's key away.
async fn signing_key(server: &TestServer, client: &tokio_postgres::Client) -> SigningKey {
    let newest =
        "select kid, sealed_private_key from signing_keys order by created_at desc limit 1";
    let row = client.query_one(newest, &[]).await.expect("it has a key");
    let secret = MasterSecret::parse(server.setting("LATCHKEY_SECRET")).expect("a secret");
    let document = secret
        .sealing_key()
        .unseal(row.get(1), row.get(0))
        .expect("sealed under this secret");
    SigningKey::from_pkcs8(&document).expect("a key")
}
