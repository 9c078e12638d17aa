//! `dbmesh check`: every defect of a configuration, or what it serves.
//!
//! It owns how defects look. It never decides what is one: `dbmesh_model` does. Texts of the
//! configuration are escaped before they reach a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use dbmesh_model::{Defect, Severity, Topology, topology};
use dbmesh_proxy::live::{self, Looked, Weight};
use serde_json::json;

use crate::cli::{CheckArgs, OutputFormat};
use crate::terminal::{Cell, Colour, Escaped, table};

/// Checks a configuration and prints what was found; fails if there is an error.
pub fn run_check(args: &CheckArgs) -> ExitCode {
    let resolved = topology(&args.path);
    let (defects, served) = match &resolved {
        Ok(topology) => (topology.warnings.as_slice(), Some(topology)),
        Err(defects) => (defects.0.as_slice(), None),
    };
    let looked = match served.filter(|_| args.live).map(look).transpose() {
        Ok(looked) => looked,
        Err(error) => {
            eprintln!("dbmesh: {error}");
            return ExitCode::FAILURE;
        }
    };
    let stdout = io::stdout();
    let answer = match args.output {
        OutputFormat::Json => json_answer(defects, served, looked.as_deref()),
        OutputFormat::Table => {
            let colour = Colour::of(stdout.is_terminal());
            let mut answer = list(defects, colour);
            answer.push_str(&verdict(defects, served));
            if let Some(looked) = &looked {
                answer.push('\n');
                answer.push_str(&servers(looked, colour));
            }
            answer
        }
    };
    let printed = writeln!(stdout.lock(), "{}", answer.trim_end());
    let works = looked.iter().flatten().all(|one| !one.has_problem());
    if served.is_some() && works && printed.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints defects for people to standard error.
pub fn explain(defects: &[Defect]) {
    let stderr = io::stderr();
    let text = list(defects, Colour::of(stderr.is_terminal()));
    // Nobody is left to tell that standard error cannot be written to.
    let _ = writeln!(stderr.lock(), "{}{}", text, verdict(defects, None));
}

/// Looks at the servers.
fn look(topology: &Topology) -> io::Result<Vec<Looked>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(live::look(topology)))
}

/// A line for every endpoint, and below what there is to say of it.
fn servers(looked: &[Looked], colour: Colour) -> String {
    let role = |one: &Looked| match (one.read_only, &one.replication) {
        (_, Some(_)) => "replica",
        (Some(true), None) => "read only",
        (Some(false), None) => "writable",
        (None, None) => "",
    };
    let tables = |one: &Looked| match one.tables_present + one.tables_missing.len() {
        0 => String::new(),
        all => format!("{} of {all}", one.tables_present),
    };
    let state = |one: &Looked| match (one.has_problem(), one.remarks.is_empty()) {
        (true, _) => Cell::painted("31", "problem"),
        (false, false) => Cell::painted("33", "note"),
        (false, true) => Cell::painted("32", "ok"),
    };
    let row = |one: &Looked| {
        vec![
            Cell::plain(&one.service),
            Cell::plain(&one.endpoint),
            Cell::plain(&one.address),
            Cell::plain(one.version.as_deref().unwrap_or_default()),
            Cell::plain(role(one)),
            Cell::plain(tables(one)),
            state(one),
        ]
    };
    let heads = [
        "SERVICE", "ENDPOINT", "ADDRESS", "VERSION", "ROLE", "TABLES", "STATE",
    ];
    let rows: Vec<Vec<Cell>> = looked.iter().map(row).collect();
    let mut text = table(&heads, &rows, colour);
    for one in looked {
        if let Some(replication) = &one.replication {
            let _ = writeln!(
                text,
                "{}: replicates {}",
                one.endpoint,
                Escaped(replication)
            );
        }
        for remark in &one.remarks {
            let weight = match remark.weight {
                Weight::Problem => colour.paint("1;31", "problem"),
                Weight::Note => colour.paint("1;33", "note"),
            };
            let _ = writeln!(
                text,
                "{weight}  {}: {}",
                one.endpoint,
                Escaped(&remark.what)
            );
            if !remark.remedy.is_empty() {
                let help = colour.paint("36", "help:");
                let _ = writeln!(text, "         {help} {}", Escaped(&remark.remedy));
            }
        }
    }
    text
}

