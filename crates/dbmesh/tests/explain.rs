//! `dbmesh explain` as a person runs it.
//!
//! Golden cases: each `cases/explain/NAME.txt` has statements (`> text`) and what the command says of them under
//! `NAME.yaml`. With `DBMESH_BLESS=1` the answers are written anew; read the difference before keeping it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn case(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/cases/explain")).join(name)
}

fn explain(config: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dbmesh"))
        .args(["explain", "--config"])
        .arg(case(config))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn check(name: &str, arguments: &[&str]) {
    let file = case(&format!("{name}.txt"));
    let expected = std::fs::read_to_string(&file).unwrap();
    let mut got = String::new();
    for sql in expected.lines().filter_map(|line| line.strip_prefix("> ")) {
        let output = explain(&format!("{name}.yaml"), &[arguments, &[sql]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let printed = text(&output.stdout);
        assert!(!printed.contains("fake_password") && !printed.contains('\x1b'));
        writeln!(got, "> {sql}\n{printed}").unwrap();
    }
    let got = format!("{}\n", got.trim_end());
    if std::env::var_os("DBMESH_BLESS").is_some() {
        std::fs::write(&file, got).unwrap();
    } else {
        for (number, (got, expected)) in got.lines().zip(expected.lines()).enumerate() {
            assert_eq!(got, expected, "{name}.txt:{}", number + 1);
        }
        assert_eq!(got.lines().count(), expected.lines().count(), "{name}");
    }
}

#[test]
fn reads_that_are_split_off() {
    check("split", &[]);
}

#[test]
fn shards_by_the_rules() {
    check("sharded", &[]);
}

#[test]
fn roles_that_servers_report() {
    check("reported", &["--service", "default/shop/mysql"]);
}

#[test]
fn one_server_for_everything() {
    check("plain", &["--database", "shop", "--service", "reports"]);
}

#[test]
fn json_has_the_same_rows() {
    let output = explain("split.yaml", &["-o", "json", "SELECT 1"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["service"], "default/shop/mysql");
    let rows = answer["rows"].as_array().unwrap();
    let decided = rows
        .iter()
        .find(|row| row["field"] == "decided_by")
        .unwrap();
    assert_eq!(decided["value"], "rule all-reads");
}

#[test]
fn what_is_not_clear_is_an_error_that_says_what_there_is() {
    let output = explain("plain.yaml", &["SELECT 1"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("name one with --service: default/shop/mysql, default/shop/reports"),
        "{said}"
    );
    let output = explain("plain.yaml", &["--service", "other", "SELECT 1"]);
    assert!(text(&output.stderr).contains("there are: default/shop/mysql"));
    let output = explain("missing.yaml", &["SELECT 1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot be read"));
    assert_eq!(explain("plain.yaml", &[]).status.code(), Some(2));
}
