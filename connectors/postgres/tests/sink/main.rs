//! The sink on real servers.

mod bench;
mod check;
mod crash;
mod cursor;
mod drift;
mod erase;
mod evolve;
mod fixture;
mod foreign;
mod lanes;
mod names;
mod operations;
mod refused;
mod rows;
mod suite;
mod types;
