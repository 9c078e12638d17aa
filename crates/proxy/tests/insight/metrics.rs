//! Every metric that a dashboard or an alert names is in a live scrape; the rules are what Prometheus takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::ask;
use crate::faultkit::client::Reply;
use crate::faultkit::eventually;
use crate::ground::{KINDS, client, server, stage};

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(path)
}

/// Names of metrics in an expression of PromQL: ours and the process's.
fn names(expression: &str, into: &mut BTreeSet<String>) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for word in expression.split(|c| !is_name(c)) {
        if word.starts_with("dbmesh_") || word.starts_with("process_") {
            into.insert(word.to_owned());
        }
    }
}

fn expressions(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::String(text)
                        if key == "expr" || key == "query" || key == "definition" =>
                    {
                        names(text, into);
                    }
                    other => expressions(other, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, into)),
        _ => {}
    }
}

/// What is named, and where.
fn named() -> Vec<(String, BTreeSet<String>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(deploy("grafana")).unwrap() {
        let path = entry.unwrap().path();
        let board: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let mut found = BTreeSet::new();
        expressions(&board, &mut found);
        for field in ["title", "uid", "panels", "schemaVersion"] {
            assert!(!board[field].is_null(), "{}: no {field}", path.display());
        }
        all.push((path.display().to_string(), found));
    }
    assert!(all.len() >= 2, "dashboards");
    let rules = fs::read_to_string(deploy("prometheus/alerts.yaml")).unwrap();
    let mut found = BTreeSet::new();
    for line in rules.lines() {
        if let Some(expression) = line.trim_start().strip_prefix("expr:") {
            names(expression, &mut found);
        }
    }
    all.push(("alerts.yaml".to_owned(), found));
    all
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let server = server(KINDS[0]);
    let folder = crate::audit::Folder::new("metrics");
    let lines = format!(
        "observability: {{audit: {{file: {}}}, tracing: {{endpoint: \"http://127.0.0.1:9\"}}}}",
        folder.file("audit.jsonl").display()
    );
    let stage = stage(&server, &[&lines]);
    let mut app = client(&stage, "app");
    assert_eq!(app.query("INSERT INTO t VALUES (1, 1)"), Reply::Ok);
    assert_eq!(app.query("INSERT INTO t VALUES (1, 1)").code(), Some(1062));
    let (_, scrape) = stage.proxy.admin_get("/metrics").unwrap();
    let sampled = scrape
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next());
    // A service that is not sharded has no samples of these; the tests of sharding look at their values.
    let of_nodes = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| {
            name.starts_with("dbmesh_transactions_") || *name == "dbmesh_nodes_without_promise"
        });
    let scraped: BTreeSet<&str> = sampled.chain(of_nodes).collect();
    let mut count = 0;
    for (place, named) in named() {
        assert!(!named.is_empty(), "{place} names no metric");
        for name in named {
            assert!(
                scraped.contains(name.as_str()),
                "{place}: there is no metric {name}"
            );
            count += 1;
        }
    }
    assert!(count > 40, "{count} names");
    for (metric, label) in [
        ("dbmesh_sql_processed_total", "class=\"write\""),
        ("dbmesh_server_errors_total", "class=\"write\""),
        (
            "dbmesh_endpoint_duration_seconds_count",
            "endpoint=\"server-0\"",
        ),
        ("dbmesh_endpoint_errors_total", "endpoint=\"server-0\""),
        ("dbmesh_log_lines_written_total", "log=\"audit\""),
        ("dbmesh_worker_busy_seconds_total", "worker=\"0\""),
    ] {
        // A statement is counted when its client has the answer already.
        eventually(metric, Duration::from_secs(60), || {
            let value = stage.proxy.metric(metric, label).unwrap();
            value.is_some_and(|value| value > 0.0)
        });
    }
}

