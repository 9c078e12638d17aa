//! Traces: a span for each statement that is sampled, with children for its wait and for each server that ran it.
//!
//! Owns the decision which statements are sampled, and what a span says. It must never hold a statement up, nor keep
//! anything by a trace's id. Input: contexts of clients, and what is noted on a statement's way.

mod collector;
mod context;
mod export;
mod otlp;

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dbmesh_model::topology::{Endpoint, Parent, Tracing};
use dbmesh_runtime::time::now_unix_ns;
use smallvec::SmallVec;

pub use context::{Context, in_comment};
pub use export::{Exporter, Exporters};
use otlp::{Kind, Span};

/// Children of one span; more are not told apart.
const CHILDREN_MAX: usize = 16;

/// What traces of one service.
#[derive(Debug)]
pub struct Tracer {
    /// How many, and whose word counts.
    pub policy: Tracing,
    /// Where they go.
    pub exporter: Arc<Exporter>,
}

/// The trace of a statement under way.
#[derive(Debug)]
pub struct Trace {
    trace: [u8; 16],
    span: [u8; 8],
    parent: Option<[u8; 8]>,
    began: Instant,
    began_unix_ns: u64,
    children: SmallVec<[Child; 2]>,
}

/// A part of a statement's time.
#[derive(Debug)]
struct Child {
    endpoint: Option<Arc<Endpoint>>,
    began: Instant,
    took: Duration,
}

/// What a statement's span says.
#[derive(Debug)]
pub struct Told<'a> {
    /// The service's label.
    pub service: &'a str,
    /// `mysql` or `mariadb`.
    pub system: &'static str,
    /// The schema.
    pub schema: Option<&'a str>,
    /// The normalised text.
    pub text: Arc<str>,
    /// The digest.
    pub digest: u64,
    /// The user.
    pub user: &'a str,
    /// The client's address.
    pub client: &'a str,
    /// Rows sent.
    pub rows: u64,
    /// Rows changed.
    pub affected: u64,
    /// The error that the client got.
    pub error: Option<u16>,
    /// How long it took.
    pub took: Duration,
}

