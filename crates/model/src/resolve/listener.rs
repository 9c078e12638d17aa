//! Whether services that share a listener can be told apart, and greet alike.
//!
//! A client's user and schema are known only after the greeting, so whatever the greeting and the
//! TLS handshake use must be the same for all services of a listener.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::findings::{At, Findings};
use super::service::Served;
use crate::topology::{Listen, Service};

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Listener {
    Tcp(u16, String),
    Unix(PathBuf),
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tcp(port, host) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Listener::Tcp(port, host) => write!(f, "{host}:{port}"),
            Listener::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A sound service and where it is written.
struct Sharer<'s, 'a> {
    served: &'s Served<'a>,
    service: &'s Service,
}

/// Checks all services that are sound in themselves.
pub fn check(served: &[Served<'_>], findings: &mut Findings) {
    let mut listeners: BTreeMap<Listener, Vec<Sharer<'_, '_>>> = BTreeMap::new();
    for one in served {
        let Some(service) = one.service.as_deref() else {
            continue;
        };
        for listener in listeners_of(&service.listen) {
            listeners.entry(listener).or_default().push(Sharer {
                served: one,
                service,
            });
        }
    }
    check_wildcards(&listeners, findings);
    for (listener, sharers) in &listeners {
        check_logins(listener, sharers, findings);
        if let Some((first, others)) = sharers.split_first() {
            for other in others {
                check_greeting(listener, first, other, findings);
            }
        }
    }
}

fn listeners_of(listen: &Listen) -> impl Iterator<Item = Listener> {
    let tcp = listen
        .tcp
        .clone()
        .map(|(host, port)| Listener::Tcp(port, host));
    let unix = listen.unix.clone().map(Listener::Unix);
    tcp.into_iter().chain(unix)
}

/// Two services must differ in user or schema.
fn check_logins(listener: &Listener, sharers: &[Sharer<'_, '_>], findings: &mut Findings) {
    let mut logins: BTreeMap<(&str, Option<&str>), &Sharer<'_, '_>> = BTreeMap::new();
    for sharer in sharers {
        for (index, user) in sharer.service.users.iter().enumerate() {
            let login = (user.name.as_str(), sharer.service.schema.as_deref());
            let first = *logins.entry(login).or_insert(sharer);
            if std::ptr::eq(first, sharer) {
                continue;
            }
            let schema = match login.1 {
                Some(schema) => format!("schema `{schema}`"),
                None => "no schema".to_owned(),
            };
            let place = first.served.at.place();
            let reason = format!(
                "user `{}` with {schema} on {listener} belongs to the service at {place} already",
                user.name
            );
            let suggestion = "give it another port, user or `db`".to_owned();
            findings.error_with(&user_at(sharer.served, index), reason, suggestion);
        }
    }
}

/// Where the user of that index is written: the first may be the one of `databaseMySQL`.
fn user_at<'a>(served: &Served<'a>, index: usize) -> At<'a> {
    let in_service = served.spec.database_mysql.user.is_some();
    match index.checked_sub(usize::from(in_service)) {
        Some(index) => served.at.field("users").item(index).field("name"),
        None => served.at.field("databaseMySQL").field("user"),
    }
}

/// What is used before the user is known must be the same.
fn check_greeting(
    listener: &Listener,
    first: &Sharer<'_, '_>,
    other: &Sharer<'_, '_>,
    findings: &mut Findings,
) {
    let (a, b) = (first.service, other.service);
    let at = &other.served.at;
    let timeout = |service: &Service| service.limits.handshake_timeout_ms;
    let differences = [
        (a.tls != b.tls, at.field("tls"), "tls"),
        (
            a.proxy_networks != b.proxy_networks,
            at.field("proxyProtocol"),
            "proxyProtocol",
        ),
        (
            a.compression != b.compression,
            at.field("compression"),
            "compression",
        ),
        (
            a.server_version != b.server_version,
            at.field("databaseMySQL").field("serverVersion"),
            "serverVersion",
        ),
        (
            timeout(a) != timeout(b),
            at.field("limits").field("handshakeTimeoutMs"),
            "handshakeTimeoutMs",
        ),
    ];
    for (differs, at, field) in differences {
        if differs {
            let place = first.served.at.place();
            let reason = format!(
                "`{field}` differs from that of the service at {place}, which shares {listener}: \
                 it is used before the user is known"
            );
            findings.error(&at, reason);
        }
    }
}

/// A listener on all addresses takes the port from the others.
fn check_wildcards(listeners: &BTreeMap<Listener, Vec<Sharer<'_, '_>>>, findings: &mut Findings) {
    let is_wildcard = |host: &str| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    for (listener, sharers) in listeners {
        let Listener::Tcp(port, host) = listener else {
            continue;
        };
        let overlapping = listeners.keys().find(|other| match other {
            Listener::Tcp(other_port, other_host) => {
                other_port == port && other_host != host && is_wildcard(other_host)
            }
            Listener::Unix(_) => false,
        });
        let Some(wildcard) = overlapping else {
            continue;
        };
        for sharer in sharers {
            let at = sharer.served.at.field("databaseMySQL").field("host");
            let reason = format!("{listener} overlaps {wildcard}, which takes every address");
            let suggestion = "write the same host for all services of the port".to_owned();
            findings.error_with(&at, reason, suggestion);
        }
    }
}
