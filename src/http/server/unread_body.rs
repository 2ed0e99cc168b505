//! What is left of a body that nobody reads.
//!
//! A refusal that needs no body is answered before all of it has come. If the connection were
//! closed then, it would break under whoever still sends, before the answer is read; a proxy takes
//! that for a broken replica, and a few such requests would take all of them out. So the rest is
//! read, and thrown away.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// A body that takes longer is cut off: whoever sends one that large may not get to read the
/// answer.
const MAX_DISCARDED_BYTES: Duration = Duration::from_secs(2);

/// A body whose rest is read when it is let go.
pub struct DrainOnDrop(Option<Incoming>);

impl DrainOnDrop {
    /// As a body that the framework takes.
    pub fn boxed(incoming: Incoming) -> BoxBody<Bytes, io::Error> {
        BoxBody::new(DrainOnDrop(Some(incoming)))
    }
}

impl Body for DrainOnDrop {
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

impl Drop for DrainOnDrop {
    fn drop(&mut self) {
        let Some(mut rest) = self.0.take().filter(|incoming| !incoming.is_end_stream()) else {
            return;
        };
        // Where there is no runtime any more, there is no connection either.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(tokio::time::timeout(MAX_DISCARDED_BYTES, async move {
            while let Some(Ok(_)) = rest.frame().await {}
        }));
    }
}
