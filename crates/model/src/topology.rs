//! What the mesh serves and from where: valid, immutable, shared by `Arc`.
//!
//! Only `resolve` builds a topology from files, so every reference in it holds, every number is in
//! its range and every regular expression compiles. It never changes; a reload makes another one,
//! and the parts whose fingerprint is the same may be kept. Nothing in it prints a secret.

mod access;
mod endpoint;
mod network;
mod observability;
mod policy;
mod redacted;
mod rules;
mod service;
pub mod sharding;
mod splitting;
mod steering;
mod strategy;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use access::{FIREWALL_DIGESTS_DEFAULT, Firewall, FirewallMode, Grant, Right, Rights};
pub use endpoint::{Address, BackendTls, BackendTlsMode, Endpoint, EndpointKind, Role};
pub use network::{Network, NetworkError};
pub use observability::{
    Audit, Classes, CollectorTls, Durability, KEEP_FILES_DEFAULT, LogFile, Observability,
    OnFailure, Parent, ROTATE_BYTES_DEFAULT, SlowLog, Switch, TRACE_RATIO_PPM_DEFAULT, TRACES_PATH,
    TraceProtocol, Tracing,
};
pub use policy::{
    ADAPTIVE_MIN_DEFAULT, ADAPTIVE_TOLERANCE_PERCENT_DEFAULT, AdaptivePool, Compression, FairBy,
    Isolation, Limits, LocalInfile, Multiplexing, PoolPolicy, Routines,
};
pub(crate) use redacted::revision;
pub use rules::{
    Access, Action, BoundingClause, ColumnPattern, ConcurrencyLimit, Glob, LIMIT_KEYS_MAX, LimitBy,
    Match, Patterns, RATE_PER_MS_DEFAULT, RULE_WAITING_DEFAULT, RULES_MAX, RateLimit, RouteTo,
    Rule, RuleBits, RuleBook, RuleMode, TablePattern, TimeWindow, Unknown,
};
pub use service::{
    ClientTlsMode, Credential, Duty, Listen, ListenerTls, PasswordHash, Service, User,
};
pub use sharding::Sharding;
pub use splitting::{
    CATCH_UP_WAIT_MS_DEFAULT, Consistency, Heartbeat, HeartbeatClock, Matcher, Monitor,
    ProbePolicy, RoleSource, Splitting, SplittingMatch, SplittingRule, TransactionalRead,
};
pub use steering::{
    ColumnRef, Foreign, HintPolicy, HintRights, MIRROR_CONNECTIONS_DEFAULT,
    MIRROR_MAX_COPIES_DEFAULT, MIRROR_TIMEOUT_MS_DEFAULT, Mirror, MirrorWrites, RowOperation,
    Shadow, ShadowColumn, ShadowRule, Site, Units, Unowned,
};
pub use strategy::{
    BUFFER_STATEMENTS_DEFAULT, BUFFER_WAIT_MS_DEFAULT, Balance, Breaker, Buffer, ConcurrencyRule,
    DenyRule, Ejection, HASH_LOAD_PERCENT_DEFAULT, HashKey, Hashing, Locality,
    SPILL_OVER_PERCENT_DEFAULT, Strategy, TransactionReplay,
};

use crate::Defect;
use crate::secret::Secret;

/// The name of a resource, service or namespace: 1 to 253 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// The name, or nothing if it is empty, too long or holds another character.
    pub fn new(text: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        ((1..=253).contains(&text.len()) && text.chars().all(fits)).then(|| Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A PEM file that a resource names, with its content as it was when the topology was resolved, so
/// that a renewed certificate makes another topology and a file half written later breaks nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PemFile {
    /// Where it was read from; for messages.
    pub path: PathBuf,
    /// The PEM text: at least one block of the kind the field asks for.
    pub pem: Secret,
}

/// Everything one proxy needs in order to serve.
#[derive(Debug)]
pub struct Topology {
    /// Hash of the canonical content: the same for the same configuration, wherever it is read and
    /// in whatever order its documents come. Secrets are left out, since a revision is shown and a
    /// hash of a weak password can be guessed: see [`Topology::fingerprint`].
    pub revision: u64,
    /// Every service of every virtual database, ordered by namespace, virtual database and name.
    pub services: Vec<Arc<Service>>,
    /// What the operator should know though the configuration is used.
    pub warnings: Vec<Defect>,
}

impl Topology {
    /// Every endpoint that some service uses, once each, ordered by namespace and name.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let mut all: Vec<Arc<Endpoint>> = Vec::new();
        let used = self.services.iter();
        for endpoint in used.flat_map(|service| service.strategy.all_endpoints()) {
            let key = (&endpoint.namespace, &endpoint.name);
            match all.binary_search_by(|known| (&known.namespace, &known.name).cmp(&key)) {
                Ok(_) => {}
                Err(place) => all.insert(place, Arc::clone(endpoint)),
            }
        }
        all
    }
}
