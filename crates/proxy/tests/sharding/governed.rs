//! Rules, rights, the audit and SHOW MESH of a sharded service: they see all of it, wherever a session is.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use dbmesh_testkit::server::Kind;
use serde_json::Value;

use crate::faultkit::client::{Credentials, RawClient, Reply};
use crate::faultkit::eventually;
use crate::ground::{Ground, Options};

fn rows(client: &mut RawClient, sql: &str) -> Vec<Vec<String>> {
    match client.query(sql) {
        Reply::Rows(rows) => {
            let texts = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default);
            rows.into_iter().map(|row| texts(row).collect()).collect()
        }
        other => panic!("{sql}: {other:?}"),
    }
}

/// With rules, an operator, somebody who may see little, and an audit.
fn governed(audit: &Path) -> Ground {
    let audit = format!("observability: {{audit: {{file: {}}}}}", audit.display());
    let options = Options {
        strategy: &[
            "rules: [{name: whole-scans, mode: warn, match: {regex: ['^SELECT COUNT']}, action: deny}, \
             {name: no-wide-deletes, match: {verbs: [delete], without: [where]}, action: deny}]",
        ],
        service: vec![
            "users: [{name: ops, password: ops-password, operator: true}, {name: clerk, password: clerk-password, \
             grants: [{tables: [shop.t_order], allow: [read]}]}]",
            Box::leak(audit.into_boxed_str()),
        ]
        .leak(),
        ..Options::default()
    };
    Ground::new(Kind::MySql, &options)
}

/// A rule that warns lets the statement run at all nodes, and says so; one that denies lets it run at none.
fn rules_hold(app: &mut RawClient) {
    for user in 1..=8 {
        let insert = format!("INSERT INTO t_order (id, user_id) VALUES ({user}, {user})");
        assert_eq!(app.query(&insert), Reply::Ok);
    }
    assert_eq!(rows(app, "SELECT COUNT(*) FROM t_order"), [["8"]]);
    let warnings = rows(app, "SHOW WARNINGS");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0][2].contains("'whole-scans'"), "{warnings:?}");
    let denied = app.query("DELETE FROM t_order");
    assert_eq!(denied.code(), Some(1105), "{denied:?}");
    assert_eq!(rows(app, "SELECT SUM(1) FROM t_order"), [["8"]]);
    let one = rows(app, "SELECT id FROM t_order WHERE user_id = 3");
    assert_eq!(one, [["3"]]);
}

/// Whoever may use one table uses one, and names of shards are seen by nobody.
fn rights_hold(clerk: &mut RawClient) {
    for show in ["SHOW TABLES", "SHOW DATABASES"] {
        let text = format!("{:?}", clerk.query(show));
        for hidden in ["t_order_", "t_user", "shop_0", "mysql"] {
            assert!(!text.contains(hidden), "{show}: {text}");
        }
        assert!(
            text.contains("\"t_order\"") || text.contains("\"shop\""),
            "{show}: {text}"
        );
    }
    assert_eq!(rows(clerk, "SELECT SUM(1) FROM t_order"), [["8"]]);
    let denied = clerk.query("SELECT SUM(score) FROM t_user");
    assert_eq!(denied.code(), Some(1142), "{denied:?}");
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
    whole.map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn assert_nodes_are_told(all: &[Value]) {
    let of = |count: u64| {
        let statements = all.iter().filter(|line| line["event"] == "statement");
        statements.filter(move |line| line["shards"] == count)
    };
    let scattered: Vec<_> = of(8)
        .filter(|line| line["nodes"][0]["text"].is_string())
        .collect();
    assert!(scattered.len() >= 3, "{all:#?}");
    let nodes = scattered[0]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 8);
    let names: BTreeSet<_> = nodes.iter().map(|n| n["endpoint"].to_string()).collect();
    assert_eq!(names.len(), 2, "{nodes:?}");
    let physical = |node: &Value| node["text"].as_str().unwrap().contains("t_order_");
    assert!(nodes.iter().all(physical), "{nodes:?}");
    let single = of(1).find(|line| line["class"] == "read").unwrap();
    assert!(physical(&single["nodes"][0]), "{single}");
    assert!(single["endpoint"].is_string(), "{single}");
    let often = |line: &&Value| {
        let text = line["nodes"][0]["text"].as_str().unwrap();
        text.contains("seen_often") && text.contains("t_order_")
    };
    assert_eq!(of(1).filter(often).count(), 3, "{all:#?}");
}

