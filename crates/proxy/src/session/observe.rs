//! What is told of a statement: to insight, the audit, the slow log and traces.
//!
//! Owns what is noted on a statement's way and who hears of it at the end. It must cost next to nothing where nobody asks,
//! and never change what the client gets, but for an audit that may not miss a statement. Input: the stages of the path.

mod commands;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use dbmesh_model::topology::{Durability, Endpoint, Switch};
use dbmesh_sql::{Facts, Hints, Statement};
use dbmesh_wire::relay::Outcome;

use super::demand::Attributes;
use super::exchange::{Lost, note_fate};
use super::{Failure, Flow, Session};
use crate::backend::Flavor;
use crate::fault::{Blame, Fault};
use crate::insight::{Finished, Protocol, TEXT_BYTES_MAX};
use crate::logs::is_closed;
use crate::metrics::Done;
use crate::record::{self, Record};
use crate::redact;
use crate::spans::{self, Context, Told, Trace};
use crate::texts::text_of;
use crate::upstream::Member;
use dbmesh_runtime::ledger::Place;
use serde_json::Value;

/// What is known of the statement at hand.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Time waited for a connection.
    waited: Duration,
    /// Time at servers, of all attempts.
    executed: Duration,
    /// Whether a server had it.
    reached: bool,
    /// At how many nodes of a sharded service it runs; 0 where there are none, or nobody had it.
    shards: u32,
    /// A server refused it.
    pub failed: bool,
    /// Pins that it added, as bits.
    pub pins: u32,
    /// Whether it says something of itself with hints.
    pub labelled: bool,
    /// It counts as being answered.
    processing: bool,
    /// What only some configurations need.
    more: Option<Box<More>>,
}

#[derive(Debug, Default)]
struct More {
    trace: Option<Box<Trace>>,
    /// The beginning of its line in the audit.
    record: Option<Record>,
    /// The place of that line.
    place: Option<Place>,
    /// At how many nodes of a sharded service it runs; some of them, with its words there.
    nodes: Option<(usize, Value)>,
    /// The endpoints of a statement over several nodes, and how long each worked on it.
    places: Vec<(Arc<Endpoint>, Duration)>,
}

impl Noted {
    /// The next command begins.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A server was asked, and answered or did not.
    pub(super) fn executed(
        &mut self,
        member: &Member,
        time: Range<Instant>,
        result: &Result<Outcome, Lost>,
    ) {
        let took = time.end - time.start;
        note_fate(member, result, took);
        member.answered(took, result.as_ref().ok().and_then(|o| o.error));
        self.executed += took;
        self.reached = true;
        if let Some(trace) = self.trace() {
            trace.executed(&member.endpoint, time.start, took);
        }
    }

    /// A connection was waited for, until now.
    pub(super) fn waited(&mut self, took: Duration) {
        if took.is_zero() {
            return;
        }
        self.waited += took;
        if let Some(trace) = self.trace() {
            trace.waited(took);
        }
    }

    fn trace(&mut self) -> Option<&mut Trace> {
        self.more.as_mut()?.trace.as_deref_mut()
    }
}

/// What came of a statement, for the counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Executed {
    pub(super) flow: Flow,
    pub(super) bytes_out: u64,
    pub(super) rows: u64,
    pub(super) affected: u64,
    /// The server's error.
    pub(super) error: Option<u16>,
}

impl Executed {
    /// An answer of the proxy's own.
    pub(super) const LOCAL: Self = Self {
        flow: Flow::Continue,
        bytes_out: 0,
        rows: 0,
        affected: 0,
        error: None,
    };

    /// What a server's answer came to.
    pub(super) fn of(statement: &Statement, outcome: &Outcome) -> Self {
        let releases = statement.facts.has(Facts::RELEASE) && outcome.error.is_none();
        Self {
            flow: if releases { Flow::Quit } else { Flow::Continue },
            bytes_out: outcome.bytes,
            rows: outcome.rows,
            affected: outcome.affected_rows,
            error: outcome.error,
        }
    }
}

