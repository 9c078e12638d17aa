//! Where the topology comes from: a file or folder, read at the start and whenever it changes.
//!
//! It owns the thread that watches, the last good topology and the account of reloads. A bad edit
//! never replaces a good topology. It decides nothing about what is valid: `model::resolve` does. Its
//! input is the path given on the command line and every file that the resources there name.

mod reading;
mod stamp;
mod watching;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use dbmesh_model::{Defect, Defects, Severity, Topology};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::reading::Reading;
use self::watching::Wake;
use crate::exposition::{Kind, Text};

/// The account of what was read, for `/readyz` and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Revision of the topology in use.
    pub revision: u64,
    /// When the topology in use was published.
    pub loaded_at: SystemTime,
    /// Reloads that were valid, whether or not they changed anything. The first load is not one.
    pub reloads_ok: u64,
    /// Reloads that were refused, the last good topology staying in use.
    pub reloads_failed: u64,
    /// Why the last reload was refused; nothing if it was not.
    pub last_error: Option<Vec<Defect>>,
}

impl SourceStatus {
    /// The account as JSON: the revision in hexadecimal, the time in seconds since 1970.
    pub fn json(&self) -> Value {
        json!({
            "revision": format!("{:016x}", self.revision),
            "loadedAt": seconds(self.loaded_at),
            "reloadsOk": self.reloads_ok,
            "reloadsFailed": self.reloads_failed,
            "lastError": self.last_error,
        })
    }

    /// Writes the metrics `dbmesh_config_*`.
    #[allow(clippy::cast_precision_loss)] // Counts of reloads stay far below 2^53.
    pub fn metrics(&self, out: &mut Text) {
        let help = "The configuration in use, as a label.";
        out.family("dbmesh_config_info", help, Kind::Gauge);
        out.sample(&[("revision", &format!("{:016x}", self.revision))], 1.0);
        let help = "When the configuration in use was published, in seconds since 1970.";
        out.family("dbmesh_config_loaded_timestamp_seconds", help, Kind::Gauge);
        out.sample(&[], seconds(self.loaded_at));
        let help = "Whether the last reload was valid.";
        out.family("dbmesh_config_last_reload_ok", help, Kind::Gauge);
        out.sample(&[], if self.last_error.is_none() { 1.0 } else { 0.0 });
        let help = "Reloads of the configuration, by result.";
        out.family("dbmesh_config_reloads_total", help, Kind::Counter);
        out.sample(&[("result", "ok")], self.reloads_ok as f64);
        out.sample(&[("result", "failed")], self.reloads_failed as f64);
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// A configuration that is read again when it changes. Dropping it ends the watching; receivers then
/// keep the last topology.
pub struct Source {
    published: Arc<Published>,
    wake: SyncSender<Wake>,
}

impl Source {
    /// Reads and resolves a file or folder, and watches it and every file that it names from then
    /// on. Blocks while reading; needs no runtime.
    ///
    /// # Errors
    /// Every defect, if at least one of them is an error.
    pub fn open(path: impl AsRef<Path>) -> Result<(Source, Arc<Topology>), Defects> {
        Self::open_looking(path.as_ref(), watching::LOOK_INTERVAL_MS)
    }

    /// As `open`, looking for changes that the operating system does not report at an interval.
    fn open_looking(
        path: &Path,
        look_interval_ms: u64,
    ) -> Result<(Source, Arc<Topology>), Defects> {
        let Reading { outcome, stamps } = reading::read(path);
        let topology = Arc::new(outcome?);
        log_all(&topology.warnings);
        let published = Arc::new(Published::new(Arc::clone(&topology)));
        let shared = Arc::clone(&published);
        let wake = watching::start(path.to_owned(), stamps, shared, look_interval_ms);
        Ok((Source { published, wake }, topology))
    }

    /// The topology in use, and the next ones. Equal content is not published again.
    pub fn watch(&self) -> watch::Receiver<Arc<Topology>> {
        self.published.current.subscribe()
    }

    /// Asks for a reload though nothing seems to have changed: what HUP means. Returns at once; the
    /// outcome shows in [`Source::status`] and in the log. Requests while a reload is waiting are one.
    pub fn reload(&self) {
        // Full: hundreds of wakes are waiting, and all of them lead to a reload.
        let _ = self.wake.try_send(Wake::Reload);
    }

    /// The account of what was read.
    pub fn status(&self) -> SourceStatus {
        self.published.status.lock().clone()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.published.end();
        let _ = self.wake.try_send(Wake::End);
    }
}

/// What the watching thread and the handle share.
struct Published {
    current: watch::Sender<Arc<Topology>>,
    status: Mutex<SourceStatus>,
    ended: std::sync::atomic::AtomicBool,
}

impl Published {
    fn new(topology: Arc<Topology>) -> Self {
        let status = SourceStatus {
            revision: topology.revision,
            loaded_at: SystemTime::now(),
            reloads_ok: 0,
            reloads_failed: 0,
            last_error: None,
        };
        Self {
            current: watch::Sender::new(topology),
            status: Mutex::new(status),
            ended: std::sync::atomic::AtomicBool::new(false),
        }
    }

    fn end(&self) {
        self.ended.store(true, std::sync::atomic::Ordering::Release);
    }

    fn has_ended(&self) -> bool {
        self.ended.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Takes the outcome of a reload: publishes it, finds it equal, or keeps what there is.
    fn settle(&self, outcome: Result<Topology, Defects>) {
        match outcome {
            Ok(topology) => self.accept(topology),
            Err(Defects(defects)) => self.refuse(defects),
        }
    }

    fn accept(&self, topology: Topology) {
        let is_new = topology.fingerprint() != self.current.borrow().fingerprint();
        let revision = format!("{:016x}", topology.revision);
        {
            let mut status = self.status.lock();
            status.reloads_ok += 1;
            status.last_error = None;
            if is_new {
                status.revision = topology.revision;
                status.loaded_at = SystemTime::now();
            }
        }
        if is_new {
            log_all(&topology.warnings);
            tracing::info!(
                revision,
                services = topology.services.len(),
                "configuration reloaded"
            );
            self.current.send_replace(Arc::new(topology));
        } else {
            tracing::info!(revision, "configuration read again: nothing changed");
        }
    }

    fn refuse(&self, defects: Vec<Defect>) {
        let mut status = self.status.lock();
        status.reloads_failed += 1;
        let is_known = status.last_error.as_ref() == Some(&defects);
        let revision = format!("{:016x}", status.revision);
        if is_known {
            drop(status);
            tracing::debug!(
                revision,
                "configuration refused for the same defects as before"
            );
            return;
        }
        status.last_error = Some(defects.clone());
        drop(status);
        let errors = defects
            .iter()
            .filter(|defect| defect.severity == Severity::Error)
            .count();
        tracing::error!(
            revision,
            errors,
            "configuration refused, the last good one stays in use"
        );
        log_all(&defects);
    }
}

fn log_all(defects: &[Defect]) {
    for defect in defects {
        let at = format!(
            "{}:{}:{}",
            defect.file.display(),
            defect.line,
            defect.column
        );
        let (path, reason) = (&defect.path, &defect.reason);
        let suggestion = defect.suggestion.as_deref();
        match defect.severity {
            Severity::Error => tracing::error!(at, path, suggestion, "{reason}"),
            Severity::Warning => tracing::warn!(at, path, suggestion, "{reason}"),
        }
    }
}

#[cfg(test)]
mod tests;
