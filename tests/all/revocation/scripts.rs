//! Tests of the Lua scripts of the revocation log, in orders that occur only after failures.

use std::time::Duration;

use latchkey::redis::{
    AppendOutcome, BeginOutcome, JoinOutcome, LogPage, LookupOutcome, PublishedEntries, Redis,
    RedisTimeouts, RenewOutcome,
};
use latchkey_domain::{
    access_token::{Kid, SigningKey},
    revocation::{Entry, EntryState, RevocationKeys, Subject, lease::LogPosition},
};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::test_stores::STACK;

const LEASE: Duration = Duration::from_millis(250);

/// An expiration in the distant future, in seconds since the Unix epoch.
const FAR_FUTURE: u64 = 9_000_000_000;

fn connect() -> Redis {
    let prefix = format!("t{}", Uuid::new_v4().simple());
    let timeouts = RedisTimeouts {
        operation: Duration::from_secs(5),
        connect: Duration::from_secs(5),
    };
    let url = STACK.redis_url().into();
    let redis = Redis::new(&url, Box::new(|| None), &prefix, timeouts).expect("a Redis URL");
    redis.set_database_for_reading(Uuid::new_v4());
    redis
}

fn entry(subject: Subject, value: i64, expires_at: u64) -> Entry {
    Entry {
        subject,
        state: EntryState { value, expires_at },
    }
}

fn random_session() -> Entry {
    entry(
        Subject::Session(Uuid::new_v4()),
        EntryState::FLAG,
        FAR_FUTURE,
    )
}

async fn begin(redis: &Redis) -> String {
    match redis.begin_rebuild(None).await.expect("Redis responds") {
        BeginOutcome::Begun(epoch) => epoch,
        other => panic!("{other:?}"),
    }
}

/// Builds a log with these entries and returns its epoch ID.
async fn build(redis: &Redis, entries: &[Entry]) -> String {
    let epoch = begin(redis).await;
    let last = match entries {
        [] => 0,
        entries => redis
            .fill_rebuild(&epoch, 0, entries)
            .await
            .expect("Redis responds")
            .expect("no other rebuilder"),
    };
    assert!(
        redis
            .finish_rebuild(&epoch, last, LEASE)
            .await
            .expect("Redis responds")
    );
    epoch
}

async fn revoke(redis: &Redis, entries: &[Entry]) -> PublishedEntries {
    match redis.append_entries(entries).await.expect("Redis responds") {
        AppendOutcome::Appended(published) => published,
        other => panic!("{other:?}"),
    }
}

async fn renew(redis: &Redis, member: Option<Uuid>, epoch: &str, applied: u64) -> LogPage {
    match redis
        .renew(member, epoch, applied)
        .await
        .expect("Redis responds")
    {
        RenewOutcome::Page(page) => page,
        other => panic!("{other:?}"),
    }
}

fn kid() -> Kid {
    SigningKey::from_pkcs8(SigningKey::generate().expect("a key").expose_secret())
        .expect("a key")
        .kid()
}

/// The first rebuilder was paused, lost its lock, and continues after the second one has begun.
#[tokio::test]
async fn superseded_rebuilder_changes_nothing() {
    let redis = connect();
    let (paused, other) = (begin(&redis).await, begin(&redis).await);
    assert_eq!(
        redis
            .fill_rebuild(&paused, 0, &[random_session()])
            .await
            .expect("Redis responds"),
        None
    );
    assert!(
        !redis
            .finish_rebuild(&paused, 0, LEASE)
            .await
            .expect("Redis responds")
    );
    let entry = random_session();
    assert_eq!(
        redis
            .fill_rebuild(&other, 0, &[entry])
            .await
            .expect("Redis responds"),
        Some(1)
    );
    assert_eq!(
        redis
            .fill_rebuild(&paused, 1, &[random_session()])
            .await
            .expect("Redis responds"),
        None
    );
    assert!(
        !redis
            .finish_rebuild(&paused, 1, LEASE)
            .await
            .expect("Redis responds")
    );
    assert!(
        redis
            .finish_rebuild(&other, 1, LEASE)
            .await
            .expect("Redis responds")
    );
    assert_eq!(
        renew(&redis, None, &other, 0).await.entries,
        [(1, Ok(entry))]
    );
}

