//! Sessions without sign-ins, personal access tokens, and client tokens.
//!
//! Thousands of rows are inserted directly, and tokens are signed here with the key of the server.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use latchkey_domain::{
    access_token::{self, Claims, ClientGrant, SigningKey, TokenPolicy},
    account::{Identity, Role},
    master_secret::MasterSecret,
    opaque_token::{OpaqueToken, OpaqueTokenKind, SECRET_BYTES},
    scope::{Scope, Scopes},
    session::{FIRST_PARTY_CLIENT, Session},
};
use secrecy::{ExposeSecret, SecretBox};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    test_server::{TestServer, claims},
    test_stores::connect,
};

/// The lifetime of a token in seconds, longer than any run.
const TOKEN_LIFETIME: u64 = 3600;

/// The first sessions are never revoked. They show that valid sessions are accepted.
pub const SURVIVOR_COUNT: usize = 8;

/// The index of a credential is added to these IDs.
const USER_ID: u128 = 0x0000_0000_0000_7000_8000_0000_0000_0000;
const SESSION_ID: u128 = 0x0000_0000_0000_7000_a000_0000_0000_0000;
const PERSONAL_TOKEN_ID: u128 = 0x0000_0000_0000_7000_b000_0000_0000_0000;
const CLIENT_TOKEN_ID: u128 = 0x0000_0000_0000_7000_9000_0000_0000_0000;

/// A credential that is checked and revoked once.
#[derive(Clone)]
pub struct Credential {
    token: String,
    kind: CredentialKind,
}

#[derive(Clone)]
enum CredentialKind {
    /// Revoked by signing out.
    Session,
    /// Revoked by its holder.
    PersonalToken,
    /// Revoked by its client.
    ClientToken { id: Uuid, secret: String },
}

impl Credential {
    /// Returns the time in the claim `iat` of an access token.
    pub fn issued_at(&self) -> i64 {
        claims(&self.token)["iat"].as_i64().expect("a time")
    }

