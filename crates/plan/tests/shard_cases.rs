//! Golden cases of the shard planner: each statement of `cases/shard/*.txt` with its plan. `DBMESH_BLESS=1` writes them.
//!
//! A case is a line `> statement`, lines of its plan, and an empty line. `? 1, 'a'` before the plan binds parameters, `@ a=5`
//! gives user variables, `! 1` a hint, `+ 7, 8` generated values. Every text of a plan must parse again, and mean what was intended.
//! The statements of `mariadb.txt` are MariaDB's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/no_host.rs"]
mod no_host;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dbmesh_model::topology::Sharding;
use dbmesh_model::topology::sharding::{Shard, Table};
use dbmesh_model::{Purpose, Topology, load_text, resolve_for};
use dbmesh_plan::shard::{
    Catalog, Input, KeyLimit, KeyValue, KnownTable, NodeStatement, Parameter, ShardPlan,
    ShardPlanner, Shown, Variables, Zero,
};
use dbmesh_sql::{Dialect, Flavor, ParsedFacts, Parser};
use no_host::NoHost;

/// The cases; `DBMESH_SHARD_CASES` names another folder, for cases that a differential check generates.
fn folder() -> PathBuf {
    match std::env::var_os("DBMESH_SHARD_CASES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/shard"),
    }
}

fn topology() -> Topology {
    let file = folder().join("topology.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    resolve_for(Purpose::Plan, load_text(&file, &text), &NoHost).unwrap()
}

fn catalog() -> Catalog {
    let text = std::fs::read_to_string(folder().join("columns.txt")).unwrap();
    let limit = |least, most| {
        let columns = [("user_id".to_owned(), KeyLimit::Integer(least, most))];
        BTreeMap::from(columns)
    };
    let tables = text.lines().map(|line| {
        let (table, columns) = line.split_once(": ").unwrap();
        let columns = columns.split(", ").map(str::to_owned).collect();
        let limits = match table {
            "t_order" => limit(0, 4_294_967_295),
            _ => BTreeMap::new(),
        };
        let known = KnownTable {
            columns: Some(columns),
            limits,
            ..KnownTable::default()
        };
        (table.to_owned(), Arc::new(known))
    });
    Catalog {
        tables: tables.collect(),
        ..Catalog::default()
    }
}

#[derive(Default)]
struct Case {
    sql: String,
    dialect: Dialect,
    parameters: Option<String>,
    variables: Option<String>,
    hint: Option<String>,
    select_limit: Option<String>,
    generated: Option<String>,
    expected: String,
}

fn cases(text: &str, dialect: Dialect) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(sql) = line.strip_prefix("> ") {
            cases.push(Case {
                sql: sql.to_owned(),
                dialect,
                ..Case::default()
            });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            assert!(line.is_empty() || line.starts_with('#'), "{line}");
            continue;
        };
        if let Some(parameters) = line.strip_prefix("? ") {
            case.parameters = Some(parameters.to_owned());
        } else if let Some(variables) = line.strip_prefix("@ ") {
            case.variables = Some(variables.to_owned());
        } else if let Some(hint) = line.strip_prefix("! ") {
            case.hint = Some(hint.to_owned());
        } else if let Some(limit) = line.strip_prefix("< ") {
            case.select_limit = Some(limit.to_owned());
        } else if let Some(values) = line.strip_prefix("+ ") {
            case.generated = Some(values.to_owned());
        } else if !line.is_empty() {
            writeln!(case.expected, "{line}").unwrap();
        }
    }
    cases
}

fn parameter(text: &str) -> Parameter {
    if text == "NULL" {
        Parameter::Null
    } else if let Some(text) = text.strip_prefix('\'') {
        Parameter::Text(text.trim_end_matches('\'').as_bytes().to_vec())
    } else if text.contains('-') && text.len() > 9 {
        Parameter::Time(text.to_owned())
    } else if text.contains('.') {
        Parameter::Decimal(text.to_owned())
    } else {
        Parameter::Integer(text.parse().unwrap())
    }
}

