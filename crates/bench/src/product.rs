//! The keys, tokens, password hash, and Redis script of the product.
//!
//! With them, the benchmark creates thousands of sessions without requests to the server, and each
//! baseline measures the same code that the server runs.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use latchkey::redis::{Redis, RedisTimeouts, RefreshPolicy, Rotation};
use latchkey_domain::{
    access_token::{self, Claims, SigningKey, TokenPolicy},
    account::{Identity, Role},
    master_secret::MasterSecrets,
    opaque_token::{OpaqueToken, OpaqueTokenKind},
    password::{
        self, Argon2Implementation, GENERATED_CHARACTERS, HashBuffer, Password, PasswordMatch,
        SALT_BYTES,
    },
    refresh_token::{RefreshKey, RefreshToken},
    session::{BROWSER_CLIENT, FIRST_PARTY_CLIENT, Session},
    text::ParsedText,
};
use secrecy::{ExposeSecret, SecretBox};
use uuid::Uuid;

use crate::{Outcome, database::Database, seed};

/// The issuer and the audience of all tokens.
pub const ISSUER: &str = "https://auth.example.com";

/// The prefix in the settings of the server.
const REDIS_PREFIX: &str = "lk";

/// The prefix of the server's keys in Redis: that of the settings, and the first digits of
/// [`DATABASE_ID`].
pub const REDIS_KEY_PREFIX: &str = "lk:00000000";

/// The ID of the database, which seed.sql stores.
const DATABASE_ID: Uuid = Uuid::nil();

/// The maximum of the settings for access tokens and cookies, so that none expires or is renewed
/// during a run.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// Number of signatures that are averaged.
const MEASURED_SIGNATURES: u32 = 20_000;

/// Generates the master secret of a run.
pub fn generate_secret() -> Outcome<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "no random bytes are available")?;
    Ok(STANDARD.encode(bytes))
}

/// Generates the password of all seeded users.
pub fn generate_password() -> Outcome<String> {
    let mut bytes = [0; GENERATED_CHARACTERS];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "no random bytes are available")?;
    Ok(password::generated(&bytes).expose_secret().to_owned())
}

/// Hashes the password of all seeded users. A shared hash costs as much to verify as separate ones.
pub fn hash_password(password: &str) -> Outcome<String> {
    Ok(password::hash(
        &parse_password(password)?,
        &[7; SALT_BYTES],
        &mut HashBuffer::default(),
    )?)
}

fn parse_password(text: &str) -> Outcome<Password> {
    Password::parse(text).map_err(|_| "the password of the benchmark is rejected".into())
}

/// The keys of the server, from its secret and its database.
pub struct Keys {
    signing: SigningKey,
    refresh: RefreshKey,
    policy: TokenPolicy,
    /// The master secret, in the form of the setting.
    secret: String,
}

impl Keys {
    /// Reads the keys of a server that has started.
    pub fn read(database: &Database, secret: &str) -> Outcome<Keys> {
        let row = database
            .query_row("select kid, encode(sealed_private_key, 'hex') from signing_keys")?;
        let secrets = MasterSecrets::parse(secret)?;
        let hexadecimal = |at: usize| u8::from_str_radix(&row[1][at..at + 2], 16);
        let sealed = (0..row[1].len())
            .step_by(2)
            .map(hexadecimal)
            .collect::<Result<Vec<u8>, _>>()?;
        let private_key = secrets
            .first()
            .sealing_key()
            .unseal(&sealed, &row[0])
            .ok_or("the signing key is encrypted with another secret")?;
        let signing = SigningKey::from_pkcs8(private_key.expose_secret())
            .ok_or("the signing key can't be parsed")?;
        let policy = TokenPolicy {
            issuer: ISSUER.to_owned(),
            audience: ISSUER.to_owned(),
            clock_skew: 5,
        };
        Ok(Keys {
            signing,
            refresh: RefreshKey::new(&secrets),
            policy,
            secret: secret.to_owned(),
        })
    }

    /// Signs an access token of a seeded user, as a sign-in issues it.
    pub fn sign_access_token(&self, user: u64, now: u64) -> Outcome<String> {
        Ok(self
            .signing
            .sign(&self.claims(user, FIRST_PARTY_CLIENT, now))?)
    }

    /// Signs the session cookie of a seeded user.
    pub fn sign_cookie(&self, user: u64, now: u64) -> Outcome<String> {
        Ok(self.signing.sign(&self.claims(user, BROWSER_CLIENT, now))?)
    }

    /// Builds the personal access token of a seeded user.
    pub fn personal_access_token(&self, user: u64) -> String {
        let digest = digest::digest(
            &digest::SHA256,
            seed::personal_access_token_seed(&self.secret, user).as_bytes(),
        );
        let secret = SecretBox::new(Box::new(digest.as_ref().try_into().expect("32 bytes")));
        OpaqueToken::new(
            OpaqueTokenKind::PersonalAccessToken,
            seed::personal_access_token_id(user),
            secret,
        )
        .text()
        .expose_secret()
        .to_owned()
    }

