//! A throwaway PostgreSQL server, run as an unprivileged user.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub struct Server {
    directory: tempfile::TempDir,
    pub port: u16,
}

impl Server {
    /// A server with `wal_level=logical`, trust on its Unix socket, and `hba` for TCP.
    pub fn start(settings: &[&str], hba: &str) -> Server {
        let directory = tempfile::Builder::new().prefix("millstream-pg").tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Server { directory, port };
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(server.directory()));
        }
        let data = server.data();
        run(as_postgres("initdb")
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "-D"])
            .arg(&data));
        let conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nwal_level = logical\n\
             fsync = off\nmax_wal_senders = 20\nmax_replication_slots = 20\nautovacuum = off\n{}\n",
            server.directory().display(),
            settings.join("\n")
        );
        append(&data.join("postgresql.conf"), &conf);
        std::fs::write(
            data.join("pg_hba.conf"),
            format!("local all all trust\nlocal replication all trust\n{hba}\n"),
        )
        .unwrap();
        server.control(&["start", "-w", "-l"], Some(&server.directory().join("log")));
        server
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn data(&self) -> PathBuf {
        self.directory().join("data")
    }

    pub fn control(&self, arguments: &[&str], log: Option<&Path>) {
        let mut command = as_postgres("pg_ctl");
        command.arg("-D").arg(self.data()).args(arguments);
        if let Some(log) = log {
            command.arg(log);
        }
        run(&mut command);
    }

    pub fn restart(&self) {
        self.control(&["restart", "-w", "-m", "fast", "-l"], Some(&self.directory().join("log")));
    }

    /// URL of the Unix socket.
    pub fn url(&self) -> String {
        format!("postgres://postgres@/postgres?host={}&port={}", self.directory().display(), self.port)
    }

    pub async fn client(&self) -> tokio_postgres::Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.directory()).port(self.port).user("postgres").dbname("postgres");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub async fn sql(&self, sql: &str) {
        if let Err(error) = self.client().await.batch_execute(sql).await {
            panic!("{sql}: {error:?}");
        }
    }

    pub async fn value(&self, sql: &str) -> String {
        let messages = self.client().await.simple_query(sql).await.unwrap();
        for message in messages {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                return row.get(0).unwrap_or_default().to_owned();
            }
        }
        String::new()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = as_postgres("pg_ctl");
        stop.arg("-D").arg(self.data()).args(["stop", "-m", "immediate"]);
        stop.stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
    }
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout.starts_with(b"0")
}

fn bindir() -> PathBuf {
    if let Some(directory) = std::env::var_os("MILLSTREAM_PG_BINDIR") {
        return directory.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let mut found: Vec<_> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.sort();
    found.pop().expect("PostgreSQL is installed")
}

pub fn as_postgres(program: &str) -> Command {
    let path = bindir().join(program);
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path).current_dir("/");
    command
}

pub fn run(command: &mut Command) {
    let output = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(output.success(), "{command:?}");
}

fn append(path: &Path, text: &str) {
    let known = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, known + text).unwrap();
}
