//! docs/endpoints.md: every example is run, and shows what it shows but for numbers.

use std::process::Command;
use std::time::Duration;

use dbmesh_testkit::port::Port;
use dbmesh_testkit::proxy::binary;
use dbmesh_testkit::server::Kind;

use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::eventually;
use crate::faultkit::stage::Stage;
use crate::ground::{BUFFER, SPLITTING, dbmesh, fleet, said, yaml};

const PAGE: &str = include_str!("../../../../docs/endpoints.md");

/// A command or statement, and what the page says of it.
struct Example {
    typed: String,
    shown: Vec<String>,
}

fn examples() -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut inside = false;
    for line in PAGE.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ if line.starts_with("$ ") || line.starts_with("mysql> ") => found.push(Example {
                typed: line.to_owned(),
                shown: Vec::new(),
            }),
            _ => found.last_mut().unwrap().shown.push(line.to_owned()),
        }
    }
    found
}

/// A line without what differs from run to run: numbers, units of time, blanks, lines of progress.
fn plain(line: &str) -> Option<String> {
    if line.starts_with('+') || line.ends_with(" left") {
        return None;
    }
    let word = |word: &str| {
        let mut out = String::new();
        for c in word.chars() {
            match c {
                '0'..='9' if out.ends_with('#') => {}
                '0'..='9' => out.push('#'),
                '.' if out.ends_with('#') => {}
                other => out.push(other),
            }
        }
        match out.as_str() {
            "-" | "#s" | "#ms" | "#us" => "#".to_owned(),
            _ => out,
        }
    };
    let words: Vec<String> = line.split_whitespace().map(word).collect();
    Some(words.join(" "))
}

fn arguments(typed: &str) -> Vec<String> {
    let mut parts = typed.split('\'');
    let before = parts.next().unwrap_or_default();
    let words = before.split_whitespace().map(str::to_owned);
    words.chain(parts.next().map(str::to_owned)).collect()
}

fn run(stage: &Stage, client: &mut RawClient, typed: &str) -> Vec<String> {
    if let Some(sql) = typed.strip_prefix("mysql> ") {
        let Reply::Rows(rows) = client.query(sql.trim_end_matches(';')) else {
            panic!("no rows: {typed}");
        };
        let head = "| field | value |".to_owned();
        let rows = rows.into_iter().map(|row| {
            let cells: Vec<String> = row.into_iter().map(Option::unwrap).collect();
            format!("| {} |", cells.join(" | "))
        });
        return std::iter::once(head).chain(rows).collect();
    }
    let arguments = arguments(typed.strip_prefix("$ dbmesh ").unwrap());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = if arguments[0] == "explain" {
        let config = stage.proxy.config_path();
        let arguments = arguments.iter().map(|one| match *one {
            "/etc/dbmesh" => config.to_str().unwrap(),
            other => other,
        });
        Command::new(binary().unwrap())
            .args(arguments)
            .output()
            .unwrap()
    } else {
        dbmesh(stage, &arguments)
    };
    said(&output).1.lines().map(str::to_owned).collect()
}

#[test]
fn the_examples_show_what_they_say() {
    let fleet = fleet(Kind::MySql, 2);
    fleet
        .primary()
        .execute("CREATE TABLE app.stock (sku TEXT, price INT)")
        .unwrap();
    fleet.wait_until_caught_up().unwrap();
    let port = Port::reserve().unwrap();
    let text = yaml(&fleet, port.number(), 8, &[SPLITTING, BUFFER])
        .replace("testkit", "shop")
        .replace("server-0", "primary")
        .replace("server-1", "replica-a")
        .replace("server-2", "replica-b");
    let stage = Stage::of_yaml(&text, port, &[]);
    eventually("replicas serve", Duration::from_secs(20), || {
        let serve = stage
            .proxy
            .metric("dbmesh_endpoint_serves", "role=\"replica\"");
        serve.unwrap() == Some(2.0)
    });
    let mut count = 0;
    for example in examples() {
        let mut client = RawClient::app(stage.port);
        if example.typed.contains("get sessions") {
            assert_eq!(client.query("BEGIN"), Reply::Ok);
        }
        let lines = |lines: &[String]| -> Vec<String> {
            lines.iter().filter_map(|line| plain(line)).collect()
        };
        let got = run(&stage, &mut client, &example.typed);
        assert_eq!(
            lines(&got),
            lines(&example.shown),
            "{}\n{}",
            example.typed,
            got.join("\n")
        );
        drop(client);
        eventually("the session is gone", Duration::from_secs(10), || {
            stage.metric("dbmesh_sessions") == 0.0
        });
        count += 1;
    }
    assert!(count >= 8, "{count} examples");
}
