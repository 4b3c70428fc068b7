//! `millstream offsets reset`: only a running service moves a sink.

use connector_api::{Error, Result};

use crate::cli::access::running;
use crate::config::Config;
use crate::http::views::Done;
use crate::reset::Target;

/// Moves a sink's cursor.
///
/// # Errors
/// When the service does not run or refuses.
pub async fn reset(config: &Config, sink: &str, topic: Option<&str>, to: Target) -> Result<()> {
    known(config, sink)?;
    let mut query = vec![("to", to.to_string())];
    query.extend(topic.map(|topic| ("topic", topic.to_owned())));
    let _: Done =
        running(config).await?.post(&format!("/api/offsets/{sink}/reset"), &query, Vec::new()).await?;
    eprintln!("{sink} goes on from {to}");
    Ok(())
}

/// Refuses a sink that is not configured.
pub(super) fn known(config: &Config, sink: &str) -> Result<()> {
    if config.sinks.contains_key(sink) {
        return Ok(());
    }
    let names: Vec<_> = config.sinks.keys().map(String::as_str).collect();
    Err(Error::config(format!("no sink {sink:?}")).with_remedy(format!("name one of: {}", names.join(", "))))
}
