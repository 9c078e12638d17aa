//! What finds the rows of an UPDATE with the keys that they will have, in the words of the nodes, or why nothing does.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/no_host.rs"]
mod no_host;

use std::path::Path;
use std::sync::Arc;

use dbmesh_model::{Purpose, load_text, resolve_for};
use dbmesh_plan::shard::{
    Catalog, Going, Input, KnownTable, Moving, ShardPlanner, Unmoved, Variables,
};
use dbmesh_sql::Dialect;
use no_host::NoHost;

fn moving(sql: &str, primary: &[(&str, &[&str])]) -> Result<Moving, Unmoved> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/shard/topology.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let topology = resolve_for(Purpose::Plan, load_text(&file, &text), &NoHost).unwrap();
    let service = topology.services.first().unwrap();
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let tables = primary.iter().map(|(table, key)| {
        let known = KnownTable {
            primary: Some(owned(key)),
            ..KnownTable::default()
        };
        ((*table).to_owned(), Arc::new(known))
    });
    let catalog = Catalog {
        tables: tables.collect(),
        ..Catalog::default()
    };
    let input = Input {
        sql: sql.as_bytes(),
        dialect: &Dialect::default(),
        sharding: service.sharding.as_ref().unwrap(),
        catalog: &catalog,
        schema: Some("shop"),
        in_schema: true,
        chosen: None,
        here: None,
        utf8: true,
        parameters: None,
        variables: Variables::Hidden,
        hint: None,
        rows_as: None,
        zone: dbmesh_plan::shard::Zone::Steady,
        select_limit: None,
    };
    ShardPlanner::default().moving(&input)
}

const KEYS: &[(&str, &[&str])] = &[
    ("t_order", &["order_id", "user_id"]),
    ("t_event", &["event_id"]),
];

/// The first read.
fn find(sql: &str) -> String {
    let moving = moving(sql, KEYS).unwrap();
    let Going::Computed(computed) = moving.going else {
        panic!("{sql}: {moving:?}");
    };
    assert_eq!(computed.finds.len(), moving.statements.len());
    String::from_utf8(computed.finds[0].sql.clone()).unwrap()
}

#[test]
fn rows_are_found_with_what_they_will_be() {
    for (sql, expected) in [
        (
            "UPDATE t_order SET user_id = user_id + 1 WHERE user_id = 1 ORDER BY order_id;",
            "SELECT t_order.`user_id`, user_id + 1, t_order.`order_id`, t_order.`order_id` FROM t_order_1 AS t_order \
             WHERE user_id = 1 LIMIT 18446744073709551615 FOR UPDATE",
        ),
        (
            "UPDATE shop.t_order SET amount = 1, shop.t_order.user_id = shop.t_order.user_id + 4 WHERE user_id IN (1, 2, 5)",
            "SELECT t_order.`user_id`, t_order.user_id + 4, t_order.`order_id`, t_order.`order_id` FROM t_order_1 AS t_order \
             WHERE user_id IN (1, 5) LIMIT 18446744073709551615 FOR UPDATE",
        ),
        (
            "UPDATE t_event AS e SET tenant_id = 2 WHERE event_id = 3 AND tenant_id = 1",
            "SELECT e.`tenant_id`, 2, e.`event_id`, e.`event_id` FROM t_event_1 AS e WHERE event_id = 3 AND tenant_id = 1 LIMIT 18446744073709551615 FOR UPDATE",
        ),
        // One key, but rows may take other columns of it from each other, also such as are not known before.
        (
            "UPDATE t_order SET user_id = 3, order_id = amount + 1",
            "SELECT t_order.`user_id`, 3, t_order.`order_id`, amount + 1 FROM t_order_0 AS t_order LIMIT 18446744073709551615 FOR UPDATE",
        ),
        (
            "UPDATE t_order SET user_id = 3, order_id = order_id + user_id",
            "SELECT t_order.`user_id`, 3, t_order.`order_id`, NULL FROM t_order_0 AS t_order LIMIT 18446744073709551615 FOR UPDATE",
        ),
    ] {
        assert_eq!(find(sql), expected, "{sql}");
    }
}

#[test]
fn one_key_for_all_needs_no_read() {
    for sql in [
        "UPDATE t_order SET user_id = 7 WHERE amount = 1",
        "UPDATE t_order SET user_id = 7, order_id = order_id + 1 WHERE user_id = 1 LIMIT 1",
    ] {
        let moving = moving(sql, KEYS).unwrap();
        assert!(matches!(moving.going, Going::To { .. }), "{moving:?}");
    }
}

#[test]
fn what_cannot_be_computed_before_is_refused() {
    for (sql, why) in [
        ("UPDATE t_order SET user_id = RAND()", Unmoved::Varying),
        (
            "UPDATE t_order SET user_id = user_id + 1 WHERE amount > RAND()",
            Unmoved::Varying,
        ),
        ("UPDATE t_order SET user_id = DEFAULT", Unmoved::Default),
        (
            "UPDATE t_order SET amount = 1, user_id = amount",
            Unmoved::Chained,
        ),
        (
            "UPDATE t_order SET user_id = user_id + 1 LIMIT 1",
            Unmoved::Limited,
        ),
        (
            "UPDATE t_order SET user_id = user_id + 1 WHERE user_id = 1 LIMIT 1",
            Unmoved::Limited,
        ),
        (
            "UPDATE t_order SET user_id = user_id + (SELECT 1)",
            Unmoved::Joined,
        ),
        (
            "UPDATE t_order SET user_id = 1, user_id = user_id + 1",
            Unmoved::Others,
        ),
        (
            "UPDATE IGNORE t_order SET user_id = user_id + 1",
            Unmoved::Modified,
        ),
    ] {
        assert_eq!(moving(sql, KEYS), Err(why), "{sql}");
    }
    let unknown = moving("UPDATE t_order SET user_id = user_id + 1", &[]);
    assert_eq!(unknown, Err(Unmoved::Unknown("t_order".to_owned())));
}
