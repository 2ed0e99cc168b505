//! Callers that wait for a connection.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// Callers in the order in which they arrived. A caller that gave up is skipped.
pub(super) struct Waiters<T>(VecDeque<oneshot::Sender<T>>);

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Waiters(VecDeque::new())
    }
}

impl<T> Waiters<T> {
    /// Adds a caller, and returns its end of the channel.
    pub fn add(&mut self) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        self.0.push_back(sender);
        receiver
    }

    /// Returns how many callers are waiting.
    pub fn count(&mut self) -> usize {
        self.0.retain(|sender| !sender.is_closed());
        self.0.len()
    }

    /// Sends a value to the first caller. Returns it if there is none.
    pub fn send_to_first(&mut self, mut value: T) -> Result<(), T> {
        while let Some(sender) = self.0.pop_front() {
            match sender.send(value) {
                Ok(()) => return Ok(()),
                Err(returned) => value = returned,
            }
        }
        Err(value)
    }

    /// Sends a value to every caller.
    pub fn send_to_all(&mut self, value: impl Fn() -> T) {
        for sender in self.0.drain(..) {
            // The caller might have given up.
            let _ = sender.send(value());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_that_gave_up_is_skipped() {
        let mut waiters = Waiters::default();
        let (first, mut second) = (waiters.add(), waiters.add());
        drop(first);
        assert_eq!(waiters.count(), 1);
        assert_eq!(waiters.send_to_first(7), Ok(()));
        assert_eq!(second.try_recv(), Ok(7));
        assert_eq!(waiters.send_to_first(8), Err(8), "nothing is lost");
    }

    #[test]
    fn error_reaches_every_caller() {
        let mut waiters = Waiters::default();
        let (mut first, mut second) = (waiters.add(), waiters.add());
        waiters.send_to_all(|| "failed");
        assert_eq!(
            (first.try_recv(), second.try_recv()),
            (Ok("failed"), Ok("failed"))
        );
        assert_eq!(waiters.count(), 0);
    }
}
