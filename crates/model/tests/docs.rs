//! `docs/resources.md` says what the code does: its examples resolve, it names every field, and its
//! defaults are the code's.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use dbmesh_model::host::Host;
use dbmesh_model::topology::{
    Durability, Ejection, KEEP_FILES_DEFAULT, Limits, OnFailure, PoolPolicy, ROTATE_BYTES_DEFAULT,
    Switch, TRACE_RATIO_PPM_DEFAULT, TraceProtocol,
};
use dbmesh_model::{Kind, load_text, resolve, schema};
use serde_json::Value;
use zeroize::Zeroizing;

/// Every variable is set and every file is there.
struct PlentifulHost;

impl Host for PlentifulHost {
    fn env(&self, _: &str) -> Option<Zeroizing<String>> {
        Some(Zeroizing::new("secret".to_owned()))
    }

    fn read(&self, path: &Path) -> io::Result<Zeroizing<String>> {
        let name = path.to_str().unwrap();
        let label = if name.ends_with("-key.pem") {
            "PRIVATE KEY"
        } else {
            "CERTIFICATE"
        };
        Ok(Zeroizing::new(format!(
            "-----BEGIN {label}-----\nAA==\n-----END {label}-----\n"
        )))
    }
}

fn page() -> String {
    page_of("resources.md")
}

fn page_of(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The info string and the text of every fenced block.
fn blocks(page: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = page.split("```").collect();
    assert_eq!(parts.len() % 2, 1, "a fence is open");
    let inside = parts.iter().skip(1).step_by(2);
    inside
        .map(|block| {
            let (info, text) = block.split_once('\n').unwrap();
            (info.to_owned(), text.to_owned())
        })
        .collect()
}

#[test]
fn every_example_does_what_the_page_says() {
    let page = page();
    let blocks = blocks(&page);
    assert!(blocks.len() >= 4, "{}", blocks.len());
    for (info, text) in blocks {
        let resolved = resolve(load_text(Path::new("resources.md"), &text), &PlentifulHost);
        match info.strip_prefix("yaml refused: ") {
            None => {
                assert_eq!(info, "yaml");
                assert!(resolved.is_ok(), "{}\n{text}", resolved.unwrap_err());
            }
            Some(reason) => {
                let defects = resolved.unwrap_err().to_string();
                assert!(defects.contains(reason), "{defects}");
            }
        }
    }
}

#[test]
fn examples_of_other_pages_resolve() {
    for name in [
        "balancing.md",
        "hints.md",
        "deadlines.md",
        "shadow.md",
        "sharding.md",
        "units.md",
        "rules.md",
        "transactions.md",
        "access.md",
        "breakers.md",
        "firewall.md",
        "isolation.md",
        "transaction-replay.md",
    ] {
        let blocks = blocks(&page_of(name));
        let examples: Vec<_> = blocks.iter().filter(|(info, _)| info == "yaml").collect();
        assert!(!examples.is_empty(), "{name}");
        for (_, text) in examples {
            let resolved = resolve(load_text(Path::new(name), text), &PlentifulHost);
            let topology = resolved.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(
                topology.warnings.is_empty(),
                "{name}: {:?}",
                topology.warnings
            );
        }
    }
}

#[test]
fn the_example_of_splitting_resolves() {
    let examples: Vec<_> = blocks(&page_of("splitting.md"))
        .into_iter()
        .filter(|(info, _)| info == "yaml")
        .collect();
    assert_eq!(examples.len(), 1);
    for (_, text) in examples {
        let resolved = resolve(load_text(Path::new("splitting.md"), &text), &PlentifulHost);
        let topology = resolved.unwrap_or_else(|defects| panic!("{defects}"));
        let strategy = &topology.services[0].strategy;
        assert!(strategy.splitting.is_some());
        assert_eq!(strategy.buffer.max_wait_ms, 15_000);
        assert_eq!(strategy.endpoints.len(), 2);
    }
}

fn fields(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                names.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| fields(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, names)),
        _ => {}
    }
}

#[test]
fn every_field_is_named() {
    let page = page();
    let mut names = BTreeSet::new();
    for kind in Kind::ALL {
        fields(&schema(kind), &mut names);
    }
    assert!(names.len() > 80, "{names:?}");
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/resources.md: {missing:?}");
}

#[test]
fn every_default_is_the_code_s() {
    let page = page();
    let defaults = [
        serde_json::to_value(Limits::default()).unwrap(),
        serde_json::to_value(PoolPolicy::default()).unwrap(),
        serde_json::to_value(Ejection::default()).unwrap(),
    ];
    for (name, value) in defaults.iter().flat_map(|value| value.as_object().unwrap()) {
        let shown = match value {
            // The resource says true or false.
            Value::String(text) if text == "refuse" => "false".to_owned(),
            Value::String(text) if text == "allow" => "true".to_owned(),
            Value::String(text) => format!("`{text}`"),
            number => number.to_string(),
        };
        let row = format!("| `{name}` | {shown} |");
        assert!(page.contains(&row), "docs/resources.md has no row {row}");
    }
}

/// What the examples of a service leave out.
const REST: &str = "---
apiVersion: core.database-mesh.io/v1alpha1
kind: TrafficStrategy
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  loadBalance: {simpleLoadBalance: {kind: random}}
---
apiVersion: core.database-mesh.io/v1alpha1
kind: DatabaseEndpoint
metadata: {name: primary, labels: {app: shop}}
spec:
  database: {MySQL: {host: db, port: 3306, user: app, password: {valueFrom: {env: DB_PASSWORD}}}}
";

#[test]
fn the_examples_of_observability_are_valid_and_say_what_they_mean() {
    let all_told = |name: &str| {
        let page = page_of(name);
        let examples = blocks(&page).into_iter();
        let texts = examples.filter(|(info, _)| info == "yaml");
        let services = texts.map(|(_, text)| {
            let resolved = resolve(load_text(Path::new(name), &(text + REST)), &PlentifulHost);
            let topology = resolved.unwrap_or_else(|defects| panic!("{defects}"));
            topology.services[0].clone()
        });
        services.collect::<Vec<_>>()
    };
    let told = |name: &str| {
        let services = all_told(name);
        assert_eq!(services.len(), 1, "{name}");
        services[0].clone()
    };
    let insight = told("insight.md");
    assert_eq!(insight.observability.insight, Switch::Off);
    assert!(insight.is_operator("dba") && !insight.is_operator("app"));
    let audit = told("audit.md").observability.audit.clone().unwrap();
    assert_eq!(audit.on_failure, OnFailure::Closed);
    assert_eq!(audit.durability, Durability::SyncedBefore);
    let page = page();
    for default in [
        format!("| `rotateBytes` | {ROTATE_BYTES_DEFAULT} |"),
        format!("| `keepFiles` | {KEEP_FILES_DEFAULT} |"),
    ] {
        assert!(
            page.contains(&default),
            "docs/resources.md has no {default}"
        );
    }
    let tracing = all_told("tracing.md").into_iter();
    let tracing: Vec<_> = tracing
        .map(|service| service.observability.tracing.clone().unwrap())
        .collect();
    let [clear, secure] = tracing.as_slice() else {
        panic!("{} examples of tracing", tracing.len());
    };
    assert_eq!(
        (clear.port, clear.ratio_ppm, clear.protocol),
        (4318, TRACE_RATIO_PPM_DEFAULT, TraceProtocol::Http)
    );
    assert!(clear.tls.is_none() && secure.tls.is_some());
    assert_eq!((secure.port, secure.protocol), (4317, TraceProtocol::Grpc));
}
