//! SQL insight: sums by user and digest, over real servers.

use serde_json::Value;

use crate::faultkit::client::Reply;
use crate::ground::{KINDS, client, dbmesh, page, said, server, stage};

fn row<'a>(rows: &'a Value, user: &str, text: &str) -> &'a Value {
    let all = rows.as_array().unwrap();
    let found = all
        .iter()
        .find(|row| row["user"] == user && row["text"] == text);
    found.unwrap_or_else(|| panic!("no {text:?} of {user} in {rows:#}"))
}

#[test]
fn statements_are_summed_up_by_user_and_digest_in_both_protocols() {
    for kind in KINDS {
        let server = server(kind);
        let stage = stage(&server, &[]);
        let (mut app, mut bob) = (client(&stage, "app"), client(&stage, "bob"));
        for id in 0..20 {
            let insert = format!("INSERT INTO t VALUES ({id}, {id})");
            assert_eq!(app.query(&insert), Reply::Ok);
        }
        assert_eq!(app.query("INSERT INTO t VALUES (3, 0)").code(), Some(1062));
        for comment in 0..5 {
            // Comments, blanks and literals make no digest of their own.
            let select =
                format!("/* traceparent={comment} */ SELECT  v FROM t WHERE id < {comment}0");
            assert!(matches!(bob.query(&select), Reply::Rows(_)));
        }
        assert_eq!(
            app.query("UPDATE t SET v = v + 1 WHERE id >= 10"),
            Reply::Ok
        );
        assert_eq!(app.query("SELECT nonsense FROM t").code(), Some(1054));
        assert_eq!(app.query("SET @secret = 'hidden'"), Reply::Ok);
        let all = page(&stage, "/debug/digests");
        let insert = row(&all, "app", "INSERT INTO t VALUES (...)");
        assert_eq!(insert["calls"], 21, "{kind:?}");
        assert_eq!(insert["rows_affected"], 20);
        assert_eq!(insert["errors"], 1);
        assert_eq!(insert["error_codes"]["1062"], 1);
        assert_eq!(insert["class"], "write");
        assert_eq!(insert["endpoints"][0]["endpoint"], "server-0");
        assert_eq!(insert["endpoints"][0]["calls"], 21);
        assert!(insert["p99_us"].as_u64().unwrap() >= insert["p50_us"].as_u64().unwrap());
        assert!(insert["time_us"].as_u64().unwrap() >= insert["execute_us"].as_u64().unwrap());
        assert!(insert["bytes_in"].as_u64().unwrap() > 21 * 20);
        let first = insert["first_seen_ms"].as_u64().unwrap();
        assert!(first > 1_600_000_000_000 && first <= insert["last_seen_ms"].as_u64().unwrap());
        let select = row(&all, "bob", "SELECT v FROM t WHERE id < ?");
        assert_eq!(select["calls"], 5);
        assert_eq!(select["rows_sent"], 10 + 3 * 20);
        let update = row(&all, "app", "UPDATE t SET v = v + ? WHERE id >= ?");
        assert_eq!(update["rows_affected"], 10);
        let wrong = row(&all, "app", "SELECT nonsense FROM t");
        assert_eq!(wrong["error_codes"]["1054"], 1);
        let set = row(&all, "app", "SET @secret = ?");
        assert_eq!(set["calls"], 1);
        assert!(!all.to_string().contains("hidden"));
        // The page answers questions, and the command shows it.
        let one = page(&stage, "/debug/digests?order=calls&limit=1&sketches=1");
        assert_eq!(one.as_array().unwrap().len(), 1);
        assert_eq!(one[0]["calls"], 21);
        assert!(one[0]["sketch"]["counts"].is_array());
        let (code, text) = said(&dbmesh(&stage, &["get", "digests"]));
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("INSERT INTO t VALUES (...)"), "{text}");
        assert!(stage.metric("dbmesh_insight_digests") >= 5.0);
    }
}

#[test]
fn what_is_off_is_not_summed_up() {
    let server = server(KINDS[0]);
    let stage = stage(&server, &["observability: {insight: off}"]);
    let mut app = client(&stage, "app");
    assert!(matches!(app.query("SELECT 1"), Reply::Rows(_)));
    assert_eq!(page(&stage, "/debug/digests").as_array().unwrap().len(), 0);
}
