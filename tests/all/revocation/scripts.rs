//! The scripts of the log themselves, called as a replica calls them, in orders that no replica
//! takes while all is well.

use std::time::Duration;

use latchkey::redis::{
    AppendOutcome, BeginOutcome, JoinOutcome, LogPage, LookupOutcome, PublishedEntries, Redis,
    RenewOutcome,
};
use latchkey_domain::{
    access_token::{Kid, SigningKey},
    revocation::{Entry, EntryState, RevocationKeys, Subject},
};
use uuid::Uuid;

use crate::test_stores::STACK;

const LEASE: Duration = Duration::from_millis(250);

/// Far ahead, in seconds since the epoch.
const LATER: u64 = 9_000_000_000;

fn redis() -> Redis {
    let prefix = format!("t{}", Uuid::new_v4().simple());
    Redis::new(&STACK.redis_url(), &prefix, Duration::from_secs(5)).expect("an address")
}

fn entry(subject: Subject, value: i64, ends_at: u64) -> Entry {
    Entry {
        subject,
        state: EntryState { value, ends_at },
    }
}

fn session() -> Entry {
    entry(Subject::Session(Uuid::new_v4()), EntryState::FLAG, LATER)
}

async fn begin(redis: &Redis) -> String {
    match redis.begin_log(None).await.expect("it responds") {
        BeginOutcome::Begun(epoch) => epoch,
        other => panic!("{other:?}"),
    }
}

/// A log with these entries.
async fn build(redis: &Redis, entries: &[Entry]) -> String {
    let epoch = begin(redis).await;
    let last = match entries {
        [] => 0,
        entries => redis
            .fill_log(&epoch, 0, entries)
            .await
            .expect("it responds")
            .expect("nobody else builds"),
    };
    assert!(
        redis
            .finish_log(&epoch, last, LEASE)
            .await
            .expect("it responds")
    );
    epoch
}

async fn revoke(redis: &Redis, entries: &[Entry]) -> PublishedEntries {
    match redis.revoke(entries).await.expect("it responds") {
        AppendOutcome::Appended(published) => published,
        other => panic!("{other:?}"),
    }
}

async fn page(redis: &Redis, member: Option<Uuid>, epoch: &str, applied: u64) -> LogPage {
    match redis
        .renew(member, epoch, applied)
        .await
        .expect("it responds")
    {
        RenewOutcome::Page(page) => page,
        other => panic!("{other:?}"),
    }
}

fn kid() -> Kid {
    SigningKey::from_pkcs8(&SigningKey::generate().expect("a key"))
        .expect("a key")
        .kid()
}

/// Whoever began first was paused, has lost its lock, and wakes up.
#[tokio::test]
async fn of_two_who_build_the_first_spoils_nothing() {
    let redis = redis();
    let (paused, other) = (begin(&redis).await, begin(&redis).await);
    assert_eq!(
        redis
            .fill_log(&paused, 0, &[session()])
            .await
            .expect("it responds"),
        None
    );
    assert!(
        !redis
            .finish_log(&paused, 0, LEASE)
            .await
            .expect("it responds")
    );
    let kept = session();
    assert_eq!(
        redis
            .fill_log(&other, 0, &[kept])
            .await
            .expect("it responds"),
        Some(1)
    );
    assert_eq!(
        redis
            .fill_log(&paused, 1, &[session()])
            .await
            .expect("it responds"),
        None
    );
    assert!(
        !redis
            .finish_log(&paused, 1, LEASE)
            .await
            .expect("it responds")
    );
    assert!(
        redis
            .finish_log(&other, 1, LEASE)
            .await
            .expect("it responds")
    );
    assert_eq!(
        page(&redis, None, &other, 0).await.entries,
        [(1, kept.to_string())]
    );
}

#[tokio::test]
async fn a_log_of_another_length_than_was_filled_is_not_put_into_force() {
    let redis = redis();
    let epoch = begin(&redis).await;
    assert_eq!(
        redis
            .fill_log(&epoch, 0, &[session(), session()])
            .await
            .expect("it responds"),
        Some(2)
    );
    assert!(
        !redis
            .finish_log(&epoch, 1, LEASE)
            .await
            .expect("it responds")
    );
    assert_eq!(
        redis
            .fill_log(&epoch, 1, &[session()])
            .await
            .expect("it responds"),
        None,
        "nor gone on with"
    );
}

#[tokio::test]
async fn a_good_log_is_replaced_only_by_whoever_names_it() {
    let redis = redis();
    let epoch = build(&redis, &[]).await;
    assert_eq!(
        redis.begin_log(None).await.expect("it responds"),
        BeginOutcome::AlreadyComplete
    );
    assert_eq!(
        redis
            .begin_log(Some("another"))
            .await
            .expect("it responds"),
        BeginOutcome::AlreadyComplete
    );
    assert!(matches!(
        redis.begin_log(Some(&epoch)).await.expect("it responds"),
        BeginOutcome::Begun(_)
    ));
    assert_eq!(
        redis.revoke(&[session()]).await.expect("it responds"),
        AppendOutcome::Lost,
        "until it is built"
    );
    assert_eq!(
        redis.join(None).await.expect("it responds"),
        JoinOutcome::Lost
    );
}

