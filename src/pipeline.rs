//! The two loops of the service: [`capture`] (source to log) and [`deliver`] (log to sink). They meet only at the
//! log's durable end: capture never waits for a sink, and a sink never talks to a source (I10).

pub mod capture;
pub mod dead_letter;
pub mod deliver;
pub mod mapping;
pub mod retry;
pub mod shape;
pub mod status;

use std::future::Future;
use std::thread::{Builder, JoinHandle};

use connector_api::{Error, Result};
use tokio::sync::watch;

/// Says when to stop. Cheap to clone; every loop has one.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A switch and what listens to it.
    pub fn new() -> (watch::Sender<bool>, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (sender, Shutdown(receiver))
    }

    /// True once stopping was asked for.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once stopping was asked for (or whoever could ask is gone).
    pub async fn requested(&mut self) {
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// Runs a loop on a thread of its own with a runtime of its own, so that it may block and harms only itself (I10).
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn spawn<F, T>(name: String, make: impl FnOnce() -> F + Send + 'static) -> Result<JoinHandle<T>>
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::transient(format!("start runtime of {name}")).caused_by(error))?;
    let context = format!("start thread {name}");
    Builder::new()
        .name(name)
        .spawn(move || runtime.block_on(make()))
        .map_err(|error| Error::transient(context).caused_by(error))
}
