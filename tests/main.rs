//! The integration tests: one binary, real servers.
#![allow(missing_docs)]

mod commands;
mod crash;
mod erasure;
mod evolve;
mod examples;
mod fanout;
mod full;
mod harness;
mod huge;
mod identity;
mod idle;
mod isolation;
mod mapping;
mod outage;
mod pipeline;
mod refusals;
mod sinks;
mod support;
mod tidy;
mod tls;
mod transactions;
mod types;
mod verify;
mod versions;
