//! The types of sources and sinks that a configuration can name. A new connector is one line at the end; its
//! options are its own struct, read with the places of the file, and this crate knows nothing of their contents.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer};

use super::sink::{Apply, SinkRules};

macro_rules! connectors {
    ($(#[$doc:meta])* $name:ident { $($type:literal => $variant:ident($options:ty),)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub enum $name {
            $(#[doc = concat!("`type: ", $type, "`")] $variant($options),)+
        }

        impl $name {
            /// Every type that there is.
            pub const TYPES: &'static [&'static str] = &[$($type),+];

            /// The type, as the configuration has it.
            pub fn type_name(&self) -> &'static str {
                match self { $($name::$variant(_) => $type,)+ }
            }

            /// Reads the options of a type; `None` when there is no such type.
            pub(super) fn read<'de, D: Deserializer<'de>>(name: &str, from: D) -> Option<Result<Self, D::Error>> {
                match name {
                    $($type => Some(<$options>::deserialize(from).map($name::$variant)),)+
                    _ => None,
                }
            }

            /// The connector's own check of its options, as those of the source or sink `name`. A context that begins
            /// with `check option KEY:` is shown at that key.
            pub(super) fn check(&self, name: &str) -> connector_api::Result<()> {
                match self { $($name::$variant(options) => options.check(name).map(drop),)+ }
            }

            /// The schema of each type's options.
            pub(super) fn schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
                vec![$(($type, <$options>::json_schema(generator)),)+]
            }
        }
    };
}

connectors! {
    /// A source's connector and its options.
    SourceConnector {
        "postgres" => Postgres(connector_postgres::Options),
    }
}

connectors! {
    /// A sink's connector and its options.
    SinkConnector {
        "http" => Http(connector_http::Options),
        "mysql" => Mysql(connector_mysql::Options),
        "postgres" => Postgres(connector_postgres::sink::Options),
        "redis" => Redis(connector_redis::Options),
        "sqlite" => Sqlite(connector_sqlite::Options),
    }
}

impl SourceConnector {
    /// The topics that the configuration itself names; what a pattern stands for only the source can tell.
    pub(super) fn topics(&self, name: &str) -> Vec<String> {
        match self {
            SourceConnector::Postgres(options) => {
                let named = options.tables.iter().filter(|table| !table.contains(['*', '?']));
                let whole = |table: &String| match table.contains('.') {
                    true => format!("{name}.{table}"),
                    false => format!("{name}.public.{table}"),
                };
                named.map(whole).collect()
            }
        }
    }
}

impl SinkConnector {
    /// Takes over what the keys that every sink has say of its connector.
    pub(super) fn follow(&mut self, rules: &SinkRules) {
        let batched = rules.apply == Apply::Batched;
        match self {
            SinkConnector::Mysql(options) => {
                (options.create_tables, options.batched) = (rules.create_tables, batched);
            }
            SinkConnector::Postgres(options) => {
                (options.create_tables, options.batched) = (rules.create_tables, batched);
            }
            SinkConnector::Sqlite(options) => options.create_tables = rules.create_tables,
            SinkConnector::Redis(options) => {
                let single = rules.tables.iter().filter(|table| !table.topic.contains('*'));
                for rule in single {
                    let own = rule.topic.rsplit('.').next().unwrap_or_default();
                    let table = rule.table.as_deref().unwrap_or(own);
                    options.topics.entry(table.to_owned()).or_default().push(rule.topic.clone());
                }
            }
            SinkConnector::Http(_) => {}
        }
    }

    /// Takes over that the sink is part of an erasure.
    pub(super) fn cover(&mut self) {
        match self {
            SinkConnector::Mysql(options) => options.erases = true,
            SinkConnector::Postgres(options) => options.erases = true,
            SinkConnector::Redis(options) => options.erases = true,
            SinkConnector::Sqlite(options) => options.erases = true,
            SinkConnector::Http(_) => {}
        }
    }

    /// Whether the other side can be told of an erasure and see to it itself (`notify`).
    pub fn is_told(&self) -> bool {
        match self {
            SinkConnector::Http(_) => true,
            SinkConnector::Mysql(_)
            | SinkConnector::Postgres(_)
            | SinkConnector::Redis(_)
            | SinkConnector::Sqlite(_) => false,
        }
    }
}
