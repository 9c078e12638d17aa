//! `dbmesh explain`: what would become of a statement, from files alone.
//!
//! It owns the choice of the service and the form of the answer. What is answered is what `EXPLAIN MESH` answers.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use dbmesh_model::{Service, Topology, topology};
use dbmesh_proxy::explain_offline;
use serde_json::{Value, json};

use crate::check;
use crate::cli::{ExplainArgs, OutputFormat};
use crate::terminal::{Colour, Escaped};

/// Explains a statement; fails if the configuration is wrong or the service is not clear.
pub fn run_explain(args: &ExplainArgs) -> ExitCode {
    let topology = match topology(&args.config) {
        Ok(topology) => topology,
        Err(defects) => {
            check::explain(&defects.0);
            return ExitCode::FAILURE;
        }
    };
    let service = match choose(&topology, args) {
        Ok(service) => service,
        Err(why) => {
            eprintln!("dbmesh: {why}");
            return ExitCode::FAILURE;
        }
    };
    let rows = explain_offline(service, args.sql.as_bytes());
    let stdout = io::stdout();
    let text = match args.output {
        OutputFormat::Table => table(&rows, Colour::of(stdout.is_terminal())),
        OutputFormat::Json => {
            let rows: Vec<Value> = rows
                .iter()
                .map(|(field, value)| json!({ "field": field, "value": value }))
                .collect();
            format!(
                "{:#}\n",
                json!({ "service": service.label(), "rows": rows })
            )
        }
    };
    match stdout.lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The one service that is meant.
fn choose<'a>(topology: &'a Topology, args: &ExplainArgs) -> Result<&'a Arc<Service>, String> {
    let asked = |service: &&Arc<Service>| {
        let database = args.database.as_ref();
        database.is_none_or(|name| service.database.as_str() == name)
            && args
                .service
                .as_ref()
                .is_none_or(|name| service.answers_to(name))
    };
    let labels = |services: &[&Arc<Service>]| {
        let labels: Vec<String> = services.iter().map(|s| s.label()).collect();
        labels.join(", ")
    };
    let found: Vec<_> = topology.services.iter().filter(asked).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let all: Vec<_> = topology.services.iter().collect();
            Err(format!("no service is meant; there are: {}", labels(&all)))
        }
        several => Err(format!(
            "several services are meant, name one with --service: {}",
            labels(several)
        )),
    }
}

fn table(rows: &[(String, String)], colour: Colour) -> String {
    let width = rows.iter().map(|(field, _)| field.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut out = String::new();
    for (field, value) in rows {
        let room = " ".repeat(width - field.chars().count() + 2);
        let field = colour.paint("1", &Escaped(field).to_string());
        out.push_str(format!("{field}{room}{}", Escaped(value)).trim_end());
        out.push('\n');
    }
    out
}
