//! A real database server and how to reach it.
//!
//! It owns the identity of a backend connection: two endpoints of the same fingerprint are reached
//! in the same way, so a reload may keep the pool of the one for the other. It never dials.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use serde::Serialize;

use super::{Compression, Name, PemFile};
use crate::secret::Secret;

/// What kind of server an endpoint is, as the operator says; the server's own greeting decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum EndpointKind {
    /// Oracle MySQL or Percona Server.
    MySQL,
    /// MariaDB Server.
    MariaDB,
    /// TiDB.
    TiDB,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Address {
    /// A host name or IP address (IPv6 without brackets), and a port from 1.
    Tcp {
        /// Host name or IP address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What statements an endpoint may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and writes (`readwrite` in the older form); the default.
    Primary,
    /// Reads that are proved to be reads (`read` in the older form).
    Replica,
    /// Nothing of production: only what is marked, or copies.
    Shadow,
}

/// How a connection to a server is encrypted, as MySQL's `--ssl-mode` of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum BackendTlsMode {
    /// Never.
    Disabled,
    /// If the server offers it; the certificate is not verified.
    Preferred,
    /// Always; the certificate is not verified.
    Required,
    /// Always; the certificate must come from the given authority.
    VerifyCa,
    /// Always; the certificate must come from the given authority and name the host.
    VerifyIdentity,
}

/// TLS towards a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BackendTls {
    /// Whether and how far to trust the server.
    pub mode: BackendTlsMode,
    /// The authorities; present when the mode verifies.
    pub ca: Option<PemFile>,
    /// Our certificate and key, when the server asks for one.
    pub identity: Option<(PemFile, PemFile)>,
}

impl Default for BackendTls {
    fn default() -> Self {
        Self {
            mode: BackendTlsMode::Preferred,
            ca: None,
            identity: None,
        }
    }
}

/// One server of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name of the DatabaseEndpoint.
    pub name: Name,
    /// Namespace of the DatabaseEndpoint.
    pub namespace: Name,
    /// What kind of server it is.
    pub kind: EndpointKind,
    /// Where it listens.
    pub address: Address,
    /// The user of backend connections.
    pub user: String,
    /// Its password; empty for none.
    pub password: Secret,
    /// The schema that backend connections start in.
    pub schema: Option<String>,
    /// What statements it may be given.
    pub role: Role,
    /// Its share of the traffic relative to the others; 0 takes none.
    pub weight: u32,
    /// Where it stands: proxies of the same zone prefer it.
    pub zone: Option<String>,
    /// TLS towards it.
    pub tls: BackendTls,
    /// Compressions that may be used towards it, best first.
    pub compression: Vec<Compression>,
}

impl Endpoint {
    /// A hash of everything that matters for a connection: kind, address, user, password, schema,
    /// TLS, compression, and the name. Role, weight and zone are left out: they steer traffic and
    /// need no new connection. Comparable only within one process, and never to be shown: it
    /// depends on the password.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.namespace, &self.name, self.kind, &self.address).hash(&mut hasher);
        (&self.user, &self.password, &self.schema).hash(&mut hasher);
        (&self.tls, &self.compression).hash(&mut hasher);
        hasher.finish()
    }
}
