//! DatabaseEndpoint → `Endpoint`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::connection::{self, PemContent};
use super::findings::{At, Findings};
use super::kinds::{Kinds, Resource};
use crate::host::Host;
use crate::load::{Completeness, Document};
use crate::schema::Kind;
use crate::spec::{
    Backend, BackendTlsModeSpec, BackendTlsSpec, Database, DatabaseEndpoint, ROLE_ANNOTATION,
    RoleSpec,
};
use crate::suggest::suggest;
use crate::topology::{Address, BackendTls, BackendTlsMode, Endpoint, EndpointKind, Role};

/// Port of a server whose endpoint names none.
const PORT_DEFAULT: u16 = 3306;
/// Weight of an endpoint that names none.
const WEIGHT_DEFAULT: u32 = 1;

/// An endpoint that a selector may match; without the endpoint itself when it is wrong.
pub struct Candidate<'a> {
    pub document: &'a Document,
    pub labels: BTreeMap<&'a str, &'a str>,
    pub endpoint: Option<Arc<Endpoint>>,
}

/// Every endpoint.
pub struct Candidates<'a> {
    pub all: Vec<Candidate<'a>>,
    /// Partial: there may be others, or others' labels, than are known here.
    pub completeness: Completeness,
}

/// Resolves every endpoint, wrong ones included.
pub fn resolve<'a>(
    kinds: &Kinds<'a>,
    completeness: Completeness,
    host: &dyn Host,
    findings: &mut Findings,
) -> Candidates<'a> {
    let mut candidates = Vec::new();
    let mut completeness = completeness;
    for resource in &kinds.endpoints {
        let endpoint = endpoint(resource, host, findings).map(Arc::new);
        let document = resource.document;
        candidates.push(Candidate {
            document,
            labels: labels(document),
            endpoint,
        });
    }
    for (kind, document) in &kinds.broken {
        if *kind == Kind::DatabaseEndpoint {
            candidates.push(Candidate {
                document,
                labels: labels(document),
                endpoint: None,
            });
            completeness = Completeness::Partial;
        }
    }
    Candidates {
        all: candidates,
        completeness,
    }
}

fn labels(document: &Document) -> BTreeMap<&str, &str> {
    let metadata = document.value.field("metadata");
    let labels = metadata.and_then(|metadata| metadata.field("labels"));
    let entries = labels.map(crate::yaml::Node::entries).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| Some((entry.key.as_str(), entry.node.text()?)))
        .collect()
}

fn endpoint(
    resource: &Resource<'_, DatabaseEndpoint>,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Endpoint> {
    let top = At::top(resource.document);
    let spec = &resource.content.spec;
    let role = role(&top, &resource.content, findings);
    let (kind, at, backend) = backend(&top, &spec.database, findings)?;
    let address = address(&at, backend, findings);
    let user = connection::user_name(&at.field("user"), &backend.user, findings);
    let password = match &backend.password {
        Some(password) => connection::password(&at.field("password"), password, host, findings),
        None => Some(crate::Secret::default()),
    };
    let schema = connection::schema(&at.field("db"), backend.db.as_deref(), findings);
    let tls = match &backend.tls {
        Some(tls) => tls_of(&at.field("tls"), tls, host, findings),
        None => Some(BackendTls::default()),
    };
    let (address, tls) = (address?, tls?);
    if matches!(address, Address::Unix(_)) && tls.mode == BackendTlsMode::VerifyIdentity {
        let reason = "a server behind a Unix socket has no host name to verify";
        findings.error_with(
            &at.field("tls").field("mode"),
            reason,
            "use `verifyCa`".to_owned(),
        );
        return None;
    }
    Some(Endpoint {
        name: resource.name.clone(),
        namespace: resource.namespace.clone(),
        kind,
        address,
        user: user?,
        password: password?,
        schema: schema?,
        role: role?,
        weight: spec.weight.unwrap_or(WEIGHT_DEFAULT),
        zone: spec.zone.clone(),
        tls,
        compression: connection::compression(backend.compression.as_deref()),
    })
}

