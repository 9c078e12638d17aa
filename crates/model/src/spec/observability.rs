//! What a service tells of its statements: insight, audit, slow log, traces.

use schemars::JsonSchema;
use serde::Deserialize;

/// What a service tells of its statements. Only `insight` is on where nothing is said.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObservabilitySpec {
    /// Whether statements are summed up by user and digest; `on` if absent.
    pub insight: Option<SwitchSpec>,
    /// Tables of which statements are counted one by one at `/metrics`, those beyond together; 0, none, if absent.
    #[schemars(range(max = 10_000))]
    pub table_metrics: Option<u32>,
    /// A line for each statement of chosen classes, in a file that shows whether it was changed.
    pub audit: Option<StatementAuditSpec>,
    /// A line for each statement that took long.
    pub slow_log: Option<SlowLogSpec>,
    /// Spans for an OpenTelemetry collector.
    pub tracing: Option<TracingSpec>,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SwitchSpec {
    /// It is done.
    On,
    /// It is not.
    Off,
}

/// Which statements are audited, and what happens when they cannot be.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatementAuditSpec {
    /// Absolute path of the file. Services may share one if they say the same of it.
    pub file: String,
    /// Bytes from which on the file is put aside; 104857600 (100 MiB) if absent.
    #[schemars(range(min = 65_536, max = 1_099_511_627_776_u64))]
    pub rotate_bytes: Option<u64>,
    /// Files put aside that are kept; 10 if absent.
    #[schemars(range(max = 1000))]
    pub keep_files: Option<u32>,
    /// Classes of statements; all if absent. Actions of operators and logins are always there.
    pub classes: Option<Vec<ClassSpec>>,
    /// Whether literals of statements are written, other than those that may be secrets; `off` if absent.
    pub literals: Option<SwitchSpec>,
    /// What becomes of statements while the file cannot be written; `open` if absent.
    pub on_failure: Option<OnFailureSpec>,
    /// When a line is safe; `written` if absent.
    pub durability: Option<DurabilitySpec>,
}

/// A class of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClassSpec {
    /// SHOW, EXPLAIN.
    Show,
    /// What reads rows.
    Read,
    /// What changes the session: SET, USE, PREPARE.
    Session,
    /// What begins and ends transactions.
    Tcl,
    /// What may change rows.
    Write,
    /// What changes definitions.
    Ddl,
    /// What administers servers or users.
    Admin,
    /// What dbmesh does not know.
    Unknown,
}

/// What becomes of statements while the audit cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnFailureSpec {
    /// They run; the file says later how many lines are missing.
    Open,
    /// They are refused.
    Closed,
}

/// When a line of the audit is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DurabilitySpec {
    /// When the operating system has it, a moment after the statement.
    Written,
    /// A line that the statement begins is on the disk before it runs; needs `onFailure: closed`.
    SyncedBefore,
}

/// Which statements are slow, and where that is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlowLogSpec {
    /// Absolute path of the file. Services may share one if they say the same of it.
    pub file: String,
    /// Bytes from which on the file is put aside; 104857600 (100 MiB) if absent.
    #[schemars(range(min = 65_536, max = 1_099_511_627_776_u64))]
    pub rotate_bytes: Option<u64>,
    /// Files put aside that are kept; 10 if absent.
    #[schemars(range(max = 1000))]
    pub keep_files: Option<u32>,
    /// Milliseconds from which on a statement is slow; 0 is all of them.
    #[schemars(range(max = 86_400_000))]
    pub threshold_ms: u64,
    /// Whether literals of statements are written, other than those that may be secrets; `off` if absent.
    pub literals: Option<SwitchSpec>,
}

/// Where spans go, and how many.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingSpec {
    /// The collector's address, as `http://127.0.0.1:4318`, or `https://…` with `tls`. Over HTTP, `/v1/traces` follows unless a
    /// path is given.
    pub endpoint: String,
    /// How OTLP is spoken; `http` if absent.
    pub protocol: Option<TraceProtocolSpec>,
    /// How the collector of an `https` address is trusted.
    pub tls: Option<CollectorTlsSpec>,
    /// Part of the statements without a trace of their own that get one, 0 to 1; 0.01 if absent.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ratio: Option<f64>,
    /// Whether a trace that the client began decides itself whether it is recorded; `followed` if absent.
    pub parent: Option<ParentSpec>,
}

/// How OTLP is spoken with a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TraceProtocolSpec {
    /// Requests of HTTP/1.1 in protocol buffers; collectors listen at 4318.
    Http,
    /// Calls of gRPC; collectors listen at 4317.
    Grpc,
}

/// TLS towards a collector, whose certificate must come from `ca` and name the host.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CollectorTlsSpec {
    /// PEM file of the authorities.
    pub ca: String,
    /// PEM file of our certificate, if the collector asks for one.
    pub cert: Option<String>,
    /// PEM file of our certificate's private key.
    pub key: Option<String>,
}

/// What a client's own trace decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ParentSpec {
    /// Its statements are recorded if it says so, whatever `ratio` is.
    Followed,
    /// `ratio` alone decides; the spans belong to the client's trace all the same.
    Ignored,
}
