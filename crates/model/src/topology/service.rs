//! A MySQL endpoint that the mesh offers: where it listens, who may log in, what bounds them.
//!
//! Services may share a listener and are then told apart by user and schema; `resolve` has made
//! sure that this tells them apart and that whatever is used before the user is known is the same
//! for all of them. Nothing here opens a socket.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{Compression, Limits, Name, Network, PemFile, PoolPolicy, Strategy};
use crate::secret::{REDACTED, Secret};

/// Where a service listens: TCP, a Unix socket, or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listen {
    /// IP address or host name, and port from 1.
    pub tcp: Option<(String, u16)>,
    /// Path of a Unix socket.
    pub unix: Option<PathBuf>,
}

/// A password as MySQL keeps it in `mysql.user.authentication_string`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum PasswordHash {
    /// `mysql_native_password`: SHA1(SHA1(password)), written `*` and 40 hexadecimal digits.
    NativeSha1([u8; 20]),
    /// `caching_sha2_password`: SHA-256 crypt, written `$A$005$`, 20 bytes of salt, 43 characters;
    /// or the same as `0x` and hexadecimal digits.
    CachingSha2 {
        /// Rounds: the number between the dollar signs (hexadecimal) times 1000.
        rounds: u32,
        /// Salt, any bytes but 0 and `$`.
        salt: [u8; 20],
        /// Digest in crypt's own base 64.
        digest: [u8; 43],
    },
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            PasswordHash::NativeSha1(_) => "NativeSha1",
            PasswordHash::CachingSha2 { .. } => "CachingSha2",
        };
        write!(f, "{kind}({REDACTED})")
    }
}

/// What a client must prove to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// The password itself.
    Plain(Secret),
    /// What MySQL keeps of it.
    Hash(PasswordHash),
}

/// Somebody who may log in to a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    /// Never empty: there is no anonymous user.
    pub name: String,
    /// What must be proved.
    pub credential: Credential,
}

/// Whether clients use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientTlsMode {
    /// Not offered.
    Disabled,
    /// Offered; the default.
    Preferred,
    /// A login without it is refused.
    Required,
    /// Required, with a certificate from the given authority.
    VerifyClient,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenerTls {
    /// Whether clients use it.
    pub mode: ClientTlsMode,
    /// Certificate chain and key; without them, and unless disabled, the proxy generates its own.
    pub identity: Option<(PemFile, PemFile)>,
    /// Authorities of client certificates; present when the mode is `VerifyClient`.
    pub client_ca: Option<PemFile>,
}

impl Default for ListenerTls {
    fn default() -> Self {
        Self {
            mode: ClientTlsMode::Preferred,
            identity: None,
            client_ca: None,
        }
    }
}

/// One service of one virtual database.
#[derive(Debug)]
pub struct Service {
    /// Name of the VirtualDatabase.
    pub database: Name,
    /// Namespace of the VirtualDatabase.
    pub namespace: Name,
    /// Name of the service in it.
    pub name: Name,
    /// Where it listens.
    pub listen: Listen,
    /// Who may log in; at least one, names differ.
    pub users: Vec<User>,
    /// The schema the service offers (`db`); none: the client chooses among the backend's.
    pub schema: Option<String>,
    /// The version in the greeting; none: the proxy takes a backend's.
    pub server_version: Option<String>,
    /// TLS towards clients.
    pub tls: ListenerTls,
    /// What its clients may use at most.
    pub limits: Limits,
    /// How its backend pools behave.
    pub pool: PoolPolicy,
    /// Peers whose PROXY protocol header is believed, and required; empty: it is never read.
    pub proxy_networks: Vec<Network>,
    /// Compressions offered to clients.
    pub compression: Vec<Compression>,
    /// Where its statements go.
    pub strategy: Arc<Strategy>,
}
