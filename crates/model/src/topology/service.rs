//! A MySQL endpoint that the mesh offers: where it listens, who may log in, what bounds them.
//!
//! Services may share a listener and are then told apart by user and schema; `resolve` has made
//! sure that this tells them apart and that whatever is used before the user is known is the same
//! for all of them. Nothing here opens a socket.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{
    Compression, Firewall, Isolation, Limits, Name, Network, Observability, PemFile, PoolPolicy,
    Rights, Sharding, Strategy,
};
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

impl PasswordHash {
    /// Reads what MySQL keeps in `mysql.user.authentication_string`, as text or, as
    /// `print_identified_with_as_hex` prints it, as `0x` and hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(digits) = text.strip_prefix('*') {
            return Some(PasswordHash::NativeSha1(unhex(digits)?.try_into().ok()?));
        }
        match text.strip_prefix("0x") {
            Some(digits) => Self::caching_sha2(&unhex(digits)?),
            None => Self::caching_sha2(text.as_bytes()),
        }
    }

    /// `$A$`, three hexadecimal digits, `$`, salt, digest.
    fn caching_sha2(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"$A$")?;
        let (thousands, rest) = rest.split_first_chunk::<3>()?;
        let (salt, digest) = rest.strip_prefix(b"$")?.split_first_chunk::<20>()?;
        let digest: [u8; 43] = digest.try_into().ok()?;
        let of_crypt = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
        if !thousands.iter().all(u8::is_ascii_hexdigit) || !digest.iter().all(of_crypt) {
            return None;
        }
        let thousands = u32::from_str_radix(std::str::from_utf8(thousands).ok()?, 16).ok()?;
        let rounds = thousands.checked_mul(1000).filter(|rounds| *rounds > 0)?;
        Some(PasswordHash::CachingSha2 {
            rounds,
            salt: *salt,
            digest,
        })
    }
}

/// Pairs of hexadecimal digits as bytes.
fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let nibble = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|n| u8::try_from(n).ok())
    };
    let byte = |[high, low]: &[u8; 2]| Some(nibble(*high)? << 4 | nibble(*low)?);
    if rest.is_empty() {
        pairs.iter().map(byte).collect()
    } else {
        None
    }
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
    /// What logins must meet, and what the user may do.
    pub rights: Arc<Rights>,
    /// What the user is to the service.
    pub duty: Duty,
}

/// What a user is to its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Duty {
    /// Somebody who uses it.
    Uses,
    /// An operator: may use SHOW MESH, and KILL sessions of others of the service.
    Operates,
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
    /// What it gets where services, or its users, compete.
    pub isolation: Isolation,
    /// Peers whose PROXY protocol header is believed, and required; empty: it is never read.
    pub proxy_networks: Vec<Network>,
    /// The allow-list of statements.
    pub firewall: Option<Firewall>,
    /// Compressions offered to clients.
    pub compression: Vec<Compression>,
    /// Where its statements go.
    pub strategy: Arc<Strategy>,
    /// What it tells of its statements.
    pub observability: Observability,
    /// How its tables are split; none: they are not.
    pub sharding: Option<Arc<Sharding>>,
}

impl Service {
    /// `namespace/database/service`: its name in metrics and for operators.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.database, self.name)
    }

    /// Whether this user operates the service.
    #[must_use]
    pub fn is_operator(&self, user: &str) -> bool {
        let mut users = self.users.iter();
        users.any(|known| known.name == user && known.duty == Duty::Operates)
    }

    /// Whether `asked` names it: in full, or by the last parts of its label.
    #[must_use]
    pub fn answers_to(&self, asked: &str) -> bool {
        is_named(&self.label(), asked)
    }
}

fn is_named(label: &str, asked: &str) -> bool {
    label
        .strip_suffix(asked)
        .is_some_and(|before| !asked.is_empty() && (before.is_empty() || before.ends_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_by_their_last_parts() {
        for asked in ["mysql", "shop/mysql", "default/shop/mysql"] {
            assert!(is_named("default/shop/mysql", asked), "{asked}");
        }
        for asked in ["", "sql", "op/mysql", "shop", "other/default/shop/mysql"] {
            assert!(!is_named("default/shop/mysql", asked), "{asked}");
        }
    }

    #[test]
    fn password_hashes_are_read() {
        // PASSWORD('password') of MySQL 5.7.
        let native = PasswordHash::parse("*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19").unwrap();
        let PasswordHash::NativeSha1(bytes) = &native else {
            panic!("{native:?}")
        };
        assert_eq!((bytes[0], bytes[19]), (0x24, 0x19));
        assert!(!format!("{native:?}").contains("24"), "{native:?}");

        let (salt, digest) = ("s".repeat(20), "d".repeat(43));
        let text = format!("$A$005${salt}{digest}");
        let expected = PasswordHash::CachingSha2 {
            rounds: 5000,
            salt: [b's'; 20],
            digest: [b'd'; 43],
        };
        assert_eq!(PasswordHash::parse(&text), Some(expected.clone()));
        let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(PasswordHash::parse(&format!("0x{hex}")), Some(expected));
    }

    #[test]
    fn what_is_no_password_hash_is_refused() {
        let (salt, digest) = ("s".repeat(20), "d".repeat(43));
        for text in [
            String::new(),
            "*".to_owned(),
            "password".to_owned(),
            "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E1".to_owned(),
            "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E1G".to_owned(),
            format!("$A$000${salt}{digest}"),
            format!("$A$00G${salt}{digest}"),
            format!("$A$005${salt}{digest}x"),
            format!("$A$005${salt}"),
            "0x2".to_owned(),
        ] {
            assert_eq!(PasswordHash::parse(&text), None, "{text:?}");
        }
    }
}
