//! The examples of `docs/sharding-algorithms.md` are what the planner does. `DBMESH_BLESS=1` writes what it does.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io;
use std::path::{Path, PathBuf};

use dbmesh_model::host::{Host, LocalHost};
use dbmesh_model::topology::Sharding;
use dbmesh_model::{Purpose, load_text, resolve_for};
use dbmesh_plan::shard::{Catalog, Input, KeyValue, ShardPlan, ShardPlanner, Variables};
use dbmesh_sql::{Dialect, Hints, analyze};
use zeroize::Zeroizing;

struct AnyHost;

impl Host for AnyHost {
    fn env(&self, _: &str) -> Option<Zeroizing<String>> {
        Some(Zeroizing::new("secret".to_owned()))
    }

    fn read(&self, _: &Path) -> io::Result<Zeroizing<String>> {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }

    /// A file of the documentation.
    fn read_bytes(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        LocalHost.read_bytes(&folder.join(path), bytes_max)
    }
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sharding-algorithms.md")
}

/// The nodes' tables that a statement goes to.
fn tables(sql: &str, sharding: &Sharding) -> String {
    let dialect = Dialect::default();
    let statement = analyze(sql.as_bytes(), &dialect);
    let hints = Hints::of_comments(sql.as_bytes(), &statement.hints).unwrap();
    let hint = hints
        .shard
        .map(|value| KeyValue::Integer(value.parse().unwrap()));
    let plan = ShardPlanner::default().plan(&Input {
        sql: sql.as_bytes(),
        dialect: &dialect,
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
        hint: hint.as_ref(),
        rows_as: None,
        zone: dbmesh_plan::shard::Zone::Steady,
    });
    let statements = match plan {
        ShardPlan::Single(statement) => vec![statement],
        ShardPlan::Scatter { statements, .. } => statements,
        other => panic!("{sql}: {other:?}"),
    };
    let place = |statement: &dbmesh_plan::shard::NodeStatement| {
        let source = &sharding.sources[statement.source].name;
        format!("{source}.{}", statement.tables[0].0)
    };
    let places: Vec<String> = statements.iter().map(place).collect();
    places.join(" ")
}

#[test]
fn the_examples_of_the_documentation_are_true() {
    let text = std::fs::read_to_string(page()).unwrap();
    let yaml = text.split("```yaml\n").nth(1).unwrap();
    let yaml = yaml.split("```").next().unwrap();
    let documents = load_text(Path::new("page.yaml"), yaml);
    let topology = resolve_for(Purpose::Plan, documents, &AnyHost).unwrap();
    let sharding = topology.services[0].sharding.as_deref().unwrap();
    let (mut written, mut examples, mut tables_seen) = (String::new(), 0, Vec::new());
    for line in text.split_inclusive('\n') {
        let example = !line.starts_with("- ") && !line.starts_with("| ");
        let Some((sql, _)) = line.split_once(" -> ").filter(|_| example) else {
            written += line;
            continue;
        };
        let found = tables(sql, sharding);
        tables_seen.push(found.split(['.', ' ']).nth(1).unwrap().to_owned());
        written += &format!("{sql} -> {found}\n");
        examples += 1;
    }
    if std::env::var_os("DBMESH_BLESS").is_some() {
        std::fs::write(page(), &written).unwrap();
        return;
    }
    assert_eq!(text, written);
    assert!(examples >= 30, "{examples}");
    for table in sharding.tables.keys() {
        let named = |seen: &String| seen.starts_with(&format!("{table}_"));
        assert!(tables_seen.iter().any(named), "{table} has no example");
    }
}
