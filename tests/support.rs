//! What the integration tests stand on: throwaway servers, the real binary, directories and seeds.
// Each item serves the tests that need it; not every one is in use at every time.
#![allow(dead_code)]

pub use throwaway_servers::postgres;

pub mod command;
pub mod http;
pub mod process;
pub mod redis;
pub mod seed;
pub mod shop;
pub mod skip;
pub mod sqlite;
pub mod webhook;
pub mod workdir;