#[tokio::test]
async fn log_with_unexpected_length_is_not_completed() {
    let redis = connect();
    let epoch = begin(&redis).await;
    assert_eq!(
        redis
            .fill_rebuild(&epoch, 0, &[random_session(), random_session()])
            .await
            .expect("Redis responds"),
        Some(2)
    );
    assert!(
        !redis
            .finish_rebuild(&epoch, 1, LEASE)
            .await
            .expect("Redis responds")
    );
    assert_eq!(
        redis
            .fill_rebuild(&epoch, 1, &[random_session()])
            .await
            .expect("Redis responds"),
        None,
        "the log isn't continued either"
    );
}

#[tokio::test]
async fn complete_log_is_replaced_only_by_epoch_id() {
    let redis = connect();
    let epoch = build(&redis, &[]).await;
    assert_eq!(
        redis.begin_rebuild(None).await.expect("Redis responds"),
        BeginOutcome::AlreadyComplete
    );
    assert_eq!(
        redis
            .begin_rebuild(Some("another"))
            .await
            .expect("Redis responds"),
        BeginOutcome::AlreadyComplete
    );
    assert!(matches!(
        redis
            .begin_rebuild(Some(&epoch))
            .await
            .expect("Redis responds"),
        BeginOutcome::Begun(_)
    ));
    assert_eq!(
        redis
            .append_entries(&[random_session()])
            .await
            .expect("Redis responds"),
        AppendOutcome::Lost,
        "no log exists until the rebuild completes"
    );
    assert_eq!(
        redis.join(None).await.expect("Redis responds"),
        JoinOutcome::Lost
    );
}

#[tokio::test]
async fn member_is_registered_before_its_first_read() {
    let redis = connect();
    let (first, member) = (random_session(), Uuid::new_v4());
    let epoch = build(&redis, &[first]).await;
    let joined = redis.join(Some(member)).await.expect("Redis responds");
    assert_eq!(
        joined,
        JoinOutcome::Joined {
            before: LogPosition {
                epoch: epoch.clone(),
                applied: 0
            },
            lease: LEASE
        }
    );
    let published = revoke(&redis, &[random_session()]).await;
    assert!(published.appended.members.contains(&member) && published.appended.number == 2);
    let page = renew(&redis, Some(member), &epoch, 0).await;
    assert_eq!(
        (page.entries.len(), page.members[0].acknowledged),
        (2, 0),
        "returned entries aren't acknowledged yet"
    );
    assert_eq!(
        renew(&redis, Some(member), &epoch, 2).await.members[0].acknowledged,
        2
    );
}

#[tokio::test]
async fn renewal_requires_member_and_current_epoch() {
    let redis = connect();
    let (epoch, id) = (build(&redis, &[random_session()]).await, Uuid::new_v4());
    assert_eq!(
        redis
            .renew(Some(id), &epoch, 0)
            .await
            .expect("Redis responds"),
        RenewOutcome::EpochChanged,
        "the replica never joined"
    );
    redis.join(Some(id)).await.expect("Redis responds");
    assert_eq!(
        redis
            .renew(Some(id), "another", 0)
            .await
            .expect("Redis responds"),
        RenewOutcome::EpochChanged
    );
    assert_eq!(
        redis
            .renew(Some(id), &epoch, 2)
            .await
            .expect("Redis responds"),
        RenewOutcome::EpochChanged,
        "the acknowledged position is beyond the end of the log"
    );
    assert_eq!(
        renew(&redis, None, &epoch, 1).await.members[0].acknowledged,
        0,
        "a rejected renewal changes nothing"
    );
}

