//! `dbmesh schema`: the JSON Schema of one kind, or of all.

use std::io::{self, Write};
use std::process::ExitCode;

use dbmesh_model::{Kind, schema};
use serde_json::{Map, Value};

use crate::cli::SchemaArgs;

/// Prints the schema; fails only if it cannot be written.
pub fn run_schema(args: &SchemaArgs) -> ExitCode {
    let printed = match args.kind {
        Some(kind) => schema(kind.into()),
        None => all(),
    };
    match writeln!(io::stdout(), "{printed:#}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn all() -> Value {
    let by_kind = Kind::ALL.map(|kind| (kind.name().to_owned(), schema(kind)));
    Value::Object(Map::from_iter(by_kind))
}
