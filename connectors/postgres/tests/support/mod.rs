#![allow(dead_code)]
pub mod capture;
pub mod server;