    pub fn check_request(&self) -> String {
        // Client tokens are only accepted if the check requires a scope.
        let path = "/auth/verify?scope=items:read";
        format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n",
            self.token
        )
    }

    pub fn revoke_request(&self) -> String {
        let Credential { token, kind } = self;
        let form = match kind {
            CredentialKind::Session => {
                return format!(
                    "POST /logout HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\
                     content-length: 0\r\n\r\n"
                );
            }
            CredentialKind::PersonalToken => format!("token={token}"),
            CredentialKind::ClientToken { id, secret } => {
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

/// The credentials of a run: of four, two are sessions, one is a personal access token, and one is
/// a client token.
pub struct Sessions {
    key: SigningKey,
    policy: TokenPolicy,
    count: usize,
    next: AtomicUsize,
    /// The secret of all opaque tokens, which differs per run.
    random: [u8; SECRET_BYTES],
    client_id: Uuid,
    /// Client tokens that a server issued, by the index of the credential.
    issued: Mutex<HashMap<usize, String>>,
}

impl Sessions {
    /// Inserts this many credentials into the database at this URL, each with its own user.
    pub async fn create(server: &TestServer, database: &str, count: usize) -> Sessions {
        let client = connect(database).await;
        let [users, sessions] = [USER_ID, SESSION_ID]
            .map(|id| Uuid::from_u128(id).simple().to_string()[..20].to_owned());
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
        client.batch_execute(&rows).await.expect("valid statements");
        let issuer = server.setting("LATCHKEY_ISSUER").to_owned();
        let policy = TokenPolicy {
            audience: issuer.clone(),
            issuer,
            clock_skew: 0,
        };
        let mut random = [0; SECRET_BYTES];
        aws_lc_rs::rand::fill(&mut random).expect("random bytes");
        let key = load_signing_key(server, &client).await;
        let next = AtomicUsize::new(SURVIVOR_COUNT);
        let created = Sessions {
            key,
            policy,
            count,
            next,
            random,
            client_id: Uuid::now_v7(),
            issued: Mutex::default(),
        };
        created.insert_opaque_tokens(&client).await;
        created
    }

    /// Inserts the OAuth client and the personal access tokens.
    async fn insert_opaque_tokens(&self, client: &tokio_postgres::Client) {
        let register = "insert into oauth_clients (id, name, secret_hash, scope, audiences) \
            values ($1, 'run', $2, 'items:read', $3)";
        let hash = self.client_secret().hash();
        let audience = vec![self.policy.audience.clone()];
        client
            .execute(register, &[&self.client_id, &hash, &audience])
            .await
            .expect("a valid statement");
        let numbers = (0..self.count).filter(|number| number % 4 == 2);
        let tokens: Vec<_> = numbers
            .clone()
            .map(|number| self.personal_token(number))
            .collect();
        let ids: Vec<Uuid> = tokens.iter().map(|token| token.id).collect();
        let hashes: Vec<Vec<u8>> = tokens.iter().map(OpaqueToken::hash).collect();
        let user_ids: Vec<Uuid> = numbers
            .map(|number| Uuid::from_u128(USER_ID | number as u128))
            .collect();
        let insert = "insert into personal_access_tokens
                (id, user_id, generation, name, secret_hash, scope, expires_at)
             select id, user_id, 1, 'run', hash, 'items:read', now() + interval '1 day'
             from unnest($1::uuid[], $2::uuid[], $3::bytea[]) as token (id, user_id, hash)";
        client
            .execute(insert, &[&ids, &user_ids, &hashes])
            .await
            .expect("a valid statement");
        client
            .batch_execute("analyze personal_access_tokens")
            .await
            .expect("a valid statement");
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the number of used credentials, including the survivors.
    pub fn used_count(&self) -> usize {
        self.next.load(Ordering::Relaxed).min(self.count)
    }

    /// Returns the next unused credential, so that each one is revoked by a single actor.
    pub fn next(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.count).then_some(number)
    }

    /// Requests a client token from a server, and makes it the credential with this index. Returns
    /// the credential.
    pub async fn request_token(&self, number: usize, server: &TestServer) -> Credential {
        let secret = self.client_secret().text();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id.to_string()),
            ("client_secret", secret.expose_secret()),
        ];
        let response = server.form("/oauth/token", &form).await;
        let token = response.is(200, "").text("access_token");
        self.issued
            .lock()
            .expect("no poisoned lock")
            .insert(number, token.clone());
        self.client_credential(token)
    }

    fn find_issued(&self, number: usize) -> Option<String> {
        let issued = self.issued.lock().expect("no poisoned lock");
        issued.get(&number).cloned()
    }

    /// Returns a credential. Each call for a session returns another access token.
    pub fn credential(&self, number: usize) -> Credential {
        if let Some(token) = self.find_issued(number) {
            return self.client_credential(token);
        }
        match number % 4 {
            2 => Credential {
                token: self
                    .personal_token(number)
                    .text()
                    .expose_secret()
                    .to_owned(),
                kind: CredentialKind::PersonalToken,
            },
            3 => self.client_credential(self.sign(&self.client_claims(number))),
            _session => Credential {
                token: self.sign(&self.session_claims(number)),
                kind: CredentialKind::Session,
            },
        }
    }

    fn client_credential(&self, token: String) -> Credential {
        let kind = CredentialKind::ClientToken {
            id: self.client_id,
            secret: self.client_secret().text().expose_secret().to_owned(),
        };
        Credential { token, kind }
    }

    fn sign(&self, claims: &Claims) -> String {
        self.key.sign(claims).expect("a signature")
    }

    fn client_secret(&self) -> OpaqueToken {
        OpaqueToken::new(
            OpaqueTokenKind::ClientSecret,
            self.client_id,
            SecretBox::new(Box::new(self.random)),
        )
    }

    fn personal_token(&self, number: usize) -> OpaqueToken {
        let mut secret = self.random;
        secret[..8].copy_from_slice(&number.to_be_bytes());
        OpaqueToken::new(
            OpaqueTokenKind::PersonalAccessToken,
            Uuid::from_u128(PERSONAL_TOKEN_ID | number as u128),
            SecretBox::new(Box::new(secret)),
        )
    }

    fn client_claims(&self, number: usize) -> Claims {
        let scopes = Scopes::of(&[Scope::ItemsRead]);
        let grant = ClientGrant {
            client_id: self.client_id,
            generation: 1,
            audience: self.policy.audience.clone(),
            scopes,
        };
        let jti = Uuid::from_u128(CLIENT_TOKEN_ID | number as u128);
        access_token::client_claims(&self.policy, &grant, jti, now(), TOKEN_LIFETIME)
    }

    fn session_claims(&self, number: usize) -> Claims {
        let session = Session {
            session_id: Uuid::from_u128(SESSION_ID | number as u128),
            user_id: Uuid::from_u128(USER_ID | number as u128),
            generation: 1,
            client_id: FIRST_PARTY_CLIENT.to_owned(),
            scope: Role::User.scopes().to_string(),
            auth_time: now(),
            expires_at: now() + 30 * 86_400,
        };
        let identity = Identity {
            version: 1,
            role: Role::User,
            username: Some(format!("user{number}")),
            email: None,
            email_verified: false,
            name: None,
            groups: Default::default(),
        };
        access_token::claims(
            &self.policy,
            &session,
            &identity,
            Uuid::new_v4(),
            now(),
            TOKEN_LIFETIME,
        )
    }
}

fn now() -> u64 {
    u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).expect("after 1970")
}

/// Loads the newest signing key of the server and unseals it with the master secret.
async fn load_signing_key(server: &TestServer, client: &tokio_postgres::Client) -> SigningKey {
    let newest =
        "select kid, sealed_private_key from signing_keys order by created_at desc limit 1";
    let row = client.query_one(newest, &[]).await.expect("a sealed key");
    let secret = MasterSecret::parse(server.setting("LATCHKEY_SECRET")).expect("a secret");
    let document = secret
        .sealing_key()
        .unseal(row.get(1), row.get(0))
        .expect("a key that is sealed under this secret");
    SigningKey::from_pkcs8(document.expose_secret()).expect("a signing key")
}
