//! `dbmesh audit verify`: whether the lines of an audit are as they were written.
//!
//! It owns the words of the answer and its exit code. What a chain is, `runtime` knows.

use std::process::ExitCode;

use dbmesh_runtime::ledger::verify;
use serde_json::json;

use crate::cli::{OutputFormat, VerifyArgs};
use crate::terminal::Escaped;

/// Verifies; fails if anything is wrong.
pub fn run_verify(args: &VerifyArgs) -> ExitCode {
    let report = match verify(&args.paths) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("dbmesh: the audit cannot be read: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ends_elsewhere = args.head.as_ref().is_some_and(|head| *head != report.head);
    if args.output == OutputFormat::Json {
        let found = report.found.iter();
        let found: Vec<_> = found
            .map(|f| json!({ "file": f.file, "line": f.line, "what": f.what.to_string() }))
            .collect();
        let answer = json!({
            "files": report.files,
            "lines": report.lines,
            "first": report.first,
            "last": report.last,
            "head": report.head,
            "head_is_expected": !ends_elsewhere,
            "defects": report.defects,
            "found": found,
        });
        println!("{answer:#}");
    } else {
        for found in &report.found {
            let file = found.file.display().to_string();
            println!("{}:{}: {}", Escaped(&file), found.line, found.what);
        }
        let listed = report.found.len() as u64;
        if report.defects > listed {
            println!("and {} more", report.defects - listed);
        }
        let (first, last) = (report.first, report.last);
        match report.defects {
            0 if report.lines == 0 => println!("no line"),
            0 => println!(
                "{} lines, {first} to {last}, are as they were written",
                report.lines
            ),
            n => println!("{n} defects in {} lines, {first} to {last}", report.lines),
        }
        if ends_elsewhere {
            println!("the last line is not the expected one: lines are missing at the end");
        }
        if report.lines > 0 {
            println!("head {}", report.head);
        }
    }
    match report.defects == 0 && !ends_elsewhere {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
