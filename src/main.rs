//! The `millstream` binary: parses the arguments and calls the library.

use clap::Parser as _;
use millstream::cli;
use std::process::ExitCode;

/// Batches of a mebibyte come and go all the time: mimalloc keeps their pages, the system's allocator gives them back
/// and faults them in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main(cli::args::Args::parse())
}
