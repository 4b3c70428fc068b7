//! Where the server is and how to speak to it: a `postgres://` URL, parsed and checked.

use connector_api::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The parameters that a URL may carry, for the error that names an unknown one.
const PARAMETERS: &str = "host, port, user, password, dbname, sslmode, sslrootcert, sslcert, sslkey, \
     sslnegotiation, channel_binding, application_name, connect_timeout, tcp_user_timeout, options, target_session_attrs";

/// A server, a database and a role, with everything that is needed to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The server's address.
    pub host: Host,
    /// TCP port, also part of a Unix socket's name.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Kept out of `Debug`.
    pub password: Option<String>,
    /// The database; the role's name when the URL has none.
    pub database: String,
    /// How the connection is encrypted and verified.
    pub tls: Tls,
    /// Whether SCRAM has to be bound to the TLS channel.
    pub channel_binding: ChannelBinding,
    /// As it is shown in `pg_stat_activity`.
    pub application_name: String,
    /// For the socket, TLS and authentication together.
    pub connect_timeout: Duration,
    /// How long sent bytes may stay unacknowledged before the kernel gives the connection up.
    pub tcp_user_timeout: Duration,
    /// Server settings of the role's own, in the form of libpq's `options`.
    pub options: Option<String>,
}

/// A host name or address, or the directory of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Name, IPv4 or IPv6 address.
    Tcp(String),
    /// The directory that holds `.s.PGSQL.{port}`.
    Unix(PathBuf),
}

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only when the server refuses a plain connection.
    Allow,
    /// When the server has it.
    #[default]
    Prefer,
    /// Always, without verification unless `sslrootcert` is given.
    Require,
    /// Always, with a chain to a trusted root.
    VerifyCa,
    /// Always, and the certificate names the host.
    VerifyFull,
}

/// libpq's `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// When the server offers it.
    #[default]
    Prefer,
    /// Refuse a server that does not prove that it holds both certificate and password.
    Require,
}

/// What a URL says about TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// See [`SslMode`].
    pub mode: SslMode,
    /// PEM file of trusted roots; `system` or nothing for the platform's.
    pub root: Option<PathBuf>,
    /// PEM file of the client's certificate chain.
    pub certificate: Option<PathBuf>,
    /// PEM file of the client's private key.
    pub key: Option<PathBuf>,
    /// TLS from the first byte (PostgreSQL 17 and newer).
    pub direct: bool,
}

impl Target {
    /// Parses `postgres://[user[:password]@][host[:port]][/database][?parameter=value&…]`.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`]; the message never holds the URL, because that may hold a password.
    pub fn parse(url: &str) -> Result<Target> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| refuse("it does not begin with postgres://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (userinfo, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(decode(password)?)),
            None => (userinfo, None),
        };
        let (host, port) = split_port(address)?;
        let mut draft = Draft {
            host: decode(host)?,
            port: port.map(str::to_owned),
            user: decode(user)?,
            password,
            database: decode(database)?,
            ..Draft::default()
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| refuse("a parameter has no value"))?;
            draft.set(&decode(key)?, decode(value)?)?;
        }
        draft.finish()
    }

    /// `host:port` or the socket's path, for messages.
    pub fn address(&self) -> String {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => format!("[{host}]:{}", self.port),
            Host::Tcp(host) => format!("{host}:{}", self.port),
            Host::Unix(directory) => self.socket_path(directory).display().to_string(),
        }
    }

    /// The socket file in `directory`.
    pub fn socket_path(&self, directory: &Path) -> PathBuf {
        directory.join(format!(".s.PGSQL.{}", self.port))
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres {} role {} database {}", self.address(), self.user, self.database)
    }
}

/// What has been read so far; checked as a whole by `finish`.
#[derive(Default)]
struct Draft {
    host: String,
    port: Option<String>,
    user: String,
    password: Option<String>,
    database: String,
    tls: Tls,
    channel_binding: ChannelBinding,
    application_name: Option<String>,
    connect_timeout: Option<u64>,
    tcp_user_timeout: Option<u64>,
    options: Option<String>,
}

impl Draft {
    fn set(&mut self, key: &str, value: String) -> Result<()> {
        match key {
            "host" => self.host = value,
            "port" => self.port = Some(value),
            "user" => self.user = value,
            "password" => self.password = Some(value),
            "dbname" => self.database = value,
            "sslmode" => self.tls.mode = ssl_mode(&value)?,
            "sslrootcert" => self.tls.root = (value != "system").then(|| value.into()),
            "sslcert" => self.tls.certificate = Some(value.into()),
            "sslkey" => self.tls.key = Some(value.into()),
            "sslnegotiation" => {
                self.tls.direct = choose(key, &value, &[("postgres", false), ("direct", true)])?
            }
            "channel_binding" => {
                use ChannelBinding::*;
                let all = [("disable", Disable), ("prefer", Prefer), ("require", Require)];
                self.channel_binding = choose(key, &value, &all)?;
            }
            "application_name" => self.application_name = Some(value),
            "connect_timeout" => self.connect_timeout = Some(number(key, &value)?),
            "tcp_user_timeout" => self.tcp_user_timeout = Some(number(key, &value)?),
            "options" => self.options = Some(value),
            "target_session_attrs" if value == "any" => {}
            "target_session_attrs" => {
                let why =
                    format!("target_session_attrs={value} is not supported; name the one host to read from");
                return Err(refuse(&why));
            }
            _ => return Err(refuse(&format!("unknown parameter {key:?}; there are {PARAMETERS}"))),
        }
        Ok(())
    }

