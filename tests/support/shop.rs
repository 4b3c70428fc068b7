//! The usual surroundings: a server with a database, a directory, a configuration, and copies to compare.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pipeline;
use crate::support::command::until_caught_up;
use crate::support::postgres::{Options, Postgres, Session};
use crate::support::process::Millstream;
use crate::support::sqlite;
use crate::support::workdir::Workdir;

/// How long anything may take here.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server with the database `shop`, and a directory for what is made of it.
pub struct Shop {
    pub sql: Session,
    pub dir: Workdir,
    pub server: Postgres,
}

impl Shop {
    pub fn new(name: &str) -> Self {
        Self::on(name, Options::new())
    }

    pub fn on(name: &str, options: Options) -> Self {
        let server = Postgres::start(options);
        let sql = server.create_database("shop");
        Self { sql, dir: Workdir::new(name), server }
    }

    /// A configuration with the source `shop` (`tables` and further keys as they stand in the YAML) and these sinks.
    pub fn config(&self, source: &str, sinks: &str) -> PathBuf {
        let url = self.server.socket_url("shop");
        let source = format!("sources:\n  shop: {{type: postgres, url: \"{url}\", {source}}}\n");
        pipeline::config(&self.dir, &format!("{source}sinks:\n{sinks}"))
    }

    /// The same with one sink, `one`, that takes everything into `one.db`.
    pub fn simple(&self, source: &str) -> PathBuf {
        self.config(source, "  one: {type: sqlite, path: ./one.db}\n")
    }

    /// The target of `simple`.
    pub fn target(&self) -> PathBuf {
        self.dir.join("one.db")
    }

    /// Runs until caught up; panics, with stderr, unless that ends well.
    pub fn catch_up(&self, config: &Path) {
        until_caught_up(self.dir.path(), config).expect(0);
    }

    pub fn run(&self, config: &Path) -> Millstream {
        Millstream::run(self.dir.path(), config)
    }

    /// Panics unless a query gives the same rows, as text, in the source and in the target.
    pub fn same(&self, target: &Path, sql: &str) {
        same(&self.sql, target, sql);
    }
}

/// Panics unless a query gives the same rows, as text, in the source and in the target.
pub fn same(source: &Session, target: &Path, sql: &str) {
    let (wanted, found) = (source.query_text(sql), sqlite::rows(target, sql));
    assert_eq!(wanted.len(), found.len(), "{sql}: number of rows");
    let different = wanted.iter().zip(&found).find(|(wanted, found)| wanted != found);
    assert_eq!(different, None, "{sql}: (source, target)");
}
