//! Whatever the condition, a row that satisfies it is on a shard that is asked; whatever the text, planning ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/no_host.rs"]
mod no_host;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use dbmesh_model::topology::Sharding;
use dbmesh_model::{Purpose, Topology, load_text, resolve_for};
use dbmesh_plan::shard::{Catalog, Input, ShardPlan, ShardPlanner, Variables};
use dbmesh_sql::Dialect;
use no_host::NoHost;
use proptest::prelude::*;

fn topology() -> &'static Topology {
    static TOPOLOGY: OnceLock<Topology> = OnceLock::new();
    TOPOLOGY.get_or_init(|| {
        let text = include_str!("../cases/shard/topology.yaml");
        resolve_for(Purpose::Plan, load_text(Path::new("x.yaml"), text), &NoHost).unwrap()
    })
}

fn plan(sql: &str, sharding: &Sharding) -> ShardPlan {
    ShardPlanner::default().plan(&Input {
        sql: sql.as_bytes(),
        dialect: &Dialect::default(),
        sharding,
        catalog: &Catalog::default(),
        schema: Some("shop"),
        in_schema: true,
        chosen: None,
        here: None,
        utf8: true,
        parameters: None,
        variables: Variables::Hidden,
        select_limit: None,
        hint: None,
        rows_as: None,
        zone: dbmesh_plan::shard::Zone::Steady,
    })
}

/// A condition on the two columns of the key of t_event.
#[derive(Debug, Clone)]
enum Condition {
    /// column op value.
    Compare(bool, &'static str, i64),
    /// column IN values.
    In(bool, Vec<i64>),
    /// column BETWEEN two values.
    Between(bool, i64, i64),
    /// (tenant_id, event_id) IN pairs.
    Pairs(Vec<(i64, i64)>),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
}

const COLUMNS: [&str; 2] = ["tenant_id", "event_id"];

impl Condition {
    fn text(&self) -> String {
        let column = |first: &bool| COLUMNS[usize::from(!first)];
        let join = |all: &[Condition], word: &str| {
            let all: Vec<String> = all.iter().map(Condition::text).collect();
            format!("({})", all.join(word))
        };
        match self {
            Self::Compare(first, op, value) => format!("{} {op} {value}", column(first)),
            Self::In(first, values) => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                format!("{} IN ({})", column(first), values.join(", "))
            }
            Self::Between(first, low, high) => {
                format!("{} BETWEEN {low} AND {high}", column(first))
            }
            Self::Pairs(pairs) => {
                let pairs: Vec<String> = pairs.iter().map(|(a, b)| format!("({a}, {b})")).collect();
                format!("(tenant_id, event_id) IN ({})", pairs.join(", "))
            }
            Self::Not(inner) => format!("NOT {}", inner.text()),
            Self::And(all) => join(all, " AND "),
            Self::Or(all) => join(all, " OR "),
        }
    }

    fn holds(&self, row: (i64, i64)) -> bool {
        let value = |first: &bool| if *first { row.0 } else { row.1 };
        match self {
            Self::Compare(first, op, with) => match *op {
                "=" => value(first) == *with,
                "<>" => value(first) != *with,
                "<" => value(first) < *with,
                "<=" => value(first) <= *with,
                ">" => value(first) > *with,
                _ => value(first) >= *with,
            },
            Self::In(first, values) => values.contains(&value(first)),
            Self::Between(first, low, high) => (*low..=*high).contains(&value(first)),
            Self::Pairs(pairs) => pairs.contains(&row),
            Self::Not(inner) => !inner.holds(row),
            Self::And(all) => all.iter().all(|one| one.holds(row)),
            Self::Or(all) => all.iter().any(|one| one.holds(row)),
        }
    }
}

fn condition() -> impl Strategy<Value = Condition> {
    let number = -3_i64..8;
    let op = prop::sample::select(vec!["=", "=", "=", "<>", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        4 => (any::<bool>(), op, number.clone()).prop_map(|(c, op, v)| Condition::Compare(c, op, v)),
        2 => (any::<bool>(), prop::collection::vec(number.clone(), 1..4)).prop_map(|(c, v)| Condition::In(c, v)),
        2 => (any::<bool>(), number.clone(), number.clone()).prop_map(|(c, a, b)| Condition::Between(c, a, b)),
        1 => prop::collection::vec((number.clone(), number), 1..4).prop_map(Condition::Pairs),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::And),
            3 => prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::Or),
            1 => inner.prop_map(|one| Condition::Not(Box::new(one))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_row_in_question_is_on_a_shard_that_is_asked(condition in condition()) {
        let topology = topology();
        let sharding = topology.services[0].sharding.as_deref().unwrap();
        let sql = format!("SELECT * FROM t_event WHERE {}", condition.text());
        let asked: BTreeSet<usize> = match plan(&sql, sharding) {
            ShardPlan::Single(statement) => statement.shard.into_iter().collect(),
            ShardPlan::Scatter { statements, .. } => {
                statements.iter().filter_map(|statement| statement.shard).collect()
            }
            other => panic!("{other:?}"),
        };
        for tenant in -4..9 {
            for event in -4..9 {
                if condition.holds((tenant, event)) {
                    let (database, table) = (tenant.rem_euclid(2), event.rem_euclid(2));
                    let shard = usize::try_from(database * 2 + table).unwrap();
                    prop_assert!(asked.contains(&shard), "({tenant}, {event}) of {sql}");
                }
            }
        }
    }

    #[test]
    fn planning_ends_whatever_the_text(
        start in any::<prop::sample::Index>(), end in any::<prop::sample::Index>(),
        put in "[ ,.()'`?*=a0@]{0,4}",
    ) {
        let topology = topology();
        let sharding = topology.services[0].sharding.as_deref().unwrap();
        const TEXT: &str = "SELECT o.amount, COUNT(DISTINCT shop.t_order.status), AVG(i.quantity + ?) FROM shop.t_order \
            AS o LEFT JOIN t_item i ON o.user_id = i.user_id AND i.sku IN (SELECT code FROM t_dict) WHERE o.user_id IN \
            (1, ?, 3) AND EXISTS (SELECT 1 FROM t_user u WHERE u.id = o.user_id) GROUP BY o.amount ORDER BY 2 LIMIT 3, 4";
        let (start, end) = (start.index(TEXT.len()), end.index(TEXT.len()));
        let (start, end) = (start.min(end), start.max(end));
        plan(&format!("{}{put}{}", &TEXT[..start], &TEXT[end..]), sharding);
    }
}
