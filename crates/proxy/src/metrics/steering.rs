//! What is counted of statements that ask for something themselves, or do not go the usual way.
//!
//! Owns the names at `/metrics`: deadlines, units, mirror, hints, replays. Input: a service's counters.

use std::sync::atomic::{AtomicU64, Ordering};

use dbmesh_runtime::exposition::{Kind, Text};

use super::{CopyFate, Labelled, OVERDUE, UnitFate, each, each_of, replays};

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub(super) fn expose(all: &[Labelled<'_>], out: &mut Text) {
    let count = |c: &AtomicU64| c.load(Ordering::Relaxed) as f64;
    let family = (
        "dbmesh_statements_overdue_total",
        "Statements that took longer than they may, by what became of them.",
        Kind::Counter,
    );
    each_of(all, out, family, ("when", &OVERDUE), |m, at| {
        m.overdue.get(at).map_or(0.0, count)
    });
    let family = (
        "dbmesh_unit_statements_total",
        "Statements on which a unit's key, or that there is none, decided; by what became of them.",
        Kind::Counter,
    );
    let fates = UnitFate::ALL.map(|(_, label)| label);
    each_of(all, out, family, ("fate", &fates), |m, at| {
        m.units.get(at).map_or(0.0, count)
    });
    let family = (
        "dbmesh_mirror_copies_total",
        "Copies of statements, by what their comparison says.",
        Kind::Counter,
    );
    let fates = CopyFate::ALL.map(|(_, label)| label);
    each_of(all, out, family, ("outcome", &fates), |m, at| {
        m.copies.get(at).map_or(0.0, count)
    });
    let family = (
        "dbmesh_mirror_seconds_total",
        "Time of statements and of their copies that were compared.",
        Kind::Counter,
    );
    let sides = ["original", "copy"];
    each_of(all, out, family, ("side", &sides), |m, at| {
        m.copy_ns.get(at).map_or(0.0, count) / 1e9
    });
    let family = (
        "dbmesh_hints_refused_total",
        "Statements with hints that cannot be followed, or not by their user.",
        Kind::Counter,
    );
    each(all, out, family, |m| count(&m.hints_refused));
    replays::expose(all, out);
}
