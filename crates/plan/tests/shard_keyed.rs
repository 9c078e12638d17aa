//! What is pulled to find the rows of a change: which of them are enough, in the words of the nodes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/no_host.rs"]
mod no_host;

use std::path::Path;
use std::sync::Arc;

use dbmesh_model::{Purpose, load_text, resolve_for};
use dbmesh_plan::shard::{Catalog, Input, KnownTable, ShardPlanner, Variables};
use dbmesh_sql::Dialect;
use no_host::NoHost;

/// The words in which the rows of each shard are cut.
fn first(sql: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/shard/topology.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let topology = resolve_for(Purpose::Plan, load_text(&file, &text), &NoHost).unwrap();
    let service = topology.services.first().unwrap();
    let sharding = service.sharding.as_ref().unwrap();
    let key = vec!["order_id".to_owned()];
    let columns = ["order_id", "user_id", "amount", "status"];
    let columns = columns.map(str::to_owned).to_vec();
    let known = KnownTable {
        columns: Some(columns),
        primary: Some(key),
        ..KnownTable::default()
    };
    let mut catalog = Catalog::default();
    catalog.tables.insert("t_order", Arc::new(known));
    let input = Input {
        sql: sql.as_bytes(),
        dialect: &Dialect::default(),
        sharding,
        catalog: &catalog,
        schema: Some("shop"),
        in_schema: true,
        chosen: None,
        here: None,
        utf8: true,
        parameters: None,
        variables: Variables::Hidden,
        hint: None,
        select_limit: None,
    };
    let keyed = ShardPlanner::default().keyed(&input).unwrap();
    assert_eq!(keyed.find.pulls.len(), 1, "{sql}");
    String::from_utf8(keyed.find.pulls[0].first.text.clone()).unwrap()
}

#[test]
fn the_first_rows_of_every_shard_are_enough_where_columns_order_them() {
    for (sql, expected) in [
        ("UPDATE t_order SET amount = 1 LIMIT 3", " LIMIT 3"),
        (
            "UPDATE t_order SET amount = amount + 1 WHERE status = 'x' AND amount > 5 ORDER BY amount DESC, order_id LIMIT 3",
            " ORDER BY amount DESC, order_id LIMIT 3",
        ),
        (
            "UPDATE shop.t_order AS o SET o.amount = 1 ORDER BY o.amount LIMIT 7",
            " ORDER BY o.amount LIMIT 7",
        ),
        (
            "DELETE FROM t_order WHERE status LIKE 'x%' ORDER BY shop.t_order.amount LIMIT 1",
            " ORDER BY t_order.amount LIMIT 1",
        ),
    ] {
        assert_eq!(first(sql), expected, "{sql}");
    }
}

#[test]
fn all_rows_are_needed_where_more_than_columns_says_which_are_wanted() {
    for sql in [
        "UPDATE t_order SET amount = 1 ORDER BY amount * 2 LIMIT 3",
        "UPDATE t_order SET amount = 1 WHERE ABS(amount) > 5 ORDER BY amount LIMIT 3",
        "DELETE FROM t_order WHERE status = 'x' AND amount + 1 > 5 LIMIT 3",
    ] {
        assert_eq!(first(sql), "", "{sql}");
    }
}
