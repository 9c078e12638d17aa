//! The documentation's list of what is refused on sharded tables is that of the code. `DBMESH_BLESS=1` writes it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use dbmesh_plan::shard::{LoadReason, RefuseReason as Reason};
use dbmesh_sql::StatementKind;

const BEGIN: &str = "<!-- refusals: written by crates/plan/tests/shard_refusals.rs -->\n";
const END: &str = "<!-- end of refusals -->\n";

/// All reasons, and what a user may do about each; empty where the reason says it.
fn all() -> Vec<(Reason, &'static str)> {
    [of_tables(), of_keys(), of_statements()].concat()
}

fn table() -> String {
    "t".to_owned()
}

fn of_tables() -> Vec<(Reason, &'static str)> {
    vec![
        (Reason::Unparsed { offset: 7 }, ""),
        (
            Reason::SeveralStatements,
            "prepared only, as servers refuse them; as text they run one after the other",
        ),
        (Reason::SystemSchema, "ask a server"),
        (
            Reason::ForeignSchema,
            "USE the service's schema, or name it",
        ),
        (Reason::UnknownSchema("s".to_owned()), ""),
        (Reason::MixedSchemas, "read them one after the other"),
        (
            Reason::UnknownTable(table()),
            "list it, or set a default node",
        ),
        (Reason::TableNameCase(table()), "write it as it is listed"),
        (Reason::AmbiguousName, "give tables aliases"),
        (Reason::Routine, ""),
        (Reason::SessionState, "read the value first, and send it"),
        (Reason::ColumnName, ""),
        (
            Reason::TargetRead,
            "read it through a derived table, as one server wants it too",
        ),
        (Reason::Partition, ""),
        (Reason::History, "read each table's past by itself"),
        (
            Reason::NoShardingCondition,
            "add a condition on the key, or lift the audit",
        ),
    ]
}

fn of_keys() -> Vec<(Reason, &'static str)> {
    vec![
        (Reason::KeyMissing, "give it, or define a key generator"),
        (Reason::KeyNull, "give it a value"),
        (Reason::KeyUnknown, "give a literal or a parameter"),
        (Reason::KeyNowhere, "add nodes for it"),
        (
            Reason::AlgorithmFails {
                algorithm: table(),
                why: "wasm `unreachable` instruction executed".to_owned(),
            },
            "correct the module: see [WASM](sharding-algorithms.md#wasm)",
        ),
        (Reason::KeyGenerated, ""),
        (Reason::HintMissing, ""),
        (Reason::HintUnused, ""),
        (
            Reason::HintValue {
                value: "abc".to_owned(),
                table: table(),
            },
            "",
        ),
        (Reason::HintWhole, ""),
    ]
}

fn of_statements() -> Vec<(Reason, &'static str)> {
    vec![
        (Reason::ColumnsUnknown, "list the columns"),
        (Reason::ColumnCount { row: 2 }, ""),
        (Reason::KeyType(table()), "correct `keyTypes`"),
        (
            Reason::KeyUpdate,
            "where [rows move](transactions.md#rows-that-move) it is served; else, delete the row and insert it anew",
        ),
        (Reason::NotDeterministic, "give the value itself"),
        (Reason::SeededRandom, "RAND() without a seed is served"),
        (Reason::NoPrimaryKey, "give it one"),
        (
            Reason::BroadcastChange,
            "change the copies with values that were read before",
        ),
        (Reason::Into, "take the rows in the client"),
        (Reason::Assignment, "compute it in the client"),
        (Reason::LockingLimit, "lock by key"),
        (
            Reason::LockingCopy,
            "lock them in statements of their own, or say which with FOR UPDATE OF",
        ),
        (
            Reason::LockingGather,
            "lock the rows of each table in a statement of its own",
        ),
        (Reason::TemporaryTable, ""),
        (Reason::View, ""),
        (Reason::ForeignKey, "bind the tables"),
        (
            Reason::ConstraintName,
            "shorten it to 60 characters, or leave it away",
        ),
        (Reason::UniqueKey, "add the sharding key to it"),
        (Reason::AutoIncrement, "define a key generator"),
        (Reason::MixedTables, "define them one by one"),
        (
            Reason::CreateSelect,
            "create the table, then INSERT … SELECT",
        ),
        (Reason::Rename, ""),
        (Reason::LoadData(LoadReason::ServersFile), "use LOCAL"),
        (Reason::LoadData(LoadReason::Copies), "INSERT the rows"),
        (
            Reason::LoadData(LoadReason::Values),
            "give the key in the file, or `SET key = @field`",
        ),
        (
            Reason::LoadData(LoadReason::Variables),
            "assign before, or SET columns only",
        ),
        (Reason::LoadData(LoadReason::Options), "separate otherwise"),
        (Reason::LoadData(LoadReason::Columns), "list the columns"),
        (
            Reason::LoadData(LoadReason::KeyMissing),
            "give it in the file",
        ),
        (Reason::LockTables, "use transactions"),
        (Reason::PhysicalNames, "ask a server"),
        (Reason::Explain, ""),
        (Reason::FullText, "search by key"),
        (Reason::CommonTableTwice, "write it out where it is read"),
        (Reason::Kind(StatementKind::Call), ""),
    ]
}

fn written() -> String {
    let mut text = BEGIN.to_owned();
    for (reason, remedy) in all() {
        let why = reason.why();
        let remedy = match remedy {
            "" => String::new(),
            remedy => format!(" — {remedy}"),
        };
        text.push_str(&format!("- {why}{remedy}\n"));
    }
    text + END
}

#[test]
fn the_documentation_lists_what_is_refused() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sharding.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let start = text.find(BEGIN).expect("the list begins");
    let end = text.find(END).expect("the list ends") + END.len();
    let expected = written();
    if std::env::var_os("DBMESH_BLESS").is_some() {
        let whole = [&text[..start], &expected, &text[end..]].concat();
        std::fs::write(&file, whole).unwrap();
        return;
    }
    assert_eq!(&text[start..end], expected, "DBMESH_BLESS=1 writes it");
}

#[test]
fn every_reason_of_the_code_is_listed() {
    let source = include_str!("../src/shard/reason.rs");
    let body = source.split("pub enum RefuseReason {").nth(1).unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let is_variant = |line: &&str| {
        line.starts_with("    ") && line.as_bytes().get(4).is_some_and(u8::is_ascii_uppercase)
    };
    let variants = body.lines().filter(is_variant).count();
    // One of them has reasons of its own.
    let files = source.split("pub enum LoadReason {").nth(1).unwrap();
    let files = files.split("\n}\n").next().unwrap();
    let of_files = files.lines().filter(is_variant).count();
    assert_eq!(variants - 1 + of_files, all().len());
}
