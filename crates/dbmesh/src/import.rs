//! `dbmesh import`: the configuration of another proxy, as resources.
//!
//! It owns what is printed where: resources on standard output, and on standard error what has no equivalent, line by
//! line. It must never print resources that `dbmesh check` would refuse, nor pass over a setting that acted. Input: files
//! of an operator, or an admin interface.

mod draft;
mod listing;
mod proxysql;
mod secrets;
mod shardingsphere;
mod tree;

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use dbmesh_model::{Defect, Defects, Severity};
use serde_json::json;

use crate::check;
use crate::cli::{ImportArgs, ImportCommand, OutputFormat};
use crate::terminal::{Colour, Escaped};
use draft::Draft;
use listing::{Item, Level, Listing};
use secrets::Secrets;

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What an importer made of its sources.
struct Made {
    drafts: Vec<Draft>,
    listing: Listing,
    secrets: Secrets,
}

/// Converts a configuration; fails if nothing can be made of it, or with `--strict` if anything is lost.
pub fn run_import(command: &ImportCommand) -> ExitCode {
    let (made, args) = match command {
        ImportCommand::Shardingsphere(args) => (shardingsphere::import(args), &args.common),
        ImportCommand::Proxysql(args) => (proxysql::import(args), &args.common),
    };
    let settled = made.and_then(|mut made| {
        let text = draft::settle(&mut made.drafts, &mut made.listing)?;
        Ok((text, made))
    });
    let (text, made) = match settled {
        Ok(settled) => settled,
        Err(defects) => {
            check::explain(&defects.0);
            return ExitCode::FAILURE;
        }
    };
    let names: Vec<&str> = made.secrets.names().collect();
    let items = made.listing.into_sorted();
    let lost = items.iter().any(|item| item.level == Level::Lost);
    if tell(&items, &names, args).is_err() {
        return ExitCode::FAILURE;
    }
    if args.strict && lost {
        return ExitCode::FAILURE;
    }
    match writeln!(io::stdout().lock(), "{}", text.trim_end()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints what is lost, and what the proxy needs.
fn tell(items: &[Item], names: &[&str], args: &ImportArgs) -> io::Result<()> {
    let stderr = io::stderr();
    let colour = Colour::of(stderr.is_terminal());
    let mut out = stderr.lock();
    if args.output == OutputFormat::Json {
        return writeln!(out, "{:#}", json!({"listed": items, "environment": names}));
    }
    for item in items {
        let (code, label) = match item.level {
            Level::Lost => ("1;31", "lost"),
            Level::Note => ("1;33", "note"),
        };
        let place = match item.line {
            0 => item.file.display().to_string(),
            line => format!("{}:{line}", item.file.display()),
        };
        let label = colour.paint(code, label);
        let place = colour.paint("1", &Escaped(&place).to_string());
        let (what, why, instead) = (
            Escaped(&item.what),
            Escaped(&item.why),
            Escaped(&item.instead),
        );
        writeln!(out, "{label}  {place}  {what}: {why}; {instead}")?;
    }
    if !names.is_empty() {
        writeln!(
            out,
            "the proxy needs these environment variables: {}",
            names.join(", ")
        )?;
    }
    if args.strict && items.iter().any(|item| item.level == Level::Lost) {
        writeln!(
            out,
            "nothing is written: not everything can be carried over, and --strict was given"
        )?;
    }
    Ok(())
}

/// The text of a file of bounded size.
fn read(path: &Path) -> Result<String, Defects> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
            return Err(io::Error::other(format!(
                "larger than {FILE_BYTES_MAX} bytes"
            )));
        }
        String::from_utf8(bytes).map_err(|_| io::Error::other("is not UTF-8"))
    };
    read().map_err(|error| defect(path, 0, format!("cannot be read: {error}")))
}

/// One error.
fn defect(file: &Path, line: usize, reason: String) -> Defects {
    Defects(vec![Defect {
        severity: Severity::Error,
        file: file.to_owned(),
        line,
        column: usize::from(line > 0),
        path: String::new(),
        reason,
        suggestion: None,
    }])
}
