//! Aggregates and their column definitions as the servers have them: one server over all rows, and the merger over
//! four shards' partial aggregates or rows.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/support.rs"]
mod support;

use dbmesh_merge::{
    Aggregate, Budgets, FloatSums, GroupConcat, Grouping, Key, MemorySpill, MergeSpec, Output,
    OutputDefinition,
};
use dbmesh_testkit::{Kind, shared};
use dbmesh_wire::Capabilities;
use dbmesh_wire::column::Column;
use dbmesh_wire::result_set::RowFormat;
use support::client::{Client, ResultSet};
use support::draw::{Draw, literal};
use support::{Merged, merge};

const SHARDS: usize = 4;
const FORMATS: [RowFormat; 2] = [RowFormat::Text, RowFormat::Binary];

fn ground(kind: Kind, schema: &str) -> Client {
    let mut client = Client::connect(shared(kind));
    client.query(&format!("DROP DATABASE IF EXISTS {schema}"));
    client.query(&format!("CREATE DATABASE {schema}"));
    client.query(&format!("USE {schema}"));
    client.query(
        "CREATE TABLE t (id INT PRIMARY KEY, g INT, i INT, u BIGINT UNSIGNED, d DECIMAL(12,5), w DECIMAL(60,30), \
         f DOUBLE, s VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, y DATE, t TIME(2), \
         e ENUM('zebra','apple','Mango') CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, z SMALLINT UNSIGNED)",
    );
    let mut draw = Draw(11);
    let mut rows = Vec::new();
    for id in 0..4000 {
        let null = |draw: &mut Draw, value: String| {
            if draw.below(12) == 0 {
                "NULL".to_owned()
            } else {
                value
            }
        };
        let g = null(&mut draw, (id * id % 37).to_string());
        let i = (draw.below(200) as i64 - 100).to_string();
        let i = null(&mut draw, i);
        let u = (draw.next() >> draw.below(60)).to_string();
        let u = null(&mut draw, u);
        let d = format!(
            "{}.{:05}",
            draw.below(2_000_000) as i64 - 1_000_000,
            draw.below(100_000)
        );
        let d = null(&mut draw, d);
        let w = format!("-{}.{:09}", draw.next(), draw.below(1_000_000_000));
        let f = format!("{}", (draw.below(4000) as f64 - 2000.0) / 8.0);
        let f = null(&mut draw, f);
        let s = literal("utf8mb4", draw.string().as_bytes());
        let s = null(&mut draw, s);
        let y = format!(
            "'20{:02}-{:02}-{:02}'",
            draw.below(9),
            draw.below(13),
            draw.below(29)
        );
        let t = format!(
            "'-{:02}:{:02}:{:02}.5'",
            draw.below(400),
            draw.below(60),
            draw.below(60)
        );
        let e = format!("'{}'", draw.of(&["zebra", "apple", "Mango"]));
        let z = draw.below(65536);
        rows.push(format!(
            "({id},{g},{i},{u},{d},{w},{f},{s},{y},{t},{e},{z})"
        ));
    }
    client.query("SET sql_mode = 'ALLOW_INVALID_DATES'");
    client.query(&format!("INSERT INTO t VALUES {}", rows.join(",")));
    client
}

fn shards(client: &mut Client, format: RowFormat, select: &str, tail: &str) -> Vec<ResultSet> {
    (0..SHARDS)
        .map(|shard| {
            client.run(
                format,
                &format!("SELECT {select} FROM t WHERE id % {SHARDS} = {shard} {tail}"),
            )
        })
        .collect()
}

fn derived(name: &str, value: Aggregate) -> Output {
    Output {
        value,
        definition: OutputDefinition::Derived(name.as_bytes().to_vec()),
    }
}

fn of(column: usize, value: Aggregate) -> Output {
    Output {
        value,
        definition: OutputDefinition::Column(column),
    }
}

fn first(column: usize) -> Output {
    of(column, Aggregate::First(column))
}

