//! `dbmesh import` as a person runs it.
//!
//! Golden cases: `cases/import/NAME.yaml` is what a command writes, `NAME.txt` what it lists. With `DBMESH_BLESS=1` both are
//! written anew; read the difference before keeping it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn cases() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/cases/import"))
}

fn import(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dbmesh"));
    command
        .current_dir(cases())
        .arg("import")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command, compares what it writes and lists, and lets `dbmesh check` judge what it wrote.
fn check(name: &str, arguments: &[&str]) {
    let output = import(arguments);
    let (written, listed) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{listed}");
    for (extension, found) in [("yaml", &written), ("txt", &listed)] {
        let golden = cases().join(format!("{name}.{extension}"));
        if std::env::var_os("DBMESH_BLESS").is_some() {
            fs::write(&golden, found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(*found, expected, "{}", golden.display());
    }
    accepts(&written, &listed);
}

fn accepts(written: &str, listed: &str) {
    let folder = dbmesh_testkit::folder::Folder::create("import").unwrap();
    fs::write(folder.path().join("imported.yaml"), written).unwrap();
    let names = listed
        .lines()
        .find_map(|line| line.strip_prefix("the proxy needs these environment variables: "));
    let mut command = Command::new(env!("CARGO_BIN_EXE_dbmesh"));
    command.arg("check").arg(folder.path());
    command.envs(
        names
            .into_iter()
            .flat_map(|names| names.split(", "))
            .map(|name| (name, "secret")),
    );
    let output = command.output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}\n{written}",
        text(&output.stdout)
    );
}

#[test]
fn databases_of_shardingsphere_are_converted() {
    let files = [
        "shardingsphere/global.yaml",
        "shardingsphere/sharding.yaml",
        "shardingsphere/splitting.yaml",
    ];
    check(
        "proxy",
        &[&["shardingsphere"], &files[..], &["--secrets", "env"]].concat(),
    );
}

#[test]
fn the_form_of_jdbc_is_converted() {
    check(
        "jdbc",
        &[
            "shardingsphere",
            "shardingsphere/jdbc.yaml",
            "--key-type",
            "t_user.name=string",
        ],
    );
}

#[test]
fn users_of_proxysql_are_converted() {
    check("proxysql", &["proxysql", "proxysql/proxysql.cnf"]);
    check(
        "split",
        &["proxysql", "proxysql/split.cnf", "--secrets", "env"],
    );
}

#[test]
fn passwords_are_carried_over_as_they_were_or_as_names() {
    for (source, secrets) in [
        (
            &[
                "shardingsphere",
                "shardingsphere/global.yaml",
                "shardingsphere/sharding.yaml",
            ][..],
            &["ds-secret", "root-secret"][..],
        ),
        (
            &["proxysql", "proxysql/proxysql.cnf"],
            &["app-secret", "monitor-secret"],
        ),
    ] {
        let plain = import(source);
        let named = import(&[source, &["--secrets", "env"]].concat());
        for secret in secrets {
            assert!(text(&plain.stdout).contains(secret), "{secret}");
            for shown in [&plain.stderr, &named.stdout, &named.stderr] {
                assert!(!text(shown).contains(secret), "{secret}: {}", text(shown));
            }
        }
    }
}

#[test]
fn strict_writes_nothing_where_anything_is_lost() {
    let output = import(&["proxysql", "proxysql/proxysql.cnf", "--strict"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let output = import(&["proxysql", "proxysql/split.cnf", "--strict"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn the_list_is_for_programs_too() {
    let output = import(&[
        "proxysql",
        "proxysql/proxysql.cnf",
        "-o",
        "json",
        "--secrets",
        "env",
    ]);
    let answer: Value = serde_json::from_slice(&output.stderr).unwrap();
    let listed = answer["listed"].as_array().unwrap();
    let lost = listed.iter().find(|item| item["what"] == "rule-4").unwrap();
    assert_eq!(lost["level"], "lost");
    let source = fs::read_to_string(cases().join("proxysql/proxysql.cnf")).unwrap();
    let line = usize::try_from(lost["line"].as_u64().unwrap()).unwrap();
    assert!(
        source.lines().nth(line - 1).unwrap().contains("rule_id=4"),
        "{lost}"
    );
    assert!(
        answer["environment"]
            .as_array()
            .unwrap()
            .contains(&"USER_APP_PASSWORD".into())
    );
}

#[test]
fn what_cannot_be_converted_at_all_is_an_error_with_its_place() {
    for (arguments, expected) in [
        (&["shardingsphere", "nowhere.yaml"][..], "cannot be read"),
        (
            &["shardingsphere", "shardingsphere/global.yaml"],
            "no file has `dataSources`",
        ),
        (&["proxysql", "shardingsphere/global.yaml"], "global.yaml:2"),
        (
            &["proxysql", "mysql://admin@127.0.0.1:1"],
            "cannot be reached",
        ),
        (&["proxysql", "mysql://127.0.0.1"], "the DSN has no user"),
    ] {
        let output = import(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert!(
            text(&output.stderr).contains(expected),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    assert_eq!(
        import(&["shardingsphere", "x", "--key-type", "a=b"])
            .status
            .code(),
        Some(2)
    );
}
