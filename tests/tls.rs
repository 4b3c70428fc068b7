//! How the product itself connects: passwords, TLS in every `sslmode`, certificates, sockets. A refusal is one clear
//! error and the exit code, and no password in it.

use std::path::PathBuf;

use crate::pipeline::config_named;
use crate::support::command::{Said, until_caught_up};
use crate::support::postgres::{Options, Postgres, certificates};
use crate::support::sqlite;
use crate::support::workdir::Workdir;

const PASSWORD: &str = "s3cr3t w/rd:%@&";
/// The same in a URL.
const ENCODED: &str = "s3cr3t%20w%2Frd%3A%25%40%26";

struct Place {
    server: Postgres,
    dir: Workdir,
}

impl Place {
    fn new(options: Options) -> Self {
        let server = Postgres::start(options);
        let shop = server.create_database("shop");
        shop.execute("CREATE TABLE t(id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
        Self { server, dir: Workdir::new("tls") }
    }

    /// A slot of its own for every run, because each run is the first one.
    fn run(&self, name: &str, url: &str) -> (Said, PathBuf) {
        let slot = name.replace('-', "_");
        let config = config_named(
            &self.dir,
            &format!("{name}.yaml"),
            &format!(
                "sources:\n  shop: {{type: postgres, url: \"{url}\", tables: [public.t], slot: {slot}, publication: p}}\n\
                 sinks:\n  one: {{type: sqlite, path: ./{name}.db}}\n"
            ),
        );
        let text = std::fs::read_to_string(&config).expect("read the configuration");
        std::fs::write(&config, text.replace("./data", &format!("./{name}-data")))
            .expect("write the configuration");
        let said = until_caught_up(self.dir.path(), &config);
        for (what, output) in [("stderr", &said.stderr), ("stdout", &said.stdout)] {
            assert!(
                !output.contains(PASSWORD) && !output.contains(ENCODED),
                "{name}: a password in {what}: {output}"
            );
        }
        (said, self.dir.join(&format!("{name}.db")))
    }

    fn accepts(&self, name: &str, url: &str) {
        let (said, target) = self.run(name, url);
        said.expect(0);
        assert_eq!(sqlite::value(&target, "SELECT count(*) FROM t").as_deref(), Some("2"), "{name}");
    }

    /// The process ends with 1 and says each of `parts`; the last line but for the remedy is the error.
    fn refuses(&self, name: &str, url: &str, parts: &[&str]) {
        let (said, target) = self.run(name, url);
        let said = said.expect(1).complains(parts);
        let errors: Vec<_> = said.stderr.lines().filter(|line| line.starts_with("millstream: ")).collect();
        assert_eq!(errors.len(), 1, "{name}: one error: {errors:?}");
        assert!(parts.iter().all(|part| said.stderr.contains(part)), "{name}: {}", said.stderr);
        assert_eq!(sqlite::value(&target, "SELECT count(*) FROM t"), None, "{name}");
    }

    fn tcp(&self, user: &str, host: &str, parameters: &str) -> String {
        format!("postgres://{user}@{host}:{}/shop?{parameters}", self.server.port())
    }
}

#[test]
fn scram_with_and_without_tls() {
    let place = Place::new(Options::new().scram(PASSWORD).tls());
    let user = format!("postgres:{ENCODED}");
    let files = certificates();
    let (good, bad) = (files.authority.display(), files.stranger.display());
    let tcp = |host: &str, parameters: String| place.tcp(&user, host, &parameters);
    place.accepts("disable", &tcp("localhost", "sslmode=disable".into()));
    place.accepts("prefer", &tcp("localhost", String::new()));
    place.accepts("require", &tcp("localhost", "sslmode=require&channel_binding=require".into()));
    place.accepts("verify-ca", &tcp("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={good}")));
    place.accepts("verify-full", &tcp("localhost", format!("sslmode=verify-full&sslrootcert={good}")));
    let socket = place.server.socket_url("shop");
    assert!(socket.contains(ENCODED), "the socket asks for the password, too");
    place.accepts("socket", &socket);

    place.refuses(
        "wrong-root",
        &tcp("localhost", format!("sslmode=verify-full&sslrootcert={bad}")),
        &["UnknownIssuer"],
    );
    place.refuses(
        "wrong-root-ca",
        &tcp("localhost", format!("sslmode=verify-ca&sslrootcert={bad}")),
        &["UnknownIssuer"],
    );
    place.refuses(
        "wrong-host",
        &tcp("127.0.0.1", format!("sslmode=verify-full&sslrootcert={good}")),
        &["certificate", "127.0.0.1"],
    );
    place.refuses(
        "no-root",
        &tcp("localhost", "sslmode=verify-full&sslrootcert=/none.pem".into()),
        &["/none.pem"],
    );
    let wrong = format!("sslmode=verify-full&sslrootcert={good}");
    place.refuses(
        "wrong-password",
        &place.tcp("postgres:wr0ng%20one", "localhost", &wrong),
        &["password authentication failed"],
    );
    place.refuses(
        "no-password",
        &place.tcp("postgres", "localhost", &wrong),
        &["the url has none", "${PASSWORD}"],
    );
    place.refuses("socket-wrong", &socket.replace(ENCODED, "wr0ng"), &["password authentication failed"]);
    place.refuses("no-role", &place.tcp("nobody:x", "localhost", &wrong), &["nobody"]);
}

#[test]
fn a_server_that_requires_tls() {
    let place = Place::new(Options::new().scram(PASSWORD).require_tls());
    let user = format!("postgres:{ENCODED}");
    place.accepts("require", &place.tcp(&user, "localhost", "sslmode=require"));
    // As libpq: prefer takes it, too.
    place.accepts("prefer", &place.tcp(&user, "localhost", ""));
    place.refuses("disable", &place.tcp(&user, "localhost", "sslmode=disable"), &["pg_hba.conf"]);
}

#[test]
fn a_server_without_tls() {
    let place = Place::new(Options::new().scram(PASSWORD));
    let user = format!("postgres:{ENCODED}");
    place.accepts("prefer", &place.tcp(&user, "localhost", ""));
    place.refuses("require", &place.tcp(&user, "localhost", "sslmode=require"), &["TLS"]);
    let binding = "sslmode=disable&channel_binding=require";
    place.refuses("binding", &place.tcp(&user, "localhost", binding), &["channel_binding"]);
}

#[test]
fn client_certificates() {
    let place = Place::new(Options::new().require_client_certificate());
    let files = certificates();
    let (root, certificate, key) =
        (files.authority.display(), files.client.display(), files.client_key.display());
    let full = format!("sslmode=verify-full&sslrootcert={root}");
    place.accepts(
        "with",
        &place.tcp("postgres", "localhost", &format!("{full}&sslcert={certificate}&sslkey={key}")),
    );
    place.refuses("without", &place.tcp("postgres", "localhost", &full), &["certificate"]);
    // The certificate is for the role `postgres`.
    place.server.execute("CREATE ROLE other LOGIN REPLICATION");
    place.refuses(
        "other-role",
        &place.tcp("other", "localhost", &format!("{full}&sslcert={certificate}&sslkey={key}")),
        &["certificate authentication failed"],
    );
    place.refuses(
        "no-file",
        &place.tcp("postgres", "localhost", &format!("{full}&sslcert=/none.crt&sslkey={key}")),
        &["/none.crt"],
    );
}
