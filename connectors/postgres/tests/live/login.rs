//! Every way to log in and every `sslmode`, against certificates made for the test.

use crate::support::capture::Capture;
use crate::support::server::{Server, run};
use connector_api::Kind;
use connector_postgres::Options;
use std::path::Path;
use std::process::Command;

const HBA: &str = "\
hostssl all certified 127.0.0.1/32 cert
hostssl all tlsonly 127.0.0.1/32 scram-sha-256
hostnossl all plainonly 127.0.0.1/32 scram-sha-256
host all md5user 127.0.0.1/32 md5
host all clear 127.0.0.1/32 password
host all scram 127.0.0.1/32 scram-sha-256
host all trusted 127.0.0.1/32 trust";

/// A root, a server certificate for `localhost`, a client certificate, and another root.
fn certificates(directory: &Path) {
    let script = r#"
        set -e; cd "$1"
        req() { openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -subj "/CN=$2" "${@:3}" 2>/dev/null; }
        req ca millstream-ca -x509 -days 2 -out ca.crt
        req other other-ca -x509 -days 2 -out other.crt
        req server localhost -out server.csr
        echo "subjectAltName=DNS:localhost" > san
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -sha384 -extfile san -out server.crt 2>/dev/null
        req client certified -out client.csr
        openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out client.crt 2>/dev/null
        chmod 600 server.key; chown postgres server.key server.crt ca.crt 2>/dev/null || true
    "#;
    run(Command::new("bash").arg("-c").arg(script).arg("certificates").arg(directory));
}

async fn try_url(server: &Server, role: &str, parameters: &str) -> Result<(), connector_api::Error> {
    let url = format!("postgres://{role}:pw@127.0.0.1:{}/postgres?{parameters}", server.port);
    let url = if parameters.contains("localhost") { url.replace("127.0.0.1", "localhost") } else { url };
    let options = Options::new(url, &["t"]);
    let mut source = connector_postgres::source("shop", &options).unwrap();
    source.start(None).await?;
    source.stop().await
}

#[tokio::test]
async fn passwords_certificates_and_modes() {
    let server = Server::start(&[], HBA);
    certificates(server.directory());
    let file = |name: &str| server.directory().join(name).display().to_string();
    server
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION millstream_shop FOR TABLE t;
             SET password_encryption = 'md5'; CREATE ROLE md5user LOGIN REPLICATION PASSWORD 'pw';
             SET password_encryption = 'scram-sha-256'; CREATE ROLE clear LOGIN REPLICATION PASSWORD 'pw';
             CREATE ROLE scram LOGIN REPLICATION PASSWORD 'pw'; CREATE ROLE tlsonly LOGIN REPLICATION PASSWORD 'pw';
             CREATE ROLE plainonly LOGIN REPLICATION PASSWORD 'pw'; CREATE ROLE trusted LOGIN REPLICATION;
             CREATE ROLE certified LOGIN REPLICATION"
        )
        .await;

    // No TLS on the server yet.
    for role in ["md5user", "clear", "scram", "trusted"] {
        try_url(&server, role, "sslmode=prefer").await.unwrap();
    }
    let error = try_url(&server, "scram", "sslmode=require").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config, "{error:?}");
    assert!(error.remedy().unwrap().contains("ssl=on"));

    for (name, value) in [
        ("ssl", "on"),
        ("ssl_cert_file", &file("server.crt")),
        ("ssl_key_file", &file("server.key")),
        ("ssl_ca_file", &file("ca.crt")),
    ] {
        server.sql(&format!("ALTER SYSTEM SET {name} = '{value}'")).await;
    }
    server.restart();
    let root = format!("sslrootcert={}", file("ca.crt"));
    let other = format!("sslrootcert={}", file("other.crt"));
    let client = format!("sslcert={}&sslkey={}", file("client.crt"), file("client.key"));
    let good = [
        ("md5user", "sslmode=require".to_owned()),
        ("clear", "sslmode=require".into()),
        ("scram", "sslmode=disable".into()),
        ("scram", "sslmode=require&channel_binding=require".into()),
        ("scram", "sslmode=require&channel_binding=disable".into()),
        ("scram", format!("sslmode=verify-ca&{root}")),
        ("scram", format!("sslmode=verify-full&channel_binding=require&host=localhost&{root}")),
        ("scram", format!("sslmode=require&{root}")),
        ("certified", format!("sslmode=verify-full&host=localhost&{root}&{client}")),
        // The second choice of a mode.
        ("tlsonly", "sslmode=allow".into()),
        ("tlsonly", "sslmode=prefer".into()),
        ("plainonly", "sslmode=prefer".into()),
        ("plainonly", "sslmode=allow".into()),
    ];
    for (role, parameters) in &good {
        if let Err(error) = try_url(&server, role, parameters).await {
            panic!("{role} {parameters}: {error:?}");
        }
    }
    let bad = [
        ("scram", format!("sslmode=verify-ca&{other}"), Kind::Config),
        ("scram", format!("sslmode=require&{other}"), Kind::Config),
        // The certificate names localhost, not the address.
        ("scram", format!("sslmode=verify-full&{root}"), Kind::Config),
        ("scram", format!("sslmode=verify-ca&sslrootcert={}", file("absent.crt")), Kind::Config),
        ("tlsonly", "sslmode=disable".into(), Kind::Auth),
        ("plainonly", "sslmode=require".into(), Kind::Auth),
        ("scram", "sslmode=require&password=wrong".into(), Kind::Auth),
        ("md5user", "sslmode=require&channel_binding=require".into(), Kind::Auth),
        ("trusted", "sslmode=require&channel_binding=require".into(), Kind::Auth),
        ("scram", "sslmode=require&dbname=absent".into(), Kind::Config),
    ];
    for (role, parameters, kind) in &bad {
        match try_url(&server, role, parameters).await {
            Ok(()) => panic!("{role} {parameters}: it logged in"),
            Err(error) => {
                assert_eq!(error.kind(), *kind, "{role} {parameters}: {error:?}");
                assert!(!format!("{error:?}").contains("pw"), "{error:?}");
            }
        }
    }
    streams(
        &server,
        &format!("postgres://scram:pw@localhost:{}/postgres?sslmode=verify-full&{root}", server.port),
    )
    .await;
    streams(&server, &format!("postgres://scram:pw@127.0.0.1:{}/postgres?sslmode=disable", server.port))
        .await;
}

/// The stream itself, over whichever socket the URL means.
async fn streams(server: &Server, url: &str) {
    server.sql("TRUNCATE t; GRANT SELECT ON t TO scram").await;
    let mut capture = Capture::start(&Options::new(url, &["t"]), None).await.unwrap();
    capture.until_streaming().await;
    server.sql("INSERT INTO t SELECT generate_series(1, 30000)").await;
    for id in 0..50 {
        server.sql(&format!("INSERT INTO t VALUES ({})", 40_000 + id)).await;
    }
    capture.until(30_050).await;
    assert_eq!(capture.changes.len(), 30_050);
    capture.stop().await;
    server.sql("SELECT pg_drop_replication_slot('millstream_shop')").await;
}
