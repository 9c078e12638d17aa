//! Spans on their way to a collector.
//!
//! Owns a bounded queue for each collector and the task that sends from it, batch by batch, each up to three times. It must never wait for a collector where a statement waits: what there is no room for is dropped and counted. Input:
//! encoded spans.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dbmesh_model::topology::Tracing;
use dbmesh_runtime::exposition::{Kind, Text};
use dbmesh_runtime::tls::TlsError;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Tracer;
use super::collector::{Collector, Place, Refused};
use super::otlp::request;

/// Spans that wait.
const QUEUE_SPANS_MAX: usize = 16_384;
/// Their bytes.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Spans of one request.
const BATCH_SPANS_MAX: usize = 2_048;
/// How long spans are gathered.
const GATHER: Duration = Duration::from_millis(500);
/// How long a collector may take for a request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often a batch is tried.
const ATTEMPTS_MAX: u32 = 3;
/// How long after a failure it is tried again, times the number of failures.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Queue {
    spans: Vec<Vec<u8>>,
    bytes: usize,
}

/// A queue of spans for one collector.
#[derive(Debug, Default)]
pub struct Exporter {
    queue: Mutex<Queue>,
    work: Notify,
    sent: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
}

impl Exporter {
    /// Queues the spans of a statement, all of them or none.
    pub fn push(&self, spans: Vec<Vec<u8>>) {
        let bytes: usize = spans.iter().map(Vec::len).sum();
        let mut queue = self.queue.lock();
        if queue.spans.len() + spans.len() > QUEUE_SPANS_MAX
            || queue.bytes + bytes > QUEUE_BYTES_MAX
        {
            drop(queue);
            self.dropped
                .fetch_add(spans.len() as u64, Ordering::Relaxed);
            return;
        }
        let wake = queue.spans.is_empty();
        queue.bytes += bytes;
        queue.spans.extend(spans);
        drop(queue);
        if wake {
            self.work.notify_one();
        }
    }

    fn take(&self) -> Vec<Vec<u8>> {
        let mut queue = self.queue.lock();
        let count = queue.spans.len().min(BATCH_SPANS_MAX);
        let batch: Vec<Vec<u8>> = queue.spans.drain(..count).collect();
        let bytes: usize = batch.iter().map(Vec::len).sum();
        queue.bytes = queue.bytes.saturating_sub(bytes);
        batch
    }

    /// Sends what waits, batch by batch.
    async fn send_all(&self, collector: &Collector) {
        loop {
            let batch = self.take();
            if batch.is_empty() {
                return;
            }
            let count = batch.len() as u64;
            let rejected = self.send(&request(&batch), collector).await;
            let dropped = rejected.map_or(count, |rejected| rejected.min(count));
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            self.sent.fetch_add(count - dropped, Ordering::Relaxed);
        }
    }

    /// How many spans of a request were not taken; none if all of it was not.
    async fn send(&self, message: &[u8], collector: &Collector) -> Option<u64> {
        for attempt in 1..=ATTEMPTS_MAX {
            let sent = tokio::time::timeout(TIMEOUT, collector.send(message)).await;
            let refused = match sent {
                Ok(Ok(rejected)) => return Some(rejected),
                Ok(Err(refused)) => refused,
                Err(_) => Refused::Now("it takes too long".to_owned()),
            };
            self.failures.fetch_add(1, Ordering::Relaxed);
            let (host, port) = (&collector.place.host, collector.place.port);
            tracing::debug!(host, port, %refused, attempt, "spans were not taken");
            if matches!(refused, Refused::Never(_)) {
                return None;
            }
            tokio::time::sleep(RETRY * attempt).await;
        }
        None
    }
}

/// A queue, as long as some service traces, and where it goes.
#[derive(Clone)]
struct Open {
    exporter: Weak<Exporter>,
    collector: Arc<Collector>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Open").field(&self.collector.place).finish()
    }
}

/// The collectors of the process.
#[derive(Debug, Default)]
pub struct Exporters {
    open: Mutex<HashMap<Place, Open>>,
}

impl Exporters {
    /// What traces a service.
    ///
    /// # Errors
    /// When certificates cannot be used.
    pub fn of(
        &self,
        policy: &Tracing,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Tracer, TlsError> {
        let place = Place::of(policy);
        let mut open = self.open.lock();
        open.retain(|_, open| open.exporter.strong_count() > 0);
        let known = open.get(&place).and_then(|open| open.exporter.upgrade());
        let exporter = match known {
            Some(exporter) => exporter,
            None => {
                let collector = Arc::new(Collector::new(place.clone())?);
                let exporter = Arc::<Exporter>::default();
                let weak = Arc::downgrade(&exporter);
                runtime.spawn(run(weak.clone(), collector.clone()));
                let opened = Open {
                    exporter: weak,
                    collector,
                };
                open.insert(place, opened);
                exporter
            }
        };
        Ok(Tracer {
            policy: policy.clone(),
            exporter,
        })
    }

    /// Sends what waits, before the process ends.
    pub async fn flush(&self) {
        let open: Vec<Open> = self.open.lock().values().cloned().collect();
        for open in open {
            if let Some(exporter) = open.exporter.upgrade() {
                exporter.send_all(&open.collector).await;
            }
        }
    }

    /// Their metrics.
    #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
    pub fn metrics(&self, out: &mut Text) {
        let open: Vec<(String, Arc<Exporter>)> = {
            let open = self.open.lock();
            let alive = open.iter().filter_map(|(place, open)| {
                Some((
                    format!("{}:{}", place.host, place.port),
                    open.exporter.upgrade()?,
                ))
            });
            alive.collect()
        };
        type Value = fn(&Exporter) -> f64;
        let families: [(&str, &str, Kind, Value); 4] = [
            (
                "dbmesh_trace_spans_sent_total",
                "Spans that a collector took.",
                Kind::Counter,
                |e| e.sent.load(Ordering::Relaxed) as f64,
            ),
            (
                "dbmesh_trace_spans_dropped_total",
                "Spans that were dropped: the queue was full, or the collector did not take them.",
                Kind::Counter,
                |e| e.dropped.load(Ordering::Relaxed) as f64,
            ),
            (
                "dbmesh_trace_export_failures_total",
                "Requests that a collector did not take.",
                Kind::Counter,
                |e| e.failures.load(Ordering::Relaxed) as f64,
            ),
            (
                "dbmesh_trace_spans_waiting",
                "Spans that wait to be sent.",
                Kind::Gauge,
                |e| e.queue.lock().spans.len() as f64,
            ),
        ];
        for (name, help, kind, value) in families {
            out.family(name, help, kind);
            for (collector, exporter) in &open {
                out.sample(&[("collector", collector)], value(exporter));
            }
        }
    }
}

/// Sends until nobody traces to the collector any more.
async fn run(exporter: Weak<Exporter>, collector: Arc<Collector>) {
    loop {
        let Some(now) = exporter.upgrade() else {
            return;
        };
        // A look now and then finds out that the exporter is gone.
        let _ = tokio::time::timeout(GATHER * 4, now.work.notified()).await;
        drop(now);
        tokio::time::sleep(GATHER).await;
        let Some(now) = exporter.upgrade() else {
            return;
        };
        now.send_all(&collector).await;
    }
}
