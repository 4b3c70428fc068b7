//! The integration tests: one binary, real servers.
#![allow(missing_docs)]

mod crash;
mod harness;
mod identity;
mod idle;
mod pipeline;
mod support;
mod tls;
mod types;
mod versions;
