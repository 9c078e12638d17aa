//! What the read of an UPDATE says, and what is made of its rows.

use dbmesh_model::topology::sharding::{Algorithm, Audit, Axis, KeyColumn, Shard, Target};

use super::*;

/// `id % 4`, a shard each.
fn sharded(kind: KeyKind) -> ShardedTable {
    let shard = |n: usize| Shard {
        source: n / 2,
        table: format!("t_{n}"),
    };
    let target = |n: usize| Target {
        name: format!("t_{n}"),
        shards: vec![n],
    };
    ShardedTable {
        name: "t".to_owned(),
        shards: (0..4).map(shard).collect(),
        database: None,
        table: Some(Axis {
            columns: vec![KeyColumn {
                name: "id".to_owned(),
                kind,
            }],
            algorithm: match kind {
                KeyKind::Integer => Algorithm::Mod,
                _ => Algorithm::Crc32Mod,
            },
            targets: (0..4).map(target).collect(),
        }),
        binding: None,
        key_generator: None,
        audit: Audit::None,
    }
}

fn computed(kind: KeyKind, limit: Option<KeyLimit>, order: Option<Vec<(usize, bool)>>) -> Computed {
    let found = |name: &str, assigned, key, limit| Found {
        name: name.to_owned(),
        assigned,
        key,
        limit,
    };
    Computed {
        finds: Vec::new(),
        columns: vec![
            found("id", true, Some(kind), limit),
            found("line", false, None, None),
        ],
        order,
        assigned: BTreeSet::from(["id".to_owned()]),
    }
}

fn integers(order: Option<Vec<(usize, bool)>>) -> Computed {
    let limit = KeyLimit::Integer(0, 255);
    computed(KeyKind::Integer, Some(limit), order)
}

fn row(computed: &Computed, id: &str, new: &str, line: &str) -> Result<Rekeyed, Unmoved> {
    let kind = computed.columns[0].key.unwrap();
    let values = [id, new, line, line].map(|text| Some(text.as_bytes()));
    computed.row(&sharded(kind), &values, true)
}

/// Rows of `(id, new id, line)`, each at the shard of its old key.
fn rows(computed: &Computed, all: &[(u8, u8, &str)]) -> Vec<(usize, Rekeyed)> {
    let one = |(id, new, line): &(u8, u8, &str)| {
        let row = row(computed, &id.to_string(), &new.to_string(), line).unwrap();
        (usize::from(id % 4), row)
    };
    all.iter().map(one).collect()
}

#[test]
fn a_row_belongs_where_its_new_key_says() {
    let computed = integers(None);
    assert_eq!(row(&computed, "1", "7", "1").unwrap().shard, 3);
    assert_eq!(row(&computed, "1", "255", "x").unwrap().shard, 3);
    // What its column would store otherwise, or not at all.
    for new in ["256", "-1", "7.0", "07", "7e0", "", "x"] {
        assert_eq!(row(&computed, "1", new, "1"), Err(Unmoved::Stored), "{new}");
    }
    let null = computed.row(&sharded(KeyKind::Integer), &[Some(b"1"), None], true);
    assert_eq!(null, Err(Unmoved::Refused(RefuseReason::KeyNull)));
    // Of a column that is not known, nothing is.
    let unknown = super::tests::computed(KeyKind::Integer, None, None);
    assert_eq!(row(&unknown, "1", "7", "1"), Err(Unmoved::Stored));
}

#[test]
fn texts_are_taken_as_they_are_kept() {
    let computed = computed(KeyKind::Text, Some(KeyLimit::Chars(3)), None);
    assert!(row(&computed, "a", "äöü", "1").is_ok());
    for new in ["abcd", "ab "] {
        assert_eq!(row(&computed, "a", new, "1"), Err(Unmoved::Stored), "{new}");
    }
}

#[test]
fn conditions_count_the_rows_of_their_keys() {
    let computed = integers(None);
    let all = rows(&computed, &[(1, 6, "1"), (1, 6, "2"), (5, 10, "1")]);
    let told = computed.conditions(all.iter().map(|(_, row)| row));
    let text = "(`id`) IN ((6), (10))".as_bytes().to_vec();
    assert_eq!(told, [(text, 3)]);
    let many: Vec<(u8, u8, &str)> = (0..200).map(|id| (id, id + 1, "1")).collect();
    let many = rows(&computed, &many);
    let told = |times: usize| {
        let rows = many.iter().cycle().take(200 * times);
        computed.conditions(rows.map(|(_, row)| row))
    };
    assert_eq!(told(3).iter().map(|(_, count)| count).sum::<u64>(), 600);
}

#[test]
fn what_would_be_equal_for_a_moment_depends_on_the_order() {
    let next = [(1, 2, "1"), (2, 3, "1")];
    let by_id = |descending| integers(Some(vec![(0, descending)]));
    for (computed, clashes) in [
        (integers(None), true),
        (by_id(false), true),
        (by_id(true), false),
    ] {
        let rows = rows(&computed, &next);
        assert_eq!(computed.clashes(&rows, Unique::Primary), clashes);
        assert!(!computed.clashes(&rows, Unique::No));
    }
    let computed = integers(None);
    // Other lines have other primary keys, but not other unique ones.
    let apart = rows(&computed, &[(1, 2, "1"), (2, 3, "2")]);
    assert!(!computed.clashes(&apart, Unique::Primary));
    assert!(computed.clashes(&apart, Unique::More));
    // Texts may be equal that are not alike.
    let alike = rows(&computed, &[(1, 2, "a"), (2, 3, "A")]);
    assert!(computed.clashes(&alike, Unique::Primary));
    // Nothing has that key, or it is a row of the same shard.
    let none = rows(
        &computed,
        &[(1, 12, "1"), (2, 13, "1"), (5, 9, "1"), (9, 17, "1")],
    );
    assert!(!computed.clashes(&none, Unique::Primary));
}