fn plan(case: &Case, sharding: &Sharding, catalog: &Catalog) -> ShardPlan {
    let parameters: Option<Vec<Parameter>> = case
        .parameters
        .as_ref()
        .map(|text| text.split(", ").map(parameter).collect());
    let variables: Option<BTreeMap<Box<str>, Parameter>> = case.variables.as_ref().map(|text| {
        let named = text.split(", ").map(|one| one.split_once('=').unwrap());
        named
            .map(|(name, value)| (name.into(), parameter(value)))
            .collect()
    });
    let hint = case.hint.as_ref();
    let hint = hint.map(|hint| KeyValue::of_hint(hint));
    let mut planner = ShardPlanner::default();
    let input = Input {
        sql: case.sql.as_bytes(),
        dialect: &case.dialect,
        sharding,
        catalog,
        schema: Some("shop"),
        in_schema: true,
        chosen: None,
        here: None,
        utf8: true,
        parameters: parameters.as_deref(),
        variables: match &variables {
            Some(known) => Variables::Known(known),
            None => Variables::Hidden,
        },
        hint: hint.as_ref(),
        rows_as: None,
        zone: dbmesh_plan::shard::Zone::Steady,
        select_limit: case.select_limit.as_ref().map(|n| n.parse().unwrap()),
    };
    let Some(values) = &case.generated else {
        return planner.plan(&input);
    };
    let generation = planner.generation(&input, Zero::Asks);
    let values: Vec<KeyValue> = match generation {
        Ok(Some(generation)) => values
            .split(", ")
            .take(generation.count)
            .map(|value| KeyValue::Integer(value.parse().unwrap()))
            .collect(),
        Ok(None) => return planner.plan(&input),
        Err(reason) => return ShardPlan::Refuse(reason),
    };
    planner.plan_generated(&input, Zero::Asks, &values)
}

fn statements(plan: &ShardPlan) -> Vec<&NodeStatement> {
    match plan {
        ShardPlan::Single(statement) => vec![statement],
        ShardPlan::Broadcast { statements, .. } | ShardPlan::Scatter { statements, .. } => {
            statements.iter().collect()
        }
        ShardPlan::Load(load) => load.statements.iter().collect(),
        _ => Vec::new(),
    }
}

/// A rewritten text parses, is the same kind of statement, names as many tables, and only those of its node.
fn reparses(case: &Case, plan: &ShardPlan, sharding: &Sharding) {
    let dialect = case.dialect;
    let mut parser = Parser::new();
    let Ok(ast) = parser.parse(case.sql.as_bytes(), &dialect) else {
        return;
    };
    let before = ParsedFacts::of(ast, case.sql.as_bytes(), &dialect);
    for statement in statements(plan) {
        let text = String::from_utf8_lossy(&statement.sql);
        let mut parser = Parser::new();
        let ast = parser.parse(&statement.sql, &dialect);
        let ast = ast.unwrap_or_else(|error| panic!("{error}: {text}"));
        let after = ParsedFacts::of(ast, &statement.sql, &dialect);
        assert_eq!(after.kind, before.kind, "{text}");
        assert_eq!(after.tables.len(), before.tables.len(), "{text}");
        assert_eq!(after.read_only, before.read_only, "{text}");
        let marks = usize::try_from(after.parameters).unwrap();
        assert_eq!(marks, statement.parameters.len(), "{text}");
        for table in &after.tables {
            let schema = table.name.qualifier.map(|span| span.of(&statement.sql));
            if schema.is_some_and(|schema| schema.eq_ignore_ascii_case(b"information_schema")) {
                continue;
            }
            assert_eq!(table.name.qualifier, None, "{text}");
            let name = table.name.name.of(&statement.sql);
            let name = String::from_utf8_lossy(name).replace('`', "");
            let here = |shard: &Shard| shard.source == statement.source && shard.table == name;
            let of_node = |table: &Table| match table {
                Table::Sharded(table) => table.shards.iter().any(here),
                _ => false,
            };
            let known = sharding.tables.values().any(of_node);
            let logical = matches!(sharding.tables.get(&*name), Some(Table::Sharded(_)));
            assert!(known || !logical, "{name} is not at its node: {text}");
        }
    }
}