/// What insight says of a digest: statements over several shards, shards in the mean and at most, endpoints.
fn assert_spread(ground: &Ground, text: &str, expected: (u64, f64, u64, usize)) {
    let (status, page) = ground.stage.proxy.admin_get("/debug/digests").unwrap();
    assert_eq!(status, 200);
    let rows: Vec<Value> = serde_json::from_str(&page).unwrap();
    let row = rows.iter().find(|row| row["text"] == text);
    let row = row.unwrap_or_else(|| panic!("no {text} in {rows:#?}"));
    let said = (
        row["scattered"].as_u64().unwrap(),
        row["shards_mean"].as_f64().unwrap(),
        row["shards_max"].as_u64().unwrap(),
        row["endpoints"].as_array().unwrap().len(),
    );
    assert_eq!(said, expected, "{row:#}");
    assert!(row["execute_us"].as_u64().unwrap() > 0, "{row:#}");
}

#[test]
fn rules_rights_audit_and_listings_see_the_whole_service() {
    let path = std::env::temp_dir().join(format!("dbmesh-governed-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let ground = governed(&path);
    let login = |user: &str| {
        let credentials = Credentials::of(user, &format!("{user}-password")).schema("shop");
        RawClient::logged_in(ground.stage.port, &credentials)
    };
    rules_hold(&mut login("app"));
    // The plan of the first serves the others as well.
    for user in 1..4 {
        let sql = format!("SELECT id AS seen_often FROM t_order WHERE user_id = {user}");
        login("app").query(&sql);
    }
    rights_hold(&mut login("clerk"));
    let gathered = "SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS place FROM t_order";
    assert_eq!(rows(&mut login("app"), gathered).len(), 8);
    assert_spread(&ground, "SELECT COUNT(*) FROM t_order", (1, 8.0, 8, 2));
    let one = "SELECT id AS seen_often FROM t_order WHERE user_id = ?";
    assert_spread(&ground, one, (0, 1.0, 1, 1));
    assert_spread(&ground, gathered, (1, 8.0, 8, 2));
    let mut ops = login("ops");
    for listing in ["ENDPOINTS", "POOLS"] {
        let listed = rows(&mut ops, &format!("SHOW MESH {listing}"));
        assert_eq!(listed.len(), 2, "{listing}: {listed:?}");
        assert_ne!(listed[0][0], listed[1][0]);
    }
    let denied = |line: &Value| line["error"] == 1142;
    let pulled = |line: &&Value| line["nodes"][0]["table"].is_string();
    eventually("the last lines", Duration::from_secs(30), || {
        let lines = lines(&path);
        lines.iter().any(denied) && lines.iter().any(|line| pulled(&line))
    });
    let all = lines(&path);
    let _ = std::fs::remove_file(&path);
    let refused = all.iter().find(|line| denied(line)).unwrap();
    assert_eq!(refused["rules"][0]["rule"], "rights", "{refused}");
    assert_nodes_are_told(&all);
    let pulled = all.iter().find(pulled).unwrap();
    let names = pulled["nodes"].as_array().unwrap().iter();
    let names: BTreeSet<_> = names.map(|node| node["endpoint"].to_string()).collect();
    assert_eq!((pulled["shards"].as_u64(), names.len()), (Some(8), 2));
}
