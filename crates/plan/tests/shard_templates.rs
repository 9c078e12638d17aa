//! A remembered plan says what the planner says, whatever the values are: over all golden statements.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/no_host.rs"]
mod no_host;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use dbmesh_model::topology::Sharding;
use dbmesh_model::{Purpose, Topology, load_text, resolve_for};
use dbmesh_plan::shard::value::{Reading, Variables};
use dbmesh_plan::shard::{
    Catalog, Input, KnownTable, Parameter, ShardPlan, ShardPlanner, Template,
};
use dbmesh_sql::{Dialect, Lexer, TokenKind};
use no_host::NoHost;
use proptest::prelude::*;

/// Statements beside the golden ones: what differs in one token only, and what a value may turn into something else.
const MORE: [&str; 18] = [
    "SELECT amount FROM t_order WHERE user_id = 5 AND status = 'new'",
    "SELECT amount FROM t_order WHERE user_id = -5",
    "SELECT amount FROM t_order WHERE (user_id = 5) AND (status = 'a' AND amount > 1.5) LIMIT 1",
    "SELECT amount FROM t_order WHERE user_id = 5 AND 1",
    "SELECT amount FROM t_order WHERE user_id = 5 AND 1 = 1",
    "SELECT amount FROM t_order WHERE user_id = 5 AND user_id = 5",
    "SELECT amount FROM t_order WHERE user_id = 5 AND user_id IN (5, 6)",
    "SELECT amount FROM t_order WHERE user_id = 5 AND status IN ('a', 'b') ORDER BY 1",
    "SELECT amount, 7 FROM shop.t_order o WHERE o.user_id = 5 AND status = 'x' 'y'",
    "SELECT shop.t_order.amount + 1 FROM shop.t_order WHERE shop.t_order.user_id = 5",
    "SELECT amount AS 'a' FROM t_order WHERE user_id = 5 FOR UPDATE",
    "SELECT * FROM t_event WHERE tenant_id = 1 AND event_id = 2 AND name <> 'q'",
    "SELECT * FROM t_doc WHERE code = 'abc' AND id = 4",
    "SELECT * FROM t_spread WHERE id = 4",
    "UPDATE t_order SET amount = amount + 1, status = 'x' WHERE user_id = 5 AND id = 3",
    "UPDATE t_order SET user_id = 5 WHERE user_id = 5",
    "DELETE FROM t_order WHERE user_id = 5 AND t_order.id = 9",
    "DELETE FROM t_country WHERE country = 'DE' LIMIT 3",
];

fn topology() -> &'static Topology {
    static TOPOLOGY: OnceLock<Topology> = OnceLock::new();
    TOPOLOGY.get_or_init(|| {
        let text = include_str!("../cases/shard/topology.yaml");
        resolve_for(Purpose::Plan, load_text(Path::new("x.yaml"), text), &NoHost).unwrap()
    })
}

fn statements() -> &'static Vec<String> {
    static STATEMENTS: OnceLock<Vec<String>> = OnceLock::new();
    STATEMENTS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/shard");
        let mut found: Vec<String> = MORE.iter().map(|sql| (*sql).to_owned()).collect();
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|e| e == "txt") {
                let text = std::fs::read_to_string(file).unwrap();
                let cases = text.lines().filter_map(|line| line.strip_prefix("> "));
                found.extend(cases.map(str::to_owned));
            }
        }
        assert!(found.len() > 250, "{}", found.len());
        found
    })
}

struct Asked<'a> {
    sql: &'a str,
    catalog: &'a Catalog,
    sharding: &'a Sharding,
    parameters: &'a [Parameter],
}

const DIALECT: fn() -> Dialect = Dialect::default;

impl Asked<'_> {
    fn input<'a>(&'a self, dialect: &'a Dialect) -> Input<'a> {
        Input {
            sql: self.sql.as_bytes(),
            dialect,
            sharding: self.sharding,
            catalog: self.catalog,
            schema: Some("shop"),
            in_schema: true,
            chosen: None,
            here: None,
            utf8: true,
            parameters: Some(self.parameters),
            variables: Variables::Hidden,
            select_limit: None,
            hint: None,
            rows_as: None,
            zone: dbmesh_plan::shard::Zone::Steady,
        }
    }

    fn plan(&self) -> (ShardPlan, Option<Template>) {
        let dialect = DIALECT();
        let mut planner = ShardPlanner::default();
        let plan = planner.plan(&self.input(&dialect));
        let template = planner.template(&self.input(&dialect), &plan);
        (plan, template)
    }
}

/// The statement with other literals: the one at a time that is drawn for each.
fn varied(sql: &str, literals: &[(String, String)]) -> String {
    let dialect = DIALECT();
    let (mut text, mut at, mut number) = (String::new(), 0, 0);
    for token in Lexer::new(sql.as_bytes(), &dialect) {
        let with = literals.get(number % literals.len().max(1));
        let put = match (token.kind, with) {
            (TokenKind::Number, Some((with, _))) | (TokenKind::String, Some((_, with))) => with,
            _ => continue,
        };
        number += 1;
        text += &sql[at..token.span.start];
        if !put.is_empty() {
            text += put;
            at = token.span.end;
        } else {
            at = token.span.start;
        }
    }
    text + &sql[at..]
}