#[tokio::test]
async fn a_member_is_listed_before_it_has_read_anything() {
    let redis = redis();
    let (first, id) = (session(), Uuid::new_v4());
    let epoch = build(&redis, &[first]).await;
    let joined = redis.join(Some(id)).await.expect("it responds");
    assert_eq!(
        joined,
        JoinOutcome::Joined {
            epoch: epoch.clone(),
            before: 0,
            lease: LEASE
        }
    );
    let published = revoke(&redis, &[session()]).await;
    assert!(published.appended.members.contains(&id) && published.appended.number == 2);
    let read = page(&redis, Some(id), &epoch, 0).await;
    assert_eq!(
        (read.entries.len(), read.members[0].applied),
        (2, 0),
        "what it is told now it has not applied"
    );
    assert_eq!(
        page(&redis, Some(id), &epoch, 2).await.members[0].applied,
        2
    );
}

#[tokio::test]
async fn who_is_no_member_or_of_another_epoch_renews_nothing() {
    let redis = redis();
    let (epoch, id) = (build(&redis, &[session()]).await, Uuid::new_v4());
    assert_eq!(
        redis
            .renew(Some(id), &epoch, 0)
            .await
            .expect("it responds"),
        RenewOutcome::EpochChanged,
        "it never joined"
    );
    redis.join(Some(id)).await.expect("it responds");
    assert_eq!(
        redis
            .renew(Some(id), "another", 0)
            .await
            .expect("it responds"),
        RenewOutcome::EpochChanged
    );
    assert_eq!(
        redis
            .renew(Some(id), &epoch, 2)
            .await
            .expect("it responds"),
        RenewOutcome::EpochChanged,
        "beyond the end"
    );
    assert_eq!(
        page(&redis, None, &epoch, 1).await.members[0].applied,
        0,
        "none of it was noted"
    );
}

#[tokio::test]
async fn who_has_renewed_is_not_removed() {
    let redis = redis();
    let (epoch, id) = (build(&redis, &[]).await, Uuid::new_v4());
    redis.join(Some(id)).await.expect("it responds");
    let seen = page(&redis, Some(id), &epoch, 0).await.members[0].clone();
    let now = page(&redis, Some(id), &epoch, 0).await.members[0].clone();
    assert!(
        !redis.reap(&seen, &epoch).await.expect("it responds"),
        "it has renewed since"
    );
    assert!(
        !redis.reap(&now, "another").await.expect("it responds"),
        "beats of two epochs cannot be compared"
    );
    assert!(redis.reap(&now, &epoch).await.expect("it responds"));
    assert_eq!(
        redis
            .renew(Some(id), &epoch, 0)
            .await
            .expect("it responds"),
        RenewOutcome::EpochChanged
    );
}

#[tokio::test]
async fn the_larger_generation_and_the_later_end_win() {
    let redis = redis();
    build(&redis, &[]).await;
    let (sub, soon) = (Uuid::new_v4(), LATER - 3600);
    let user = |below, ends_at| entry(Subject::User(sub), below, ends_at);
    let number = async |entry| revoke(&redis, &[entry]).await.appended.number;
    assert_eq!(number(user(3, soon)).await, 1);
    assert_eq!(
        number(user(2, soon)).await,
        1,
        "a smaller one is known already"
    );
    assert_eq!(
        number(user(3, soon + 60)).await,
        1,
        "and so is one that ends a little later"
    );
    assert_eq!(number(user(2, LATER)).await, 2, "a later end is told");
    assert_eq!(number(user(4, soon)).await, 3, "a larger one is told");
    let (sid, jti) = (Uuid::new_v4(), Uuid::new_v4());
    let marks = |generation| RevocationKeys::Session {
        kid: kid(),
        sub,
        sid,
        jti,
        generation,
    };
    let found = async |generation| {
        redis
            .find_revocations(&marks(generation))
            .await
            .expect("it responds")
    };
    assert_eq!(found(3).await, LookupOutcome::Listed(Subject::User(sub)));
    assert_eq!(found(4).await, LookupOutcome::NotListed);
}

/// What the denylist kept of a log before may not keep its entries out of the next one.
#[tokio::test]
async fn a_log_that_is_built_anew_has_what_the_denylist_had_already() {
    let redis = redis();
    let known = session();
    let epoch = build(&redis, &[known]).await;
    let BeginOutcome::Begun(next) = redis.begin_log(Some(&epoch)).await.expect("it responds")
    else {
        panic!("it is named")
    };
    assert_eq!(
        redis
            .fill_log(&next, 0, &[known])
            .await
            .expect("it responds"),
        Some(1)
    );
    assert!(
        redis
            .finish_log(&next, 1, LEASE)
            .await
            .expect("it responds")
    );
    assert_eq!(
        page(&redis, None, &next, 0).await.entries,
        [(1, known.to_string())]
    );
}

#[tokio::test]
async fn a_long_log_is_read_in_pages() {
    let redis = redis();
    let entries: Vec<Entry> = (0..1500).map(|_| session()).collect();
    let epoch = build(&redis, &entries).await;
    let (first, id) = (page(&redis, None, &epoch, 0).await, Uuid::new_v4());
    assert_eq!((first.entries.len(), first.last), (1000, 1500));
    redis.join(Some(id)).await.expect("it responds");
    let second = page(&redis, Some(id), &epoch, 1000).await;
    assert_eq!((second.entries.len(), second.entries[0].0), (500, 1001));
}
