//! What a service counts: statements, durations, bytes, sessions, pins, errors.
//!
//! Owns the counters, spread over shards so that no two workers write the same cache line per statement, and their names
//! at `/metrics`. Labels come from closed sets, never from SQL text. Input: the session, at the end of each statement.

mod replays;
mod steering;
mod tables;
mod times;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use dbmesh_runtime::exposition::{Kind, Text};
use dbmesh_sql::Class;

use crate::fault::{Blame, Fault, Overdue};
use crate::pins::PinReason;
pub use replays::Replays;
pub use tables::Tables;
pub use times::Times;

/// Upper bounds of the duration histogram, in seconds; a last bucket has the rest.
pub const DURATION_BOUNDS_S: [f64; 16] = [
    0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8, 0.025_6, 0.051_2,
    0.102_4, 0.204_8, 0.5, 1.0, 5.0, 30.0,
];

const BUCKETS: usize = DURATION_BOUNDS_S.len() + 1;
const SHARDS: usize = 8;

/// Statement classes, as labels.
pub const CLASSES: [(Class, &str); 8] = [
    (Class::Read, "read"),
    (Class::Write, "write"),
    (Class::Ddl, "ddl"),
    (Class::Tcl, "tcl"),
    (Class::Session, "session"),
    (Class::Admin, "admin"),
    (Class::Show, "show"),
    (Class::Unknown, "unknown"),
];

fn class_index(class: Class) -> usize {
    CLASSES
        .iter()
        .position(|(c, _)| *c == class)
        .unwrap_or(CLASSES.len() - 1)
}

/// The label of a class.
#[must_use]
pub fn class_label(class: Class) -> &'static str {
    CLASSES
        .get(class_index(class))
        .map_or("unknown", |(_, label)| label)
}

/// The bucket of a duration.
fn bucket_of(took: Duration) -> usize {
    let seconds = took.as_secs_f64();
    let mut bounds = DURATION_BOUNDS_S.iter();
    bounds.position(|b| seconds <= *b).unwrap_or(BUCKETS - 1)
}

/// The counters of one shard, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard {
    statements: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BUCKETS],
    duration_ns: AtomicU64,
    under_processing: AtomicI64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    rows: AtomicU64,
    /// Errors of servers.
    errors: [AtomicU64; CLASSES.len()],
    /// Statements on sharded tables that went by a remembered plan, and plans that were made to be remembered.
    plans: [AtomicU64; 2],
}

/// The counters of one service.
#[derive(Debug, Default)]
pub struct ServiceMetrics {
    shards: [Shard; SHARDS],
    /// Time waited for connections, of statements that had to.
    waits: Times,
    faults: [AtomicU64; Blame::ALL.len()],
    pins: [AtomicU64; PinReason::ALL.len()],
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Logins refused.
    pub refused: AtomicU64,
    /// Sessions now.
    pub sessions: AtomicI64,
    /// Sessions now that are pinned to a connection.
    pub pinned: AtomicI64,
    /// Prepared statements that clients hold now.
    pub prepared: AtomicI64,
    /// Statements denied or held back by rules.
    pub rule_hits: AtomicU64,
    /// Statements that took too long, by what became of them.
    overdue: [AtomicU64; OVERDUE.len()],
    /// Statements with a unit's key, by what became of them.
    units: [AtomicU64; UnitFate::ALL.len()],
    /// Copies, by what their comparison says.
    copies: [AtomicU64; CopyFate::ALL.len()],
    /// Time of originals, and of their copies, that were compared.
    copy_ns: [AtomicU64; 2],
    /// Transactions that were executed again, or not.
    pub replays: Replays,
    /// Hints that could not be followed, or not by their user.
    pub hints_refused: AtomicU64,
    /// By table, where that is asked for.
    pub tables: Tables,
    /// How transactions ended that wrote on several nodes.
    pub ends: crate::atomic::Ends,
}

/// What a copy's comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFate {
    /// The same came of it.
    Same,
    /// Another number of rows.
    Rows,
    /// Other rows.
    Content,
    /// Another error, or one on one side only.
    Error,
    /// It could not be run to its end.
    Failed,
    /// There were too many.
    Dropped,
}

