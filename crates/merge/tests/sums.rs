//! Sums at the ends of their types: the longest DECIMAL, and the text of doubles.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/support.rs"]
mod support;

use dbmesh_merge::{
    Aggregate, Budgets, FloatSums, Grouping, Key, MergeError, MergeSpec, Output, OutputDefinition,
    Refusal,
};
use dbmesh_testkit::{Kind, shared};
use dbmesh_wire::result_set::RowFormat;
use support::client::Client;
use support::draw::Draw;
use support::merge;

fn of(column: usize, value: Aggregate) -> Output {
    Output {
        value,
        definition: OutputDefinition::Column(column),
    }
}

fn first(column: usize) -> Output {
    of(column, Aggregate::First(column))
}

#[test]
fn long_sums_are_exact_or_refused() {
    let mut client = Client::connect(shared(Kind::MySql));
    client.query("CREATE DATABASE merge_long");
    client.query("USE merge_long");
    client.query("CREATE TABLE n (v DECIMAL(65,0))");
    client.query(&format!(
        "INSERT INTO n VALUES ({}), (-1), ({})",
        "9".repeat(65),
        "9".repeat(64)
    ));
    let spec = |_| MergeSpec {
        group: Some(Grouping {
            outputs: vec![of(0, Aggregate::Sum(0))],
            ..Grouping::default()
        }),
        ..MergeSpec::default()
    };
    let one = client.query("SELECT v FROM n WHERE v < 0");
    let other = client.query("SELECT v FROM n WHERE v > 1e64");
    let merged = merge(
        &spec(0),
        RowFormat::Text,
        &[one, other.clone()],
        Budgets::default(),
        None,
        64,
    )
    .unwrap();
    let whole = client.query("SELECT SUM(v) FROM n WHERE v < 0 OR v > 1e64");
    assert_eq!(merged.rows, whole.rows);
    let error = merge(
        &spec(0),
        RowFormat::Text,
        &[other.clone(), other],
        Budgets::default(),
        None,
        64,
    )
    .unwrap_err();
    assert!(
        matches!(error, MergeError::Refused(Refusal::Overflow)),
        "{error}"
    );
}

#[test]
fn doubles_have_the_text_of_the_server() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let mut client = Client::connect(shared(kind));
        client.query("CREATE DATABASE IF NOT EXISTS merge_double");
        client.query("CREATE TABLE merge_double.f (id INT PRIMARY KEY, f DOUBLE)");
        let mut draw = Draw(3);
        let mut values: Vec<String> = (-25..25)
            .flat_map(|e| [format!("1e{e}"), format!("-1.25e{e}")])
            .collect();
        while values.len() < 20_000 {
            let any = f64::from_bits(draw.next());
            let round = draw.below(1 << 30) as f64 * 10_f64.powi(draw.below(40) as i32 - 30);
            let value = *draw.of(&[any, round, -round]);
            if value.is_finite() && value.abs() < 1e300 {
                values.push(format!("{value:e}"));
            }
        }
        let rows: Vec<String> = (0..)
            .zip(&values)
            .map(|(id, value)| format!("({id},{value})"))
            .collect();
        client.query(&format!(
            "INSERT INTO merge_double.f VALUES {}",
            rows.join(",")
        ));
        let set = client.query("SELECT id, f FROM merge_double.f ORDER BY id");
        let whole = client.query("SELECT id, SUM(f) FROM merge_double.f GROUP BY id ORDER BY id");
        let spec = MergeSpec {
            order: vec![Key::ascending(0)],
            group: Some(Grouping {
                keys: vec![Key::ascending(0)],
                outputs: vec![first(0), of(1, Aggregate::Sum(1))],
                float_sums: FloatSums::Accept,
            }),
            ..MergeSpec::default()
        };
        let merged = merge(
            &spec,
            RowFormat::Text,
            &[set],
            Budgets::default(),
            None,
            4096,
        )
        .unwrap();
        for (ours, theirs) in merged.rows.iter().zip(&whole.rows) {
            assert_eq!(
                String::from_utf8_lossy(ours),
                String::from_utf8_lossy(theirs),
                "{kind:?}"
            );
        }
        client.query("DROP DATABASE merge_double");
    }
}