/// A random number: nobody who guesses it gains anything.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
    }
    STATE.with(|state| {
        // Source: Vigna, "An experimental exploration of Marsaglia's xorshift generators", xorshift64*.
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}

fn span_id() -> [u8; 8] {
    random().max(1).to_be_bytes()
}

impl Tracer {
    /// Begins the trace of a statement, if it is sampled.
    pub fn begin(&self, context: Option<Context>, began: Instant) -> Option<Box<Trace>> {
        let sampled = match (&context, self.policy.parent) {
            (Some(context), Parent::Followed) => context.sampled,
            (Some(context), Parent::Ignored) => self.draws(context.low_bits()),
            (None, _) => self.draws(random()),
        };
        if !sampled {
            return None;
        }
        let new_trace = || {
            let mut id = [0; 16];
            let (high, low) = id.split_at_mut(8);
            high.copy_from_slice(&random().to_be_bytes());
            low.copy_from_slice(&span_id());
            id
        };
        let since = u64::try_from(began.elapsed().as_nanos()).unwrap_or(0);
        Some(Box::new(Trace {
            trace: context.as_ref().map_or_else(new_trace, |c| c.trace),
            span: span_id(),
            parent: context.map(|c| c.span),
            began,
            began_unix_ns: now_unix_ns().saturating_sub(since),
            children: SmallVec::new(),
        }))
    }

    /// Whether a number falls into the part that is sampled; the same for all spans of a trace.
    fn draws(&self, number: u64) -> bool {
        u128::from(number) * 1_000_000 < u128::from(self.policy.ratio_ppm) << 64
    }

    /// Ends a trace: its spans are on their way, or dropped and counted.
    pub fn end(&self, trace: &Trace, told: &Told<'_>) {
        self.exporter.push(trace.spans(told));
    }
}

impl Trace {
    /// The trace's id, as logs show it.
    pub fn id(&self) -> String {
        otlp::hex(&self.trace)
    }

    /// A connection was waited for, until now.
    pub fn waited(&mut self, took: Duration) {
        if let Some(began) = Instant::now().checked_sub(took) {
            self.add(None, began, took);
        }
    }

    /// A server was asked.
    pub fn executed(&mut self, endpoint: &Arc<Endpoint>, began: Instant, took: Duration) {
        self.add(Some(endpoint.clone()), began, took);
    }

    fn add(&mut self, endpoint: Option<Arc<Endpoint>>, began: Instant, took: Duration) {
        if self.children.len() < CHILDREN_MAX {
            self.children.push(Child {
                endpoint,
                began,
                took,
            });
        }
    }

    fn time(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        self.began_unix_ns + u64::try_from(since.as_nanos()).unwrap_or(0)
    }

    /// The spans, encoded: the statement's first.
    fn spans(&self, told: &Told<'_>) -> Vec<Vec<u8>> {
        let operation = told.text.split_whitespace().next().unwrap_or("UNKNOWN");
        let name = match told.schema {
            Some(schema) => format!("{operation} {schema}"),
            None => operation.to_owned(),
        };
        let mut span = Span::new(self.trace, self.span, self.parent, &name, Kind::Server);
        span.times(self.began_unix_ns, self.time(self.began + told.took));
        span.text("db.system.name", told.system);
        if let Some(schema) = told.schema {
            span.text("db.namespace", schema);
        }
        span.text("db.operation.name", operation)
            .text("db.query.text", &told.text)
            .text("dbmesh.digest", &format!("{:016x}", told.digest))
            .text("dbmesh.service", told.service)
            .text("user.name", told.user);
        let (address, port) = told.client.rsplit_once(':').unwrap_or((told.client, ""));
        span.text("client.address", address.trim_matches(['[', ']']));
        if let Ok(port) = port.parse::<i64>() {
            span.number("client.port", port);
        }
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        span.number("db.response.returned_rows", count(told.rows))
            .number("dbmesh.affected_rows", count(told.affected));
        if let Some(code) = told.error {
            span.text("db.response.status_code", &code.to_string())
                .text("error.type", &code.to_string())
                .failed();
        }
        let mut spans = vec![span.finish()];
        spans.extend(self.children.iter().map(|child| self.child(child, told)));
        spans
    }

    fn child(&self, child: &Child, told: &Told<'_>) -> Vec<u8> {
        let (name, kind) = match child.endpoint {
            Some(_) => ("execute", Kind::Client),
            None => ("acquire", Kind::Internal),
        };
        let mut span = Span::new(self.trace, span_id(), Some(self.span), name, kind);
        let start = self.time(child.began);
        let took = u64::try_from(child.took.as_nanos()).unwrap_or(0);
        span.times(start, start + took);
        if let Some(endpoint) = &child.endpoint {
            span.text("db.system.name", told.system)
                .text("dbmesh.endpoint", endpoint.name.as_str());
            let address = endpoint.address.to_string();
            match address.rsplit_once(':') {
                Some((host, port)) => {
                    span.text("server.address", host);
                    if let Ok(port) = port.parse::<i64>() {
                        span.number("server.port", port);
                    }
                }
                None => {
                    span.text("server.address", &address);
                }
            }
        }
        span.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbmesh_model::topology::TraceProtocol;

    fn tracer(ratio_ppm: u32, parent: Parent) -> Tracer {
        Tracer {
            policy: Tracing {
                host: "127.0.0.1".to_owned(),
                port: 1,
                path: "/v1/traces".to_owned(),
                protocol: TraceProtocol::Http,
                tls: None,
                ratio_ppm,
                parent,
            },
            exporter: Arc::default(),
        }
    }

    #[test]
    fn a_part_is_sampled_and_a_parent_decides_where_it_may() {
        let now = Instant::now();
        let counted = |tracer: &Tracer, context: Option<Context>| {
            let sampled = (0..10_000).filter(|_| tracer.begin(context, now).is_some());
            sampled.count()
        };
        assert_eq!(counted(&tracer(0, Parent::Followed), None), 0);
        assert_eq!(counted(&tracer(1_000_000, Parent::Followed), None), 10_000);
        let tenth = counted(&tracer(100_000, Parent::Followed), None);
        assert!((700..1_300).contains(&tenth), "{tenth}");
        let yes = Context::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let no = Context::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
        assert_eq!(counted(&tracer(0, Parent::Followed), yes), 10_000);
        assert_eq!(counted(&tracer(1_000_000, Parent::Followed), no), 0);
        assert_eq!(counted(&tracer(0, Parent::Ignored), yes), 0);
        assert_eq!(counted(&tracer(1_000_000, Parent::Ignored), no), 10_000);
        let trace = tracer(0, Parent::Followed).begin(yes, now).unwrap();
        assert_eq!(trace.id(), "0af7651916cd43dd8448eb211c80319c");
    }
}
