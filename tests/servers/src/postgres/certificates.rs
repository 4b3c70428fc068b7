//! A certificate authority for tests, made once per process with the openssl program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::{account, scratch};

/// Paths of PEM files.
#[derive(Debug)]
pub struct Certificates {
    /// The authority that signed the server's and the client's certificate: `sslrootcert`.
    pub authority: PathBuf,
    /// An authority that signed neither: verification against it has to fail.
    pub stranger: PathBuf,
    /// The server's, for the name `localhost` only: `verify-full` to 127.0.0.1 has to fail, `verify-ca` passes.
    pub server: PathBuf,
    pub server_key: PathBuf,
    /// The client's, for the user `postgres`: `sslcert` and `sslkey`.
    pub client: PathBuf,
    pub client_key: PathBuf,
}

static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(make);

/// The certificates of this process.
pub fn certificates() -> &'static Certificates {
    &CERTIFICATES
}

const CONFIGURATION: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost
[client]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
";

fn make() -> Certificates {
    let directory = scratch::fresh("certificates");
    fs::create_dir(&directory).expect("make a directory");
    fs::write(directory.join("openssl.cnf"), CONFIGURATION).expect("write openssl.cnf");
    let authority = |name: &str| {
        let mut request = new_key(&directory, name, name);
        request.args(["-x509", "-days", "30", "-extensions", "authority", "-out"]).arg(format!("{name}.crt"));
        account::run(request);
    };
    let signed = |name: &str, common_name: &str, serial: &str| {
        let mut request = new_key(&directory, name, common_name);
        request.arg("-out").arg(format!("{name}.csr"));
        account::run(request);
        let mut sign = Command::new("openssl");
        sign.current_dir(&directory)
            .args([
                "x509",
                "-req",
                "-sha256",
                "-days",
                "30",
                "-CA",
                "authority.crt",
                "-CAkey",
                "authority.key",
            ])
            .args(["-extfile", "openssl.cnf", "-extensions", name, "-set_serial", serial])
            .args(["-in", &format!("{name}.csr"), "-out", &format!("{name}.crt")]);
        account::run(sign);
    };
    authority("authority");
    authority("stranger");
    signed("server", "localhost", "2");
    signed("client", "postgres", "3");
    let file = |name: &str| directory.join(name);
    Certificates {
        authority: file("authority.crt"),
        stranger: file("stranger.crt"),
        server: file("server.crt"),
        server_key: file("server.key"),
        client: file("client.crt"),
        client_key: file("client.key"),
    }
}

/// `openssl req` for a new P-256 key at NAME.key, without a passphrase.
fn new_key(directory: &Path, name: &str, common_name: &str) -> Command {
    let mut command = Command::new("openssl");
    command
        .current_dir(directory)
        .args(["req", "-new", "-sha256", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args([
            "-config",
            "openssl.cnf",
            "-subj",
            &format!("/CN={common_name}"),
            "-keyout",
            &format!("{name}.key"),
        ]);
    command
}
