//! The `millstream` binary: parses the arguments and calls the library.

use clap::Parser;
use millstream::cli::args::{Args, Command};
use millstream::cli::{completions, schema};
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Schema => schema::print(io::stdout().lock()),
        Command::Completions { shell } => completions::print(shell, io::stdout().lock()),
        _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // `millstream schema | head`: the reader has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millstream: {error}");
            ExitCode::FAILURE
        }
    }
}
