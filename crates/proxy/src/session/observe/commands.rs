//! What the audit says of commands that are no statements, and of the parts that a statement had at several nodes; what is
//! counted by table.
//!
//! Owns those lines and fields. A command that must be recorded and cannot be is refused, as a statement is. Input:
//! COM_INIT_DB, COM_STMT_PREPARE, statements over several shards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dbmesh_model::topology::{Endpoint, Switch};
use dbmesh_plan::Subject;
use dbmesh_plan::shard::{NodeStatement, Pull};
use dbmesh_runtime::ledger::Place;
use dbmesh_sql::{Class, Statement, digest_text};
use serde_json::{Value, json};

use super::{Observed, put_answer, put_failure};
use crate::fault::Fault;
use crate::insight::{Finished, Protocol};
use crate::logs::is_closed;
use crate::record::{Record, TEXT_BYTES_MAX};
use crate::redact;
use crate::scatter::leg::Leg;
use crate::session::judging::tables_of;
use crate::session::{Failure, Session};
use crate::upstream::Member;

/// Parts of one statement that its line names; it counts all.
const NODES_SHOWN_MAX: usize = 16;
/// Endpoints of one statement that insight hears of.
const PLACES_MAX: usize = 64;
/// Longest text of a part, in bytes.
const NODE_TEXT_BYTES_MAX: usize = TEXT_BYTES_MAX / NODES_SHOWN_MAX;

impl Session {
    /// The place of a command's line, where none runs without.
    pub(in crate::session) fn command_place(&self, class: Class) -> Result<Option<Place>, Failure> {
        match self.serving.logs.audit_of(class) {
            Some((audit, ledger)) if is_closed(audit) => {
                let refused = |why: &dyn std::fmt::Display| Fault::AuditFailing(why.to_string());
                Ok(Some(ledger.reserve().map_err(|why| refused(&why))?))
            }
            _ => Ok(None),
        }
    }

    /// Records that the session chose a schema.
    pub(in crate::session) fn record_init_db(
        &self,
        place: Option<Place>,
        schema: &[u8],
        ran: &Result<Option<u16>, Failure>,
    ) {
        let Some((_, ledger)) = self.serving.logs.audit_of(Class::Session) else {
            return;
        };
        let mut record = Record::new("init_db");
        record
            .session(self.handle())
            .text("schema", &String::from_utf8_lossy(schema));
        put_command_outcome(&mut record, ran);
        match place {
            Some(place) => place.fill(record.into_fields()),
            None => ledger.push(record.into_fields()),
        }
    }

    /// Records that a statement was prepared.
    pub(in crate::session) fn record_prepare(
        &self,
        place: Option<Place>,
        statement: &Statement,
        sql: &[u8],
        ran: &Result<Option<u16>, Failure>,
    ) {
        let Some((audit, ledger)) = self.serving.logs.audit_of(statement.class) else {
            return;
        };
        let mut record = Record::new("prepare");
        let observed = Observed {
            statement,
            sql,
            protocol: Protocol::Prepared,
            bytes_in: sql.len(),
        };
        self.describe(&mut record, observed, audit.literals);
        put_command_outcome(&mut record, ran);
        self.put_verdicts(&mut record);
        match place {
            Some(place) => place.fill(record.into_fields()),
            None => ledger.push(record.into_fields()),
        }
    }

    /// Counts a statement that ended at its tables.
    pub(super) fn count_tables(&self, observed: Observed<'_>, finished: &Finished<'_>, max: u32) {
        let dialect = self.state.known_dialect().unwrap_or_default();
        let subject = Subject {
            statement: observed.statement,
            sql: observed.sql,
            dialect: &dialect,
            schema: self.state.vector.schema.as_deref(),
        };
        let names = tables_of(&subject);
        let failed = finished.error.is_some();
        let tables = &self.serving.metrics.tables;
        tables.add(&names, max, finished.class, finished.took, failed);
    }

