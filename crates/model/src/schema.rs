//! JSON Schema (2020-12) of every resource kind, generated from the types in `spec`.
//!
//! The same schema checks documents (`shape`), is printed by `dbmesh schema` and documents fields.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::spec::{DataShard, DatabaseEndpoint, TrafficStrategy, VirtualDatabase};

/// A kind of resource that this version implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// What applications connect to.
    VirtualDatabase,
    /// Which endpoints serve, and which statements are held back.
    TrafficStrategy,
    /// A real server.
    DatabaseEndpoint,
    /// Which tables are split over servers.
    DataShard,
}

impl Kind {
    /// Every kind, in the order people read them.
    pub const ALL: [Kind; 4] = [
        Kind::VirtualDatabase,
        Kind::TrafficStrategy,
        Kind::DatabaseEndpoint,
        Kind::DataShard,
    ];

    /// The name in a document's `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::VirtualDatabase => "VirtualDatabase",
            Kind::TrafficStrategy => "TrafficStrategy",
            Kind::DatabaseEndpoint => "DatabaseEndpoint",
            Kind::DataShard => "DataShard",
        }
    }

    /// The short name for the command line.
    pub fn short_name(self) -> &'static str {
        match self {
            Kind::VirtualDatabase => "vdb",
            Kind::TrafficStrategy => "ts",
            Kind::DatabaseEndpoint => "dbep",
            Kind::DataShard => "ds",
        }
    }

    /// The kind of that name, exactly as written in documents.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The JSON Schema of a kind.
pub fn schema(kind: Kind) -> Value {
    match kind {
        Kind::VirtualDatabase => of::<VirtualDatabase>(),
        Kind::TrafficStrategy => of::<TrafficStrategy>(),
        Kind::DatabaseEndpoint => of::<DatabaseEndpoint>(),
        Kind::DataShard => of::<DataShard>(),
    }
}

fn of<T: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with_transform(RecursiveTransform(bound_integers));
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Writes the greatest value of an integer type where no range does: the generator leaves it out
/// for 32 and 64 bits, and a larger number would be found out only when the document is decoded.
fn bound_integers(schema: &mut Schema) {
    let maximum = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => u64::from(u32::MAX),
        Some("uint64") => u64::MAX,
        _ => return,
    };
    if schema.get("maximum").is_none() {
        schema.insert("maximum".to_owned(), maximum.into());
    }
}
