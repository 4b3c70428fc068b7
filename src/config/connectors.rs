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
            SinkConnector::Http(_) | SinkConnector::Redis(_) => {}
        }
    }
}
