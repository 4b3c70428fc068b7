//! The SQLite sink against real files: every operation, every kind, every way it may fail.

mod bench;
mod check;
mod cursor;
mod evolve;
mod failure;
mod fixture;
mod kinds;
mod names;
mod operations;
mod rows;
mod scrub;
mod soft;
mod suite;
