use serde_json::json;

use super::*;
use crate::schema::{Kind, schema};
use crate::spec::{DataShard, DatabaseEndpoint, TrafficStrategy, VirtualDatabase};

const CASES: [&str; 3] = [
    include_str!("../../cases/every-field.yaml"),
    include_str!("../../cases/older-form-split.yaml"),
    include_str!("../../cases/plan-sharding.yaml"),
];

fn fits(kind: Kind, value: &Json) -> bool {
    let (documents, faults) = crate::yaml::read(&value.to_string());
    assert!(faults.is_empty(), "{faults:?} in {value}");
    let [document] = documents.as_slice() else {
        panic!("{value}")
    };
    departures(Path::new("x"), &schema(kind), document).is_empty()
}

fn decodes(kind: Kind, value: Json) -> Result<(), serde_json::Error> {
    match kind {
        Kind::VirtualDatabase => serde_json::from_value::<VirtualDatabase>(value).map(drop),
        Kind::TrafficStrategy => serde_json::from_value::<TrafficStrategy>(value).map(drop),
        Kind::DatabaseEndpoint => serde_json::from_value::<DatabaseEndpoint>(value).map(drop),
        Kind::DataShard => serde_json::from_value::<DataShard>(value).map(drop),
    }
}

/// Every JSON pointer in a value.
fn pointers(value: &Json, here: &str, all: &mut Vec<String>) {
    all.push(here.to_owned());
    match value {
        Json::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(field, &format!("{here}/{name}"), all);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{here}/{index}"), all);
            }
        }
        _ => {}
    }
}

/// Whatever value is put in place of whatever field, a document fits the schema exactly if it can
/// be decoded; ranges and lengths, which only the schema knows, aside.
#[test]
fn a_document_fits_exactly_if_it_decodes() {
    let intruders = [
        json!(null),
        json!(true),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(100_000),
        json!(""),
        json!("random"),
        json!([]),
        json!(["x"]),
        json!({}),
        json!({"a": "b"}),
        json!({"valueFrom": {"env": "X"}}),
        json!([{"name": "x"}]),
    ];
    let (mut fitting, mut departing) = (0, 0);
    for text in CASES {
        for document in crate::yaml::read(text).0 {
            let kind = Kind::from_name(document.field("kind").unwrap().text().unwrap()).unwrap();
            let whole = document.to_json();
            assert!(fits(kind, &whole), "{whole}");
            let mut places = Vec::new();
            pointers(&whole, "", &mut places);
            places.retain(|place| !place.is_empty());
            for (place, intruder) in places
                .iter()
                .flat_map(|place| intruders.iter().map(move |i| (place, i)))
            {
                let mut changed = whole.clone();
                *changed.pointer_mut(place).unwrap() = intruder.clone();
                let decoded = decodes(kind, changed.clone());
                if fits(kind, &changed) {
                    fitting += 1;
                    assert!(decoded.is_ok(), "{place} {intruder}: {decoded:?}");
                } else {
                    departing += 1;
                    let by_range = intruder.is_number() || intruder == &json!([]);
                    assert!(decoded.is_err() || by_range, "{place} {intruder} decodes");
                }
            }
        }
    }
    assert!(fitting > 100 && departing > 1000, "{fitting} {departing}");
}
