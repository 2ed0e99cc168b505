//! All that the bench borrows from the product itself: its keys, its tokens, its hash and its
//! script. So sessions can be made by the thousand without asking the gateway, and each floor is
//! that of the very code that runs in it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use latchkey::redis::{Redis, RefreshPolicy, Rotation};
use latchkey_domain::{
    access_token::{self, Claims, SigningKey, TokenPolicy},
    account::{Identity, Role},
    master_secret::MasterSecrets,
    opaque_token::{OpaqueToken, OpaqueTokenKind},
    password::{self, GENERATED_CHARACTERS, HashBuffer, Password, PasswordMatch, SALT_BYTES},
    refresh_token::{RefreshKey, RefreshToken},
    session::{BROWSER_CLIENT, FIRST_PARTY_CLIENT, Session},
    text::ParsedText,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{Outcome, database::Database, seed};

/// What the gateway and the bench call themselves.
pub const ISSUER: &str = "https://auth.example.com";

/// The prefix of the gateway's keys in Redis.
pub const PREFIX: &str = "lk";

/// The longest that the settings allow, for bearer tokens and cookies alike: nothing ends or slides
/// during a run.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// Signatures of which the mean is told.
const SIGNATURES: u32 = 20_000;

/// A secret made for this run.
pub fn secret() -> Outcome<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "no random bytes are available")?;
    Ok(STANDARD.encode(bytes))
}

/// A password made for this run.
pub fn password() -> Outcome<String> {
    let mut bytes = [0; GENERATED_CHARACTERS];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "no random bytes are available")?;
    Ok(password::generated(&bytes).to_string())
}

/// The hash that all seeded users share: it costs as much to compare as any other.
pub fn hash(password: &str) -> Outcome<String> {
    Ok(password::hash(
        &parsed(password)?,
        &[7; SALT_BYTES],
        &mut HashBuffer::default(),
    )?)
}

fn parsed(text: &str) -> Outcome<Password> {
    Password::parse(text).map_err(|_| "the password of the benchmark is rejected".into())
}

/// The gateway's own keys, which its secret and its database together give away.
pub struct Keys {
    signing: SigningKey,
    refresh: RefreshKey,
    realm: TokenPolicy,
    /// The secret of the run, as it is set.
    secret: String,
}

impl Keys {
    /// Those of a gateway that has started.
    pub fn read(database: &Database, secret: &str) -> Outcome<Keys> {
        let row =
            database.row("select kid, encode(sealed_private_key, 'hex') from signing_keys")?;
        let secrets = MasterSecrets::parse(secret)?;
        let hexadecimal = |at: usize| u8::from_str_radix(&row[1][at..at + 2], 16);
        let sealed = (0..row[1].len())
            .step_by(2)
            .map(hexadecimal)
            .collect::<Result<Vec<u8>, _>>()?;
        let document = secrets
            .first()
            .sealing_key()
            .unseal(&sealed, &row[0])
            .ok_or("the signing key is encrypted with another secret")?;
        let signing = SigningKey::from_pkcs8(&document).ok_or("the signing key can't be parsed")?;
        let realm = TokenPolicy {
            issuer: ISSUER.to_owned(),
            audience: ISSUER.to_owned(),
            clock_skew: 5,
        };
        Ok(Keys {
            signing,
            refresh: RefreshKey::new(&secrets),
            realm,
            secret: secret.to_owned(),
        })
    }

    /// The access token of a seeded user, as login gives it.
    pub fn bearer(&self, user: u64, now: u64) -> Outcome<String> {
        Ok(self
            .signing
            .sign(&self.claims(user, FIRST_PARTY_CLIENT, now))?)
    }

    /// The cookie of a seeded user.
    pub fn cookie(&self, user: u64, now: u64) -> Outcome<String> {
        Ok(self.signing.sign(&self.claims(user, BROWSER_CLIENT, now))?)
    }

    /// The personal access token of a seeded user.
    pub fn personal(&self, user: u64) -> String {
        let digest = digest::digest(
            &digest::SHA256,
            seed::of_personal_token(&self.secret, user).as_bytes(),
        );
        let secret = Zeroizing::new(digest.as_ref().try_into().expect("32 bytes"));
        OpaqueToken::new(
            OpaqueTokenKind::PersonalAccessToken,
            seed::personal_token(user),
            secret,
        )
        .text()
        .to_string()
    }

    /// The refresh token of a seeded user's session at this counter.
    pub fn refresh(&self, user: u64, counter: u64) -> String {
        self.refresh.seal(&refresh_token(user, counter))
    }

    fn claims(&self, user: u64, client: &str, now: u64) -> Claims {
        let sid = if client == BROWSER_CLIENT {
            seed::browser_session(user)
        } else {
            seed::session(user)
        };
        let session = Session {
            sid,
            sub: seed::user(user),
            generation: 1,
            client_id: client.to_owned(),
            scope: Role::User.scopes().to_string(),
            auth_time: now,
            ends_at: now + seed::SESSION_DAYS * 86_400,
        };
        let identity = Identity {
            version: 1,
            role: Role::User,
            username: Some(seed::username(user)),
            email: Some(seed::email(user)),
            email_verified: true,
            name: Some(seed::NAME.to_owned()),
        };
        access_token::claims(
            &self.realm,
            &session,
            &identity,
            Uuid::new_v4(),
            now,
            LIFETIME.as_secs(),
        )
    }

    /// Microseconds of one signature, on one core.
    pub fn signature_micros(&self) -> Outcome<f64> {
        let claims = self.claims(1, FIRST_PARTY_CLIENT, crate::now());
        let began = Instant::now();
        for _ in 0..SIGNATURES {
            std::hint::black_box(self.signing.sign(std::hint::black_box(&claims))?);
        }
        Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(SIGNATURES))
    }
}

fn refresh_token(user: u64, counter: u64) -> RefreshToken {
    RefreshToken {
        sub: seed::user(user),
        sid: seed::session(user),
        counter,
    }
}

/// Rotations per second by the gateway's own script, from `callers` that share one connection: what
/// Redis can do when nothing else is to be done. Every rotation is a real one, of a session at
/// home.
pub fn rotations(url: &str, counters: &[u64], callers: usize, duration: Duration) -> Outcome<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let redis = Redis::new(url, PREFIX, Duration::from_secs(1))?;
        let (next, done, began) = (AtomicUsize::new(0), AtomicU64::new(0), Instant::now());
        let caller = || async {
            while began.elapsed() < duration {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let (at, lap) = (turn % counters.len(), (turn / counters.len()) as u64);
                let token = refresh_token(at as u64 + 1, counters[at] + lap);
                match redis.rotate(&token, &rules()).await {
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

/// Those of the default settings.
fn rules() -> RefreshPolicy {
    RefreshPolicy {
        idle: 7 * 86_400_000,
        grace: 10_000,
        patience: 4_200,
    }
}

/// Hashes per second on all cores, by the gateway's own implementation.
pub fn hashes(password: &str, duration: Duration) -> Outcome<f64> {
    let (password, stored) = (parsed(password)?, hash(password)?);
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..crate::machine::cores() {
            scope.spawn(|| {
                let mut memory = HashBuffer::default();
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(
                        password::verify(&password, &stored, &mut memory).ok(),
                        Some(PasswordMatch::Match)
                    );
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(duration);
        over.store(true, Ordering::Relaxed);
    });
    Ok(done.into_inner() as f64 / began.elapsed().as_secs_f64())
}
