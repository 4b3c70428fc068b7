//! `millstream completions`.

use super::args::Args;
use clap::CommandFactory;
use clap_complete::{Shell, generate};
use std::io::{self, Write};

/// Prints the completions of a shell.
///
/// # Errors
/// When `out` cannot be written.
pub fn print(shell: Shell, mut out: impl Write) -> io::Result<()> {
    // The generator panics when it cannot write, so that it writes to memory.
    let mut script = Vec::new();
    generate(shell, &mut Args::command(), "millstream", &mut script);
    out.write_all(&script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let mut script = Vec::new();
            print(shell, &mut script).unwrap();
            assert!(String::from_utf8(script).unwrap().contains("dead-letters"), "{shell}");
        }
    }
}
