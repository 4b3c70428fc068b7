//! Events on stderr: for people by default, JSON on request.

use std::io::IsTerminal as _;

use connector_api::{Error, Result};
use tracing_subscriber::EnvFilter;

use crate::config::{Settings, TraceFormat};

/// Starts tracing for the whole process.
///
/// # Errors
/// When the filter does not parse.
pub fn start(settings: &Settings) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.trace).map_err(|error| {
        Error::config(format!("read MILLSTREAM_TRACE {:?}", settings.trace))
            .caused_by(error)
            .with_remedy("for example  MILLSTREAM_TRACE=info,millstream=debug")
    })?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = match settings.trace_format {
        TraceFormat::Json => builder.json().try_init(),
        TraceFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| Error::config("start tracing").caused_by(error))
}
