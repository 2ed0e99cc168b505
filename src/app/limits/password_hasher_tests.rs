use std::{
    pin::{Pin, pin},
    sync::mpsc,
};

use futures_util::future::poll_immediate;

use super::*;

const LONG: Duration = Duration::from_secs(60);

/// Holds the one thread until told to let go.
struct Reservation<'a> {
    release: mpsc::Sender<()>,
    ended: Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>,
}

impl Reservation<'_> {
    async fn let_go(self) {
        self.release.send(()).unwrap();
        self.ended.await.unwrap();
    }
}

async fn hold(hasher: &PasswordHasher) -> Reservation<'_> {
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let mut ended = Box::pin(hasher.run(move |_| {
        begun.send(()).unwrap();
        released.recv().unwrap();
    }));
    assert!(poll_immediate(&mut ended).await.is_none());
    has_begun.recv().unwrap();
    Reservation { release, ended }
}

#[test]
fn there_are_no_more_threads_than_cores() {
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(PasswordHasher::start(1, LONG).threads, 1);
    assert_eq!(PasswordHasher::start(cores + 7, LONG).threads, cores);
}

#[tokio::test]
async fn nobody_is_hashed_for_who_has_hung_up_and_the_others_keep_their_order() {
    let hasher = PasswordHasher::start(1, LONG);
    let held = hold(&hasher).await;
    let (tell, told) = mpsc::channel();
    let mut callers: Vec<_> = (0..5)
        .map(|number| {
            let tell = tell.clone();
            Box::pin(hasher.run(move |_| tell.send(number).unwrap()))
        })
        .collect();
    for caller in &mut callers {
        assert!(poll_immediate(caller).await.is_none());
    }
    drop(callers.remove(3));
    drop(callers.remove(1));
    held.let_go().await;
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 2, 4]);
}

#[tokio::test]
async fn whoever_would_wait_too_long_is_told_at_once_and_who_hung_up_takes_nobodys_place() {
    let hasher = PasswordHasher::start(1, LONG);
    let held = hold(&hasher).await;
    hasher
        .queue
        .typical
        .store(micros(LONG / 2), Ordering::Relaxed);
    let mut callers: Vec<_> = (0..4).map(|_| Box::pin(hasher.run(|_| ()))).collect();
    let refused = callers.pop().unwrap();
    for caller in &mut callers {
        assert!(poll_immediate(caller).await.is_none());
    }
    assert!(
        matches!(refused.await, Err(Error::Busy)),
        "three wait, for half of it each"
    );
    assert_eq!(hasher.waiting(), 3);
    assert!(
        matches!(hasher.admit(), Err(Error::Busy)),
        "before any store is asked"
    );
    callers.pop();
    assert!(hasher.admit().is_ok());
    let mut instead = pin!(hasher.run(|_| ()));
    assert!(poll_immediate(&mut instead).await.is_none());
    assert_eq!(hasher.waiting(), 3);
    held.let_go().await;
    instead.await.unwrap();
}

#[tokio::test]
async fn what_waited_too_long_after_all_is_not_hashed() {
    let hasher = PasswordHasher::start(1, LONG);
    let (queue, dummy_hash) = (hasher.queue.clone(), hasher.dummy_hash.clone());
    let hasty = PasswordHasher {
        queue,
        threads: 1,
        longest_wait: Duration::from_nanos(1),
        dummy_hash,
    };
    let held = hold(&hasher).await;
    // The estimate says that nobody waits at all.
    hasher.queue.typical.store(0, Ordering::Relaxed);
    let mut late = pin!(hasty.run(|_| unreachable!("it is too late for that")));
    assert!(poll_immediate(&mut late).await.is_none());
    held.let_go().await;
    assert!(matches!(late.await, Err(Error::Busy)));
}

#[tokio::test]
async fn a_hash_that_panics_costs_no_thread() {
    let hasher = PasswordHasher::start(1, LONG);
    assert!(matches!(
        hasher.run(|_| panic!("on purpose")).await,
        Err::<(), _>(Error::Busy)
    ));
    hasher.run(|_| ()).await.unwrap();
}

#[tokio::test]
async fn the_password_of_a_hash_is_right_and_an_unknown_user_has_none() {
    let hasher = PasswordHasher::start(1, LONG);
    let password = |text| Arc::new(Password::parse(text).unwrap());
    let hash = hasher.hash(password("secret123")).await.unwrap();
    assert_eq!(
        hasher
            .verify(&password("secret123"), Some(&hash))
            .await
            .unwrap(),
        PasswordMatch::Match
    );
    assert_eq!(
        hasher
            .verify(&password("secret124"), Some(&hash))
            .await
            .unwrap(),
        PasswordMatch::NoMatch
    );
    assert_eq!(
        hasher.verify(&password("secret123"), None).await.unwrap(),
        PasswordMatch::NoMatch
    );
}
