//! Millstream: change data capture from databases, through one unified log, into databases.

pub mod config;