#[test]
fn every_metric_of_the_page_exists() {
    let server = server(KINDS[0]);
    let folder = crate::audit::Folder::new("documented");
    let lines = format!(
        "observability: {{audit: {{file: {}}}, tracing: {{endpoint: \"http://127.0.0.1:9\"}}}}",
        folder.file("audit.jsonl").display()
    );
    let stage = stage(&server, &[&lines]);
    let (_, scrape) = stage.proxy.admin_get("/metrics").unwrap();
    let families: BTreeSet<&str> = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert!(named.len() > 70, "{}", named.len());
    let missing: Vec<&&str> = named
        .iter()
        .filter(|name| !families.contains(*name))
        .collect();
    assert!(
        missing.is_empty(),
        "there are no such metrics: {missing:#?}"
    );
    let unsaid: Vec<&&str> = families
        .iter()
        .filter(|name| !named.contains(*name))
        .collect();
    assert!(
        unsaid.is_empty(),
        "docs/metrics.md does not have these: {unsaid:#?}"
    );
}

#[test]
fn statements_are_counted_by_table_up_to_a_number_of_tables() {
    let server = server(KINDS[0]);
    server
        .execute("CREATE TABLE app.u (id INT PRIMARY KEY); CREATE TABLE app.w (id INT PRIMARY KEY)")
        .unwrap();
    let stage = stage(&server, &["observability: {insight: off, tableMetrics: 2}"]);
    let mut app = client(&stage, "app");
    assert_eq!(app.query("INSERT INTO t VALUES (1, 1)"), Reply::Ok);
    assert_eq!(app.query("INSERT INTO t VALUES (1, 1)").code(), Some(1062));
    assert_eq!(
        app.query("SELECT COUNT(*) FROM t JOIN app.u ON t.id = u.id")
            .value(),
        "0"
    );
    let (id, _) = ask::prepare(&mut app, "SELECT id FROM w WHERE id = ?").unwrap();
    assert_eq!(
        ask::execute(&mut app, id, &["1"], None),
        Reply::Rows(vec![])
    );
    let statements = |label: &str| {
        let name = "dbmesh_table_statements_total";
        stage.proxy.metric(name, label).unwrap().unwrap_or(0.0)
    };
    eventually("the last is counted", Duration::from_secs(60), || {
        statements("table=\"(others)\"") == 1.0
    });
    assert_eq!(statements("table=\"app.t\",class=\"write\""), 2.0);
    assert_eq!(statements("table=\"app.t\",class=\"read\""), 1.0);
    assert_eq!(statements("table=\"app.u\""), 1.0);
    assert_eq!(statements("table=\"app.w\""), 0.0);
    let errors = stage
        .proxy
        .metric("dbmesh_table_errors_total", "table=\"app.t\"");
    assert_eq!(errors.unwrap(), Some(1.0));
}

#[test]
fn statements_of_sessions_that_are_killed_are_not_under_way_for_ever() {
    const LONG: Duration = Duration::from_secs(60);
    let server = server(KINDS[0]);
    let stage = stage(&server, &[]);
    let under_way = || stage.metric("dbmesh_sql_under_processing");
    let mut killed = client(&stage, "app");
    let id = killed.query("SELECT CONNECTION_ID()").value();
    let (id_sent, mut left) = (
        ask::prepare(&mut killed, "SELECT SLEEP(600)"),
        client(&stage, "bob"),
    );
    let (statement, _) = id_sent.unwrap();
    let mut execute = vec![0x17];
    execute.extend_from_slice(&statement.to_le_bytes());
    execute.extend_from_slice(&[0, 1, 0, 0, 0]);
    killed.command(&execute);
    left.begin_query("SELECT SLEEP(601)");
    eventually("both run", LONG, || under_way() == 2.0);
    let mut ops = client(&stage, "ops");
    assert_eq!(ops.query(&format!("KILL {id}")), Reply::Ok);
    eventually("one is gone", LONG, || under_way() == 1.0);
    drop(left);
    eventually("both are gone", LONG, || under_way() == 0.0);
}

#[test]
fn prometheus_takes_the_rules() {
    let rules = deploy("prometheus/alerts.yaml");
    match Command::new("promtool")
        .args(["check", "rules"])
        .arg(rules)
        .output()
    {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{text}{errors}");
        }
        Err(_) => {
            eprintln!("SKIPPED: promtool is not installed (Debian: apt-get install prometheus)")
        }
    }
}
