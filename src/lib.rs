//! Millstream: change data capture from databases, through one unified log, into databases.

pub mod cli;
pub mod config;