/// Rows and definitions of both.
fn compare(what: &str, merged: &Merged, whole: &ResultSet) {
    for (ours, theirs) in merged.merger.columns().iter().zip(&whole.columns) {
        let theirs = Column::decode(theirs).unwrap();
        let mut payload = Vec::new();
        ours.as_column()
            .encode(&mut payload, Capabilities::PROTOCOL_41);
        let name = String::from_utf8_lossy(theirs.name).into_owned();
        // MariaDB says other things of GROUP_CONCAT.
        if what.contains("MariaDb") && name.starts_with("gc") | name.starts_with("gd") {
            continue;
        }
        let shown = |c: &Column<'_>| {
            (
                c.column_type,
                c.flags,
                c.collation,
                c.length_bytes,
                c.decimals,
                c.name.to_vec(),
            )
        };
        assert_eq!(
            shown(&ours.as_column()),
            shown(&theirs),
            "{what}: definition of {name}"
        );
    }
    assert_eq!(merged.merger.columns().len(), whole.columns.len(), "{what}");
    for (ours, theirs) in merged.rows.iter().zip(&whole.rows) {
        assert_eq!(
            String::from_utf8_lossy(ours),
            String::from_utf8_lossy(theirs),
            "{what}"
        );
        assert_eq!(ours, theirs, "{what}");
    }
    assert_eq!(merged.rows.len(), whole.rows.len(), "{what}");
}

const PARTIAL: &str = "g, COUNT(*) AS c, COUNT(i) AS ci, SUM(i) AS si, SUM(d) AS sd, SUM(w) AS sw, SUM(f) AS sf, \
    MIN(CONCAT(s, '#', id)) AS ls, MAX(d) AS gd, MIN(y) AS ly, MAX(t) AS gt, BIT_AND(u) AS ba, BIT_OR(u) AS bo, BIT_XOR(u) AS bx, MAX(e) AS ge, \
    SUM(u) AS su, MIN(f) AS lf";

/// What partial aggregates become, and the statement that asks one server for the same.
fn partial_spec(order: bool) -> (MergeSpec, String) {
    let outputs = vec![
        first(0),
        of(1, Aggregate::CountPartial(1)),
        of(2, Aggregate::CountPartial(2)),
        of(3, Aggregate::Sum(3)),
        of(4, Aggregate::Sum(4)),
        of(5, Aggregate::Sum(5)),
        of(6, Aggregate::Sum(6)),
        of(7, Aggregate::Min(Key::ascending(7).collated(45))),
        of(8, Aggregate::Max(Key::ascending(8))),
        of(9, Aggregate::Min(Key::ascending(9))),
        of(10, Aggregate::Max(Key::ascending(10))),
        of(11, Aggregate::BitAnd(11)),
        of(12, Aggregate::BitOr(12)),
        of(13, Aggregate::BitXor(13)),
        of(14, Aggregate::Max(Key::ascending(14).collated(45))),
        of(15, Aggregate::Sum(15)),
        of(16, Aggregate::Min(Key::ascending(16))),
        derived(
            "ai",
            Aggregate::AvgPartial {
                sum: 3,
                count: 2,
                increment: 4,
            },
        ),
        derived(
            "ad",
            Aggregate::AvgPartial {
                sum: 4,
                count: 17,
                increment: 4,
            },
        ),
        of(
            19,
            Aggregate::AvgPartial {
                sum: 5,
                count: 1,
                increment: 4,
            },
        ),
        derived(
            "af",
            Aggregate::AvgPartial {
                sum: 6,
                count: 18,
                increment: 4,
            },
        ),
    ];
    let spec = MergeSpec {
        order: if order {
            vec![Key::ascending(0)]
        } else {
            vec![]
        },
        group: Some(Grouping {
            keys: vec![Key::ascending(0)],
            outputs,
            float_sums: FloatSums::Accept,
        }),
        ..MergeSpec::default()
    };
    (
        spec,
        format!("{PARTIAL}, AVG(i) AS ai, AVG(d) AS ad, AVG(w) AS aw, AVG(f) AS af"),
    )
}

