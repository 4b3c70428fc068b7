//! What Redis's errors mean to the deliver loop. Its messages name commands and settings, never values.

use std::fmt;

use connector_api::{Error, Kind};
use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind, Value};

/// The error for a failed call.
pub fn failed(what: impl fmt::Display, error: RedisError) -> Error {
    let kind = match error.kind() {
        ErrorKind::AuthenticationFailed => Kind::Auth,
        ErrorKind::InvalidClientConfig => Kind::Config,
        ErrorKind::Server(_) | ErrorKind::Extension => {
            return refused(what, error.code().unwrap_or_default(), error.detail().unwrap_or_default());
        }
        _ => Kind::Transient,
    };
    let made = Error::new(kind, what.to_string()).caused_by(error);
    match kind {
        Kind::Auth => made.with_remedy("mend user and password in the url of this sink"),
        _ => made,
    }
}

/// The error for a reply that is one.
pub fn refused_reply(what: impl fmt::Display, reply: &ServerError) -> Error {
    refused(what, reply.code(), reply.details().unwrap_or_default())
}

fn refused(what: impl fmt::Display, code: &str, detail: &str) -> Error {
    let make = |kind| Error::new(kind, format!("{what}: {code} {detail}"));
    match code {
        "OOM" => make(Kind::Transient)
            .with_remedy("raise maxmemory of the server or free memory; work resumes by itself"),
        "MISCONF" => make(Kind::Transient)
            .with_remedy("free space on the server's disk (it refuses writes because it cannot save); work resumes by itself"),
        "NOAUTH" | "WRONGPASS" => {
            make(Kind::Auth).with_remedy("mend user and password in the url of this sink")
        }
        "NOPERM" => make(Kind::Config).with_remedy(
            "ACL SETUSER <user> ~* &* +@read +@write +@transaction +@scripting +@connection +info",
        ),
        "WRONGTYPE" => make(Kind::Config)
            .with_remedy("delete the key that is of another type, or give this sink another `key` or `stream`"),
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => make(Kind::Config)
            .with_remedy("this is a cluster, which this sink does not support: name a single server or its primary"),
        // READONLY (a replica after a failover), LOADING, MASTERDOWN, BUSY, TRYAGAIN, NOSCRIPT, EXECABORT and others pass.
        _ => make(Kind::Transient),
    }
}

/// The first error among replies, also inside an answer of `EXEC`.
pub fn first_error(replies: &[Value]) -> Option<&ServerError> {
    replies.iter().find_map(|reply| match reply {
        Value::ServerError(error) => Some(error),
        Value::Array(inner) => first_error(inner),
        _ => None,
    })
}

/// Whether a reply says that the whole transaction was dropped because a command could not be queued.
pub fn is_aborted(error: &ServerError) -> bool {
    error.kind() == Some(ServerErrorKind::ExecAbort)
}