impl CopyFate {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Same, "same"),
        (Self::Rows, "rows"),
        (Self::Content, "content"),
        (Self::Error, "error"),
        (Self::Failed, "failed"),
        (Self::Dropped, "dropped"),
    ];
}

/// What becomes of a statement where keys have sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitFate {
    /// Its key is this site's.
    Own,
    /// It runs at another site.
    Forwarded,
    /// Its key is another site's, and it is refused.
    Foreign,
    /// Its key is on its way to another site, and it is refused.
    Moving,
    /// Its key is no site's.
    Unknown,
    /// It is a write without a key where that is refused.
    WithoutKey,
}

impl UnitFate {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Own, "own"),
        (Self::Forwarded, "forwarded"),
        (Self::Foreign, "foreign"),
        (Self::Moving, "moving"),
        (Self::Unknown, "unknown"),
        (Self::WithoutKey, "without_key"),
    ];
}

/// What became of statements that took too long, as labels.
const OVERDUE: [&str; 3] = ["waiting", "ended", "abandoned"];

fn shard_index() -> usize {
    use std::sync::atomic::AtomicUsize;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    INDEX.with(|i| *i)
}

/// One finished statement.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Its class.
    pub class: Class,
    /// From the command's arrival to the answer's last byte.
    pub took: Duration,
    /// Bytes that came from the client.
    pub bytes_in: u64,
    /// Bytes that went to the client.
    pub bytes_out: u64,
    /// Rows sent.
    pub rows: u64,
    /// Whether the server answered with an error.
    pub failed: bool,
    /// Time waited for a connection.
    pub waited: Duration,
}

impl ServiceMetrics {
    fn shard(&self) -> &Shard {
        let at = shard_index();
        // tidy-allow: there is at least one shard
        self.shards.get(at).unwrap_or(&self.shards[0])
    }

