//! Work beside the reader that ends with its owner.

use connector_api::{Error, Result};
use std::future::Future;
use tokio::task::JoinHandle;

/// A spawned future; dropped, it is aborted.
pub(crate) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(crate) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        Task(tokio::spawn(work))
    }

    /// Waits for the result. Cancel-safe: a dropped wait leaves the work going.
    pub(crate) async fn wait(&mut self) -> Result<T> {
        (&mut self.0)
            .await
            .map_err(|error| Error::transient("wait for a task of the source").caused_by(error))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