fn literal() -> impl Strategy<Value = (String, String)> {
    let numbers = vec![
        "",
        "0",
        "1",
        "2",
        "3",
        "7",
        "5.0",
        "5.5",
        ".5",
        "1e2",
        "18446744073709551616",
        "00012",
    ];
    let strings = vec![
        "",
        "''",
        "'a'",
        "\"DE\"",
        "'7'",
        "'07'",
        "'2024-02-03'",
        "'it''s'",
        "'\\''",
        "'--'",
        "'ü'",
    ];
    (prop::sample::select(numbers), prop::sample::select(strings))
        .prop_map(|(number, string)| (number.to_owned(), string.to_owned()))
}

fn parameter() -> impl Strategy<Value = Parameter> {
    prop_oneof![
        6 => (-3_i128..12).prop_map(Parameter::Integer),
        1 => Just(Parameter::Null),
        1 => Just(Parameter::Text(b"7".to_vec())),
        1 => Just(Parameter::Decimal("3.5".to_owned())),
        1 => Just(Parameter::Other),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_template_says_what_the_planner_says(
        which in any::<prop::sample::Index>(), known in any::<bool>(),
        literals in prop::collection::vec(literal(), 1..6),
        first in prop::collection::vec(parameter(), 8), then in prop::collection::vec(parameter(), 8),
    ) {
        let sql = which.get(statements());
        let sharding = topology().services[0].sharding.as_deref().unwrap();
        let mut catalog = Catalog::default();
        if known {
            let columns = ["id", "user_id", "amount", "status"].map(str::to_owned);
            let table = KnownTable { columns: Some(columns.to_vec()), ..KnownTable::default() };
            catalog.tables.insert("t_order", Arc::new(table));
        }
        let made = Asked { sql, catalog: &catalog, sharding, parameters: &first };
        if let (_, Some(template)) = made.plan() {
            let other = varied(sql, &literals);
            let asked = Asked { sql: &other, parameters: &then, ..made };
            let reading = Reading {
                sql: other.as_bytes(), dialect: &DIALECT(), utf8: true, parameters: Some(&then),
                variables: Variables::Hidden,
            };
            if let Some(node) = template.node(&reading) {
                prop_assert_eq!(ShardPlan::Single(node), asked.plan().0, "{} for {}", other, sql);
            }
        }
    }
}

#[test]
fn point_statements_have_templates_that_serve_other_values() {
    let sharding = topology().services[0].sharding.as_deref().unwrap();
    let catalog = Catalog::default();
    let served = |sql: &str, other: &str| {
        let asked = Asked {
            sql,
            catalog: &catalog,
            sharding,
            parameters: &[Parameter::Integer(6)],
        };
        let template = asked.plan().1?;
        let reading = Reading {
            sql: other.as_bytes(),
            dialect: &DIALECT(),
            utf8: true,
            parameters: Some(&[Parameter::Integer(7)]),
            variables: Variables::Hidden,
        };
        let node = template.node(&reading)?;
        Some(String::from_utf8(node.sql).unwrap())
    };
    let cases = [
        (
            "SELECT amount FROM t_order WHERE user_id = 5",
            "SELECT amount FROM t_order WHERE user_id = 6",
            Some("SELECT amount FROM t_order_2 AS t_order WHERE user_id = 6"),
        ),
        (
            "SELECT amount FROM t_order WHERE user_id = ?",
            "SELECT amount FROM t_order WHERE user_id = ?",
            Some("SELECT amount FROM t_order_3 AS t_order WHERE user_id = ?"),
        ),
        (
            "UPDATE t_order SET status = 'a' WHERE user_id = 5 AND id = 4",
            "UPDATE t_order SET status = 'long' WHERE user_id = 12 AND id = 999",
            Some("UPDATE t_order_0 AS t_order SET status = 'long' WHERE user_id = 12 AND id = 999"),
        ),
        (
            "SELECT * FROM t_event WHERE tenant_id = 1 AND event_id = 1",
            "SELECT * FROM t_event WHERE tenant_id = 0 AND event_id = 1",
            Some("SELECT * FROM t_event_1 AS t_event WHERE tenant_id = 0 AND event_id = 1"),
        ),
        // Another statement, a value that leads nowhere, and conditions that other values would change.
        (
            "SELECT amount FROM t_order WHERE user_id = 5",
            "SELECT amount FROM t_order WHERE user_id = 6 OR 1",
            None,
        ),
        (
            "SELECT amount FROM t_order WHERE user_id = 5",
            "SELECT amount FROM t_order WHERE user_id = 5.5",
            None,
        ),
        (
            "SELECT amount FROM t_order WHERE user_id = 5 AND 1",
            "SELECT amount FROM t_order WHERE user_id = 5 AND 0",
            None,
        ),
        (
            "UPDATE t_order SET user_id = 5 WHERE user_id = 5",
            "UPDATE t_order SET user_id = 6 WHERE user_id = 5",
            None,
        ),
    ];
    for (sql, other, expected) in cases {
        assert_eq!(served(sql, other).as_deref(), expected, "{other} by {sql}");
    }
}