/// Runs something, and measures it if it has to wait. What is ready at once costs no look at a clock.
pub(super) async fn timed<T>(mut work: Pin<&mut impl Future<Output = T>>) -> (T, Duration) {
    let mut since: Option<Instant> = None;
    std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => {
            let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
            Poll::Ready((done, waited))
        }
        Poll::Pending => {
            since.get_or_insert_with(Instant::now);
            Poll::Pending
        }
    })
    .await
}

/// A statement that is observed.
#[derive(Clone, Copy)]
pub(super) struct Observed<'a> {
    pub statement: &'a Statement,
    pub sql: &'a [u8],
    pub protocol: Protocol,
    pub bytes_in: usize,
}

impl Session {
    /// Begins the statement's trace, if it is sampled: the client's own context counts, in an attribute before a comment
    /// before a hint.
    pub(super) fn trace(&mut self, statement: &Statement, sql: &[u8], attributes: &Attributes<'_>) {
        let Some(tracer) = &self.serving.tracer else {
            return;
        };
        let dialect = self.state.known_dialect().unwrap_or_default();
        let in_hints = || {
            let attribute = attributes.hints().ok().flatten();
            let attribute = attribute.and_then(|text| Hints::of_attribute(text).ok());
            let comments = match statement.hints.as_slice() {
                [] => None,
                spans => Hints::of_comments(sql, spans).ok(),
            };
            let of_text = self.demand.text.as_deref();
            let of_text = of_text.and_then(|text| text.read().ok().flatten());
            let value = |hints: &Option<Hints<'_>>| {
                let value = hints.as_ref()?.traceparent?;
                Context::parse(value.as_bytes())
            };
            let own = value(&attribute).or_else(|| value(&comments));
            own.or_else(|| value(&of_text))
        };
        let context = (attributes.text_of(b"traceparent"))
            .and_then(Context::parse)
            .or_else(|| spans::in_comment(sql, &dialect))
            .or_else(in_hints);
        if let Some(trace) = tracer.begin(context, self.started) {
            self.noted.more.get_or_insert_default().trace = Some(trace);
        }
    }

    /// Whether the audit wants the statement.
    pub(super) fn is_recorded(&self, statement: &Statement) -> bool {
        self.serving.logs.audit_of(statement.class).is_some()
    }

    /// Begins the statement's line in the audit. Where no statement may run without, there is a place for the line
    /// then, or the statement is refused.
    pub(super) async fn record(&mut self, observed: Observed<'_>) -> Result<(), Failure> {
        let serving = self.serving.clone();
        let Some((audit, ledger)) = serving.logs.audit_of(observed.statement.class) else {
            return Ok(());
        };
        let refused = |why: &dyn std::fmt::Display| Fault::AuditFailing(why.to_string());
        let place = match is_closed(audit) {
            true => Some(ledger.reserve().map_err(|why| refused(&why))?),
            false => None,
        };
        if audit.durability == Durability::SyncedBefore {
            let mut begins = Record::new("begin");
            self.describe(&mut begins, observed, audit.literals);
            let synced = ledger.push_synced(begins.into_fields());
            synced.await.map_err(|why| refused(&why))?;
        }
        let mut record = Record::new("statement");
        self.describe(&mut record, observed, audit.literals);
        let more = self.noted.more.get_or_insert_default();
        more.record = Some(record);
        more.place = place;
        Ok(())
    }

    /// Who sends what.
    fn describe(&self, record: &mut Record, observed: Observed<'_>, literals: Switch) {
        let Observed { statement, sql, .. } = observed;
        record.session(self.handle());
        if let Some(schema) = &self.state.vector.schema {
            record.text("schema", &String::from_utf8_lossy(schema));
        }
        if self.noted.labelled {
            record.json("labels", &self.handle().labels_json());
        }
        record
            .text("protocol", observed.protocol.label())
            .text("class", crate::metrics::class_label(statement.class))
            .text("digest", &statement.digest.to_string());
        let dialect = self.state.known_dialect().unwrap_or_default();
        match literals {
            Switch::Off => record.text("text", &text_of(statement.digest.0, sql, dialect)),
            Switch::On => {
                let shown = redact::shown(sql, statement, dialect, record::TEXT_BYTES_MAX);
                record.text("sql", &shown)
            }
        };
    }

    /// Counts a statement as being answered, from now on.
    pub(super) fn begin_processing(&mut self) {
        self.noted.processing = true;
        self.serving.metrics.begin();
    }

    /// Counts a statement that ended.
    pub(super) fn count(
        &mut self,
        statement: &Statement,
        bytes_in: usize,
        executed: &Result<Executed, Failure>,
    ) {
        self.noted.processing = false;
        let done = match executed {
            Ok(done) => done,
            Err(_) => return self.serving.metrics.abandon(),
        };
        self.handle().statements.fetch_add(1, Ordering::Relaxed);
        self.serving.metrics.end(&Done {
            class: statement.class,
            took: self.answered.saturating_duration_since(self.started),
            bytes_in: bytes_in as u64,
            bytes_out: done.bytes_out,
            rows: done.rows,
            failed: done.error.is_some(),
            waited: self.noted.waited,
        });
    }

    /// Tells of a statement that ended, however it did.
    pub(super) fn observe(&mut self, observed: Observed<'_>, ran: &Result<Executed, Failure>) {
        let tells = &self.serving.service.observability;
        let quiet = tells.insight == Switch::Off
            && tells.slow_log.is_none()
            && tells.audit.is_none()
            && tells.table_metrics == 0
            && self.noted.more.is_none();
        if quiet {
            return;
        }
        let more = self.noted.more.take().map(|more| *more).unwrap_or_default();
        let finished = self.finished(observed, ran, &more.places);
        if tells.table_metrics > 0 {
            self.count_tables(observed, &finished, tells.table_metrics);
        }
        if tells.insight == Switch::On {
            let dialect = || self.state.known_dialect().unwrap_or_default();
            let sql = observed.sql;
            self.process.insight.add(&finished, || {
                let dialect = redact::safe_dialect(sql, dialect());
                dbmesh_sql::digest_text(sql, &dialect, TEXT_BYTES_MAX)
            });
        }
        let trace_id = more.trace.as_ref().map(|trace| trace.id());
        if let (Some(trace), Some(tracer)) = (&more.trace, &self.serving.tracer) {
            tracer.end(trace, &self.told(observed, &finished));
        }
        self.log_if_slow(observed, &finished, ran, (trace_id.as_deref(), &more.nodes));
        let Some((audit, ledger)) = self.serving.logs.audit_of(observed.statement.class) else {
            return;
        };
        let mut record = more.record.unwrap_or_else(|| {
            let mut record = Record::new("statement");
            self.describe(&mut record, observed, audit.literals);
            record
        });
        record.finished(&finished);
        put_nodes(&mut record, &more.nodes);
        put_outcome(&mut record, ran);
        self.put_verdicts(&mut record);
        if let Some(id) = &trace_id {
            record.text("trace_id", id);
        }
        match more.place {
            Some(place) => place.fill(record.into_fields()),
            None => ledger.push(record.into_fields()),
        }
    }

    /// The session ends while a statement is under way: its line says so.
    pub(super) fn observe_stopped(&mut self) {
        if std::mem::take(&mut self.noted.processing) {
            self.serving.metrics.abandon();
        }
        let Some(more) = self.noted.more.take() else {
            return;
        };
        let Some(mut record) = more.record else {
            return;
        };
        record.text("outcome", "stopped");
        match (more.place, &self.serving.logs.audit) {
            (Some(place), _) => place.fill(record.into_fields()),
            (None, Some((_, ledger))) => ledger.push(record.into_fields()),
            (None, None) => {}
        }
    }

    fn finished<'a>(
        &'a self,
        observed: Observed<'_>,
        ran: &Result<Executed, Failure>,
        places: &'a [(Arc<Endpoint>, Duration)],
    ) -> Finished<'a> {
        let took = match self.noted.reached {
            true => self.answered.saturating_duration_since(self.started),
            false => self.started.elapsed(),
        };
        let none = Executed::LOCAL;
        let executed = ran.as_ref().unwrap_or(&none);
        let member = self.member.as_ref().filter(|_| self.noted.reached);
        Finished {
            session: self.handle(),
            digest: observed.statement.digest.0,
            class: observed.statement.class,
            protocol: observed.protocol,
            now_ms: self.process.clock.now_ms(),
            took,
            waited: self.noted.waited,
            executed: self.noted.executed,
            rows: executed.rows,
            affected: executed.affected,
            bytes_in: observed.bytes_in as u64,
            bytes_out: executed.bytes_out,
            error: match ran {
                Ok(executed) => executed.error,
                Err(Failure::Fault(fault)) => Some(fault.code().0),
                // The client got none; insight counts it as unknown.
                Err(Failure::ClientLost | Failure::AnswerCut | Failure::Stopped) => Some(0),
            },
            endpoint: member.map(|member| &member.endpoint),
            shards: self.noted.shards,
            places,
            pins: self.noted.pins,
        }
    }

    /// The rules that the statement met.
    fn put_verdicts(&self, record: &mut Record) {
        let Some(verdict) = &self.governed.verdict else {
            return;
        };
        let hits = verdict.hits.iter().map(
            |hit| serde_json::json!({ "rule": &*hit.rule, "mode": hit.mode, "action": hit.action }),
        );
        let hits: serde_json::Value = hits.collect();
        record.json("rules", &hits);
    }

    fn told<'a>(&'a self, observed: Observed<'_>, finished: &Finished<'_>) -> Told<'a> {
        let dialect = self.state.known_dialect().unwrap_or_default();
        let facts = self.member.as_ref().and_then(|m| m.pool.facts());
        Told {
            service: &self.handle().service,
            system: match facts.map(|facts| facts.flavor) {
                Some(Flavor::MariaDb) => "mariadb",
                Some(Flavor::MySql) | None => "mysql",
            },
            schema: (self.state.vector.schema.as_deref()).and_then(|s| std::str::from_utf8(s).ok()),
            text: text_of(finished.digest, observed.sql, dialect),
            digest: finished.digest,
            user: &self.handle().user,
            client: &self.handle().address,
            rows: finished.rows,
            affected: finished.affected,
            error: finished.error,
            took: finished.took,
        }
    }

    fn log_if_slow(
        &self,
        observed: Observed<'_>,
        finished: &Finished<'_>,
        ran: &Result<Executed, Failure>,
        (trace_id, nodes): (Option<&str>, &Option<(usize, Value)>),
    ) {
        let Some((slow, ledger)) = &self.serving.logs.slow else {
            return;
        };
        if finished.took < Duration::from_millis(slow.threshold_ms) {
            return;
        }
        let mut record = Record::new("slow");
        self.describe(&mut record, observed, slow.literals);
        let known = finished.waited + finished.executed;
        record
            .finished(finished)
            .micros("other_us", finished.took.saturating_sub(known));
        put_nodes(&mut record, nodes);
        put_outcome(&mut record, ran);
        self.put_verdicts(&mut record);
        if let Some(id) = trace_id {
            record.text("trace_id", id);
        }
        ledger.push(record.into_fields());
    }
}