fn partial(kind: Kind) {
    let mut client = ground(kind, "merge_partial");
    for format in FORMATS {
        for order in [true, false] {
            let tail = if order {
                "GROUP BY g ORDER BY g"
            } else {
                "GROUP BY g ORDER BY COUNT(*)"
            };
            let select = format!("{PARTIAL}, COUNT(d) AS cd, COUNT(f) AS cf, AVG(w) AS aw");
            let shards = shards(&mut client, format, &select, tail);
            let (spec, select) = partial_spec(order);
            let whole = client.run(
                format,
                &format!("SELECT {select} FROM t GROUP BY g ORDER BY g"),
            );
            let budgets = Budgets {
                memory_bytes_max: 300_000,
                ..Budgets::default()
            };
            let spill = Box::new(support::files::FileSpill::new());
            let merged = merge(&spec, format, &shards, budgets, Some(spill), 1000).unwrap();
            compare(
                &format!("{kind:?} {format:?} order {order}"),
                &merged,
                &whole,
            );
        }
    }
}

#[test]
fn partial_aggregates_of_mysql() {
    partial(Kind::MySql);
}

#[test]
fn partial_aggregates_of_mariadb() {
    partial(Kind::MariaDb);
}

/// Those that need all values of a group.
fn outputs_of_values() -> Vec<Output> {
    vec![
        derived("di", Aggregate::CountDistinct(vec![Key::ascending(2)])),
        derived(
            "ds",
            Aggregate::CountDistinct(vec![Key::ascending(6).collated(45)]),
        ),
        derived(
            "d2",
            Aggregate::CountDistinct(vec![Key::ascending(2), Key::ascending(6).collated(45)]),
        ),
        derived("sdi", Aggregate::SumDistinct(Key::ascending(2))),
        derived("sdd", Aggregate::SumDistinct(Key::ascending(4))),
        derived(
            "adi",
            Aggregate::AvgDistinct {
                key: Key::ascending(2),
                increment: 4,
            },
        ),
        derived("li", Aggregate::Min(Key::ascending(2))),
        derived("gy", Aggregate::Max(Key::ascending(7))),
        derived("bx", Aggregate::BitXor(2)),
        derived(
            "gc",
            Aggregate::GroupConcat(GroupConcat {
                columns: vec![6, 2],
                distinct: vec![],
                order: vec![Key::ascending(2), Key::ascending(0).descending()],
                separator: b"; ".to_vec(),
                bytes_max: 1024,
            }),
        ),
        derived(
            "gd",
            Aggregate::GroupConcat(GroupConcat {
                columns: vec![2],
                distinct: vec![Key::ascending(2)],
                order: vec![Key::ascending(2).descending()],
                separator: b",".to_vec(),
                bytes_max: 1024,
            }),
        ),
    ]
}

/// Aggregates from rows, and the statement that asks one server for the same.
fn rows_spec(order: bool) -> (MergeSpec, &'static str) {
    let mut outputs = vec![
        first(1),
        derived("c", Aggregate::CountRows),
        derived("ci", Aggregate::Count(2)),
        derived("si", Aggregate::Sum(2)),
        derived("su", Aggregate::Sum(3)),
        derived("sd", Aggregate::Sum(4)),
        derived("sf", Aggregate::Sum(5)),
        derived(
            "ai",
            Aggregate::Avg {
                column: 2,
                increment: 4,
            },
        ),
        derived(
            "az",
            Aggregate::Avg {
                column: 8,
                increment: 4,
            },
        ),
        derived(
            "ad",
            Aggregate::Avg {
                column: 4,
                increment: 4,
            },
        ),
        derived(
            "af",
            Aggregate::Avg {
                column: 5,
                increment: 4,
            },
        ),
    ];
    outputs.extend(outputs_of_values());
    let spec = MergeSpec {
        order: if order {
            vec![Key::ascending(1)]
        } else {
            vec![]
        },
        group: Some(Grouping {
            keys: vec![Key::ascending(1)],
            outputs,
            float_sums: FloatSums::Accept,
        }),
        ..MergeSpec::default()
    };
    let select = "g, COUNT(*) AS c, COUNT(i) AS ci, SUM(i) AS si, SUM(u) AS su, SUM(d) AS sd, SUM(f) AS sf, AVG(i) AS ai, \
        AVG(z) AS az, AVG(d) AS ad, AVG(f) AS af, COUNT(DISTINCT i) AS di, COUNT(DISTINCT s) AS ds, COUNT(DISTINCT i, s) AS d2, \
        SUM(DISTINCT i) AS sdi, SUM(DISTINCT d) AS sdd, AVG(DISTINCT i) AS adi, MIN(i) AS li, MAX(y) AS gy, BIT_XOR(i) AS bx, \
        GROUP_CONCAT(s, i ORDER BY i, id DESC SEPARATOR '; ') AS gc, \
        GROUP_CONCAT(DISTINCT i ORDER BY i DESC) AS gd";
    (spec, select)
}

