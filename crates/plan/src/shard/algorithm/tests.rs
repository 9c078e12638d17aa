//! Every algorithm: a value's slot is among those of every range with the value in it.

use dbmesh_model::topology::sharding::time::SECOND;
use dbmesh_model::topology::sharding::{Expression, KeyColumn, KeyKind, Target};
use proptest::prelude::*;

use super::*;

fn axis(algorithm: Algorithm, size: usize) -> Axis {
    Axis {
        columns: vec![KeyColumn {
            name: "id".to_owned(),
            kind: KeyKind::Integer,
        }],
        algorithm,
        targets: (0..size)
            .map(|n| Target {
                name: format!("t_{n}"),
                shards: vec![n],
            })
            .collect(),
    }
}

fn inline(text: &str) -> Algorithm {
    let expression = Expression::parse(text).unwrap();
    Algorithm::Inline { expression }
}

fn ring() -> Algorithm {
    use dbmesh_model::topology::sharding::algorithm::ring_hash;
    let point = |n: usize| (ring_hash(format!("t_{}#{n}", n % 4).as_bytes()), n % 4);
    let mut ring: Vec<_> = (0..64).map(point).collect();
    ring.sort_unstable();
    Algorithm::ConsistentHash { ring }
}

/// Every algorithm over whole numbers, small enough that ranges hit all slots.
fn over_integers() -> Vec<Axis> {
    vec![
        axis(Algorithm::Mod, 4),
        axis(Algorithm::HashMod, 4),
        axis(Algorithm::Crc32Mod, 5),
        axis(
            Algorithm::VolumeRange {
                lower: -10,
                upper: 25,
                volume: 10,
            },
            6,
        ),
        axis(
            Algorithm::BoundaryRange {
                boundaries: vec![-5, 0, 7],
            },
            4,
        ),
        axis(inline("t_${Math.abs(id) % 4}"), 4),
        axis(inline("t_${id % 3}"), 3),
        axis(inline("t_${hash(id) / 2}"), 4),
        axis(ring(), 4),
        axis(
            Algorithm::List {
                values: vec![("1".to_owned(), 0), ("2".to_owned(), 1)],
                default: None,
            },
            2,
        ),
        axis(
            Algorithm::List {
                values: vec![("1".to_owned(), 0)],
                default: Some(1),
            },
            2,
        ),
    ]
}

fn over_times() -> Vec<Axis> {
    vec![
        axis(
            Algorithm::AutoInterval {
                lower: 0,
                upper: 10 * SECOND,
                seconds: 3,
            },
            6,
        ),
        axis(
            Algorithm::Interval {
                starts: vec![0, 5 * SECOND, 9 * SECOND],
                slots: vec![1, 0, 1],
                end: 12 * SECOND,
            },
            2,
        ),
    ]
}

fn holds(axis: &Axis, value: KeyValue, low: Option<i128>, high: Option<i128>) {
    let of_value = slots(axis, &Constraint::Exact(value.clone()));
    let of_range = slots(axis, &Constraint::Range { low, high });
    for slot in of_value.iter() {
        assert!(
            of_range.has(slot),
            "{value:?} in {low:?}..={high:?}: {axis:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_value_is_inside_every_range_around_it(
        value in prop_oneof![-40_i128..40, any::<i64>().prop_map(i128::from)],
        below in prop::option::of(prop_oneof![0_i128..40, 0..i128::from(u64::MAX)]),
        above in prop::option::of(prop_oneof![0_i128..40, 0..i128::from(u64::MAX)]),
    ) {
        let (low, high) = (below.map(|below| value - below), above.map(|above| value + above));
        for axis in over_integers() {
            holds(&axis, KeyValue::Integer(value), low, high);
        }
    }

    #[test]
    fn a_time_is_inside_every_range_around_it(
        value in -2 * SECOND..15 * SECOND,
        below in prop::option::of(0..i128::from(8 * SECOND)),
        above in prop::option::of(0..i128::from(8 * SECOND)),
    ) {
        let at = i128::from(value);
        let (low, high) = (below.map(|below| at - below), above.map(|above| at + above));
        for axis in over_times() {
            holds(&axis, KeyValue::Time(value), low, high);
        }
    }
}

#[test]
fn short_ranges_leave_slots_out() {
    let count = |axis: &Axis, low, high| {
        slots(
            axis,
            &Constraint::Range {
                low: Some(low),
                high: Some(high),
            },
        )
        .len()
    };
    let found: Vec<_> = over_integers()
        .iter()
        .map(|axis| count(axis, 1, 2))
        .collect();
    assert_eq!(found, [2, 2, 2, 1, 1, 2, 2, 4, 2, 2, 2]);
    assert!(
        slots(
            &axis(Algorithm::Mod, 4),
            &Constraint::Range {
                low: Some(2),
                high: Some(1)
            }
        )
        .is_empty()
    );
}

#[test]
fn slots_are_those_of_shardingsphere() {
    let at = |axis: &Axis, number| slot(axis, &[KeyValue::Integer(number)]);
    let volume = axis(
        Algorithm::VolumeRange {
            lower: 10,
            upper: 45,
            volume: 10,
        },
        6,
    );
    for (number, expected) in [
        (0, 0),
        (9, 0),
        (10, 1),
        (19, 1),
        (20, 2),
        (44, 4),
        (45, 5),
        (1000, 5),
    ] {
        assert_eq!(at(&volume, number), Slot::At(expected), "{number}");
    }
    let boundary = axis(
        Algorithm::BoundaryRange {
            boundaries: vec![1, 5, 10],
        },
        4,
    );
    for (number, expected) in [(0, 0), (1, 1), (4, 1), (5, 2), (9, 2), (10, 3), (100, 3)] {
        assert_eq!(at(&boundary, number), Slot::At(expected), "{number}");
    }
    assert_eq!(at(&axis(Algorithm::Mod, 4), -1), Slot::At(3));
    assert_eq!(at(&axis(Algorithm::HashMod, 4), -1), Slot::At(1));
    assert_eq!(at(&axis(inline("t_${id % 4}"), 4), -1), Slot::Nowhere);
    let seconds = axis(
        Algorithm::AutoInterval {
            lower: 0,
            upper: 10 * SECOND,
            seconds: 5,
        },
        4,
    );
    for (second, expected) in [
        (-1, 0),
        (0, 0),
        (1, 1),
        (5, 1),
        (6, 2),
        (10, 2),
        (11, 3),
        (99, 3),
    ] {
        let value = KeyValue::Time(second * SECOND);
        assert_eq!(slot(&seconds, &[value]), Slot::At(expected), "{second}");
    }
}
