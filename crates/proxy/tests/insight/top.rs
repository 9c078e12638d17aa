//! `dbmesh top`: one look for machines and for people.

use serde_json::Value;

use crate::faultkit::client::Reply;
use crate::ground::{KINDS, client, dbmesh, said, server, stage};

#[test]
fn one_look_shows_what_there_is_and_how_fast() {
    let server = server(KINDS[1]);
    let stage = stage(&server, &[]);
    let mut app = client(&stage, "app");
    for _ in 0..10 {
        assert!(matches!(app.query("SELECT 'top'"), Reply::Rows(_)));
    }
    let look = |args: &[&str]| {
        let all = [&["top", "--once", "--interval", "100ms"], args].concat();
        let (code, text) = said(&dbmesh(&stage, &all));
        assert_eq!(code, Some(0), "{text}");
        text
    };
    let json: Value = serde_json::from_str(&look(&["-o", "json"])).unwrap();
    assert_eq!(json["view"], "digests");
    let rows = json["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["text"] == "SELECT ?").unwrap();
    assert_eq!(row["calls"], 10);
    assert_eq!(row["calls_per_s"], 0.0);
    for (view, expected) in [
        ("digests", "SELECT ?"),
        ("endpoints", "server-0"),
        ("sessions", "127.0.0.1"),
        ("pools", "WAITING"),
    ] {
        let text = look(&["--view", view]);
        assert!(text.contains(expected), "{view}: {text}");
    }
    let filtered = look(&["--filter", "no such thing"]);
    assert!(!filtered.contains("SELECT ?"), "{filtered}");
    // Without a terminal, there is nothing to draw on.
    let (code, text) = said(&dbmesh(&stage, &["top"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--once"), "{text}");
}