fn rows(kind: Kind) {
    let mut client = ground(kind, "merge_rows");
    for format in FORMATS {
        for order in [true, false] {
            let tail = if order { "ORDER BY g" } else { "" };
            let shards = shards(&mut client, format, "id, g, i, u, d, f, s, y, z", tail);
            let (spec, select) = rows_spec(order);
            let whole = client.run(
                format,
                &format!("SELECT {select} FROM t GROUP BY g ORDER BY g"),
            );
            let budgets = Budgets {
                memory_bytes_max: 2 << 20,
                shard_bytes_max: 4096,
                ..Budgets::default()
            };
            let spill = Box::new(MemorySpill::default());
            let merged = merge(&spec, format, &shards, budgets, Some(spill), 4096).unwrap();
            compare(
                &format!("{kind:?} {format:?} order {order}"),
                &merged,
                &whole,
            );
            assert!(
                order || merged.merger.usage().runs > 0,
                "nothing was spilled"
            );
        }
        // Nothing at all is one group.
        let shards = shards(
            &mut client,
            format,
            "id, g, i, u, d, f, s, y, z",
            "AND id < 0",
        );
        let (mut spec, select) = rows_spec(false);
        spec.group.as_mut().unwrap().keys.clear();
        let sql = format!(
            "SELECT {} FROM t WHERE id < 0",
            select.replacen("g,", "ANY_VALUE(g) AS g,", 1)
        );
        let sql = if kind == Kind::MariaDb {
            sql.replace("ANY_VALUE(g)", "MAX(g)")
        } else {
            sql
        };
        let whole = client.run(format, &sql);
        let merged = merge(&spec, format, &shards, Budgets::default(), None, 4096).unwrap();
        assert_eq!(merged.rows, whole.rows, "{kind:?} {format:?}");
    }
}

#[test]
fn aggregates_of_rows_of_mysql() {
    rows(Kind::MySql);
}

#[test]
fn aggregates_of_rows_of_mariadb() {
    rows(Kind::MariaDb);
}

#[test]
fn group_concat_is_cut_as_the_server_cuts_it() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let mut client = ground(
            kind,
            if kind == Kind::MySql {
                "merge_cut"
            } else {
                "merge_cut_ma"
            },
        );
        client.query("SET group_concat_max_len = 30");
        let shards = shards(&mut client, RowFormat::Text, "id, g, s", "");
        let spec = MergeSpec {
            group: Some(Grouping {
                keys: vec![Key::ascending(1)],
                outputs: vec![
                    first(1),
                    derived(
                        "gc",
                        Aggregate::GroupConcat(GroupConcat {
                            columns: vec![2],
                            distinct: vec![],
                            order: vec![Key::ascending(0)],
                            separator: "é".as_bytes().to_vec(),
                            bytes_max: 30,
                        }),
                    ),
                ],
                ..Grouping::default()
            }),
            ..MergeSpec::default()
        };
        let whole = client.query("SELECT g, GROUP_CONCAT(s ORDER BY id SEPARATOR 'é') AS gc FROM t GROUP BY g ORDER BY g");
        let warnings = client.query("SHOW WARNINGS");
        let merged = merge(
            &spec,
            RowFormat::Text,
            &shards,
            Budgets::default(),
            None,
            4096,
        )
        .unwrap();
        compare(&format!("{kind:?}"), &merged, &whole);
        let theirs: Vec<String> = warnings
            .rows
            .iter()
            .map(|row| String::from_utf8_lossy(row).into_owned())
            .collect();
        eprintln!("{:?}", &theirs[..3]);
        assert_eq!(
            merged.merger.warning_count(),
            theirs.len() as u64,
            "{kind:?}"
        );
        for (ours, theirs) in merged.merger.warnings().iter().zip(&theirs) {
            assert!(
                theirs.contains(&format!("Row {} was cut by ", ours.row)),
                "{kind:?}: {ours:?} {theirs}"
            );
        }
    }
}
