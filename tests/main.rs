//! The integration tests: one binary, real servers.
#![allow(missing_docs)]

mod harness;
mod support;