/// The one kind of server that is given.
fn backend<'a, 's>(
    top: &At<'a>,
    database: &'s Database,
    findings: &mut Findings,
) -> Option<(EndpointKind, At<'a>, &'s Backend)> {
    let at = top.field("spec").field("database");
    let fields = [
        ("MySQL", EndpointKind::MySQL, &database.mysql),
        ("mysql", EndpointKind::MySQL, &database.mysql_lower),
        ("MariaDB", EndpointKind::MariaDB, &database.mariadb),
        ("mariadb", EndpointKind::MariaDB, &database.mariadb_lower),
        ("TiDB", EndpointKind::TiDB, &database.tidb),
        ("tidb", EndpointKind::TiDB, &database.tidb_lower),
    ];
    let mut given = fields
        .into_iter()
        .filter_map(|(field, kind, backend)| Some((kind, at.field(field), backend.as_ref()?)));
    match (given.next(), given.next()) {
        (Some(only), None) => Some(only),
        _ => {
            let reason = "needs exactly one of `MySQL`, `MariaDB` and `TiDB`";
            findings.error(&at, reason);
            None
        }
    }
}

fn address(at: &At<'_>, backend: &Backend, findings: &mut Findings) -> Option<Address> {
    match (&backend.host, &backend.socket) {
        (Some(host), None) => {
            let host = connection::host_name(&at.field("host"), host, findings)?;
            Some(Address::Tcp {
                host,
                port: backend.port.unwrap_or(PORT_DEFAULT),
            })
        }
        (None, Some(_)) if backend.port.is_some() => {
            findings.error(&at.field("port"), "`port` does not go with `socket`");
            None
        }
        (None, Some(socket)) => {
            connection::socket(&at.field("socket"), socket, findings).map(Address::Unix)
        }
        (Some(_), Some(_)) => {
            findings.error(&at.field("socket"), "`socket` does not go with `host`");
            None
        }
        (None, None) => {
            findings.error(at, "needs `host` or `socket`");
            None
        }
    }
}

/// The role by `spec.role`, else by the annotation, else primary; both must agree.
fn role(top: &At<'_>, endpoint: &DatabaseEndpoint, findings: &mut Findings) -> Option<Role> {
    let spec = endpoint.spec.role.map(|role| match role {
        RoleSpec::Primary => Role::Primary,
        RoleSpec::Replica => Role::Replica,
        RoleSpec::Shadow => Role::Shadow,
    });
    let annotations = endpoint.metadata.annotations.as_ref();
    let written = annotations.and_then(|annotations| annotations.get(ROLE_ANNOTATION));
    let at = top
        .field("metadata")
        .field("annotations")
        .field(ROLE_ANNOTATION);
    let annotated = match written.map(String::as_str) {
        None => None,
        Some("readwrite") => Some(Role::Primary),
        Some("read") => Some(Role::Replica),
        Some(other) => {
            let reason = format!("unknown role `{other}`");
            findings.error_with(&at, reason, suggest(other, ["read", "readwrite"]));
            return None;
        }
    };
    if let (Some(spec), Some(annotated)) = (spec, annotated)
        && spec != annotated
    {
        let reason = "`spec.role` and the annotation say different roles";
        findings.error_with(&at, reason, "remove the annotation".to_owned());
        return None;
    }
    Some(spec.or(annotated).unwrap_or(Role::Primary))
}

fn tls_of(
    at: &At<'_>,
    tls: &BackendTlsSpec,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<BackendTls> {
    let mode = match tls.mode {
        None => BackendTlsMode::Preferred,
        Some(BackendTlsModeSpec::Disabled) => BackendTlsMode::Disabled,
        Some(BackendTlsModeSpec::Preferred) => BackendTlsMode::Preferred,
        Some(BackendTlsModeSpec::Required) => BackendTlsMode::Required,
        Some(BackendTlsModeSpec::VerifyCa) => BackendTlsMode::VerifyCa,
        Some(BackendTlsModeSpec::VerifyIdentity) => BackendTlsMode::VerifyIdentity,
    };
    let verifies = matches!(
        mode,
        BackendTlsMode::VerifyCa | BackendTlsMode::VerifyIdentity
    );
    let ca = match &tls.ca {
        Some(ca) if verifies => {
            let certificates = PemContent::Certificates;
            Some(connection::pem_file(
                &at.field("ca"),
                ca,
                certificates,
                host,
                findings,
            )?)
        }
        Some(_) => {
            let reason = "`ca` acts only with mode `verifyCa` or `verifyIdentity`";
            findings.error(&at.field("ca"), reason);
            return None;
        }
        None if verifies => {
            findings.error(at, "a mode that verifies needs `ca`");
            return None;
        }
        None => None,
    };
    let files = (tls.cert.as_deref(), tls.key.as_deref());
    let identity = connection::identity(at, files, host, findings)?;
    if identity.is_some() && mode == BackendTlsMode::Disabled {
        findings.error(
            &at.field("cert"),
            "`cert` does not act with mode `disabled`",
        );
        return None;
    }
    Some(BackendTls { mode, ca, identity })
}
