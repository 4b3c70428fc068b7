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

/// Deletes the row of a captured table whose column has this value, given as text. Returns how many rows that were.
///
/// # Errors
/// When the source refuses: a right that is missing, a row of another table that refers to it.
pub async fn delete_row(
    name: &str,
    connector: &SourceConnector,
    topic: &str,
    column: &str,
    value: &str,
) -> Result<u64> {
    match connector {
        SourceConnector::Postgres(options) => {
            connector_postgres::delete_row(name, options, topic, column, value).await
        }
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
pub fn sink(name: &str, sink: &SinkConfig, config: &Config) -> Result<Box<dyn Sink>> {
    Ok(match &sink.connector {
        SinkConnector::Http(options) => {
            let info =
                |(name, connector): (&String, &SourceConnector)| (name.clone(), source_info(connector));
            let sources = config.sources.iter().map(info).collect();
            Box::new(connector_http::Http::new(name, options.clone()).describing(sources))
        }
        SinkConnector::Mysql(options) => Box::new(connector_mysql::Mysql::new(name, options.clone())),
        SinkConnector::Postgres(options) => {
            Box::new(connector_postgres::sink::Postgres::new(name, options.clone()))
        }
        SinkConnector::Redis(options) => Box::new(connector_redis::Redis::new(name, options.clone())),
        SinkConnector::Sqlite(options) => Box::new(connector_sqlite::Sqlite::new(name, options.clone())),
    })
}

/// Reads the rows that a sink holds; `None` where a sink of its type cannot be read back.
///
/// # Errors
/// When its options contradict each other.
pub fn rows(name: &str, sink: &SinkConfig) -> Result<Option<Box<dyn Rows>>> {
    match &sink.connector {
        SinkConnector::Http(_) => Ok(None),
        SinkConnector::Mysql(options) => connector_mysql::rows(name, options).map(Some),
        SinkConnector::Postgres(options) => connector_postgres::sink::rows(name, options).map(Some),
        SinkConnector::Redis(options) => connector_redis::rows(name, options).map(Some),
        SinkConnector::Sqlite(options) => connector_sqlite::rows(name, options).map(Some),
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
        SinkConnector::Http(options) => Box::pin(connector_http::check(name, options, targets)),
        SinkConnector::Mysql(options) => Box::pin(connector_mysql::check(name, options, targets)),
        SinkConnector::Postgres(options) => Box::pin(connector_postgres::sink::check(name, options, targets)),
        SinkConnector::Redis(options) => Box::pin(connector_redis::check(name, options, targets)),
        SinkConnector::Sqlite(options) => Box::pin(async { Ok(connector_sqlite::check(options, targets)) }),
    }
}

/// What a deletion leaves at a sink of this type, and until when: a plain sentence for certificates.
pub fn remains(connector: &SinkConnector) -> &'static str {
    match connector {
        SinkConnector::Http(_) => connector_http::REMAINS,
        SinkConnector::Mysql(_) => connector_mysql::REMAINS,
        SinkConnector::Postgres(_) => connector_postgres::sink::REMAINS,
        SinkConnector::Redis(_) => connector_redis::REMAINS,
        SinkConnector::Sqlite(_) => connector_sqlite::REMAINS,
    }
}
