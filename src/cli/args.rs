//! Commands and their options; what each does is in the file of its name.

use crate::render::Format;
use crate::reset::Target;
use crate::tail::Start;
use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;
use std::str::FromStr;

/// Change data capture from databases, through one unified log, into databases.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, about, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 failed while running, 2 bad usage or configuration, \
    3 check or verify found something.\nThe keys of the configuration: docs/CONFIGURATION.md. A first try: millstream demo")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Captures and applies until SIGINT or SIGTERM, which let the transaction at hand finish
    #[command(after_help = "Example:\n  millstream run shop.yaml")]
    Run {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// Ends when every sink has applied all that was committed in the sources at the start
        #[arg(long)]
        until_caught_up: bool,
    },
    /// Says what is wrong with a configuration, the sources, the sinks and this machine, and how to mend it
    ///
    /// Connects to everything, changes nothing. Ends with 3 when it found something.
    #[command(after_help = "Example:\n  millstream check shop.yaml")]
    Check {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
    /// Shows replication at work between throwaway databases, and checks itself
    #[command(after_help = "Example:\n  millstream demo")]
    Demo,
    /// Shows sources, topics and sinks: state, position, offsets, lag
    #[command(after_help = "Example:\n  millstream status shop.yaml --watch")]
    Status {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
        /// Shows it again every second, until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Lists topics with partitions, offsets and size
    #[command(after_help = "Example:\n  millstream topics shop.yaml")]
    Topics {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
    /// Prints the records of a topic
    #[command(
        after_help = "Example:\n  millstream tail shop.yaml shop.public.users --from earliest --limit 10"
    )]
    Tail {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// The topic: source.schema.table, or one of events
        topic: String,
        /// Where to begin: earliest, latest, or an offset
        #[arg(long, value_name = "WHERE", default_value = "latest", value_parser = Start::from_str)]
        from: Start,
        /// Goes on with new records, until interrupted
        #[arg(long, short)]
        follow: bool,
        /// How records are printed, one a line
        #[arg(long, value_enum, default_value_t = Format::Debezium)]
        format: Format,
        /// Ends after so many records
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Appends events to a topic: every line of stdin is one
    #[command(
        after_help = "Example:\n  echo '{\"order\": 7}' | millstream produce shop.yaml orders.paid --key 7"
    )]
    Produce {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// The topic, made when it is new; not one of a source's tables
        topic: String,
        /// The key of every event; events of one key keep their order
        #[arg(long)]
        key: Option<String>,
        /// Appends one event without a value, which deletes the key; reads no stdin
        #[arg(long, requires = "key")]
        tombstone: bool,
    },
    /// Shows how far sinks have come, or moves one
    #[command(after_help = "Examples:\n  millstream offsets shop.yaml list\n  \
        millstream offsets shop.yaml reset billing --to earliest")]
    Offsets {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// What to do with them.
        #[command(subcommand)]
        action: Offsets,
    },
    /// Lists, shows, retries or drops the records that a sink could not apply
    #[command(after_help = "Examples:\n  millstream dead-letters shop.yaml list\n  \
        millstream dead-letters shop.yaml retry billing --all")]
    DeadLetters {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// What to do with them.
        #[command(subcommand)]
        action: DeadLetters,
    },
    /// Compares what a sink holds with what its sources have, and names every row that differs
    ///
    /// Through the rules of the sink, by checksums; while data moves, a row counts only when it stays different after the
    /// sink has caught up. Ends with 3 when rows differ, so that a nightly job can run it.
    #[command(after_help = "Examples:\n  millstream verify shop.yaml billing\n  \
        millstream verify shop.yaml billing --table customers --repair")]
    Verify {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// The sink
        sink: String,
        /// Only this table of the sink
        #[arg(long)]
        table: Option<String>,
        /// Sends every row that differs again, through the log; ends with 0 when all are equal then
        #[arg(long)]
        repair: bool,
        /// Prints the values of rows that differ, not only their keys and the names of columns
        #[arg(long)]
        values: bool,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
    /// Looks into the directory of a log, without a configuration and without changing it
    #[command(after_help = "Example:\n  millstream log inspect ./data --verify")]
    Log {
        /// What to do with it.
        #[command(subcommand)]
        action: LogAction,
    },
    /// Prints the JSON Schema of the configuration
    #[command(after_help = "Example:\n  millstream schema > millstream.schema.json")]
    Schema,
    /// Prints the completions of a shell
    #[command(after_help = "Example:\n  millstream completions bash > /etc/bash_completion.d/millstream")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The configuration of a command.
#[derive(Debug, Clone, ClapArgs)]
pub struct ConfigPath {
    /// The YAML file, or a folder of them
    #[arg(value_name = "CONFIG")]
    pub path: PathBuf,
}

/// How a command prints.
#[derive(Debug, Clone, Copy, ClapArgs)]
pub struct Output {
    /// Prints JSON for programs instead of text for people
    #[arg(long)]
    pub json: bool,
}

/// What `offsets` does.
#[derive(Debug, Subcommand)]
pub enum Offsets {
    /// Lists every sink's offset in every topic, and its lag
    List {
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
    /// Moves a sink: it applies again, or leaves out, what lies between
    #[command(after_help = "Examples:\n  millstream offsets shop.yaml reset billing --to earliest\n  \
        millstream offsets shop.yaml reset billing --topic shop.public.users --to 2026-08-01T12:00:00Z")]
    Reset {
        /// The sink
        sink: String,
        /// Only this topic; without it: all topics of the sink
        #[arg(long)]
        topic: Option<String>,
        /// earliest, latest, an offset, or a time such as 2026-08-01T12:00:00Z
        #[arg(long, value_name = "WHERE", value_parser = Target::from_str)]
        to: Target,
    },
}

/// What `dead-letters` does.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// Lists dead letters: number, topic, offset, error, time
    List {
        /// Only those of this sink
        sink: Option<String>,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
    /// Shows one with its record
    Show {
        /// The sink
        sink: String,
        /// The number that `list` prints
        id: u64,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
    /// Applies dead letters again; those that succeed are gone
    Retry(Letters),
    /// Forgets dead letters without applying them
    Drop(Letters),
}

/// Which dead letters of a sink.
#[derive(Debug, Clone, ClapArgs)]
pub struct Letters {
    /// The sink
    pub sink: String,
    /// The numbers that `list` prints
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub ids: Vec<u64>,
    /// All dead letters of the sink
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
}

/// What `log` does.
#[derive(Debug, Subcommand)]
pub enum LogAction {
    /// Shows segments, topics and positions
    Inspect {
        /// The directory of the log
        path: PathBuf,
        /// Reads everything and checks every checksum
        #[arg(long)]
        verify: bool,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_fit_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_contract_of_the_interface_parses() {
        for line in [
            "run c.yaml",
            "run c.yaml --until-caught-up",
            "check c.yaml --json",
            "demo",
            "status c.yaml --json",
            "status c.yaml --watch",
            "topics c.yaml --json",
            "tail c.yaml shop.public.users --from earliest --follow --format raw --limit 5",
            "tail c.yaml t --from 17 -f",
            "produce c.yaml t --key k",
            "produce c.yaml t --key k --tombstone",
            "offsets c.yaml list",
            "offsets c.yaml reset billing --topic t --to latest",
            "offsets c.yaml reset billing --to 2026-08-01T12:00:00Z",
            "dead-letters c.yaml list",
            "dead-letters c.yaml list billing --json",
            "dead-letters c.yaml show billing 3",
            "dead-letters c.yaml retry billing 3 4",
            "dead-letters c.yaml drop billing --all",
            "verify c.yaml billing",
            "verify c.yaml billing --table t --repair --values --json",
            "schema",
            "completions zsh",
            "log inspect ./data --verify --json",
        ] {
            let words = std::iter::once("millstream").chain(line.split(' '));
            assert!(Args::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for line in [
            "",
            "run",
            "tail c.yaml t --from yesterday",
            "offsets c.yaml reset billing",
            "offsets c.yaml reset billing --to yesterday",
            "dead-letters c.yaml retry billing",
            "dead-letters c.yaml retry billing 3 --all",
            "produce c.yaml t --tombstone",
            "completions tcl",
        ] {
            let words = std::iter::once("millstream").chain(line.split_whitespace());
            assert_eq!(Args::try_parse_from(words).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Args::command().get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{}", command.get_name());
        }
    }
}
