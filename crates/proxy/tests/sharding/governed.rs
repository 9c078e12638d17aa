//! Rules, rights, the audit and SHOW MESH of a sharded service: they see all of it, wherever a session is.

use std::time::Duration;

use dbmesh_testkit::server::Kind;

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

#[test]
fn rules_rights_audit_and_listings_see_the_whole_service() {
    let path = std::env::temp_dir().join(format!("dbmesh-governed-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let audit = format!("observability: {{audit: {{file: {}}}}}", path.display());
    let ground = Ground::new(
        Kind::MySql,
        &Options {
            strategy: &["rules:\n\
                 - {name: whole-scans, mode: warn, match: {regex: ['^SELECT COUNT']}, action: deny}\n\
                 - {name: no-wide-deletes, match: {verbs: [delete], without: [where]}, action: deny}"],
            service: vec![
                "users: [{name: ops, password: ops-password, operator: true}, {name: clerk, password: clerk-password, \
                 grants: [{tables: [shop.t_order], allow: [read]}]}]",
                Box::leak(audit.into_boxed_str()),
            ]
            .leak(),
            ..Options::default()
        },
    );
    let login = |user: &str| {
        let credentials = Credentials::of(user, &format!("{user}-password")).schema("shop");
        RawClient::logged_in(ground.stage.port, &credentials)
    };
    let mut app = RawClient::logged_in(ground.stage.port, &Credentials::app().schema("shop"));
    for user in 1..=8 {
        let insert = format!("INSERT INTO t_order (id, user_id) VALUES ({user}, {user})");
        assert_eq!(app.query(&insert), Reply::Ok);
    }
    // A rule that warns lets the statement run at all nodes, and says so.
    assert_eq!(rows(&mut app, "SELECT COUNT(*) FROM t_order"), [["8"]]);
    let warnings = rows(&mut app, "SHOW WARNINGS");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0][2].contains("'whole-scans'"), "{warnings:?}");
    let denied = app.query("DELETE FROM t_order");
    assert_eq!(denied.code(), Some(1105), "{denied:?}");
    assert_eq!(rows(&mut app, "SELECT SUM(1) FROM t_order"), [["8"]]);
    assert_eq!(
        rows(&mut app, "SELECT id FROM t_order WHERE user_id = 3"),
        [["3"]]
    );

    // Whoever may see one table sees one, by its own name.
    let mut clerk = login("clerk");
    assert_eq!(rows(&mut clerk, "SHOW TABLES"), [["t_order"]]);
    assert_eq!(rows(&mut clerk, "SELECT SUM(1) FROM t_order"), [["8"]]);
    let denied = clerk.query("SELECT SUM(score) FROM t_user");
    assert_eq!(denied.code(), Some(1142), "{denied:?}");

    let mut ops = login("ops");
    for listing in ["ENDPOINTS", "POOLS"] {
        let listed = rows(&mut ops, &format!("SHOW MESH {listing}"));
        assert_eq!(listed.len(), 2, "{listing}: {listed:?}");
        assert_ne!(listed[0][0], listed[1][0]);
    }

    let lines = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let denied = |line: &serde_json::Value| {
        line["text"] == "SELECT SUM ( score ) FROM t_user" || line["error"] == 1142
    };
    eventually("the last line", Duration::from_secs(30), || {
        lines().iter().any(denied)
    });
    let all = lines();
    let _ = std::fs::remove_file(&path);
    let refused = all.iter().find(|line| denied(line)).unwrap();
    assert_eq!(refused["rules"][0]["rule"], "rights", "{refused}");
    let shards = |count: u64| {
        all.iter()
            .filter(move |line| line["event"] == "statement" && line["shards"] == count)
    };
    let scattered: Vec<_> = shards(8).collect();
    assert!(scattered.len() >= 3, "{all:#?}");
    let nodes = scattered[0]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 8);
    let names: std::collections::BTreeSet<_> =
        nodes.iter().map(|n| n["endpoint"].to_string()).collect();
    assert_eq!(names.len(), 2, "{nodes:?}");
    assert!(
        nodes[0]["text"].as_str().unwrap().contains("t_order_"),
        "{nodes:?}"
    );
    let single = shards(1).find(|line| line["class"] == "read").unwrap();
    assert!(
        single["nodes"][0]["text"]
            .as_str()
            .unwrap()
            .contains("t_order_"),
        "{single}"
    );
    assert!(single["endpoint"].is_string(), "{single}");
}
