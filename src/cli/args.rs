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
    /// Erases a person everywhere: in every sink that the configuration names for it, and in the log
    ///
    /// Opens a case, or finds the one that is open. Where the source still has the person's row, delete it there, too:
    /// until then its changes are kept out.
    #[command(after_help = "Examples:\n  millstream erase shop.yaml users 4711 --wait\n  \
        echo 4711 | millstream erase shop.yaml users - --delete-at-source")]
    Erase {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// The kind of data subject, as the `erasure` section names it
        subject: String,
        /// The person's key, as the source shows it; `-` reads it from stdin, so that no history of commands keeps it
        key: String,
        /// Ends when every receipt is there
        #[arg(long)]
        wait: bool,
        /// Waits no longer than this, then ends with 1; the case goes on
        #[arg(long, value_name = "TIME", requires = "wait", value_parser = humantime::parse_duration)]
        timeout: Option<std::time::Duration>,
        /// Also deletes the person's row in the source
        #[arg(long)]
        delete_at_source: bool,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
    /// Lists erasures, shows one, issues its certificate; checks a certificate without a configuration
    #[command(subcommand_precedence_over_arg = true)]
    #[command(after_help = "Examples:\n  millstream erasures shop.yaml list --state overdue\n  \
        millstream erasures shop.yaml certificate er-0199… > certificate.json\n  \
        millstream erasures verify certificate.json")]
    Erasures {
        /// The YAML file, or a folder of them; not for `verify`
        #[arg(value_name = "CONFIG")]
        config: Option<PathBuf>,
        /// What to do with them.
        #[command(subcommand)]
        action: Erasures,
    },
    /// Gathers what every sink and the log hold of a person
    #[command(after_help = "Example:\n  millstream subject shop.yaml users 4711 --export > person.json")]
    Subject {
        /// The configuration.
        #[command(flatten)]
        config: ConfigPath,
        /// The kind of data subject, as the `erasure` section names it
        subject: String,
        /// The person's key, as the source shows it; `-` reads it from stdin
        key: String,
        /// Prints everything, as JSON; without it: how much there is where
        #[arg(long)]
        export: bool,
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

/// What `erasures` does.
#[derive(Debug, Subcommand)]
pub enum Erasures {
    /// Lists cases, newest first
    List {
        /// Only those of this kind of subject
        #[arg(long)]
        subject: Option<String>,
        /// Only those that are open, overdue, completed or violated
        #[arg(long, value_parser = ["open", "overdue", "completed", "violated"])]
        state: Option<String>,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
    /// Shows a case with its receipts
    Show {
        /// The id that `list` prints
        case: String,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
    /// Issues the signed certificate of a complete case, as JSON
    Certificate {
        /// The id that `list` prints
        case: String,
        /// As a page to read and print instead
        #[arg(long)]
        html: bool,
    },
    /// Checks the ledger itself: every link of its chain, and that cases and receipts agree with it
    ///
    /// Ends with 3 when something was changed.
    Audit {
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
    /// Checks a certificate: signature, chain, completeness; needs no configuration and no service
    ///
    /// Ends with 3 when something is wrong with it.
    Verify {
        /// The certificate
        file: PathBuf,
        /// The fingerprint of the operator's key; without it, whose key it is remains for you to compare
        #[arg(long)]
        fingerprint: Option<String>,
        /// How it is printed.
        #[command(flatten)]
        output: Output,
    },
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
            "erase c.yaml users 7 --wait",
            "erase c.yaml users - --wait --timeout 10s --delete-at-source --json",
            "erasures c.yaml list --state overdue --json",
            "erasures c.yaml show er-1",
            "erasures c.yaml certificate er-1 --html",
            "erasures c.yaml audit --json",
            "erasures verify certificate.json --json",
            "subject c.yaml users 7 --export",
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
