//! Definitions over several shards, of which some may be out of reach.
//!
//! Owns what is done then: the others go on, the error says which shards have it, and the same statement finishes it. Must never
//! say that all have it when one has not, or has something else. Input: connections at work, and what came of them.

mod asking;

use std::collections::BTreeMap;
use std::sync::Arc;

use dbmesh_plan::shard::{Clock, NodeStatement};
use dbmesh_sql::{Class, Facts, Statement, digest_text, literal};
use dbmesh_wire::command::Parameter;
use dbmesh_wire::relay::Names;

use super::super::acquire::PRIMARY;
use super::super::{Failure, Session};
use super::ShardSession;
use super::answers::{Answers, Spread};
use super::work::{Ended, Unanswered, Work, of_server};
use crate::definitions::{Begun, Definition};
use crate::fault::Fault;
use crate::scatter::leg::Leg;

pub(super) use asking::{Asking, asks_again};

/// Bytes of a text in the list of definitions.
const TEXT_BYTES_MAX: usize = 1_024;
/// Places that an error lists; the others are counted.
const PLACES_MAX: usize = 8;
/// What a server says of a definition that it has already: table, no table, column, index; nothing to drop.
const HAS_IT: [u16; 5] = [1050, 1051, 1060, 1061, 1091];
/// No such table to drop: there is nothing to compare.
const GONE: u16 = 1051;

impl<'a> Spread<'a> {
    /// Nodes that do the same, and answer alike.
    pub(super) fn alike(
        nodes: Vec<NodeStatement>,
        clock: Clock,
        bound: Option<&'a [Parameter<'a>]>,
    ) -> Self {
        Self::new(nodes, Answers::Alike, clock, bound)
    }
}

impl Session {
    /// Whether a statement of one node is a definition that waits for locks as those over several nodes do: they may all be in
    /// one circle. What only a connection has, as a temporary table, is defined there.
    pub(super) fn defines_alone(&self, statement: &Statement) -> bool {
        let temporary = statement.facts.has(Facts::TEMPORARY_TABLE);
        statement.class == Class::Ddl && !temporary && self.state.pins.is_empty()
    }

    /// A definition begins.
    pub(super) fn begin_definition(&mut self, nodes: &[NodeStatement]) -> Arc<Definition> {
        let dialect = self.dialect();
        let first = nodes.first().map(|node| node.sql.as_slice());
        let handle = self.handle();
        let definition = self.process.definitions.begin(&Begun {
            service: &handle.service,
            user: &handle.user,
            text: digest_text(first.unwrap_or_default(), &dialect, TEXT_BYTES_MAX),
            nodes,
            now_ms: self.process.clock.now_ms(),
        });
        if definition.done() > 0 {
            let (done, shards) = (definition.done(), nodes.len());
            tracing::info!(done, shards, "a stopped definition is finished");
        }
        definition
    }

    /// Connections to the sources that can be reached; the parts of the others.
    pub(super) async fn definition_legs(
        &mut self,
        definition: &Definition,
        sources: &[usize],
        spread: &Spread<'_>,
    ) -> Result<(Vec<Leg>, Vec<Unanswered>), Failure> {
        let (mut legs, mut unreached) = (Vec::new(), Vec::new());
        let mut last = None;
        for source in sources {
            let due = |number: &usize| {
                let node = spread.nodes.get(*number);
                node.is_some_and(|node| node.source == *source) && !definition.has(*number)
            };
            let due = (0..spread.nodes.len()).filter(due);
            match self.definition_leg(*source).await {
                Ok(mut leg) => {
                    leg.queue.extend(due);
                    legs.push(leg);
                }
                Err(Failure::Fault(fault)) => {
                    let why = fault.to_string();
                    unreached.extend(due.map(|number| Unanswered {
                        number,
                        begun: false,
                        why: why.clone(),
                    }));
                    last = Some(fault);
                }
                Err(other) => {
                    definition.forget();
                    return Err(other);
                }
            }
        }
        match last {
            Some(fault) if legs.is_empty() && definition.done() == 0 => {
                definition.forget();
                Err(fault.into())
            }
            _ => Ok((legs, unreached)),
        }
    }

    async fn definition_leg(&mut self, source: usize) -> Result<Leg, Failure> {
        self.go_to(source).await?;
        self.in_own_schema(true).await?;
        self.acquire(PRIMARY).await?;
        let (Some(lease), Some(member)) = (self.lease.take(), self.member.clone()) else {
            return Err(Fault::NoEndpoint("the connection is gone".into()).into());
        };
        let vector = self.connection_vector().clone();
        Ok(Leg::new(lease, member, source, vector))
    }
}

/// Where a refusal says that the shard has it already, and its table is as the tables of those that have it, it is done there:
/// this finishes what was begun before anybody remembered.
pub(super) async fn compare(work: &mut Work<'_>) {
    let Some(definition) = work.definition.clone() else {
        return;
    };
    let code = |ended: &Ended| ended.outcome.error;
    let ended = || work.ended.iter().enumerate();
    let refused: Vec<(usize, u16)> = ended()
        .filter_map(|(number, ended)| Some((number, code(ended.as_ref()?)?)))
        .collect();
    let done = ended().find(|(_, ended)| ended.as_ref().is_some_and(|e| code(e).is_none()));
    let (Some((done, _)), false) = (done, refused.is_empty()) else {
        return;
    };
    if refused.iter().any(|(_, code)| !HAS_IT.contains(code)) {
        return;
    }
    if refused.iter().all(|(_, code)| *code == GONE) {
        refused
            .iter()
            .for_each(|(number, _)| definition.note_done(*number));
        return;
    }
    let Some(pattern) = shown(work, done).await else {
        return;
    };
    for (number, _) in refused {
        if shown(work, number).await.as_ref() == Some(&pattern) {
            definition.note_done(number);
        }
    }
}