    /// Takes down where a statement over several nodes runs, and in which words; those are without literals.
    pub(in crate::session) fn note_nodes(&mut self, legs: &[Leg], nodes: &[NodeStatement]) {
        self.noted.shards = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        let tells = &self.serving.service.observability;
        if tells.audit.is_none() && tells.slow_log.is_none() {
            return;
        }
        let dialect = self.state.known_dialect().unwrap_or_default();
        let parts = legs
            .iter()
            .flat_map(|leg| leg.queue.iter().map(move |number| (leg, *number)));
        let shown = parts.take(NODES_SHOWN_MAX).filter_map(|(leg, number)| {
            let sql = &nodes.get(number)?.sql;
            let dialect = redact::safe_dialect(sql, dialect);
            Some(json!({
                "endpoint": leg.member.endpoint.name.as_str(),
                "text": digest_text(sql, &dialect, NODE_TEXT_BYTES_MAX),
            }))
        });
        let shown: Vec<Value> = shown.collect();
        let told = (nodes.len(), Value::Array(shown));
        self.noted.more.get_or_insert_default().nodes = Some(told);
    }

    /// Takes down how long the connections of a statement over several nodes worked on it.
    pub(in crate::session) fn note_spread(&mut self, legs: &[Leg]) {
        let worked = || legs.iter().filter_map(|leg| leg.worked.clone());
        let began = worked().map(|time| time.start).min();
        let ended = worked().map(|time| time.end).max();
        if let (Some(began), Some(ended)) = (began, ended) {
            self.noted.executed += ended - began;
        }
        if let Some(trace) = self.noted.trace() {
            for leg in legs {
                if let Some(time) = &leg.worked {
                    trace.executed(&leg.member.endpoint, time.start, time.end - time.start);
                }
            }
        }
        for leg in legs {
            let time = leg.worked.as_ref().map(|time| time.end - time.start);
            self.note_place(&leg.member.endpoint, time.unwrap_or_default());
        }
    }

    /// Takes down where the rows are that a statement needs in one place.
    pub(in crate::session) fn note_pulls(
        &mut self,
        pulls: &[Pull],
        members: &BTreeMap<usize, Arc<Member>>,
    ) {
        let parts = pulls.iter().flat_map(|pull| &pull.parts);
        self.noted.shards = u32::try_from(parts.clone().count()).unwrap_or(u32::MAX);
        let tells = &self.serving.service.observability;
        if tells.audit.is_none() && tells.slow_log.is_none() {
            return;
        }
        let shown = parts.clone().take(NODES_SHOWN_MAX).map(|part| {
            let member = members.get(&part.source);
            let endpoint = member.map(|member| member.endpoint.name.as_str());
            json!({ "endpoint": endpoint, "table": part.table.as_str() })
        });
        let told = (parts.count(), Value::Array(shown.collect()));
        self.noted.more.get_or_insert_default().nodes = Some(told);
    }

    /// How long these endpoints pulled them; what is left of the statement runs at one of them.
    pub(in crate::session) fn note_pulled<'m>(
        &mut self,
        members: impl Iterator<Item = &'m Arc<Member>>,
        took: Duration,
    ) {
        self.noted.executed += took;
        for member in members {
            self.note_place(&member.endpoint, took);
        }
    }

    fn note_place(&mut self, endpoint: &Arc<Endpoint>, took: Duration) {
        if self.serving.service.observability.insight == Switch::Off {
            return;
        }
        let places = &mut self.noted.more.get_or_insert_default().places;
        let same = |(known, _): &&mut (Arc<Endpoint>, Duration)| Arc::ptr_eq(known, endpoint);
        let room = places.len() < PLACES_MAX;
        match places.iter_mut().find(same) {
            Some((_, time)) => *time += took,
            None if room => places.push((endpoint.clone(), took)),
            None => {}
        }
    }

    /// The same of a statement that runs at one node, in these words.
    pub(in crate::session) fn note_node(&mut self, sql: &[u8]) {
        self.noted.shards = 1;
        let tells = &self.serving.service.observability;
        if tells.audit.is_none() && tells.slow_log.is_none() {
            return;
        }
        let dialect = self.state.known_dialect().unwrap_or_default();
        let dialect = redact::safe_dialect(sql, dialect);
        let text = digest_text(sql, &dialect, TEXT_BYTES_MAX);
        let told = (1, json!([{ "text": text }]));
        self.noted.more.get_or_insert_default().nodes = Some(told);
    }
}

/// What came of a command: a server's error, a failure, or nothing of the kind.
fn put_command_outcome(record: &mut Record, ran: &Result<Option<u16>, Failure>) {
    match ran {
        Ok(error) => put_answer(record, *error),
        Err(failure) => put_failure(record, failure),
    }
}
