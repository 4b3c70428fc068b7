//! The connectors, by the type that a configuration names: the only place that knows them all. A new connector is a
//! line in `config/connectors.rs` and an arm in each function here.

use std::sync::Arc;

use connector_api::{BoxFuture, Finding, Originals, Result, Rows, Sink, Source, Target};

use crate::config::{Config, Sink as SinkConfig, SinkConnector, SourceConnector};
use crate::pipeline::mapping::Mapping;
use crate::render::SourceInfo;

/// Makes a source.
///
/// # Errors
/// When its options contradict each other.
pub fn source(name: &str, connector: &SourceConnector) -> Result<Box<dyn Source>> {
    match connector {
        SourceConnector::Postgres(options) => connector_postgres::source(name, options),
    }
}

/// Reads the rows that a source has now.
///
/// # Errors
/// When its options contradict each other.
pub fn originals(name: &str, connector: &SourceConnector) -> Result<Box<dyn Originals>> {
    match connector {
        SourceConnector::Postgres(options) => connector_postgres::originals(name, options),
    }
}

/// What a renderer must know of a source.
pub fn source_info(connector: &SourceConnector) -> SourceInfo {
    match connector {
        SourceConnector::Postgres(options) => SourceInfo {
            connector: "postgresql",
            database: connector_postgres::database(options),
            position: Some(connector_postgres::describe_position),
        },
    }
}

/// What is wrong with a source, asked of the upstream itself.
pub fn check_source<'a>(
    name: &'a str,
    connector: &'a SourceConnector,
) -> BoxFuture<'a, Result<Vec<Finding>>> {
    match connector {
        SourceConnector::Postgres(options) => Box::pin(connector_postgres::check(name, options)),
    }
}

/// What a sink takes, with everything left out filled in.
pub fn mapping(config: &Config, sink: &SinkConfig) -> Mapping {
    sink.rules.mapping(config.sources.keys())
}

/// Makes a sink.
///
/// # Errors
/// When its options contradict each other.
pub fn sink(name: &str, sink: &SinkConfig) -> Result<Box<dyn Sink>> {
    match &sink.connector {
        SinkConnector::Sqlite(options) => {
            Ok(Box::new(connector_sqlite::Sqlite::new(name, sqlite(options, sink))))
        }
    }
}

/// Reads the rows that a sink holds; `None` where a sink of its type cannot be read back.
///
/// # Errors
/// When its options contradict each other.
pub fn rows(name: &str, sink: &SinkConfig) -> Result<Option<Box<dyn Rows>>> {
    match &sink.connector {
        SinkConnector::Sqlite(options) => connector_sqlite::rows(name, &sqlite(options, sink)).map(Some),
    }
}

/// The type of a sink, as the configuration names it.
pub fn sink_type(sink: &SinkConfig) -> &'static str {
    match &sink.connector {
        SinkConnector::Sqlite(_) => "sqlite",
    }
}

/// What is wrong with a sink, asked of the target itself. `targets` are the tables that it is to write to, as far as the
/// log knows the shapes of its topics.
pub fn check_sink<'a>(
    name: &'a str,
    sink: &'a SinkConfig,
    targets: &'a [Arc<Target>],
) -> BoxFuture<'a, Result<Vec<Finding>>> {
    match &sink.connector {
        SinkConnector::Sqlite(options) => {
            let _ = name;
            let options = sqlite(options, sink);
            Box::pin(async move { Ok(connector_sqlite::check(&options, targets)) })
        }
    }
}

fn sqlite(options: &connector_sqlite::Options, sink: &SinkConfig) -> connector_sqlite::Options {
    connector_sqlite::Options { create_tables: sink.rules.create_tables, ..options.clone() }
}
