//! Statements whose key belongs to another site, over two real servers.

use dbmesh_testkit::Server;
use dbmesh_testkit::config::Config;
use dbmesh_testkit::port::Port;
use dbmesh_testkit::server::Kind;

use crate::ask::{assert_error, attributed, execute, prepare, query_with};
use crate::faultkit::client::{RawClient, Reply};
use crate::faultkit::stage::Stage;
use crate::shadow::{endpoint, pair};

fn before(home: &Server, other: &Server, units: &str) -> Stage {
    let port = Port::reserve().unwrap();
    let config = Config::new(home, port.number(), 8)
        .schema("app")
        .strategy(units);
    let yaml = config.to_yaml() + &endpoint("west-db", "primary", other.kind(), other.port());
    Stage::of_yaml(&yaml, port, &[])
}

const WHO: &str = "SELECT id FROM app.who";

#[test]
fn a_key_of_another_site_is_refused_with_its_name() {
    let (home, other) = pair(Kind::MySql);
    let units = "units: {site: east, sites: [{name: east, keys: [de, fr], ranges: [{from: 0, to: 99}]}, \
                 {name: west, keys: [us], ranges: [{from: 100, to: 199}]}], moving: [fr]}";
    let stage = before(&home, &other, units);
    let mut client = attributed(stage.port);
    let write = "INSERT INTO app.t (mark) VALUES ('x')";
    for key in ["de", "7", "fr"] {
        let read = query_with(&mut client, &format!("unit={key}"), WHO);
        assert_eq!(read.value(), "home", "{key}");
    }
    assert_eq!(query_with(&mut client, "unit=de", write), Reply::Ok);
    assert_eq!(
        client.query(write),
        Reply::Ok,
        "no key is nobody's business"
    );
    for key in ["us", "150"] {
        for sql in [WHO, write] {
            let reply = query_with(&mut client, &format!("unit={key}"), sql);
            assert_error(
                &reply,
                1105,
                "belongs to site 'west', and this is site 'east'",
            );
        }
    }
    for sql in [write, "BEGIN", "SELECT id FROM app.t FOR UPDATE"] {
        let reply = query_with(&mut client, "unit=fr", sql);
        assert_error(&reply, 1105, "on its way to another site");
    }
    assert_error(
        &query_with(&mut client, "unit=xx", WHO),
        1105,
        "belongs to no site",
    );
    let (id, _) = prepare(&mut client, write).unwrap();
    assert_eq!(execute(&mut client, id, &[], Some("unit=de")), Reply::Ok);
    let reply = execute(&mut client, id, &[], Some("unit=us"));
    assert_error(&reply, 1105, "belongs to site 'west'");
    let count = home.query_value("SELECT COUNT(*) FROM app.t").unwrap();
    assert_eq!(count.as_deref(), Some("3"));
    let fate = |name: &str| {
        let label = format!("fate=\"{name}\"");
        stage
            .proxy
            .metric("dbmesh_unit_statements_total", &label)
            .unwrap()
            .unwrap()
    };
    assert_eq!(
        (fate("own"), fate("foreign"), fate("moving")),
        (5.0, 5.0, 3.0)
    );
    assert_eq!((fate("unknown"), fate("forwarded")), (1.0, 0.0));
}

#[test]
fn a_key_of_another_site_is_forwarded_where_the_policy_says_so() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let (home, other) = pair(kind);
        let units = "units: {site: east, sites: [{name: east, keys: [de]}, {name: west, keys: [us], endpoint: west-db}], \
                     foreign: forward, unknownKeys: home, withoutKey: refuse}";
        let stage = before(&home, &other, units);
        let mut client = RawClient::app(stage.port);
        let with = |key: &str, sql: &str| format!("/* mesh: unit={key} */ {sql}");
        assert_eq!(client.query(&with("de", WHO)).value(), "home");
        assert_eq!(client.query(&with("us", WHO)).value(), "away");
        assert_eq!(client.query(&with("xx", WHO)).value(), "home");
        assert_eq!(client.query(WHO).value(), "home");
        let write = "INSERT INTO app.t (mark) VALUES ('x')";
        assert_error(&client.query(write), 1105, "needs the hint 'unit'");
        assert_eq!(client.query(&with("us", "BEGIN")), Reply::Ok);
        assert_eq!(client.query(&with("us", write)), Reply::Ok);
        let elsewhere = client.query(&with("de", write));
        assert_error(&elsewhere, 1105, "bound to west-db by its transaction");
        assert_eq!(client.query("COMMIT"), Reply::Ok);
        let named = "/* mesh: unit=us, primary */ SELECT 1";
        assert_error(&client.query(named), 1064, "exclude it");
        let (id, _) = prepare(&mut client, &with("us", WHO)).unwrap();
        for _ in 0..2 {
            assert_eq!(execute(&mut client, id, &[], None).value(), "away");
        }
        let count = "SELECT COUNT(*) FROM app.t";
        assert_eq!(
            home.query_value(count).unwrap().as_deref(),
            Some("0"),
            "{kind:?}"
        );
        assert_eq!(
            other.query_value(count).unwrap().as_deref(),
            Some("1"),
            "{kind:?}"
        );
    }
}

#[test]
fn keys_stand_in_columns_too() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let (home, other) = pair(kind);
        let units = "units: {site: east, sites: [{name: east, keys: [de, fr]}, {name: west, keys: [us], endpoint: west-db}], \
                     moving: [fr], foreign: forward, withoutKey: refuse, columns: [{table: app.t, column: mark}]}";
        let stage = before(&home, &other, units);
        let mut client = RawClient::app(stage.port);
        for sql in [
            "INSERT INTO app.t (id, mark) VALUES (1, 'de'), (2, 'de')",
            "INSERT INTO app.t (id, mark) VALUES (3, 'us')",
            "UPDATE app.t SET id = 4 WHERE mark = 'us'",
            "/* mesh: unit=us */ INSERT INTO app.t (id) VALUES (5)",
        ] {
            assert_eq!(client.query(sql), Reply::Ok, "{kind}: {sql}");
        }
        let (insert, _) = prepare(&mut client, "INSERT INTO app.t (mark) VALUES (?)").unwrap();
        for key in ["de", "us"] {
            assert_eq!(
                execute(&mut client, insert, &[key], None),
                Reply::Ok,
                "{kind}: {key}"
            );
        }
        for (sql, why) in [
            (
                "INSERT INTO app.t (mark) VALUES ('de'), ('us')",
                "several sites, 'east' and 'west'",
            ),
            (
                "/* mesh: unit=de */ INSERT INTO app.t (mark) VALUES ('us')",
                "several sites",
            ),
            (
                "INSERT INTO app.t (mark) VALUES ('fr')",
                "on its way to another site",
            ),
            (
                "INSERT INTO app.t (mark) VALUES ('xx')",
                "belongs to no site",
            ),
            (
                "INSERT INTO app.t (mark) VALUES (LOWER('US'))",
                "needs the key",
            ),
            ("UPDATE app.t SET id = 9 WHERE id = 1", "needs the key"),
        ] {
            assert_error(&client.query(sql), 1105, why);
        }
        let moving = "SELECT COUNT(*) FROM app.t WHERE mark = 'fr'";
        assert_eq!(client.query(moving).value(), "0");
        let all = "SELECT COUNT(*) FROM app.t WHERE mark = 'us' OR id = 5";
        assert_eq!(home.query_value(all).unwrap().as_deref(), Some("0"));
        assert_eq!(other.query_value(all).unwrap().as_deref(), Some("3"));
    }
}
