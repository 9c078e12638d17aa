//! How far the sources have come with what a session wrote, as their servers report it.
//!
//! Owns the session's positions at its sources. What wrote and is not reported leaves a doubt, which reads at replicas heed.
//! Input: the answers of a statement over several shards.

use dbmesh_wire::relay::Outcome;
use dbmesh_wire::track::{self, Item};

use super::super::Session;
use super::scatter::{Unit, Worked};
use super::work::Ended;
use crate::backend::{Flavor, LAST_GTID};
use crate::position::Position;

impl Session {
    /// How far the sources have come. What wrote and is not reported leaves a doubt, which reads at replicas heed.
    pub(super) fn note_reports(&mut self, worked: &Worked, unit: Unit) {
        let ended = || worked.ended.iter().flatten();
        let wrote = |ended: &&Ended| {
            unit == Unit::Definition || (unit != Unit::None && ended.outcome.affected_rows > 0)
        };
        let mut silent: Vec<usize> = ended().filter(wrote).map(|ended| ended.source).collect();
        silent.retain(|source| !worked.heard_of.contains(source));
        let reports = worked
            .reports
            .iter()
            .map(|(source, outcome)| (*source, outcome));
        for (source, outcome) in reports.chain(ended().map(|e| (e.source, &e.outcome))) {
            if self.note_report(source, outcome) {
                silent.retain(|other| *other != source);
            }
        }
        if self.state.in_transaction() {
            return;
        }
        for source in silent {
            self.note_position_at(source, &Position::Unknown);
        }
    }

    /// What a source reports of its transactions, if anything.
    pub(super) fn note_report(&mut self, source: usize, outcome: &Outcome) -> bool {
        let flavor = match self.is_mariadb() {
            true => Flavor::MariaDb,
            false => Flavor::MySql,
        };
        let mut reported = Position::Start;
        for item in track::items(&outcome.tracked).filter_map(Result::ok) {
            match item {
                Item::Gtids(gtids) => reported.note(gtids, Flavor::MySql),
                Item::SystemVariable { name, value } if name == LAST_GTID.as_bytes() => {
                    reported.note(value, flavor);
                }
                _ => {}
            }
        }
        if reported == Position::Start {
            return false;
        }
        self.note_position_at(source, &reported);
        true
    }

    pub(super) fn note_position_at(&mut self, source: usize, reported: &Position) {
        let Some(sharded) = &mut self.sharded else {
            return;
        };
        if let Some(part) = sharded.home.sources.get(source) {
            part.upstream.note_written(reported);
        }
        let position = match sharded.source == source {
            true => Some(&mut self.state.position),
            false => sharded.positions.get_mut(source),
        };
        if let Some(position) = position {
            position.follow(reported);
        }
    }
}
