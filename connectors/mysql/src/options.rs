//! What the configuration says about a MySQL or MariaDB sink.

use connector_api::options::Secret;
use connector_api::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::mysql::MySqlConnectOptions;

use crate::ties::Ties;

/// Parameters that a URL may have; another would be ignored in silence (I9).
const PARAMETERS: &[&str] =
    &["ssl-mode", "sslmode", "ssl-ca", "sslca", "ssl-cert", "sslcert", "ssl-key", "sslkey", "socket"];

/// A MySQL or MariaDB sink, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The database: `mysql://user:password@host:3306/database`. Parameters: `ssl-mode` (`disabled`, `preferred`, which is
    /// the default, `required`, `verify_ca`, `verify_identity`), `ssl-ca`, `ssl-cert` and `ssl-key` (PEM files), and
    /// `socket` (a Unix socket instead of host and port).
    pub url: Secret,
    /// Connections that apply changes at the same time with `apply: batched`, from 1 to 32. Each has topics of its own;
    /// `transactional` uses one.
    #[serde(default = "connections")]
    pub connections: u32,
    /// Whether target tables are created, and extended when the source gains columns. When false, a missing table or
    /// column is an error that says which statement to run.
    #[serde(skip, default = "yes")]
    pub create_tables: bool,
    /// Whether source transactions may be split and applied side by side.
    #[serde(skip)]
    pub batched: bool,
    /// Whether the sink is part of an erasure. Nothing is prepared for it here: what a delete leaves, the server cleans up.
    #[serde(skip)]
    pub erases: bool,
    /// What the sink learns about tables that belong together; its attempts share it.
    #[serde(skip)]
    pub ties: Ties,
}

impl Options {
    /// The defaults, for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Options {
            url: Secret::new(url),
            connections: connections(),
            create_tables: true,
            batched: false,
            erases: false,
            ties: Ties::default(),
        }
    }

    /// Checks what can be checked without the database.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`], naming the option.
    pub fn check(&self, _sink: &str) -> Result<()> {
        if !(1..=32).contains(&self.connections) {
            return Err(Error::config("check option connections: from 1 to 32"));
        }
        self.connect_options().map(drop)
    }

    /// How many lanes there are.
    pub(crate) fn lanes(&self) -> usize {
        if self.batched { self.connections.clamp(1, 32) as usize } else { 1 }
    }

    /// The URL as sqlx has it. The URL itself stays out of every error: it holds the password.
    pub(crate) fn connect_options(&self) -> Result<MySqlConnectOptions> {
        let url = self.url.expose();
        let wrong = |what: String| {
            Error::config(format!("check option url: {what}"))
                .with_remedy("url: mysql://USER:PASSWORD@HOST:3306/DATABASE?ssl-mode=preferred")
        };
        if !url.starts_with("mysql://") && !url.starts_with("mariadb://") {
            return Err(wrong("it does not begin with mysql://".to_owned()));
        }
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let name = parameter.split('=').next().unwrap_or_default();
            if !PARAMETERS.contains(&name) {
                return Err(wrong(format!(
                    "it has no parameter {name:?}; there are {}",
                    PARAMETERS.join(", ")
                )));
            }
        }
        let options: MySqlConnectOptions = url
            .parse()
            .map_err(|_| wrong("it cannot be read as a URL; percent-encode special characters".to_owned()))?;
        match options.get_database() {
            None | Some("") => Err(wrong("it names no database".to_owned())),
            Some(_) => Ok(options),
        }
    }
}

fn yes() -> bool {
    true
}

fn connections() -> u32 {
    4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_come_with_the_url_alone() {
        let read: Options = serde_json::from_str(r#"{"url": "mysql://u:p@h/d"}"#).unwrap();
        assert_eq!(read, Options::new("mysql://u:p@h/d"));
        assert!(read.check("s").is_ok());
        assert_eq!((read.lanes(), Options { batched: true, ..read }.lanes()), (1, 4));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for url in [
            "postgres://u:hunter2@h/d",
            "mysql://u:hunter2@h/",
            "mysql://u:hunter2@h/d?tls=on",
            "mysql://u:hunter2@h:port/d",
            "mysql://u:hunter2@h/d?ssl-mode=sometimes",
        ] {
            let error = Options::new(url).check("s").unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2") && error.remedy().is_some(), "{error:?}");
        }
        let options = Options { connections: 0, ..Options::new("mysql://u@h/d") };
        assert!(options.check("s").is_err());
        assert!(serde_json::from_str::<Options>(r#"{"url": "mysql://u@h/d", "x": 1}"#).is_err());
    }
}
