//! `observability` of a service → `Observability`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::connection::{PemContent, identity, pem_file};
use super::findings::{At, Findings};
use super::service::Served;
use crate::host::Host;
use crate::spec::{
    ClassSpec, DurabilitySpec, ObservabilitySpec, OnFailureSpec, ParentSpec, SlowLogSpec,
    StatementAuditSpec, SwitchSpec, TraceProtocolSpec, TracingSpec,
};
use crate::topology::{
    Audit, Classes, CollectorTls, Durability, KEEP_FILES_DEFAULT, LogFile, Observability,
    OnFailure, Parent, ROTATE_BYTES_DEFAULT, SlowLog, Switch, TRACE_RATIO_PPM_DEFAULT, TRACES_PATH,
    TraceProtocol, Tracing,
};
use dbmesh_sql::Class;

/// Longest path in the address of a collector.
const PATH_BYTES_MAX: usize = 256;

/// What a service tells; nothing after a defect.
pub fn observability(
    at: &At<'_>,
    spec: Option<&ObservabilitySpec>,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Observability> {
    let Some(spec) = spec else {
        return Some(Observability::default());
    };
    let audit = optional(spec.audit.as_ref(), |s| {
        audit(&at.field("audit"), s, findings)
    });
    let slow_log = optional(spec.slow_log.as_ref(), |s| {
        slow_log(&at.field("slowLog"), s, findings)
    });
    let tracing = optional(spec.tracing.as_ref(), |s| {
        tracing(&at.field("tracing"), s, host, findings)
    });
    Some(Observability {
        insight: switch(spec.insight, Switch::On),
        table_metrics: spec.table_metrics.unwrap_or(0),
        audit: audit?,
        slow_log: slow_log?,
        tracing: tracing?,
    })
}

/// Outer `None` after a defect.
fn optional<S, T>(spec: Option<S>, resolve: impl FnOnce(S) -> Option<T>) -> Option<Option<T>> {
    match spec {
        None => Some(None),
        Some(spec) => resolve(spec).map(Some),
    }
}

fn switch(spec: Option<SwitchSpec>, absent: Switch) -> Switch {
    match spec {
        None => absent,
        Some(SwitchSpec::On) => Switch::On,
        Some(SwitchSpec::Off) => Switch::Off,
    }
}

fn audit(at: &At<'_>, spec: &StatementAuditSpec, findings: &mut Findings) -> Option<Audit> {
    let file = file(
        at,
        &spec.file,
        (spec.rotate_bytes, spec.keep_files),
        findings,
    )?;
    let on_failure = match spec.on_failure {
        None | Some(OnFailureSpec::Open) => OnFailure::Open,
        Some(OnFailureSpec::Closed) => OnFailure::Closed,
    };
    let durability = match spec.durability {
        None | Some(DurabilitySpec::Written) => Durability::Written,
        Some(DurabilitySpec::SyncedBefore) => Durability::SyncedBefore,
    };
    if durability == Durability::SyncedBefore && on_failure == OnFailure::Open {
        let reason = "`durability: syncedBefore` promises what only `onFailure: closed` can keep";
        findings.error(&at.field("durability"), reason);
        return None;
    }
    let classes = match &spec.classes {
        None => Classes::ALL,
        Some(classes) => Classes::of(classes.iter().map(|class| match class {
            ClassSpec::Show => Class::Show,
            ClassSpec::Read => Class::Read,
            ClassSpec::Session => Class::Session,
            ClassSpec::Tcl => Class::Tcl,
            ClassSpec::Write => Class::Write,
            ClassSpec::Ddl => Class::Ddl,
            ClassSpec::Admin => Class::Admin,
            ClassSpec::Unknown => Class::Unknown,
        })),
    };
    Some(Audit {
        file,
        classes,
        literals: switch(spec.literals, Switch::Off),
        on_failure,
        durability,
    })
}

fn slow_log(at: &At<'_>, spec: &SlowLogSpec, findings: &mut Findings) -> Option<SlowLog> {
    Some(SlowLog {
        file: file(
            at,
            &spec.file,
            (spec.rotate_bytes, spec.keep_files),
            findings,
        )?,
        threshold_ms: spec.threshold_ms,
        literals: switch(spec.literals, Switch::Off),
    })
}

fn file(
    at: &At<'_>,
    path: &str,
    (rotate_bytes, keep_files): (Option<u64>, Option<u32>),
    findings: &mut Findings,
) -> Option<LogFile> {
    let given = Path::new(path);
    let plain = !given
        .components()
        .any(|part| matches!(part, std::path::Component::ParentDir));
    if !given.is_absolute() || given.file_name().is_none() || !plain {
        let reason = format!("{path:?} is not the absolute path of a file");
        findings.error(&at.field("file"), reason);
        return None;
    }
    Some(LogFile {
        path: given.components().collect::<PathBuf>(),
        rotate_bytes: rotate_bytes.unwrap_or(ROTATE_BYTES_DEFAULT),
        keep_files: keep_files.unwrap_or(KEEP_FILES_DEFAULT),
    })
}

fn tracing(
    at: &At<'_>,
    spec: &TracingSpec,
    files: &dyn Host,
    findings: &mut Findings,
) -> Option<Tracing> {
    let ratio = spec
        .ratio
        .unwrap_or(f64::from(TRACE_RATIO_PPM_DEFAULT) / 1e6);
    if !(0.0..=1.0).contains(&ratio) {
        findings.error(&at.field("ratio"), "a ratio is 0 to 1");
        return None;
    }
    let protocol = match spec.protocol {
        None | Some(TraceProtocolSpec::Http) => TraceProtocol::Http,
        Some(TraceProtocolSpec::Grpc) => TraceProtocol::Grpc,
    };
    let Some(collector) = collector(&spec.endpoint) else {
        let reason = format!("{:?} is not the address of a collector", spec.endpoint);
        let meant = "as in `http://127.0.0.1:4318`, or `https://otel.example:4317` with `tls`";
        findings.error_with(&at.field("endpoint"), reason, meant.to_owned());
        return None;
    };
    if protocol == TraceProtocol::Grpc && collector.path.is_some() {
        let reason = "a call of gRPC has a path of its own: leave that of the address out";
        findings.error(&at.field("endpoint"), reason);
        return None;
    }
    let tls = collector_tls(at, spec, collector.scheme, files, findings)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to a million"
    )]
    let ratio_ppm = (ratio * 1e6).round() as u32;
    Some(Tracing {
        host: collector.host,
        port: collector.port,
        path: collector.path.unwrap_or_else(|| TRACES_PATH.to_owned()),
        protocol,
        tls,
        ratio_ppm,
        parent: match spec.parent {
            None | Some(ParentSpec::Followed) => Parent::Followed,
            Some(ParentSpec::Ignored) => Parent::Ignored,
        },
    })
}

