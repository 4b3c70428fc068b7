//! What sinks that speak SQL have in common: gathering changes to their net effect. Nothing here does I/O: it takes what a
//! sink knows and gives back what the sink is to run, so that it serves drivers that block and drivers that do not.

pub mod gather;

pub use gather::{Absent, Gather, Refusals, Single, Step, Work};
