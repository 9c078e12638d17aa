//! What is pulled to find the rows of a change: which of them are enough, in the words of the nodes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/no_host.rs"]
mod no_host;

use std::path::Path;
use std::sync::Arc;

use dbmesh_model::{Purpose, load_text, resolve_for};
use dbmesh_plan::shard::keyed::Then;
use dbmesh_plan::shard::{Catalog, Input, KnownTable, RowsAs, ShardPlan, ShardPlanner, Variables};
use dbmesh_sql::Dialect;
use no_host::NoHost;

/// How a change is done.
fn keyed(sql: &str, ask: impl FnOnce(&Input<'_>)) {
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
    let columns = ["order_id", "user_id", "item_id", "price"];
    let items = KnownTable {
        columns: Some(columns.map(str::to_owned).to_vec()),
        primary: Some(vec!["item_id".to_owned()]),
        ..KnownTable::default()
    };
    catalog.tables.insert("t_item", Arc::new(items));
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
        rows_as: None,
        zone: dbmesh_plan::shard::Zone::Steady,
        select_limit: None,
    };
    ask(&input);
}

/// The words in which the rows of each shard are cut.
fn first(sql: &str) -> String {
    let mut words = String::new();
    keyed(sql, |input| {
        let keyed = ShardPlanner::default().keyed(input).unwrap();
        assert_eq!(keyed.find.pulls.len(), 1, "{sql}");
        words = String::from_utf8(keyed.find.pulls[0].first.text.clone()).unwrap();
    });
    words
}

