//! The sink on a real MariaDB.

mod bench;
mod check;
mod erase;
mod evolve;
mod failure;
mod fixture;
mod kinds;
mod lanes;
mod names;
mod operations;
mod refused;
mod suite;
