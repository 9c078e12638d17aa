//! `dbmesh check` and `dbmesh schema` as a person or a script runs them: output and exit code.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn case(name: &str) -> PathBuf {
    // The cases of the model are the configurations at hand.
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/cases");
    PathBuf::from(cases).canonicalize().unwrap().join(name)
}

fn dbmesh(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dbmesh"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_valid_configuration_exits_with_0_and_says_what_it_serves() {
    let output = dbmesh(&["check", case("older-form.yaml").to_str().unwrap()]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(
        printed.contains("valid: 1 service, 1 endpoint, revision "),
        "{printed}"
    );
    assert!(printed.ends_with("0 errors, 2 warnings\n"), "{printed}");
    assert!(
        !printed.contains("fake_password") && !printed.contains('\x1b'),
        "{printed}"
    );
}

#[test]
fn errors_exit_with_1_and_are_all_printed() {
    let output = dbmesh(&["check", case("shape.yaml").to_str().unwrap()]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    let listed = printed
        .lines()
        .filter(|line| line.starts_with("error "))
        .count();
    let last = printed.lines().last().unwrap();
    assert!(listed > 20, "{printed}");
    assert_eq!(last, format!("not valid: {listed} errors, 0 warnings"));
    assert!(printed.contains("help: did you mean `port`?"), "{printed}");
}

#[test]
fn json_has_every_defect_with_its_place() {
    let output = dbmesh(&["check", "-o", "json", case("kinds.yaml").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["valid"], false);
    assert_eq!(answer["revision"], Value::Null);
    let defects = answer["defects"].as_array().unwrap();
    assert_eq!(answer["errors"].as_u64().unwrap() + 1, defects.len() as u64);
    assert_eq!(answer["warnings"], 1);
    assert!(
        defects
            .iter()
            .all(|defect| defect["line"].as_u64().unwrap() > 0),
        "{answer:#}"
    );
}

#[test]
fn what_cannot_be_read_is_an_error_and_a_wrong_command_line_is_another() {
    let output = dbmesh(&["check", "/nonexistent/dbmesh"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("cannot be read"));
    assert_eq!(dbmesh(&["check"]).status.code(), Some(2));
    assert_eq!(dbmesh(&["schema", "QoSClaim"]).status.code(), Some(2));
}

#[test]
fn schemas_are_printed_by_any_name() {
    let all: Value = serde_json::from_slice(&dbmesh(&["schema"]).stdout).unwrap();
    for (name, kind) in [
        ("vdb", "VirtualDatabase"),
        ("trafficstrategy", "TrafficStrategy"),
        ("DatabaseEndpoint", "DatabaseEndpoint"),
        ("ds", "DataShard"),
    ] {
        let output = dbmesh(&["schema", name]);
        assert_eq!(output.status.code(), Some(0));
        let one: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(one, all[kind]);
        assert_eq!(one["title"], kind);
    }
}

#[test]
fn a_proxy_refuses_a_configuration_that_is_wrong() {
    let output = dbmesh(&["proxy", "--config", case("shape.yaml").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("not valid: 27 errors"),
        "{}",
        text(&output.stderr)
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn output_that_nobody_reads_ends_the_command_quietly() {
    let empty = std::env::temp_dir().join(format!("dbmesh-empty-{}", std::process::id()));
    std::fs::write(&empty, "").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_dbmesh"))
        .args(["audit", "verify"])
        .arg(&empty)
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    std::fs::remove_file(&empty).unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(141));
}

#[test]
fn an_audit_that_is_not_there_is_named() {
    let output = dbmesh(&["audit", "verify", "/nowhere/NOPE.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.contains("/nowhere/NOPE.jsonl") && told.contains("No such file"),
        "{told}"
    );
}
