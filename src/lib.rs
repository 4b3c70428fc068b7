//! Millstream: change data capture from databases, through one unified log, into databases.

pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod erasure;
pub mod expression;
pub mod http;
pub mod log;
pub mod pipeline;
pub mod registry;
pub mod render;
pub mod reset;
pub mod service;
pub mod state;
pub mod tail;
pub mod telemetry;
pub mod verify;
