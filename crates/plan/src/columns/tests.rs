use super::*;

fn told(sql: &str, parameters: Option<&[Parameter]>) -> Told {
    let dialect = Dialect::default();
    let mut reader = ColumnReader::default();
    let asked = reader.read(Texts {
        sql: sql.as_bytes(),
        dialect: &dialect,
        schema: Some(b"shop"),
        utf8: true,
        parameters,
    });
    let column = ColumnRef {
        schema: Some("shop".into()),
        table: "orders".into(),
        column: "tenant".into(),
    };
    asked.unwrap().told(&column)
}

fn values(all: &[&str]) -> Told {
    let said = |text: &&str| Said::Text(text.as_bytes().to_vec());
    Told::Values(all.iter().map(said).collect())
}

#[test]
fn rows_that_are_written_and_conditions_say_values() {
    for (sql, expected) in [
        (
            "INSERT INTO orders (id, tenant) VALUES (1, 'a')",
            values(&["a"]),
        ),
        (
            "REPLACE orders (tenant, id) VALUES ('a', 1), ('b', 2)",
            values(&["a", "b"]),
        ),
        (
            "INSERT INTO shop.Orders SET id = 1, Tenant = 7",
            values(&["7"]),
        ),
        (
            "INSERT INTO orders (tenant) VALUES ('a') ON DUPLICATE KEY UPDATE tenant = 'b'",
            values(&["a", "b"]),
        ),
        (
            "UPDATE orders SET n = 1 WHERE tenant = 'a' AND n = 2",
            values(&["a"]),
        ),
        (
            "UPDATE orders SET tenant = 'b' WHERE 'a' = tenant",
            values(&["a", "b"]),
        ),
        (
            "UPDATE orders SET tenant = 'b' WHERE id = 1",
            values(&["b"]),
        ),
        (
            "DELETE FROM orders WHERE tenant IN ('a', 'b')",
            values(&["a", "b"]),
        ),
        (
            "DELETE o FROM orders o JOIN x ON x.id = o.id WHERE o.tenant = 'a'",
            values(&["a"]),
        ),
        (
            "SELECT * FROM orders WHERE (tenant = 'a' OR tenant = 'b') AND n",
            values(&["a", "b"]),
        ),
        (
            "(SELECT * FROM orders AS o WHERE o.`tenant` <=> 'a' LIMIT 1)",
            values(&["a"]),
        ),
        (
            "EXPLAIN SELECT * FROM orders WHERE tenant = 'a'",
            values(&["a"]),
        ),
        (
            "SELECT * FROM orders a JOIN orders b WHERE a.tenant = 'x' AND b.tenant = 'y'",
            { values(&["y", "x"]) },
        ),
        (
            "INSERT INTO orders (tenant) VALUES (NULL)",
            Told::Values(vec![Said::Null]),
        ),
    ] {
        assert_eq!(told(sql, None), expected, "{sql}");
    }
}

#[test]
fn rows_of_every_query_block_say_values() {
    for (sql, expected) in [
        (
            "SELECT * FROM (SELECT * FROM orders WHERE tenant = 'a') d LIMIT 3",
            &["a"][..],
        ),
        (
            "WITH c AS (SELECT * FROM orders WHERE tenant = 'a') SELECT * FROM c JOIN c d",
            &["a"],
        ),
        (
            "SELECT 1 FROM orders WHERE tenant = 'a' UNION ALL SELECT 1 FROM orders WHERE tenant = 'b'",
            &["a", "b"],
        ),
        (
            "SELECT (SELECT MAX(n) FROM orders WHERE tenant = 'a') FROM x",
            &["a"],
        ),
        (
            "DELETE FROM x WHERE id IN (SELECT x FROM orders WHERE tenant = 'a')",
            &["a"],
        ),
        (
            "UPDATE x, (SELECT id FROM orders WHERE tenant = 'a') d SET x.n = 1 WHERE x.id = d.id",
            &["a"],
        ),
        (
            "INSERT INTO x SELECT * FROM orders WHERE tenant = 'a'",
            &["a"],
        ),
        // By the condition of a join, where it restricts them.
        ("SELECT * FROM x JOIN orders o ON o.tenant = 'a'", &["a"]),
        (
            "SELECT * FROM x LEFT JOIN orders o ON o.tenant = 'a'",
            &["a"],
        ),
        (
            "SELECT * FROM orders o RIGHT JOIN x ON o.tenant = 'a'",
            &["a"],
        ),
        (
            "SELECT * FROM x LEFT JOIN (y JOIN orders o ON o.tenant = 'a') ON x.id = y.id",
            &["a"],
        ),
        // From outside, where all rows are passed on.
        (
            "SELECT * FROM (SELECT * FROM orders WHERE n > 1) d WHERE d.tenant = 'a'",
            &["a"],
        ),
        (
            "SELECT * FROM (SELECT o.id, o.tenant t FROM orders o) d WHERE t = 'a' AND d.id > 2",
            &["a"],
        ),
        (
            "WITH c AS (SELECT o.* FROM orders o) SELECT * FROM c WHERE tenant = 'a'",
            &["a"],
        ),
        (
            "WITH c AS (SELECT * FROM orders) SELECT 1 FROM c WHERE tenant = 'a' UNION SELECT 2 FROM c WHERE tenant = 'b'",
            &["a", "b"],
        ),
    ] {
        assert_eq!(told(sql, None), values(expected), "{sql}");
    }
}

