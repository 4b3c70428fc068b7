//! What a test may ask of its server.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use super::{certificates, install};

/// What is in force unless a test sets it otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("wal_level", "logical"),
    ("max_wal_senders", "64"),
    ("max_replication_slots", "64"),
    ("max_worker_processes", "16"),
    ("shared_buffers", "32MB"),
    ("timezone", "UTC"),
    ("jit", "off"),
];

/// The options of a server. By default: the installed major, no password, no TLS, `wal_level=logical`, no fsync.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) major: Option<u32>,
    pub(super) password: Option<String>,
    durable: bool,
    tls: bool,
    access: Vec<String>,
    settings: Vec<(String, String)>,
}

impl Options {
    pub fn new() -> Self {
        Self::default()
    }

    /// A server of this major; see [`Postgres::majors`](super::Postgres::majors).
    pub fn major(mut self, major: u32) -> Self {
        self.major = Some(major);
        self
    }

    /// The superuser's password; every connection has to authenticate with SCRAM-SHA-256.
    pub fn scram(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// fsync on: for benchmarks, and for tests that crash the machine and not only the server.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// TLS on; connections without it are let in as well. See [`certificates`] for the clients' files.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// TLS on, and TCP connections without it are refused.
    pub fn require_tls(self) -> Self {
        let method = self.method();
        self.tls().access(&format!("hostssl all,replication all all {method}"))
    }

    /// TLS on, and only a client with the client's [certificate](certificates) is let in by TCP.
    pub fn require_client_certificate(self) -> Self {
        self.tls().access("hostssl all,replication all all cert")
    }

    /// A line of pg_hba.conf for TCP connections. The first call replaces the default, which lets all in by the
    /// password, or without one.
    pub fn access(mut self, line: &str) -> Self {
        self.access.push(line.into());
        self
    }

    /// A setting of postgresql.conf; the last value of a name counts.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    fn method(&self) -> &'static str {
        if self.password.is_some() { "scram-sha-256" } else { "trust" }
    }

    /// Writes the configuration into a new data directory.
    pub(super) fn write(&self, data: &Path, socket: &Path) {
        let mut lines = String::from("\n");
        let mut set = |name: &str, value: &str| {
            writeln!(lines, "{name} = '{}'", value.replace('\'', "''")).expect("write to a string");
        };
        for (name, value) in DEFAULTS {
            set(name, value);
        }
        set("unix_socket_directories", &socket.display().to_string());
        if !self.durable {
            set("fsync", "off");
        }
        if self.tls {
            let certificates = certificates();
            for (setting, from, name) in [
                ("ssl_ca_file", &certificates.authority, "authority.crt"),
                ("ssl_cert_file", &certificates.server, "server.crt"),
                ("ssl_key_file", &certificates.server_key, "server.key"),
            ] {
                install(from, &data.join(name));
                set(setting, name);
            }
            set("ssl", "on");
        }
        for (name, value) in &self.settings {
            set(name, value);
        }
        let mut file =
            File::options().append(true).open(data.join("postgresql.conf")).expect("open postgresql.conf");
        file.write_all(lines.as_bytes()).expect("write postgresql.conf");
        fs::write(data.join("pg_hba.conf"), self.access_rules()).expect("write pg_hba.conf");
    }

    fn access_rules(&self) -> String {
        let method = self.method();
        let mut rules = vec![format!("local all,replication all {method}")];
        if self.access.is_empty() {
            rules.push(format!("host all,replication all all {method}"));
        }
        rules.extend(self.access.iter().cloned());
        rules.join("\n") + "\n"
    }
}