    /// Builds the refresh token of a seeded user's session at a rotation counter.
    pub fn refresh_token(&self, user: u64, counter: u64) -> String {
        self.refresh.sign(&refresh_token(user, counter))
    }

    fn claims(&self, user: u64, client_id: &str, now: u64) -> Claims {
        let session_id = if client_id == BROWSER_CLIENT {
            seed::browser_session_id(user)
        } else {
            seed::session_id(user)
        };
        let session = Session {
            session_id,
            user_id: seed::user_id(user),
            generation: 1,
            client_id: client_id.to_owned(),
            scope: Role::User.scopes().to_string(),
            auth_time: now,
            expires_at: now + seed::SESSION_DAYS * 86_400,
        };
        let identity = Identity {
            version: 1,
            role: Role::User,
            username: Some(seed::username(user)),
            email: Some(seed::email(user)),
            email_verified: true,
            name: Some(seed::DISPLAY_NAME.to_owned()),
            groups: Default::default(),
        };
        access_token::claims(
            &self.policy,
            &session,
            &identity,
            Uuid::new_v4(),
            now,
            TOKEN_LIFETIME.as_secs(),
        )
    }

    /// Measures one signature on one core, in microseconds.
    pub fn measure_signature_micros(&self) -> Outcome<f64> {
        let claims = self.claims(1, FIRST_PARTY_CLIENT, crate::now());
        let began = Instant::now();
        for _ in 0..MEASURED_SIGNATURES {
            std::hint::black_box(self.signing.sign(std::hint::black_box(&claims))?);
        }
        Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(MEASURED_SIGNATURES))
    }
}

fn refresh_token(user: u64, counter: u64) -> RefreshToken {
    RefreshToken {
        user_id: seed::user_id(user),
        session_id: seed::session_id(user),
        counter,
    }
}

/// Measures the rotations per second of the server's own script, from callers that share one
/// connection. Each call rotates a session that Redis contains.
pub fn measure_rotation_rate(
    url: &str,
    counters: &[u64],
    callers: usize,
    duration: Duration,
) -> Outcome<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let timeouts = RedisTimeouts {
            operation: Duration::from_secs(1),
            connect: Duration::from_secs(1),
        };
        let redis = Redis::new(&url.into(), Box::new(|| None), REDIS_PREFIX, timeouts)?;
        redis.set_database_for_reading(DATABASE_ID);
        let (next, done, began) = (AtomicUsize::new(0), AtomicU64::new(0), Instant::now());
        let caller = || async {
            while began.elapsed() < duration {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let (at, lap) = (turn % counters.len(), (turn / counters.len()) as u64);
                let token = refresh_token(at as u64 + 1, counters[at] + lap);
                match redis.rotate(&token, &default_refresh_policy()).await {
                    Ok(Rotation::Rotated(_)) => done.fetch_add(1, Ordering::Relaxed),
                    other => return Err(format!("the script rejected a valid token: {other:?}")),
                };
            }
            Ok(())
        };
        futures_util::future::try_join_all((0..callers).map(|_| caller())).await?;
        Ok(done.into_inner() as f64 / began.elapsed().as_secs_f64())
    })
}

/// Returns the refresh policy of the default settings.
fn default_refresh_policy() -> RefreshPolicy {
    RefreshPolicy {
        idle_timeout_ms: 7 * 86_400_000,
        reuse_interval_ms: 10_000,
        restore_timeout_ms: 4_200,
        outages: String::new(),
    }
}

/// Measures the password hashes per second on all cores, by the implementation of a server with
/// these settings.
pub fn measure_hash_rate(
    password: &str,
    settings: &[(String, String)],
    duration: Duration,
) -> Outcome<f64> {
    let implementation = hash_implementation(settings);
    let (password, stored) = (parse_password(password)?, hash_password(password)?);
    let (stopped, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..crate::machine::cores() {
            scope.spawn(|| {
                let mut buffer = HashBuffer::new(implementation);
                while !stopped.load(Ordering::Relaxed) {
                    assert_eq!(
                        password::verify(&password, &stored, &mut buffer).ok(),
                        Some(PasswordMatch::Match)
                    );
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(duration);
        stopped.store(true, Ordering::Relaxed);
    });
    Ok(done.into_inner() as f64 / began.elapsed().as_secs_f64())
}

/// Returns the Argon2 implementation of a server with these settings. A later value replaces an
/// earlier one.
fn hash_implementation(settings: &[(String, String)]) -> Argon2Implementation {
    settings
        .iter()
        .rfind(|(name, _)| name == "LATCHKEY_HASH_IMPLEMENTATION")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or_default()
}