/// The definition of a shard's table, in the client's name.
async fn shown(work: &mut Work<'_>, number: usize) -> Option<String> {
    let node = work.nodes.get(number)?;
    let (physical, ours) = node.tables.first()?;
    let leg = work.legs.iter_mut().find(|leg| leg.source == node.source)?;
    let mut sql = b"SHOW CREATE TABLE ".to_vec();
    sql.extend(literal::quote_identifier(physical.as_bytes()));
    let rows = leg.backend().ok()?.query(&sql).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(rows.first()?.get(1)?.as_deref()?).into_owned();
    Some(without_counter(&text.replace(physical, ours)))
}

/// Without where AUTO_INCREMENT is.
fn without_counter(text: &str) -> String {
    let Some((head, tail)) = text.split_once(" AUTO_INCREMENT=") else {
        return text.to_owned();
    };
    let tail = tail.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{head}{tail}")
}

/// What came of a definition.
pub(super) struct Report {
    definition: Arc<Definition>,
    /// Of every shard: where it is, in words.
    places: Vec<String>,
    unanswered: BTreeMap<usize, Unanswered>,
}

impl Report {
    /// Takes up what became of every shard.
    pub fn of(
        definition: Arc<Definition>,
        work: &mut Work<'_>,
        here: Option<&ShardSession>,
    ) -> Self {
        let sharding = here.and_then(ShardSession::sharding);
        let place = |node: &NodeStatement| {
            let legs = work.legs.iter().find(|leg| leg.source == node.source);
            let source = match legs {
                Some(leg) => leg.endpoint().to_owned(),
                None => {
                    let source = sharding.and_then(|s| s.sources.get(node.source));
                    source.map_or_else(|| "?".to_owned(), |source| source.name.to_string())
                }
            };
            match node.tables.first() {
                Some((physical, _)) => format!("{source}.{physical}"),
                None => source,
            }
        };
        let places: Vec<String> = work.nodes.iter().map(place).collect();
        let unanswered = std::mem::take(&mut work.unanswered);
        let report = Self {
            definition,
            places,
            unanswered: unanswered
                .into_iter()
                .map(|one| (one.number, one))
                .collect(),
        };
        let remaining = report.of_shards(|number| !report.definition.has(number));
        match report.definition.done() {
            0 => report.definition.forget(),
            done => {
                let (shards, left) = (report.places.len(), remaining.len());
                if left > 0 {
                    tracing::warn!(
                        done,
                        shards,
                        "a definition stopped; the same statement finishes it"
                    );
                }
                report
                    .definition
                    .end(remaining.iter().map(ToString::to_string).collect());
            }
        }
        report
    }

    fn of_shards(&self, wanted: impl Fn(usize) -> bool) -> Vec<&str> {
        let places = self.places.iter().enumerate();
        let wanted = places.filter(|(number, _)| wanted(*number));
        wanted.map(|(_, place)| place.as_str()).collect()
    }

    /// The error, unless all shards have it.
    pub fn check(&self, ended: &[Option<Ended>], names: &Names) -> Result<(), Fault> {
        let has = |number: usize| self.definition.has(number);
        let not = self.of_shards(|number| !has(number));
        if not.is_empty() {
            return Ok(());
        }
        let refused = ended.iter().enumerate().find_map(|(number, ended)| {
            let ended = ended.as_ref().filter(|ended| ended.outcome.error.is_some());
            ended.filter(|_| !has(number))
        });
        let mut fault = match refused {
            Some(ended) => of_server(&ended.end, "", names),
            None => {
                let why = self.unanswered.values().next().map(|one| one.why.as_str());
                Fault::Sharding(format!("the definition stopped: {}", why.unwrap_or("?")))
            }
        };
        let (Fault::Server { message, .. } | Fault::Sharding(message)) = &mut fault else {
            return Err(fault);
        };
        let done = self.of_shards(has);
        if !done.is_empty() {
            let begun = |number: usize| self.unanswered.get(&number).is_some_and(|one| one.begun);
            let maybe = self.of_shards(begun);
            let maybe = match maybe.is_empty() {
                true => String::new(),
                false => format!(" (perhaps at {})", listed(&maybe)),
            };
            message.push_str(&format!(
                " (done at {}; not at {}{maybe}; the same statement again finishes it)",
                listed(&done),
                listed(&not)
            ));
        }
        Err(fault)
    }
}

/// The first of them, and how many there are more.
fn listed(places: &[&str]) -> String {
    let first = places.get(..PLACES_MAX).unwrap_or(places);
    match places.len() - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_long_lists_are_left_out() {
        let text = "CREATE TABLE `t` (\n) ENGINE=InnoDB AUTO_INCREMENT=17 DEFAULT CHARSET=utf8mb4";
        let expected = "CREATE TABLE `t` (\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";
        assert_eq!(without_counter(text), expected);
        assert_eq!(without_counter(expected), expected);
        assert_eq!(listed(&["a", "b"]), "a, b");
        assert_eq!(listed(&["x"; 10]), "x, x, x, x, x, x, x, x and 2 more");
    }
}