/// What becomes of a case, for the counts.
fn outcome(plan: &ShardPlan) -> String {
    let word = |reason: String| reason.split([' ', '(']).next().unwrap().to_owned();
    match plan {
        ShardPlan::Session => "session".to_owned(),
        ShardPlan::Single(_) => "single".to_owned(),
        ShardPlan::Broadcast { .. } => "broadcast".to_owned(),
        ShardPlan::Scatter { .. } => "scatter".to_owned(),
        ShardPlan::Load(_) => "load".to_owned(),
        ShardPlan::Gather(gather) => format!("gather {}", word(gather.reason.to_string())),
        ShardPlan::Dictionary(_) => "dictionary".to_owned(),
        ShardPlan::Refuse(reason) => format!("refuse {}", word(reason.to_string())),
        ShardPlan::Learn(_) => "learn".to_owned(),
    }
}

/// One file as it should be; what is not as it is goes to `wrong`.
fn written(
    (text, dialect): (&str, Dialect),
    sharding: &Sharding,
    counts: &mut BTreeMap<String, usize>,
    wrong: &mut Vec<String>,
) -> String {
    let catalog = catalog();
    let mut written = String::new();
    for line in text.lines().take_while(|line| line.starts_with('#')) {
        writeln!(written, "{line}").unwrap();
    }
    for case in cases(text, dialect) {
        let plan = plan(&case, sharding, &catalog);
        reparses(&case, &plan, sharding);
        *counts.entry(outcome(&plan)).or_default() += 1;
        let shown = Shown {
            plan: &plan,
            sharding,
        };
        let shown = format!("{shown}\n");
        if shown != case.expected {
            wrong.push(format!("> {}\n{shown}", case.sql));
        }
        writeln!(written, "\n> {}", case.sql).unwrap();
        if let Some(parameters) = &case.parameters {
            writeln!(written, "? {parameters}").unwrap();
        }
        if let Some(variables) = &case.variables {
            writeln!(written, "@ {variables}").unwrap();
        }
        if let Some(values) = &case.generated {
            writeln!(written, "+ {values}").unwrap();
        }
        if let Some(hint) = &case.hint {
            writeln!(written, "! {hint}").unwrap();
        }
        if let Some(limit) = &case.select_limit {
            writeln!(written, "< {limit}").unwrap();
        }
        written.push_str(&shown);
    }
    written
}

#[test]
fn plans_come_out_as_written() {
    let bless = std::env::var_os("DBMESH_BLESS").is_some();
    let topology = topology();
    let sharding = topology.services[0].sharding.as_deref().unwrap();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.extension().is_some_and(|e| e == "txt"))
        .filter(|file| {
            let stem = file.file_stem().unwrap().to_str();
            !matches!(stem, Some("columns" | "counts"))
        })
        .collect();
    files.sort();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let dialect = match file.ends_with("mariadb.txt") {
            true => Dialect {
                flavor: Flavor::MariaDb,
                version: 101_118,
                ..Dialect::default()
            },
            false => Dialect::default(),
        };
        let written = written((&text, dialect), sharding, &mut counts, &mut wrong);
        if bless {
            std::fs::write(&file, written).unwrap();
        }
    }
    let total: usize = counts.values().sum();
    let mut summary = format!("{total} cases\n");
    for (outcome, count) in &counts {
        writeln!(summary, "{count:4} {outcome}").unwrap();
    }
    let file = folder().join("counts.txt");
    if bless {
        std::fs::write(&file, &summary).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(total >= 250, "{total} cases");
    assert_eq!(summary, std::fs::read_to_string(&file).unwrap());
}
