//! Millstream: change-data-capture replication between service databases through one unified log.

pub mod log;
