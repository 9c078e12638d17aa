//! The audit and the slow log of services.
//!
//! Owns one writer for each file, whichever services share it, through reloads. It must never run an audited statement
//! that the configuration wants recorded and that cannot be. Input: the configuration; lines of sessions and operators.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use dbmesh_model::topology::{Audit, LogFile, OnFailure, Service, SlowLog};
use dbmesh_runtime::exposition::{Kind, Text};
use dbmesh_runtime::ledger::{Counts, Ledger, Links, Settings};
use dbmesh_sql::Class;
use parking_lot::Mutex;

use crate::record::Record;

/// The files of the process that are written now.
#[derive(Debug, Default)]
pub struct Files {
    open: Mutex<HashMap<PathBuf, (Weak<Ledger>, &'static str)>>,
}

/// What one service writes.
#[derive(Debug, Default)]
pub struct Logs {
    /// The audit.
    pub audit: Option<(Audit, Arc<Ledger>)>,
    /// The slow log.
    pub slow: Option<(SlowLog, Arc<Ledger>)>,
}

impl Files {
    /// The files of a service.
    ///
    /// # Errors
    /// If there can be no writer.
    pub fn of(&self, service: &Service) -> Result<Logs, String> {
        let tells = &service.observability;
        let audit = match &tells.audit {
            None => None,
            Some(audit) => {
                let ledger = self.open(&audit.file, Links::Chained, "audit")?;
                Some((audit.clone(), ledger))
            }
        };
        let slow = match &tells.slow_log {
            None => None,
            Some(slow) => Some((slow.clone(), self.open(&slow.file, Links::None, "slow")?)),
        };
        Ok(Logs { audit, slow })
    }

    fn open(
        &self,
        file: &LogFile,
        links: Links,
        what: &'static str,
    ) -> Result<Arc<Ledger>, String> {
        let mut open = self.open.lock();
        open.retain(|_, (ledger, _)| ledger.strong_count() > 0);
        if let Some(known) = open
            .get(&file.path)
            .and_then(|(ledger, _)| ledger.upgrade())
        {
            known.configure(file.rotate_bytes, file.keep_files);
            return Ok(known);
        }
        let ledger = Ledger::start(Settings {
            path: file.path.clone(),
            rotate_bytes: file.rotate_bytes,
            keep_files: file.keep_files,
            links,
        });
        let ledger = Arc::new(ledger.map_err(|e| format!("{}: {e}", file.path.display()))?);
        open.insert(file.path.clone(), (Arc::downgrade(&ledger), what));
        Ok(ledger)
    }

    /// Their metrics.
    pub fn metrics(&self, out: &mut Text) {
        let open: Vec<(String, &str, Arc<Ledger>)> = {
            let open = self.open.lock();
            let alive = open.iter().filter_map(|(path, (ledger, what))| {
                Some((path.display().to_string(), *what, ledger.upgrade()?))
            });
            alive.collect()
        };
        for (name, help, kind, value) in FAMILIES {
            out.family(name, help, kind);
            for (path, what, ledger) in &open {
                out.sample(&[("log", what), ("file", path)], value(&ledger.counts()));
            }
        }
    }
}

type Family = (&'static str, &'static str, Kind, fn(&Counts) -> f64);

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
const FAMILIES: [Family; 6] = [
    (
        "dbmesh_log_lines_written_total",
        "Lines of audit and slow log that were written.",
        Kind::Counter,
        |c| c.written as f64,
    ),
    (
        "dbmesh_log_lines_dropped_total",
        "Lines of audit and slow log that were lost; the file says so too.",
        Kind::Counter,
        |c| c.dropped as f64,
    ),
    (
        "dbmesh_log_write_failures_total",
        "Attempts to write lines that failed.",
        Kind::Counter,
        |c| c.failures as f64,
    ),
    (
        "dbmesh_log_rotations_total",
        "Files put aside because they were full.",
        Kind::Counter,
        |c| c.rotations as f64,
    ),
    (
        "dbmesh_log_lines_waiting",
        "Lines that wait to be written.",
        Kind::Gauge,
        |c| c.waiting as f64,
    ),
    (
        "dbmesh_log_failing",
        "1 while lines cannot be written.",
        Kind::Gauge,
        |c| f64::from(u8::from(c.failing)),
    ),
];

impl Logs {
    /// The audit, if it wants statements of this class.
    pub fn audit_of(&self, class: Class) -> Option<&(Audit, Arc<Ledger>)> {
        self.audit
            .as_ref()
            .filter(|(audit, _)| audit.classes.has(class))
    }

    /// Records what is always recorded: logins and what operators do.
    pub fn note(&self, record: Record) {
        if let Some((_, ledger)) = &self.audit {
            ledger.push(record.into_fields());
        }
    }
}

/// Whether statements are refused that cannot be recorded.
pub fn is_closed(audit: &Audit) -> bool {
    audit.on_failure == OnFailure::Closed
}
