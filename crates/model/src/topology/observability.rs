//! What a service tells of its statements: insight, audit, slow log, traces.
//!
//! It owns the defaults. It never opens a file or a socket: the data plane does.

use std::path::PathBuf;

use dbmesh_sql::Class;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::PemFile;

/// Size from which on a file of lines is put aside: 100 MiB.
pub const ROTATE_BYTES_DEFAULT: u64 = 100 << 20;
/// Files put aside that are kept.
pub const KEEP_FILES_DEFAULT: u32 = 10;
/// Statements without a trace of their own that get one, per million.
pub const TRACE_RATIO_PPM_DEFAULT: u32 = 10_000;
/// Where collectors take spans.
pub const TRACES_PATH: &str = "/v1/traces";

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Switch {
    /// It is done.
    On,
    /// It is not.
    Off,
}

/// What a service tells of its statements.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Observability {
    /// Whether statements are summed up by user and digest.
    pub insight: Switch,
    /// Tables of which statements are counted one by one; 0 is none.
    pub table_metrics: u32,
    /// Which statements are audited.
    pub audit: Option<Audit>,
    /// Which statements are slow.
    pub slow_log: Option<SlowLog>,
    /// Where spans go.
    pub tracing: Option<Tracing>,
}

impl Default for Observability {
    fn default() -> Self {
        Self {
            insight: Switch::On,
            table_metrics: 0,
            audit: None,
            slow_log: None,
            tracing: None,
        }
    }
}

/// A file of lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogFile {
    /// Absolute.
    pub path: PathBuf,
    /// Size from which on it is put aside.
    pub rotate_bytes: u64,
    /// Files put aside that are kept.
    pub keep_files: u32,
}

/// Which statements are audited, and what happens when they cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Where.
    pub file: LogFile,
    /// Which.
    pub classes: Classes,
    /// Whether literals are written, other than those that may be secrets.
    pub literals: Switch,
    /// What becomes of statements while the file cannot be written.
    pub on_failure: OnFailure,
    /// When a line is safe.
    pub durability: Durability,
}

/// Classes of statements: a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Classes(u16);

impl Classes {
    /// All.
    pub const ALL: Self = Self(u16::MAX);

    /// These.
    pub fn of(classes: impl IntoIterator<Item = Class>) -> Self {
        let bits = classes.into_iter().map(|class| 1 << class as u16);
        Self(bits.fold(0, |all, bit| all | bit))
    }

    /// Whether it is one of them.
    pub fn has(self, class: Class) -> bool {
        self.0 & (1 << class as u16) != 0
    }
}

impl Serialize for Classes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = [
            (Class::Show, "show"),
            (Class::Read, "read"),
            (Class::Session, "session"),
            (Class::Tcl, "tcl"),
            (Class::Write, "write"),
            (Class::Ddl, "ddl"),
            (Class::Admin, "admin"),
            (Class::Unknown, "unknown"),
        ];
        let names = all.iter().filter(|(class, _)| self.has(*class));
        serializer.collect_seq(names.map(|(_, name)| name))
    }
}

/// What becomes of statements while the audit cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum OnFailure {
    /// They run, and the file says later how many lines are missing.
    Open,
    /// They are refused.
    Closed,
}

/// When a line of the audit is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// When the operating system has it.
    Written,
    /// A line that the statement begins is on the disk before it runs.
    SyncedBefore,
}

/// Which statements are slow, and where that is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowLog {
    /// Where.
    pub file: LogFile,
    /// From when on; 0 is all of them.
    pub threshold_ms: u64,
    /// Whether literals are written, other than those that may be secrets.
    pub literals: Switch,
}

/// Where spans go, and how many.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// Host and port of the collector.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path there, over HTTP.
    pub path: String,
    /// How it is spoken to.
    pub protocol: TraceProtocol,
    /// How it is trusted; none in the clear.
    pub tls: Option<CollectorTls>,
    /// Statements without a trace of their own that get one, per million.
    pub ratio_ppm: u32,
    /// What a client's own trace decides.
    pub parent: Parent,
}

/// How OTLP is spoken with a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TraceProtocol {
    /// Requests of HTTP/1.1.
    Http,
    /// Calls of gRPC.
    Grpc,
}

/// TLS towards a collector, whose certificate must name the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CollectorTls {
    /// The authorities that its certificate may come from.
    pub ca: PemFile,
    /// Our certificate and key, when it asks for one.
    pub identity: Option<(PemFile, PemFile)>,
}

impl Serialize for CollectorTls {
    /// Says which files, not what is in them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let identity = self.identity.as_ref();
        let mut shown = serializer.serialize_struct("CollectorTls", 3)?;
        shown.serialize_field("ca", &self.ca.path)?;
        shown.serialize_field("cert", &identity.map(|(cert, _)| &cert.path))?;
        shown.serialize_field("key", &identity.map(|(_, key)| &key.path))?;
        shown.end()
    }
}

/// What a client's own trace decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Parent {
    /// Whether its statements are recorded.
    Followed,
    /// Nothing but where the spans belong.
    Ignored,
}
