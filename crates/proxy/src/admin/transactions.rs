//! What the admin page says of transactions over several nodes, and what operators may decide of one.
//!
//! Owns `/debug/transactions`, the metrics of commits, and the orders that force an outcome. Each order leaves a line in the
//! log that says who ordered what, and the resolver one that says what came of it. Input: what the resolver saw last.

use dbmesh_commit::{Decision, Gtrid};
use dbmesh_runtime::admin::{Answer, Order};
use dbmesh_runtime::exposition::{Kind, Text};
use serde_json::{Value, json};

use crate::atomic::{Atomic, Ends, Forced, Readiness};
use crate::process::Process;
use crate::record::Record;
use crate::serving::{Services, Serving};

fn atomic(services: &Services) -> impl Iterator<Item = (&Serving, &Atomic)> {
    let all = services.list.iter();
    all.filter_map(|serving| Some((&**serving, serving.atomic.as_deref()?)))
}

/// All services that commit atomically: their nodes, and the branches in doubt.
pub(super) fn listing(services: &Services) -> Value {
    let one = |(serving, atomic): (&Serving, &Atomic)| {
        let sight = atomic.sight();
        let node = |shard| atomic.source_name(shard).unwrap_or("unknown").to_owned();
        let doubts = sight.doubts.iter().map(|doubt| {
            json!({
                "gtrid": doubt.xid.gtrid.to_string(),
                "node": node(doubt.shard),
                "home": node(doubt.xid.gtrid.home),
                "age_ms": doubt.age_ms,
                "waits_for": doubt.why.name(),
            })
        });
        let nodes = atomic.readiness().into_iter().map(|(name, readiness)| {
            let (state, shortfalls) = match readiness {
                Readiness::Unknown => ("unknown", Vec::new()),
                Readiness::Ready => ("ready", Vec::new()),
                Readiness::Short(shortfalls) => ("short", shortfalls),
            };
            let why = shortfalls
                .iter()
                .map(|s| json!({ "what": s.to_string(), "remedy": s.remedy() }));
            json!({ "node": name, "promise": state, "shortfalls": why.collect::<Vec<_>>() })
        });
        json!({
            "service": serving.service.label(),
            "nodes": nodes.collect::<Vec<_>>(),
            "in_doubt": doubts.collect::<Vec<_>>(),
            "torn": sight.torn.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "sweeps": sight.sweeps,
        })
    };
    Value::Array(atomic(services).map(one).collect())
}

type EndValue = fn(&Ends) -> &std::sync::atomic::AtomicU64;

const ENDS: [(&str, EndValue); 5] = [
    ("committed", |ends| &ends.committed),
    ("best_effort", |ends| &ends.best_effort),
    ("rolled_back", |ends| &ends.rolled_back),
    ("unknown", |ends| &ends.unknown),
    ("partial", |ends| &ends.partial),
];

/// The metrics.
pub(super) fn expose(services: &Services, out: &mut Text) {
    expose_ends(services, out);
    expose_sight(services, out);
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn expose_ends(services: &Services, out: &mut Text) {
    out.family(
        "dbmesh_transactions_across_nodes_total",
        "Transactions that wrote to several nodes, by what became of them at COMMIT.",
        Kind::Counter,
    );
    let sharded = services
        .list
        .iter()
        .filter(|s| s.service.sharding.is_some());
    for serving in sharded {
        let service = serving.service.label();
        for (outcome, of) in ENDS {
            let count = of(&serving.metrics.ends).load(std::sync::atomic::Ordering::Relaxed);
            out.sample(
                &[("service", service.as_str()), ("outcome", outcome)],
                count as f64,
            );
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn expose_sight(services: &Services, out: &mut Text) {
    let mut gauge = |name, help, kind, value: &dyn Fn(&Atomic) -> f64| {
        out.family(name, help, kind);
        for (serving, atomic) in atomic(services) {
            out.sample(
                &[("service", serving.service.label().as_str())],
                value(atomic),
            );
        }
    };
    gauge(
        "dbmesh_transactions_in_doubt",
        "Prepared branches whose outcome their servers do not know yet.",
        Kind::Gauge,
        &|a| a.sight().doubts.len() as f64,
    );
    gauge(
        "dbmesh_transactions_in_doubt_oldest_seconds",
        "For how long this proxy has known the oldest of them; it holds its locks.",
        Kind::Gauge,
        &|a| a.sight().doubts.iter().map(|d| d.age_ms).max().unwrap_or(0) as f64 / 1e3,
    );
    gauge(
        "dbmesh_transactions_in_doubt_locked_rows",
        "Rows that prepared branches hold on the nodes that have some in doubt.",
        Kind::Gauge,
        &|a| a.sight().locked_rows as f64,
    );
    gauge(
        "dbmesh_transactions_resolved_total",
        "Branches that this proxy's resolver committed or rolled back.",
        Kind::Counter,
        &|a| {
            let tally = a.sight().tally;
            (tally.committed + tally.rolled_back) as f64
        },
    );
    gauge(
        "dbmesh_transactions_torn_total",
        "Committed transactions of which a server lost a part: its settings or its failover did not keep the promise.",
        Kind::Counter,
        &|a| a.sight().tally.lost as f64,
    );
    gauge(
        "dbmesh_nodes_without_promise",
        "Nodes that are not seen to keep an atomic commit.",
        Kind::Gauge,
        &|a| {
            a.readiness()
                .iter()
                .filter(|(_, r)| *r != Readiness::Ready)
                .count() as f64
        },
    );
}

/// Forces an outcome; none if the order is about something else.
pub(super) fn act(process: &Process, order: &Order<'_>) -> Option<Answer> {
    let rest = order.path.strip_prefix("/transactions/")?;
    let (gtrid, word) = rest.split_once('/')?;
    let decision = match word {
        "commit" => Decision::Commit,
        "rollback" => Decision::Abort,
        _ => return None,
    };
    let Ok(gtrid) = Gtrid::from_hex(gtrid) else {
        return Some(Answer::Refused(format!(
            "{gtrid:?} is no transaction's name"
        )));
    };
    let (peer, actor) = (order.peer, order.actor);
    let services = process.current.services();
    let knows = |atomic: &Atomic| atomic.sight().doubts.iter().any(|d| d.xid.gtrid == gtrid);
    let Some((serving, atomic)) = atomic(&services).find(|(_, atomic)| knows(atomic)) else {
        tracing::info!(%gtrid, word, %peer, actor, "an order on a transaction was refused: it is not in doubt here");
        return Some(Answer::NoSuchThing(format!(
            "transaction {gtrid} is not in doubt here"
        )));
    };
    let service = serving.service.label();
    let mut record = Record::new("operator");
    record
        .text("service", &service)
        .text("action", &format!("transaction_{word}"))
        .text("gtrid", &gtrid.to_string())
        .text("actor", actor)
        .text("client", &peer.to_string());
    serving.logs.note(record);
    if !atomic.force(Forced { gtrid, decision }) {
        return Some(Answer::Refused("too many orders wait".to_owned()));
    }
    tracing::warn!(%gtrid, word, service, %peer, actor, "an operator forces the outcome of a transaction");
    Some(Answer::Done(
        json!({ "gtrid": gtrid.to_string(), "ordered": word, "service": service }),
    ))
}