#[test]
fn rows_of_any_kind_beside_those_that_are_bound_are_said() {
    let some = Told::Values(vec![Said::Text(b"a".to_vec()), Said::Unknown]);
    for sql in [
        "SELECT * FROM orders WHERE tenant = 'a' UNION SELECT * FROM orders",
        "SELECT * FROM orders WHERE tenant = 'a' UNION TABLE orders",
        "SELECT * FROM orders a JOIN orders b WHERE a.tenant = 'a'",
        "SELECT * FROM orders WHERE tenant = 'a' AND id IN (SELECT parent FROM orders)",
        "INSERT INTO orders (tenant, n) VALUES ('a', (SELECT MAX(n) FROM orders))",
    ] {
        assert_eq!(told(sql, None), some, "{sql}");
    }
}

#[test]
fn what_does_not_bind_every_row_says_nothing() {
    for sql in [
        "SELECT * FROM orders",
        "SELECT * FROM orders WHERE tenant = 'a' OR id = 1",
        "SELECT * FROM orders WHERE tenant <> 'a'",
        "SELECT * FROM orders WHERE NOT tenant = 'a'",
        "SELECT * FROM orders WHERE tenant NOT IN ('a')",
        "SELECT * FROM orders WHERE tenant > 'a'",
        "SELECT * FROM orders WHERE tenant = LOWER('A')",
        "SELECT * FROM orders o JOIN x WHERE x.tenant = 'a'",
        "SELECT * FROM orders o LEFT JOIN x ON o.tenant = 'a'",
        "SELECT * FROM x RIGHT JOIN orders o ON o.tenant = 'a' LEFT JOIN y ON o.tenant = 'b'",
        "SELECT * FROM (SELECT * FROM orders LIMIT 3) d WHERE tenant = 'a'",
        "SELECT * FROM (SELECT tenant, SUM(n) s FROM orders GROUP BY n) d WHERE tenant = 'a'",
        "SELECT * FROM (SELECT tenant, n FROM orders) d (n, tenant) WHERE tenant = 'a'",
        "SELECT * FROM (SELECT n AS tenant FROM orders) d WHERE d.tenant = 'a'",
        "WITH c AS (SELECT * FROM orders) SELECT 1 FROM c WHERE tenant = 'a' UNION SELECT 2 FROM c",
        "SELECT * FROM x WHERE tenant = 'a' AND id IN (SELECT id FROM orders)",
        "INSERT INTO orders (id) VALUES (1)",
        "UPDATE orders SET n = 1 WHERE id = 7",
        "DELETE FROM orders",
        "TRUNCATE TABLE orders",
    ] {
        assert_eq!(told(sql, None), Told::Unsaid, "{sql}");
    }
    for sql in [
        "SELECT 'orders', tenant FROM x WHERE tenant = 'a'",
        "SELECT * FROM other.orders WHERE tenant = 'a'",
        "WITH orders AS (SELECT 1 AS tenant) SELECT * FROM orders WHERE tenant = 'a'",
        "INSERT INTO x (tenant) VALUES ('a')",
        "BEGIN",
    ] {
        assert_eq!(told(sql, None), Told::Untouched, "{sql}");
    }
}

#[test]
fn a_value_that_is_written_and_cannot_be_told_is_hidden() {
    for sql in [
        "INSERT INTO orders VALUES (1, 'a')",
        "INSERT INTO orders (tenant) VALUES (LOWER('A'))",
        "INSERT INTO orders (tenant) VALUES ('a'), (@x)",
        "INSERT INTO orders (tenant) VALUES (DEFAULT)",
        "INSERT INTO orders (tenant) SELECT tenant FROM x",
        "INSERT INTO orders (tenant) VALUES ('a') ON DUPLICATE KEY UPDATE tenant = CONCAT('a', 'b')",
        "UPDATE orders SET tenant = UPPER(tenant) WHERE tenant = 'a'",
        "LOAD DATA INFILE 'x' INTO TABLE orders",
    ] {
        let told = told(sql, None);
        assert!(matches!(told, Told::Hidden(_)), "{sql}: {told:?}");
    }
}

#[test]
fn parameters_have_their_values_once_they_are_bound() {
    let sql = "INSERT INTO orders (n, tenant) VALUES (?, ?), (?, 'c')";
    let bound = [
        Parameter::Integer(1),
        Parameter::Text(b"a".to_vec()),
        Parameter::Other,
    ];
    assert_eq!(told(sql, Some(&bound)), values(&["a", "c"]));
    assert!(matches!(told(sql, None), Told::Hidden(_)));
    let sql = "SELECT * FROM orders WHERE tenant = ?";
    assert_eq!(told(sql, Some(&[Parameter::Integer(-7)])), values(&["-7"]));
    assert_eq!(told(sql, Some(&[Parameter::Other])), Told::Unsaid);
    assert_eq!(told(sql, None), Told::Unsaid);
}
