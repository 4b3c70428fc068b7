//! The Postgres source: logical replication over its own connection.

mod auth;
mod connection;
mod error;
pub mod options;
mod socket;
mod target;
mod tls;
mod wire;
