//! Discards the part of a request body that no handler reads.
//!
//! Some error responses are sent before the whole body has arrived. If the server closed the
//! connection then, a client that is still sending would get a reset instead of the response. A
//! proxy would treat the replica as failed, and a few such requests would disable every replica.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// A body that takes longer is aborted. The client of such a body might not receive the response.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// A body whose unread part is read and discarded on drop.
pub struct DiscardOnDrop(Option<Incoming>);

impl DiscardOnDrop {
    /// Wraps a body in the type that the framework requires.
    pub fn boxed(incoming: Incoming) -> BoxBody<Bytes, io::Error> {
        BoxBody::new(DiscardOnDrop(Some(incoming)))
    }
}

impl Body for DiscardOnDrop {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(incoming) = &mut self.0 else {
            return Poll::Ready(None);
        };
        Pin::new(incoming)
            .poll_frame(context)
            .map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for DiscardOnDrop {
    fn drop(&mut self) {
        let Some(mut rest) = self.0.take().filter(|incoming| !incoming.is_end_stream()) else {
            return;
        };
        // Without a runtime, the connection no longer exists.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(tokio::time::timeout(DISCARD_TIMEOUT, async move {
            while let Some(Ok(_)) = rest.frame().await {}
        }));
    }
}
