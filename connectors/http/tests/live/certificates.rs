//! A certificate authority for tests, made once per process with the openssl program.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

/// PEM files in a directory of their own: `NAME.crt` and `NAME.key`.
pub struct Certificates(TempDir);

static CERTIFICATES: LazyLock<Certificates> = LazyLock::new(make);

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

impl Certificates {
    /// `authority`, `stranger` (which signed nothing), `server` (for `localhost` only) or `client`.
    pub fn certificate(name: &str) -> PathBuf {
        CERTIFICATES.0.path().join(format!("{name}.crt"))
    }

    /// The private key of one.
    pub fn key(name: &str) -> PathBuf {
        CERTIFICATES.0.path().join(format!("{name}.key"))
    }
}

fn make() -> Certificates {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("openssl.cnf"), CONFIGURATION).expect("written");
    let openssl = |words: &str| {
        let output = Command::new("openssl").current_dir(&directory).args(words.split(' ')).output();
        let output = output.expect("the openssl program");
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let request = |name: &str, rest: &str| {
        let key = "-new -sha256 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config openssl.cnf";
        openssl(&format!("req {key} -subj /CN={name} -keyout {name}.key {rest}"));
    };
    for name in ["authority", "stranger"] {
        request(name, &format!("-x509 -days 30 -extensions authority -out {name}.crt"));
    }
    for (name, serial) in [("server", 2), ("client", 3)] {
        request(name, &format!("-out {name}.csr"));
        let signer = "-CA authority.crt -CAkey authority.key -extfile openssl.cnf";
        let files = format!("-extensions {name} -set_serial {serial} -in {name}.csr -out {name}.crt");
        openssl(&format!("x509 -req -sha256 -days 30 {signer} {files}"));
    }
    Certificates(directory)
}
