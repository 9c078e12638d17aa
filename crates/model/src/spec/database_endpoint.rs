//! DatabaseEndpoint: a real server.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ApiVersion, CompressionSpec, Metadata, Password};

/// A real database server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseEndpoint {
    /// `core.database-mesh.io/v1alpha1`.
    pub api_version: ApiVersion,
    /// `DatabaseEndpoint`.
    pub kind: DatabaseEndpointKind,
    /// Name, namespace, labels, annotations.
    pub metadata: Metadata,
    /// Where it is and what it is for.
    pub spec: DatabaseEndpointSpec,
}

/// `DatabaseEndpoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DatabaseEndpointKind {
    /// The only value.
    DatabaseEndpoint,
}

/// Where a server is and what it is for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatabaseEndpointSpec {
    /// How to reach it.
    pub database: Database,
    /// Its share of the traffic under `weighted`, relative to the others; 1 if absent.
    #[schemars(range(max = 1_000_000))]
    pub weight: Option<u32>,
    /// Where it stands. Proxies of the same zone (`dbmesh proxy --zone`) prefer it.
    #[schemars(length(min = 1, max = 253))]
    pub zone: Option<String>,
    /// What statements it may be given. If absent, the annotation `database-mesh.io/role` (`read`
    /// or `readwrite`) says it; without both, `primary`.
    pub role: Option<RoleSpec>,
}

/// How to reach a server, under the name of its kind; exactly one field.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Oracle MySQL or Percona Server.
    #[serde(rename = "MySQL")]
    pub mysql: Option<Backend>,
    /// The same as `MySQL`.
    #[serde(rename = "mysql")]
    pub mysql_lower: Option<Backend>,
    /// MariaDB Server.
    #[serde(rename = "MariaDB")]
    pub mariadb: Option<Backend>,
    /// The same as `MariaDB`.
    #[serde(rename = "mariadb")]
    pub mariadb_lower: Option<Backend>,
    /// TiDB.
    #[serde(rename = "TiDB")]
    pub tidb: Option<Backend>,
    /// The same as `TiDB`.
    #[serde(rename = "tidb")]
    pub tidb_lower: Option<Backend>,
}

/// How to reach a server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// Host name or IP address; required unless `socket` is given.
    pub host: Option<String>,
    /// Port; 3306 if absent.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// Absolute path of a Unix socket, instead of host and port.
    pub socket: Option<String>,
    /// The user of backend connections.
    pub user: String,
    /// Its password; none if absent.
    pub password: Option<Password>,
    /// The schema that backend connections start in.
    pub db: Option<String>,
    /// TLS towards the server.
    pub tls: Option<BackendTlsSpec>,
    /// Compressions to use towards the server, best first; none if absent.
    pub compression: Option<Vec<CompressionSpec>>,
}

/// TLS towards a server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTlsSpec {
    /// Whether, and how far the server's certificate is verified; `preferred` if absent.
    pub mode: Option<BackendTlsModeSpec>,
    /// PEM file of the authorities; for `verifyCa` and `verifyIdentity`.
    pub ca: Option<String>,
    /// PEM file of our certificate, if the server asks for one.
    pub cert: Option<String>,
    /// PEM file of our certificate's private key.
    pub key: Option<String>,
}

/// Whether a connection is encrypted, and how far the server's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BackendTlsModeSpec {
    /// Never encrypted.
    Disabled,
    /// Encrypted if the server offers it; not verified.
    Preferred,
    /// Always encrypted; not verified.
    Required,
    /// Always encrypted; the certificate comes from `ca`.
    VerifyCa,
    /// Always encrypted; the certificate comes from `ca` and names the host.
    VerifyIdentity,
}

/// What statements an endpoint may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RoleSpec {
    /// Reads and writes.
    Primary,
    /// Reads only.
    Replica,
    /// Nothing but what `shadow` and `mirror` of a strategy send there by its name.
    Shadow,
}
