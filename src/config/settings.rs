//! Settings of the process: defaults, then the environment. Those that a configuration file has too override it.

use connector_api::{Error, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What the environment says; each field is the variable `MILLSTREAM_` and its name in capitals.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Settings {
    /// Which events are traced, by level or by module: `info`, `millstream=debug,warn`.
    pub trace: String,
    /// How traced events are printed.
    pub trace_format: TraceFormat,
    /// Overrides `log.path`; relative to the current directory.
    pub log_path: Option<PathBuf>,
    /// Overrides `admin.listen`.
    pub admin_listen: Option<SocketAddr>,
}

/// How traced events are printed to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Variable, default, meaning: what the manual prints.
pub(super) const VARIABLES: &[(&str, &str, &str)] = &[
    ("MILLSTREAM_TRACE", "info", "Which events are traced, by level or by module: `millstream=debug,warn`."),
    ("MILLSTREAM_TRACE_FORMAT", "text", "`text` for people, `json` for machines; on stderr either way."),
    ("MILLSTREAM_LOG_PATH", "", "Overrides `log.path`; relative to the current directory."),
    ("MILLSTREAM_ADMIN_LISTEN", "", "Overrides `admin.listen`."),
];

impl Settings {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`], naming the variable.
    pub fn load() -> Result<Settings> {
        Self::layered(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    fn layered(environment: impl Iterator<Item = (String, String)>) -> Result<Settings> {
        let ours: HashMap<_, _> = environment.filter(|(name, _)| name.starts_with("MILLSTREAM_")).collect();
        let variables = config::Environment::with_prefix("MILLSTREAM").ignore_empty(true).source(Some(ours));
        let layers = config::Config::builder()
            .set_default("trace", "info")
            .and_then(|layers| layers.set_default("trace_format", "text"))
            .and_then(|layers| layers.add_source(variables).build())
            .map_err(|error| Error::config("read the environment").caused_by(error))?;
        layers.try_deserialize().map_err(|error| {
            Error::config("read the variables MILLSTREAM_*")
                .caused_by(error)
                .with_remedy("see \"Environment\" in docs/CONFIGURATION.md")
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings { trace: "info".into(), trace_format: TraceFormat::Text, log_path: None, admin_listen: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::layered(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_environment_lies_over_the_defaults() {
        assert_eq!(load(&[("PATH", "/bin"), ("MILLSTREAM_PG_BINDIR", "/x")]).unwrap(), Settings::default());
        let settings = load(&[
            ("MILLSTREAM_TRACE", "debug"),
            ("MILLSTREAM_TRACE_FORMAT", "json"),
            ("MILLSTREAM_LOG_PATH", "/var/lib/millstream"),
            ("MILLSTREAM_ADMIN_LISTEN", "127.0.0.1:8080"),
        ]);
        let expected = Settings {
            trace: "debug".into(),
            trace_format: TraceFormat::Json,
            log_path: Some("/var/lib/millstream".into()),
            admin_listen: Some(SocketAddr::from(([127, 0, 0, 1], 8080))),
        };
        assert_eq!(settings.unwrap(), expected);
        assert_eq!(load(&[("MILLSTREAM_LOG_PATH", "")]).unwrap().log_path, None);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = load(&[("MILLSTREAM_TRACE_FORMAT", "xml")]).unwrap_err();
        assert!(error.to_string().contains("trace_format"), "{error}");
        assert!(
            load(&[("MILLSTREAM_ADMIN_LISTEN", "here")]).unwrap_err().to_string().contains("admin_listen")
        );
    }
}