fn json_answer(defects: &[Defect], served: Option<&Topology>, looked: Option<&[Looked]>) -> String {
    let (errors, warnings) = count(defects);
    let mut answer = json!({
        "valid": served.is_some(),
        "revision": served.map(|topology| format!("{:016x}", topology.revision)),
        "errors": errors,
        "warnings": warnings,
        "defects": defects,
    });
    if let (Some(looked), Some(answer)) = (looked, answer.as_object_mut()) {
        let servers: Vec<_> = looked.iter().map(Looked::to_json).collect();
        answer.insert("servers".to_owned(), json!(servers));
    }
    format!("{answer:#}")
}

fn list(defects: &[Defect], colour: Colour) -> String {
    let mut text = String::new();
    for defect in defects {
        let (code, label) = match defect.severity {
            Severity::Error => ("1;31", "error  "),
            Severity::Warning => ("1;33", "warning"),
        };
        let place = match defect.line {
            0 => format!("{}", defect.file.display()),
            line => format!("{}:{line}:{}", defect.file.display(), defect.column),
        };
        let label = colour.paint(code, label);
        let place = colour.paint("1", &Escaped(&place).to_string());
        // Writing to a String does not fail.
        let path = Escaped(&defect.path).to_string();
        let _ = writeln!(text, "{}", format!("{label}  {place}  {path}").trim_end());
        let _ = writeln!(text, "         {}", Escaped(&defect.reason));
        if let Some(suggestion) = &defect.suggestion {
            let help = colour.paint("36", "help:");
            let _ = writeln!(text, "         {help} {}", Escaped(suggestion));
        }
    }
    text
}

/// One line: what the configuration serves, or that it cannot be used.
fn verdict(defects: &[Defect], served: Option<&Topology>) -> String {
    let (errors, warnings) = count(defects);
    let found = format!(
        "{}, {}",
        plural(errors, "error"),
        plural(warnings, "warning")
    );
    match served {
        Some(topology) => {
            let services = plural(topology.services.len(), "service");
            let endpoints = plural(topology.endpoints().len(), "endpoint");
            format!(
                "valid: {services}, {endpoints}, revision {:016x}; {found}",
                topology.revision
            )
        }
        None => format!("not valid: {found}"),
    }
}

fn count(defects: &[Defect]) -> (usize, usize) {
    let errors = defects
        .iter()
        .filter(|defect| defect.severity == Severity::Error)
        .count();
    (errors, defects.len() - errors)
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defect() -> Defect {
        Defect {
            severity: Severity::Error,
            file: "a.yaml".into(),
            line: 3,
            column: 7,
            path: "spec.x".to_owned(),
            reason: "unknown field `\x1b[2J`".to_owned(),
            suggestion: Some("did you mean `y`?".to_owned()),
        }
    }

    #[test]
    fn a_defect_is_listed_with_its_place_and_help() {
        let expected = "error    a.yaml:3:7  spec.x\n         unknown field `\\u{1b}[2J`\n         \
                        help: did you mean `y`?\n";
        assert_eq!(list(&[defect()], Colour::Plain), expected);
    }

    #[test]
    fn colour_is_added_and_nothing_else() {
        let painted = list(&[defect()], Colour::Ansi);
        assert!(
            painted.starts_with("\x1b[1;31merror  \x1b[0m"),
            "{painted:?}"
        );
        let mut plain = painted;
        for code in ["\x1b[1;31m", "\x1b[1m", "\x1b[36m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, list(&[defect()], Colour::Plain));
    }

    #[test]
    fn counts_are_in_words() {
        assert_eq!(verdict(&[defect()], None), "not valid: 1 error, 0 warnings");
    }
}