/// TLS where the address asks for it. Outer `None` after a defect.
fn collector_tls(
    at: &At<'_>,
    spec: &TracingSpec,
    scheme: Scheme,
    files: &dyn Host,
    findings: &mut Findings,
) -> Option<Option<CollectorTls>> {
    match (scheme, &spec.tls) {
        (Scheme::Http, None) => Some(None),
        (Scheme::Http, Some(_)) => {
            let reason = "`tls` is for an address that begins with `https://`";
            findings.error(&at.field("tls"), reason);
            None
        }
        (Scheme::Https, None) => {
            let reason = "`https` needs `tls.ca`, the authorities of the collector's certificate";
            let meant = "those of the system, for one: `/etc/ssl/certs/ca-certificates.crt`";
            findings.error_with(&at.field("endpoint"), reason.to_owned(), meant.to_owned());
            None
        }
        (Scheme::Https, Some(tls)) => {
            let at = at.field("tls");
            let certificates = PemContent::Certificates;
            let ca = pem_file(&at.field("ca"), &tls.ca, certificates, files, findings);
            let ours = (tls.cert.as_deref(), tls.key.as_deref());
            let identity = identity(&at, ours, files, findings);
            Some(Some(CollectorTls {
                ca: ca?,
                identity: identity?,
            }))
        }
    }
}

/// How an address begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// The parts of `http[s]://HOST:PORT[/PATH]`.
#[derive(Debug, PartialEq, Eq)]
struct Collector {
    scheme: Scheme,
    host: String,
    port: u16,
    path: Option<String>,
}

fn collector(address: &str) -> Option<Collector> {
    let (scheme, rest) = match address.strip_prefix("http://") {
        Some(rest) => (Scheme::Http, rest),
        None => (Scheme::Https, address.strip_prefix("https://")?),
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let (host, port) = authority.rsplit_once(':')?;
    let fits =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    let path_fits = path.len() <= PATH_BYTES_MAX && path.bytes().all(|b| b.is_ascii_graphic());
    if host.is_empty() || !host.chars().all(fits) || !path_fits {
        return None;
    }
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let path = match path {
        "" | "/" => None,
        path => Some(path.to_owned()),
    };
    Some(Collector {
        scheme,
        host: host.to_owned(),
        port,
        path,
    })
}

/// Services that write to one file say the same of it.
pub fn check_files(served: &[Served<'_>], findings: &mut Findings) {
    let mut known: BTreeMap<&Path, (&LogFile, &'static str, String)> = BTreeMap::new();
    for one in served {
        let Some(service) = &one.service else {
            continue;
        };
        let tells = &service.observability;
        let audit = tells.audit.as_ref().map(|a| ("audit", &a.file));
        let slow = tells.slow_log.as_ref().map(|s| ("slowLog", &s.file));
        for (what, file) in audit.into_iter().chain(slow) {
            let at = one.at.field("observability").field(what).field("file");
            match known.get(file.path.as_path()) {
                None => {
                    known.insert(&file.path, (file, what, at.place()));
                }
                Some((other, other_what, place)) if *other != file || *other_what != what => {
                    let reason = format!("the same file is used otherwise at {place}");
                    findings.error(&at, reason);
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_named_by_host_port_and_path() {
        let given = |scheme, host: &str, path: Option<&str>| {
            Some(Collector {
                scheme,
                host: host.to_owned(),
                port: 4318,
                path: path.map(str::to_owned),
            })
        };
        for (address, expected) in [
            (
                "http://127.0.0.1:4318",
                given(Scheme::Http, "127.0.0.1", None),
            ),
            ("http://otel:4318/", given(Scheme::Http, "otel", None)),
            (
                "http://[::1]:4318/a/b",
                given(Scheme::Http, "[::1]", Some("/a/b")),
            ),
            ("https://otel:4318", given(Scheme::Https, "otel", None)),
            ("grpc://otel:4318", None),
            ("http://otel", None),
            ("http://otel:0", None),
            ("http://user@otel:1", None),
            ("http://otel:1/a b", None),
            ("http://:1", None),
        ] {
            assert_eq!(collector(address), expected, "{address}");
        }
    }

    #[test]
    fn a_set_of_classes_has_what_it_was_made_of() {
        let some = Classes::of([Class::Write, Class::Unknown]);
        assert!(some.has(Class::Write) && some.has(Class::Unknown) && !some.has(Class::Read));
        assert!(Classes::ALL.has(Class::Show));
        assert_eq!(
            serde_json::to_value(some).unwrap(),
            serde_json::json!(["write", "unknown"])
        );
    }
}