/// The query that finds rows, what gives the types of what is lent, and the tail with the places of that.
fn lent(sql: &str) -> Option<[String; 3]> {
    let mut found = None;
    keyed(sql, |input| {
        let Ok(keyed) = ShardPlanner::default().keyed(input) else {
            return;
        };
        let Then::Insert { tail, lent, .. } = keyed.then else {
            return;
        };
        let mut text = String::new();
        for (number, part) in tail.iter().enumerate() {
            text += std::str::from_utf8(&part.text).unwrap();
            if let Some(place) = lent.as_ref().and_then(|lent| lent.places.get(number)) {
                text += &format!("<{place}>");
            }
        }
        let sql = |sql: Vec<u8>| String::from_utf8(sql).unwrap();
        let typed = lent.map_or(String::new(), |lent| sql(lent.typed.text));
        let find = sql(keyed.find.finish.unwrap().sql);
        found = Some([find, typed, text]);
    });
    found
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

#[test]
fn columns_of_the_query_go_with_the_rows() {
    for (sql, expected) in [
        (
            "INSERT INTO t_order (order_id, user_id) SELECT s.id, s.u AS x FROM (SELECT item_id AS id, user_id AS u, price FROM t_item) s \
             ON DUPLICATE KEY UPDATE amount = t_order.amount + s.price, status = CONCAT(s.id, s.price, VALUES(user_id))",
            [
                "SELECT s.id, s.u AS x, s.price, s.id FROM (SELECT item_id AS id, user_id AS u, price FROM mesh_gather_0 AS t_item) s",
                "SELECT s.price AS mesh_0, s.id AS mesh_1 FROM (SELECT item_id AS id, user_id AS u, price FROM mesh_gather_0 AS t_item) s LIMIT 0",
                " ON DUPLICATE KEY UPDATE amount = t_order.amount + <0>, status = CONCAT(<1>, <0>, VALUES(user_id))",
            ],
        ),
        (
            "INSERT INTO t_order (order_id, user_id) WITH w AS (SELECT * FROM t_item) SELECT w.item_id, 3 FROM w \
             ON DUPLICATE KEY UPDATE amount = w.price + 1",
            [
                "WITH w AS (SELECT * FROM mesh_gather_0 AS t_item) SELECT w.item_id, 3, w.price FROM w",
                "WITH w AS (SELECT * FROM mesh_gather_0 AS t_item) SELECT w.price AS mesh_0 FROM w LIMIT 0",
                " ON DUPLICATE KEY UPDATE amount = <0> + 1",
            ],
        ),
        // The query has a price, and the table has none.
        (
            "INSERT INTO t_order (order_id, user_id) SELECT i.item_id, 3 FROM t_item i ON DUPLICATE KEY UPDATE amount = price",
            [
                "SELECT i.item_id, 3, price FROM mesh_gather_0 i",
                "SELECT price AS mesh_0 FROM mesh_gather_0 i LIMIT 0",
                " ON DUPLICATE KEY UPDATE amount = <0>",
            ],
        ),
        (
            "INSERT INTO t_order (order_id, user_id) SELECT DISTINCT i.item_id, i.price FROM t_item i ON DUPLICATE KEY UPDATE amount = i.price",
            [
                "SELECT DISTINCT i.item_id, i.price, i.price FROM mesh_gather_0 i",
                "SELECT i.price AS mesh_0 FROM mesh_gather_0 i LIMIT 0",
                " ON DUPLICATE KEY UPDATE amount = <0>",
            ],
        ),
        // Nothing is lent.
        (
            "INSERT INTO t_order (order_id, user_id) SELECT i.item_id, 3 FROM t_item i ON DUPLICATE KEY UPDATE amount = amount + VALUES(user_id)",
            [
                "SELECT i.item_id, 3 FROM mesh_gather_0 i",
                "",
                " ON DUPLICATE KEY UPDATE amount = amount + VALUES(user_id)",
            ],
        ),
    ] {
        let found = lent(sql).unwrap_or_else(|| panic!("{sql}"));
        assert_eq!(found, expected, "{sql}");
    }
}

#[test]
fn a_name_that_a_server_may_take_otherwise_is_not_lent() {
    for sql in [
        // Both have it.
        "INSERT INTO t_order (order_id, user_id) SELECT i.item_id, 3 FROM t_item i ON DUPLICATE KEY UPDATE amount = user_id",
        // What of it comes first, the order of rows says.
        "INSERT INTO t_order (order_id, user_id) SELECT DISTINCT i.item_id, 3 FROM t_item i ON DUPLICATE KEY UPDATE amount = i.price",
        // Servers know no columns of such a query.
        "INSERT INTO t_order (order_id, user_id) SELECT i.item_id, 3 FROM t_item i GROUP BY i.item_id ON DUPLICATE KEY UPDATE amount = i.price",
        "INSERT INTO t_order (order_id, user_id) SELECT MAX(i.item_id), 3 FROM t_item i ON DUPLICATE KEY UPDATE amount = i.price",
        "INSERT INTO t_order (order_id, user_id) SELECT i.item_id, 3 FROM t_item i UNION SELECT 1, 2 ON DUPLICATE KEY UPDATE amount = i.price",
        // What `*` gives is not known.
        "INSERT INTO t_order (order_id, user_id) SELECT s.item_id, 3 FROM (SELECT * FROM t_item) s ON DUPLICATE KEY UPDATE amount = amount + 1",
        "INSERT INTO t_order (order_id, user_id) SELECT i.item_id, 3 FROM t_item i ON DUPLICATE KEY UPDATE amount = (SELECT MAX(item_id) FROM t_item)",
    ] {
        assert_eq!(lent(sql), None, "{sql}");
    }
}

#[test]
fn rows_go_in_other_words_to_their_shards() {
    let texts = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
    let words = RowsAs {
        before: b" SELECT <",
        rows: &texts,
        between: b"|",
        after: b">",
    };
    let statements = |sql: &str| {
        let mut all = Vec::new();
        keyed(sql, |input| {
            let input = Input {
                rows_as: Some(words),
                ..*input
            };
            let statements = match ShardPlanner::default().plan(&input) {
                ShardPlan::Single(statement) => vec![statement],
                ShardPlan::Scatter { statements, .. } | ShardPlan::Broadcast { statements, .. } => {
                    statements
                }
                other => panic!("{other:?}"),
            };
            let texts = statements
                .into_iter()
                .map(|s| String::from_utf8(s.sql).unwrap());
            all = texts.collect();
        });
        all
    };
    assert_eq!(
        statements(
            "INSERT INTO t_order (order_id, user_id) VALUES (1, 1), (2, 2), (3, 1) ON DUPLICATE KEY UPDATE amount = x.y"
        ),
        [
            "INSERT INTO t_order_1 (order_id, user_id) SELECT <one|three> ON DUPLICATE KEY UPDATE amount = x.y",
            "INSERT INTO t_order_2 (order_id, user_id) SELECT <two> ON DUPLICATE KEY UPDATE amount = x.y",
        ]
    );
    assert_eq!(
        statements("INSERT INTO t_order (order_id, user_id) VALUES (1, 1), (2, 1), (3, 1)"),
        ["INSERT INTO t_order_1 (order_id, user_id) SELECT <one|two|three>"]
    );
}

#[test]
fn rows_with_queries_among_their_values_are_found_one_after_the_other() {
    let sql = "INSERT INTO t_order (order_id, user_id, amount) VALUES (1, 1, (SELECT MAX(price) FROM t_item)), \
               (2, 2, 5), (3, 3, (SELECT MIN(price) FROM t_item) + ?)";
    let mut rows = Vec::new();
    keyed(sql, |input| {
        let keyed = ShardPlanner::default().keyed(input).unwrap();
        assert_eq!(keyed.find.pulls.len(), 2);
        let texts = keyed.rows.iter();
        rows = texts
            .map(|row| {
                (
                    String::from_utf8(row.text.clone()).unwrap(),
                    row.parameters.clone(),
                )
            })
            .collect();
    });
    let expected = [
        (
            "SELECT 1, 1, (SELECT MAX(price) FROM mesh_gather_0 AS t_item) AS `(SELECT MAX(price) FROM t_item)`",
            vec![],
        ),
        ("SELECT 2, 2, 5", vec![]),
        (
            "SELECT 3, 3, (SELECT MIN(price) FROM mesh_gather_1 AS t_item) + ? AS `(SELECT MIN(price) FROM t_item) + ?`",
            vec![0],
        ),
    ];
    assert_eq!(
        rows,
        expected.map(|(text, places)| (text.to_owned(), places))
    );
}

#[test]
fn several_tables_are_found_over_the_same_rows() {
    let sql = "UPDATE t_order o JOIN t_item i ON i.price = o.amount SET o.status = i.item_id, i.price = i.price + 1, o.amount = 5 WHERE o.order_id > 3";
    let mut found = Vec::new();
    keyed(sql, |input| {
        let whole = ShardPlanner::default().keyed(input).unwrap();
        assert_eq!(whole.find.pulls.len(), 2);
        for keyed in std::iter::once(&whole).chain(&whole.also) {
            let finish = keyed.find.finish.as_ref().unwrap();
            let Then::Change { head, .. } = &keyed.then else {
                panic!("{sql}");
            };
            let head: Vec<&str> = head
                .iter()
                .map(|h| std::str::from_utf8(&h.text).unwrap())
                .collect();
            let query = String::from_utf8(finish.sql.clone()).unwrap();
            found.push((keyed.table.clone(), query, head.join("<>")));
        }
        assert!(whole.also.iter().all(|also| also.find.pulls.is_empty()));
    });
    let rest =
        " FROM mesh_gather_0 o JOIN mesh_gather_1 i ON i.price = o.amount WHERE o.order_id > 3";
    assert_eq!(
        found,
        [
            (
                "t_order".to_owned(),
                format!("SELECT o.`order_id`, o.`user_id`, i.item_id{rest}"),
                "UPDATE t_order AS o SET `status` = <>, `amount` = 5".to_owned(),
            ),
            (
                "t_item".to_owned(),
                format!("SELECT i.`item_id`, i.`user_id`{rest}"),
                "UPDATE t_item AS i SET `price` = i.price + 1".to_owned(),
            ),
        ]
    );
}

#[test]
fn what_servers_change_by_their_plan_is_not_served() {
    for sql in [
        // It is read and assigned: of the other table, of the same, twice.
        "UPDATE t_order o JOIN t_item i ON i.price = o.amount SET o.status = i.price, i.price = 1",
        "UPDATE t_order o JOIN t_item i ON i.price = o.amount SET o.status = o.amount, o.amount = 1, i.price = 1",
        "UPDATE t_order o JOIN t_item i ON i.price = o.amount SET o.amount = 1, o.amount = o.amount + 1, i.price = 1",
        // A key.
        "UPDATE t_order o JOIN t_item i ON i.price = o.amount SET o.order_id = 1, i.price = 1",
        // The same table twice, and rows that may be none.
        "UPDATE t_order o JOIN t_order i ON i.amount = o.amount SET o.status = 1, i.amount = 1",
        "UPDATE t_order o LEFT JOIN t_item i ON i.price = o.amount SET o.status = 1, i.price = 1",
        "DELETE o, i FROM t_order o LEFT JOIN t_item i ON i.price = o.amount",
    ] {
        keyed(sql, |input| {
            let planned = ShardPlanner::default().keyed(input);
            assert!(planned.is_err(), "{sql}: {planned:?}");
        });
    }
}