    /// A statement began.
    pub fn begin(&self) {
        self.shard()
            .under_processing
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A copy was made, or not; with the time of both sides if they were compared.
    pub fn copied(&self, fate: CopyFate, took: Option<(Duration, Duration)>) {
        if let Some(counter) = self.copies.get(fate as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some((original, copy)) = took {
            for (counter, time) in self.copy_ns.iter().zip([original, copy]) {
                let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                counter.fetch_add(ns, Ordering::Relaxed);
            }
        }
    }

    /// A statement on a sharded table went by a remembered plan.
    pub fn plan_found(&self) {
        self.shard().plans[0].fetch_add(1, Ordering::Relaxed); // tidy-allow: there are two
    }

    /// A plan of a statement on a sharded table was made to be remembered.
    pub fn plan_made(&self) {
        self.shard().plans[1].fetch_add(1, Ordering::Relaxed); // tidy-allow: there are two
    }

    /// A unit's key decided on a statement.
    pub fn unit(&self, fate: UnitFate) {
        if let Some(counter) = self.units.get(fate as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A statement took too long.
    pub fn overdue(&self, fault: &Fault) {
        let at = match fault {
            Fault::Overdue { when, .. } => match when {
                Overdue::Waiting => 0,
                Overdue::Ended => 1,
                Overdue::Abandoned { .. } => 2,
            },
            _ => return,
        };
        if let Some(counter) = self.overdue.get(at) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A statement ended without an answer to count.
    pub fn abandon(&self) {
        self.shard()
            .under_processing
            .fetch_sub(1, Ordering::Relaxed);
    }

    /// A statement ended.
    pub fn end(&self, done: &Done) {
        let shard = self.shard();
        shard.under_processing.fetch_sub(1, Ordering::Relaxed);
        if let Some(counter) = shard.statements.get(class_index(done.class)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(counter) = shard.buckets.get(bucket_of(done.took)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let ns = u64::try_from(done.took.as_nanos()).unwrap_or(u64::MAX);
        shard.duration_ns.fetch_add(ns, Ordering::Relaxed);
        shard.bytes_in.fetch_add(done.bytes_in, Ordering::Relaxed);
        shard.bytes_out.fetch_add(done.bytes_out, Ordering::Relaxed);
        shard.rows.fetch_add(done.rows, Ordering::Relaxed);
        if done.failed
            && let Some(counter) = shard.errors.get(class_index(done.class))
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if !done.waited.is_zero() {
            self.waits.add(done.waited);
        }
    }

    /// dbmesh answered with an error of its own.
    pub fn fault(&self, blame: Blame) {
        if let Some(counter) = self.faults.get(blame.index()) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A session was pinned for a reason.
    pub fn pin(&self, reason: PinReason) {
        if let Some(counter) = self.pins.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Statements that went by remembered plans, and plans that were made to be remembered.
    #[must_use]
    pub fn plans(&self) -> [u64; 2] {
        // tidy-allow: there are two
        [self.sum(|s| &s.plans[0]), self.sum(|s| &s.plans[1])]
    }

    /// Its main numbers, for operators.
    #[must_use]
    pub fn summary(&self) -> Vec<(String, u64)> {
        let now = |gauge: &AtomicI64| u64::try_from(gauge.load(Ordering::Relaxed)).unwrap_or(0);
        let mut all = vec![
            ("sessions".to_owned(), now(&self.sessions)),
            ("sessions_pinned".to_owned(), now(&self.pinned)),
            ("prepared_statements".to_owned(), now(&self.prepared)),
            (
                "connections".to_owned(),
                self.connections.load(Ordering::Relaxed),
            ),
            (
                "logins_refused".to_owned(),
                self.refused.load(Ordering::Relaxed),
            ),
            ("rows_sent".to_owned(), self.sum(|s| &s.rows)),
        ];
        for (at, (_, class)) in CLASSES.iter().enumerate() {
            // tidy-allow: `at` counts CLASSES, as the array does
            let count = self.sum(|s| &s.statements[at]);
            all.push((format!("statements_{class}"), count));
            all.push((format!("server_errors_{class}"), self.errors(at)));
        }
        for blame in Blame::ALL {
            let count = self.faults.get(blame.index());
            let count = count.map_or(0, |c| c.load(Ordering::Relaxed));
            all.push((format!("errors_{}", blame.label()), count));
        }
        all
    }

    /// Errors of servers to statements of the class at this place of [`CLASSES`].
    fn errors(&self, at: usize) -> u64 {
        let counters = self.shards.iter().filter_map(|s| s.errors.get(at));
        counters.map(|c| c.load(Ordering::Relaxed)).sum()
    }

    fn sum(&self, of: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards
            .iter()
            .map(|s| of(s).load(Ordering::Relaxed))
            .sum()
    }
}

/// A service's metrics with the labels they carry.
#[derive(Debug)]
pub struct Labelled<'a> {
    /// `namespace/virtual database`.
    pub database: String,
    /// The service.
    pub service: String,
    /// The counters.
    pub metrics: &'a ServiceMetrics,
}

/// Writes the metrics of all services.
pub fn expose(all: &[Labelled<'_>], out: &mut Text) {
    expose_statements(all, out);
    expose_sessions(all, out);
    tables::expose(all, out);
}

fn each(
    all: &[Labelled<'_>],
    out: &mut Text,
    family: (&str, &str, Kind),
    value: impl Fn(&ServiceMetrics) -> f64,
) {
    out.family(family.0, family.1, family.2);
    for l in all {
        out.sample(
            &[("database", &l.database), ("service", &l.service)],
            value(l.metrics),
        );
    }
}

/// One sample per value of a closed label.
fn each_of(
    all: &[Labelled<'_>],
    out: &mut Text,
    family: (&str, &str, Kind),
    label: (&str, &[&str]),
    value: impl Fn(&ServiceMetrics, usize) -> f64,
) {
    out.family(family.0, family.1, family.2);
    for l in all {
        for (at, name) in label.1.iter().enumerate() {
            let labels = [
                ("database", l.database.as_str()),
                ("service", &l.service),
                (label.0, name),
            ];
            out.sample(&labels, value(l.metrics, at));
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn expose_statements(all: &[Labelled<'_>], out: &mut Text) {
    let sum = |m: &ServiceMetrics, of: fn(&Shard) -> &AtomicU64| m.sum(of) as f64;
    let classes = CLASSES.map(|(_, class)| class);
    let family = (
        "dbmesh_sql_processed_total",
        "Statements answered, by class.",
        Kind::Counter,
    );
    // tidy-allow: `at` counts CLASSES, as the array does
    each_of(all, out, family, ("class", &classes), |m, at| {
        m.sum(|s| &s.statements[at]) as f64
    });
    out.family(
        "dbmesh_sql_processed_duration_seconds",
        "From a command's arrival to the last byte of its answer.",
        Kind::Histogram,
    );
    for l in all {
        // tidy-allow: `at` is below BUCKETS, the array's length
        let counts: Vec<u64> = (0..BUCKETS)
            .map(|at| l.metrics.sum(|s| &s.buckets[at]))
            .collect();
        let labels = [("database", l.database.as_str()), ("service", &l.service)];
        out.histogram(
            &labels,
            &DURATION_BOUNDS_S,
            &counts,
            sum(l.metrics, |s| &s.duration_ns) / 1e9,
        );
    }
    let family = (
        "dbmesh_sql_under_processing",
        "Statements being answered now.",
        Kind::Gauge,
    );
    each(all, out, family, |m| {
        m.shards
            .iter()
            .map(|s| s.under_processing.load(Ordering::Relaxed))
            .sum::<i64>()
            .max(0) as f64
    });
    let family = (
        "dbmesh_client_received_bytes_total",
        "Bytes of commands.",
        Kind::Counter,
    );
    each(all, out, family, |m| sum(m, |s| &s.bytes_in));
    let family = (
        "dbmesh_client_sent_bytes_total",
        "Bytes of answers.",
        Kind::Counter,
    );
    each(all, out, family, |m| sum(m, |s| &s.bytes_out));
    let family = (
        "dbmesh_rows_sent_total",
        "Rows sent to clients.",
        Kind::Counter,
    );
    each(all, out, family, |m| sum(m, |s| &s.rows));
    expose_errors(all, out);
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn expose_errors(all: &[Labelled<'_>], out: &mut Text) {
    let classes = CLASSES.map(|(_, class)| class);
    let family = (
        "dbmesh_server_errors_total",
        "Errors of servers, passed on, by class of the statement.",
        Kind::Counter,
    );
    each_of(all, out, family, ("class", &classes), |m, at| {
        m.errors(at) as f64
    });
    out.family(
        "dbmesh_statement_wait_seconds",
        "Time that statements waited for a connection in their session's state, of those that had to.",
        Kind::Histogram,
    );
    for l in all {
        let labels = [("database", l.database.as_str()), ("service", &l.service)];
        l.metrics.waits.expose(&labels, out);
    }
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn expose_sessions(all: &[Labelled<'_>], out: &mut Text) {
    let gauge = |g: &AtomicI64| g.load(Ordering::Relaxed).max(0) as f64;
    let count = |c: &AtomicU64| c.load(Ordering::Relaxed) as f64;
    let family = (
        "dbmesh_errors_total",
        "Errors of dbmesh's own, by whose fault it is.",
        Kind::Counter,
    );
    let blames = Blame::ALL.map(Blame::label);
    each_of(all, out, family, ("fault", &blames), |m, at| {
        m.faults.get(at).map_or(0.0, count)
    });
    let family = (
        "dbmesh_pins_total",
        "Sessions pinned to a connection, by reason.",
        Kind::Counter,
    );
    let reasons = PinReason::ALL.map(PinReason::label);
    each_of(all, out, family, ("reason", &reasons), |m, at| {
        m.pins.get(at).map_or(0.0, count)
    });
    let family = ("dbmesh_sessions", "Client sessions now.", Kind::Gauge);
    each(all, out, family, |m| gauge(&m.sessions));
    let family = (
        "dbmesh_sessions_pinned",
        "Client sessions pinned now.",
        Kind::Gauge,
    );
    each(all, out, family, |m| gauge(&m.pinned));
    let family = (
        "dbmesh_prepared_statements",
        "Prepared statements that clients hold.",
        Kind::Gauge,
    );
    each(all, out, family, |m| gauge(&m.prepared));
    let family = (
        "dbmesh_connections_total",
        "Client connections accepted.",
        Kind::Counter,
    );
    each(all, out, family, |m| count(&m.connections));
    let family = (
        "dbmesh_logins_refused_total",
        "Logins refused.",
        Kind::Counter,
    );
    each(all, out, family, |m| count(&m.refused));
    let family = (
        "dbmesh_rule_hits_total",
        "Statements refused by rules.",
        Kind::Counter,
    );
    each(all, out, family, |m| count(&m.rule_hits));
    steering::expose(all, out);
}