#[tokio::test]
async fn renewed_member_is_not_reaped() {
    let redis = connect();
    let (epoch, id) = (build(&redis, &[]).await, Uuid::new_v4());
    redis.join(Some(id)).await.expect("Redis responds");
    let previous = renew(&redis, Some(id), &epoch, 0).await.members[0].clone();
    let current = renew(&redis, Some(id), &epoch, 0).await.members[0].clone();
    assert!(
        !redis.reap(&previous, &epoch).await.expect("Redis responds"),
        "the member has renewed since"
    );
    assert!(
        !redis
            .reap(&current, "another")
            .await
            .expect("Redis responds"),
        "renewal counters of two epochs aren't comparable"
    );
    assert!(redis.reap(&current, &epoch).await.expect("Redis responds"));
    assert_eq!(
        redis
            .renew(Some(id), &epoch, 0)
            .await
            .expect("Redis responds"),
        RenewOutcome::EpochChanged
    );
}

#[tokio::test]
async fn larger_generation_and_later_expiration_are_kept() {
    let redis = connect();
    build(&redis, &[]).await;
    let (user_id, expires_at) = (Uuid::new_v4(), FAR_FUTURE - 3600);
    let user =
        |min_generation, expires_at| entry(Subject::User(user_id), min_generation, expires_at);
    let append = async |entry| revoke(&redis, &[entry]).await.appended.number;
    assert_eq!(append(user(3, expires_at)).await, 1);
    assert_eq!(
        append(user(2, expires_at)).await,
        1,
        "a smaller generation adds no entry"
    );
    assert_eq!(
        append(user(3, expires_at + 60)).await,
        1,
        "a slightly later expiration adds no entry"
    );
    assert_eq!(
        append(user(2, FAR_FUTURE)).await,
        2,
        "a later expiration adds an entry"
    );
    assert_eq!(
        append(user(4, expires_at)).await,
        3,
        "a larger generation adds an entry"
    );
    let (session_id, jti) = (Uuid::new_v4(), Uuid::new_v4());
    let revocation_keys = |generation| RevocationKeys::Session {
        kid: kid(),
        user_id,
        session_id,
        jti,
        generation,
    };
    let look_up = async |generation| {
        redis
            .find_revocations(&revocation_keys(generation))
            .await
            .expect("Redis responds")
    };
    assert_eq!(
        look_up(3).await,
        LookupOutcome::Listed(Subject::User(user_id))
    );
    assert_eq!(look_up(4).await, LookupOutcome::NotListed);
}

/// The denylist already contains the entries of the previous log, but the new log must contain them
/// as well.
#[tokio::test]
async fn rebuilt_log_contains_entries_of_the_denylist() {
    let redis = connect();
    let listed = random_session();
    let epoch = build(&redis, &[listed]).await;
    let BeginOutcome::Begun(next_epoch) = redis
        .begin_rebuild(Some(&epoch))
        .await
        .expect("Redis responds")
    else {
        panic!("the epoch ID matches")
    };
    assert_eq!(
        redis
            .fill_rebuild(&next_epoch, 0, &[listed])
            .await
            .expect("Redis responds"),
        Some(1)
    );
    assert!(
        redis
            .finish_rebuild(&next_epoch, 1, LEASE)
            .await
            .expect("Redis responds")
    );
    assert_eq!(
        renew(&redis, None, &next_epoch, 0).await.entries,
        [(1, Ok(listed))]
    );
}

#[tokio::test]
async fn long_log_is_read_in_pages() {
    let redis = connect();
    let entries: Vec<Entry> = (0..1500).map(|_| random_session()).collect();
    let epoch = build(&redis, &entries).await;
    let (first, id) = (renew(&redis, None, &epoch, 0).await, Uuid::new_v4());
    assert_eq!((first.entries.len(), first.last), (1000, 1500));
    redis.join(Some(id)).await.expect("Redis responds");
    let second = renew(&redis, Some(id), &epoch, 1000).await;
    assert_eq!((second.entries.len(), second.entries[0].0), (500, 1001));
}
