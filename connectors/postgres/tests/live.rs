//! The source against a real server: copy, stream, restarts, rights, TLS.

mod support;

#[path = "live/drain.rs"]
mod drain;
#[path = "live/identity.rs"]
mod identity;
#[path = "live/login.rs"]
mod login;
#[path = "live/resume.rs"]
mod resume;
#[path = "live/rights.rs"]
mod rights;
#[path = "live/stream.rs"]
mod stream;
#[path = "live/types.rs"]
mod types;
