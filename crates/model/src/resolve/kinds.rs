//! Documents by kind: checked against the schema, decoded, and unique by name.
//!
//! A document that is wrong stays known by its name and labels, so that what refers to it is not
//! called wrong as well.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::findings::{At, Findings};
use crate::load::Document;
use crate::schema::{Kind, schema};
use crate::shape::departures;
use crate::spec::{
    API_VERSION, DataShard, DatabaseEndpoint, ServiceSpec, TrafficStrategy, VirtualDatabase,
};
use crate::suggest::suggest;
use crate::topology::Name;

/// A document that has the shape of its kind.
pub struct Resource<'a, T> {
    pub document: &'a Document,
    pub namespace: Name,
    pub name: Name,
    pub content: T,
}

/// All documents by kind.
#[derive(Default)]
pub struct Kinds<'a> {
    pub databases: Vec<Resource<'a, VirtualDatabase>>,
    pub strategies: Vec<Resource<'a, TrafficStrategy>>,
    pub endpoints: Vec<Resource<'a, DatabaseEndpoint>>,
    pub shards: Vec<Resource<'a, DataShard>>,
    /// Documents of a known kind that are wrong.
    pub broken: Vec<(Kind, &'a Document)>,
}

impl Kinds<'_> {
    /// Namespace and name of every strategy that a service names.
    pub fn strategy_references(&self) -> impl Iterator<Item = (&str, &str)> {
        self.references("trafficStrategy", |service| {
            Some(service.traffic_strategy.as_str())
        })
    }

    /// Namespace and name of every DataShard that a service names.
    pub fn shard_references(&self) -> impl Iterator<Item = (&str, &str)> {
        self.references("dataShard", |service| service.data_shard.as_deref())
    }

    /// What `field` of every service names, services of broken documents included.
    fn references<'k>(
        &'k self,
        field: &'static str,
        named: impl Fn(&'k ServiceSpec) -> Option<&'k str> + Copy,
    ) -> impl Iterator<Item = (&'k str, &'k str)> {
        let decoded = self.databases.iter().flat_map(move |database| {
            let services = &database.content.spec.services;
            services
                .iter()
                .filter_map(move |s| Some((database.namespace.as_str(), named(s)?)))
        });
        let broken = self
            .broken
            .iter()
            .filter(|(kind, _)| *kind == Kind::VirtualDatabase);
        decoded.chain(broken.flat_map(move |(_, document)| {
            let services = document
                .value
                .field("spec")
                .and_then(|spec| spec.field("services"));
            let services = services.map(crate::yaml::Node::items).unwrap_or_default();
            services.iter().filter_map(move |service| {
                Some((document.namespace.as_str(), service.field(field)?.text()?))
            })
        }))
    }
}

/// Sorts documents by kind.
pub fn sort<'a>(documents: &'a [Document], findings: &mut Findings) -> Kinds<'a> {
    let schemas: BTreeMap<Kind, Json> = Kind::ALL.map(|kind| (kind, schema(kind))).into();
    let mut kinds = Kinds::default();
    let mut seen: BTreeMap<(Kind, &str, &str), &Document> = BTreeMap::new();
    for document in documents {
        let Some(kind) = kind(document, findings) else {
            continue;
        };
        let Some(schema) = schemas.get(&kind) else {
            continue;
        };
        let found = departures(&document.file, schema, &document.value);
        let fits = found.is_empty();
        findings.extend(found);
        if let Some(first) = unique(document, kind, &mut seen) {
            let at = At::top(document).field("metadata").field("name");
            let (name, place) = (&document.name, At::top(first).place());
            let reason = format!("duplicate {} `{name}`, first at {place}", kind.name());
            findings.error(&at, reason);
            continue;
        }
        if !(fits && decode(document, kind, &mut kinds, findings)) {
            kinds.broken.push((kind, document));
        }
    }
    kinds
}

/// The document's kind, if this version implements it.
fn kind(document: &Document, findings: &mut Findings) -> Option<Kind> {
    let at = At::top(document).field("kind");
    if let Some(kind) = Kind::from_name(&document.kind) {
        return Some(kind);
    }
    let name = &document.kind;
    let known: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    match name.as_str() {
        "" => {
            let example = format!("begin with `apiVersion: {API_VERSION}` and a `kind`");
            findings.error_with(&at, "the document has no `kind`", example);
        }
        // Traffic classes change no answer, so doing without them is safe.
        "QoSClaim" => findings.warning(&at, "kind QoSClaim does not act yet"),
        _ if document.api_version != API_VERSION && !document.api_version.is_empty() => {
            let reason = format!(
                "kind {name} of {} is not a resource of the mesh",
                document.api_version
            );
            findings.error_with(&at, reason, "keep it in another folder".to_owned());
        }
        _ => findings.error_with(&at, format!("unknown kind `{name}`"), suggest(name, known)),
    }
    None
}

/// The document of the same kind, namespace and name that came before, if any.
fn unique<'a>(
    document: &'a Document,
    kind: Kind,
    seen: &mut BTreeMap<(Kind, &'a str, &'a str), &'a Document>,
) -> Option<&'a Document> {
    if document.name.is_empty() {
        return None;
    }
    let key = (kind, document.namespace.as_str(), document.name.as_str());
    let first = *seen.entry(key).or_insert(document);
    (!std::ptr::eq(first, document)).then_some(first)
}

fn decode<'a>(
    document: &'a Document,
    kind: Kind,
    kinds: &mut Kinds<'a>,
    findings: &mut Findings,
) -> bool {
    match kind {
        Kind::VirtualDatabase => put(document, &mut kinds.databases, findings),
        Kind::TrafficStrategy => put(document, &mut kinds.strategies, findings),
        Kind::DatabaseEndpoint => put(document, &mut kinds.endpoints, findings),
        Kind::DataShard => put(document, &mut kinds.shards, findings),
    }
}

fn put<'a, T: DeserializeOwned>(
    document: &'a Document,
    resources: &mut Vec<Resource<'a, T>>,
    findings: &mut Findings,
) -> bool {
    let metadata = At::top(document).field("metadata");
    let namespace = name(&metadata.field("namespace"), &document.namespace, findings);
    let name = name(&metadata.field("name"), &document.name, findings);
    // serde's own message may repeat a value, so it is not shown. A test holds that whatever fits
    // the schema is decoded.
    let Ok(content) = serde_json::from_value::<T>(document.value.to_json()) else {
        findings.error(
            &At::top(document),
            "the document cannot be decoded as its kind",
        );
        return false;
    };
    let (Some(namespace), Some(name)) = (namespace, name) else {
        return false;
    };
    resources.push(Resource {
        document,
        namespace,
        name,
        content,
    });
    true
}

/// The name of a resource or service, or a defect.
pub fn name(at: &At<'_>, text: &str, findings: &mut Findings) -> Option<Name> {
    let name = Name::new(text);
    if name.is_none() {
        let reason = format!("{text:?} is not a name");
        let rule = "1 to 253 letters, digits, `.`, `_` and `-`";
        findings.error_with(at, reason, rule.to_owned());
    }
    name
}
