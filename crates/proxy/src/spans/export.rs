//! Spans on their way to a collector.
//!
//! Owns a bounded queue for each collector and the task that sends from it, over HTTP/1.1 with one connection per batch.
//! It must never wait for a collector where a statement waits: what there is no room for is dropped and counted. Input:
//! encoded spans.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dbmesh_model::topology::Tracing;
use dbmesh_runtime::exposition::{Kind, Text};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::Tracer;
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
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

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
    async fn send_all(&self, place: &Place) {
        loop {
            let batch = self.take();
            if batch.is_empty() {
                return;
            }
            let count = batch.len() as u64;
            let counter = match self.send(&request(&batch), place).await {
                true => &self.sent,
                false => &self.dropped,
            };
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    async fn send(&self, body: &[u8], place: &Place) -> bool {
        for attempt in 1..=ATTEMPTS_MAX {
            let sent = tokio::time::timeout(TIMEOUT, post(place, body)).await;
            let error = match sent {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            self.failures.fetch_add(1, Ordering::Relaxed);
            let (host, port) = (&place.host, place.port);
            tracing::debug!(host, port, %error, attempt, "spans were not taken");
            tokio::time::sleep(RETRY * attempt).await;
        }
        false
    }
}

/// Where a collector is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    host: String,
    port: u16,
    path: String,
}

async fn post(place: &Place, body: &[u8]) -> io::Result<()> {
    let Place { host, port, path } = place;
    let plain = host.trim_matches(['[', ']']);
    let mut stream = TcpStream::connect((plain, *port)).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/x-protobuf\r\n\
         Content-Length: {}\r\nUser-Agent: dbmesh/{}\r\nConnection: close\r\n\r\n",
        body.len(),
        env!("CARGO_PKG_VERSION"),
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    let status = answer.get(..12).unwrap_or_default();
    let taken = status.starts_with(b"HTTP/1.") && status.get(9..10) == Some(b"2");
    match taken {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "it answers {:?}",
            String::from_utf8_lossy(status)
        ))),
    }
}

/// The collectors of the process.
#[derive(Debug, Default)]
pub struct Exporters {
    open: Mutex<HashMap<Place, Weak<Exporter>>>,
}

impl Exporters {
    /// What traces a service.
    pub fn of(&self, policy: &Tracing, runtime: &tokio::runtime::Handle) -> Tracer {
        let place = Place {
            host: policy.host.clone(),
            port: policy.port,
            path: policy.path.clone(),
        };
        let mut open = self.open.lock();
        open.retain(|_, exporter| exporter.strong_count() > 0);
        let exporter = open.get(&place).and_then(Weak::upgrade).unwrap_or_else(|| {
            let exporter = Arc::<Exporter>::default();
            runtime.spawn(run(Arc::downgrade(&exporter), place.clone()));
            open.insert(place, Arc::downgrade(&exporter));
            exporter
        });
        Tracer {
            policy: policy.clone(),
            exporter,
        }
    }

    /// Sends what waits, before the process ends.
    pub async fn flush(&self) {
        let open: Vec<_> = {
            let open = self.open.lock();
            let alive = open.iter();
            let alive = alive.filter_map(|(place, e)| Some((place.clone(), e.upgrade()?)));
            alive.collect()
        };
        for (place, exporter) in open {
            exporter.send_all(&place).await;
        }
    }

    /// Their metrics.
    #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
    pub fn metrics(&self, out: &mut Text) {
        let open: Vec<(String, Arc<Exporter>)> = {
            let open = self.open.lock();
            let alive = open.iter().filter_map(|(place, exporter)| {
                Some((
                    format!("{}:{}", place.host, place.port),
                    exporter.upgrade()?,
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
async fn run(exporter: Weak<Exporter>, place: Place) {
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
        now.send_all(&place).await;
    }
}
