//! Tasks that run to completion even if their caller disconnects.

use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::error::Error;

/// The detached tasks of this replica. A drain waits for them.
#[derive(Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// Runs a task to completion, also if its caller disconnects: between a commit and its
    /// publication, a task must not stop. Its log lines belong to the request.
    ///
    /// # Errors
    /// Those of the task; `internal` if it panics.
    pub(crate) async fn run_to_completion<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let task = self.0.spawn(task.in_current_span());
        task.await
            .unwrap_or_else(|panic| Err(Error::internal(panic)))
    }

    /// Starts a task whose result no caller needs.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) {
        drop(self.0.spawn(task));
    }

    /// Waits until all tasks have finished. No task starts after that.
    pub(crate) async fn wait(&self) {
        self.0.close();
        self.0.wait().await;
    }
}