/// Where a statement of a sharded service ran.
fn put_nodes(record: &mut Record, nodes: &Option<(usize, Value)>) {
    if let Some((count, parts)) = nodes {
        record.number("shards", *count as u64).json("nodes", parts);
    }
}

/// What came of a statement.
fn put_outcome(record: &mut Record, ran: &Result<Executed, Failure>) {
    match ran {
        Ok(executed) => put_answer(record, executed.error),
        Err(failure) => put_failure(record, failure),
    }
}

/// A server's error, or none.
fn put_answer(record: &mut Record, error: Option<u16>) {
    match error {
        None => record.text("outcome", "ok"),
        Some(code) => record
            .text("outcome", "error")
            .number("error", u64::from(code)),
    };
}

fn put_failure(record: &mut Record, failure: &Failure) {
    match failure {
        Failure::Fault(fault) => {
            let outcome = match fault.blame() {
                Blame::Client => "refused",
                Blame::Backend | Blame::Mesh => "failed",
            };
            record
                .text("outcome", outcome)
                .number("error", u64::from(fault.code().0))
        }
        Failure::ClientLost => record.text("outcome", "client_lost"),
        Failure::AnswerCut => record.text("outcome", "cut"),
        Failure::Stopped => record.text("outcome", "stopped"),
    };
}
