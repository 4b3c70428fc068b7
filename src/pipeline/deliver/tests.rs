//! The loop beside a log and a target that are played.

mod cursor;
mod retention;
