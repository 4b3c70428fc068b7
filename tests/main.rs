//! The integration tests: one binary, real servers.
#![allow(missing_docs)]

mod crash;
mod harness;
mod pipeline;
mod support;