    fn finish(self) -> Result<Target> {
        if self.host.contains(',') || self.port.as_ref().is_some_and(|port| port.contains(',')) {
            return Err(refuse("it names several hosts; name the one to read from"));
        }
        let port = match self.port.as_deref() {
            None | Some("") => 5432,
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(|| refuse("the port is no port"))?
            }
        };
        let host = match self.host.as_str() {
            "" => Host::Tcp("localhost".into()),
            path if path.starts_with('/') => Host::Unix(path.into()),
            name => Host::Tcp(name.into()),
        };
        let user = match self.user.is_empty() {
            false => self.user,
            true => std::env::var("USER").map_err(|_| refuse("it names no user"))?,
        };
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(refuse("sslcert and sslkey go together"));
        }
        let strict = matches!(self.tls.mode, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull);
        if self.tls.direct && !strict {
            return Err(refuse("sslnegotiation=direct needs sslmode=require or stricter"));
        }
        let nul =
            [&user, &self.database].into_iter().chain(self.password.iter()).any(|text| text.contains('\0'));
        if nul {
            return Err(refuse("a zero byte"));
        }
        Ok(Target {
            host,
            port,
            database: if self.database.is_empty() { user.clone() } else { self.database },
            user,
            password: self.password,
            tls: self.tls,
            channel_binding: self.channel_binding,
            application_name: self.application_name.unwrap_or_else(|| "millstream".into()),
            connect_timeout: Duration::from_secs(self.connect_timeout.filter(|s| *s > 0).unwrap_or(10)),
            tcp_user_timeout: Duration::from_millis(self.tcp_user_timeout.unwrap_or(30_000)),
            options: self.options,
        })
    }
}

fn refuse(why: &str) -> Error {
    Error::config(format!("parse postgres url: {why}"))
}

fn ssl_mode(value: &str) -> Result<SslMode> {
    use SslMode::*;
    let all = [
        ("disable", Disable),
        ("allow", Allow),
        ("prefer", Prefer),
        ("require", Require),
        ("verify-ca", VerifyCa),
        ("verify-full", VerifyFull),
    ];
    choose("sslmode", value, &all)
}

fn choose<T: Copy>(key: &str, value: &str, all: &[(&str, T)]) -> Result<T> {
    if let Some((_, found)) = all.iter().find(|(name, _)| *name == value) {
        return Ok(*found);
    }
    let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
    Err(refuse(&format!("{key} is {}", names.join(", "))))
}

fn number(key: &str, value: &str) -> Result<u64> {
    value.parse().map_err(|_| refuse(&format!("{key} is a whole number")))
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`.
fn split_port(address: &str) -> Result<(&str, Option<&str>)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(|| refuse("an IPv6 address without ]"))?;
        return Ok((host, rest.strip_prefix(':')));
    }
    Ok(match address.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    })
}

/// Percent-decoding; `+` stays a plus, as in libpq.
fn decode(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| (byte as char).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return Err(refuse("a % without two hexadecimal digits (write %25 for a percent sign)")),
        }
    }
    String::from_utf8(out).map_err(|_| refuse("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_api::Kind;

    #[test]
    fn a_full_url_is_read() {
        let target = Target::parse(
            "postgresql://me:p%40ss@db.example:6432/shop%20x?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3",
        )
        .unwrap();
        assert_eq!(target.host, Host::Tcp("db.example".into()));
        assert_eq!((target.port, target.user.as_str(), target.database.as_str()), (6432, "me", "shop x"));
        assert_eq!(target.password.as_deref(), Some("p@ss"));
        assert_eq!(target.tls.mode, SslMode::VerifyFull);
        assert_eq!(target.tls.root.as_deref(), Some(Path::new("/ca.pem")));
        assert_eq!(target.connect_timeout, Duration::from_secs(3));
        assert!(!format!("{target:?}").contains("p@ss"));
    }

    #[test]
    fn sockets_are_named_by_parameter_or_by_host() {
        for url in ["postgres://me@/shop?host=/run/pg&port=5433", "postgres://me@%2Frun%2Fpg:5433/shop"] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.host, Host::Unix("/run/pg".into()));
            assert_eq!(target.address(), "/run/pg/.s.PGSQL.5433");
        }
    }

    #[test]
    fn defaults_are_those_of_libpq() {
        let target = Target::parse("postgres://me@[::1]").unwrap();
        assert_eq!((target.address().as_str(), target.database.as_str()), ("[::1]:5432", "me"));
        assert_eq!(target.tls.mode, SslMode::Prefer);
    }

    #[test]
    fn what_cannot_be_done_is_refused_without_the_password() {
        for url in [
            "mysql://me:secret@h/x",
            "postgres://me:secret@h:0/x",
            "postgres://me:secret@h/x?sslmode=maybe",
            "postgres://me:secret@h/x?colour=red",
            "postgres://me:secret@a,b/x",
            "postgres://me:secret@h/x?target_session_attrs=read-write",
            "postgres://me:secret%4@h/x",
            "postgres://me:secret@h/x?sslcert=/c.pem",
            "postgres://me:secret@h/x?sslnegotiation=direct",
        ] {
            let error = Target::parse(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Config, "{url}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
