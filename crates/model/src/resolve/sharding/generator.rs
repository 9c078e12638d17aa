//! Generators of keys by name and properties → `KeyGenerator`.
//!
//! It owns the names of properties and their ranges. A property that nothing reads is a defect.

use super::super::findings::{At, Findings};
use super::Places;
use crate::spec::{
    DataShardSpec, KeyGeneratorSpec, KeyGeneratorTypeSpec, PropertySpec, ShardingRule,
};
use crate::suggest::suggest;
use crate::topology::sharding::{GeneratorKind, KeyGenerator, Worker};

/// Ten bits of a key.
const WORKER_ID_MAX: u64 = 1023;
const BLOCK_SIZE_DEFAULT: u64 = 1_000;
const BLOCK_SIZE_MAX: u64 = 10_000_000;

/// What fills a column of this rule's table; none inside where the rule says nothing.
pub fn of_rule(
    at: &At<'_>,
    spec: &DataShardSpec,
    rule: &ShardingRule,
    places: &mut Places<'_>,
    findings: &mut Findings,
) -> Option<Option<KeyGenerator>> {
    let Some(reference) = &rule.key_generator else {
        return Some(None);
    };
    let name = reference.generator.as_str();
    let generators = spec.key_generators.as_ref();
    let Some(generator) = generators.and_then(|all| all.get(name)) else {
        let known = generators
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str());
        let reason = format!("there is no key generator `{name}`");
        let at = at.field("keyGenerator").field("generator");
        findings.error_with(&at, reason, suggest(name, known));
        return None;
    };
    let at = At::top(at.document)
        .field("spec")
        .field("keyGenerators")
        .field(name);
    let kind = Written {
        at: &at,
        spec,
        generator,
    }
    .kind(places, findings)?;
    Some(Some(KeyGenerator {
        column: reference.column.to_lowercase(),
        name: name.to_owned(),
        kind,
    }))
}

/// A generator as written.
struct Written<'a, 'd> {
    at: &'a At<'d>,
    spec: &'a DataShardSpec,
    generator: &'a KeyGeneratorSpec,
}

impl Written<'_, '_> {
    fn kind(&self, places: &mut Places<'_>, findings: &mut Findings) -> Option<GeneratorKind> {
        let known: &[&str] = match self.generator.generator_type {
            KeyGeneratorTypeSpec::Snowflake => &["worker-id", "node"],
            KeyGeneratorTypeSpec::Uuid => &[],
            KeyGeneratorTypeSpec::Segment => &["node", "block-size", "start"],
        };
        let mut sound = true;
        for (name, _) in self.generator.props.iter().flatten() {
            if !known.contains(&name.as_str()) {
                let at = self.at.field("props").field(name);
                let reason = format!("nothing reads the property `{name}`");
                findings.error_with(&at, reason, suggest(name, known.iter().copied()));
                sound = false;
            }
        }
        let kind = match self.generator.generator_type {
            KeyGeneratorTypeSpec::Uuid => Some(GeneratorKind::Uuid),
            KeyGeneratorTypeSpec::Snowflake => self.snowflake(places, findings),
            KeyGeneratorTypeSpec::Segment => self.segment(places, findings),
        };
        kind.filter(|_| sound)
    }

    fn snowflake(&self, places: &mut Places<'_>, findings: &mut Findings) -> Option<GeneratorKind> {
        let worker = match self.prop("worker-id") {
            Some(_) if self.prop("node").is_some() => {
                let at = self.at.field("props").field("node");
                findings.error(&at, "a worker id is either given or leased at a node");
                return None;
            }
            Some(_) => {
                let id = self.number("worker-id", 0, 0, WORKER_ID_MAX, findings)?;
                Worker::Fixed(u16::try_from(id).ok()?)
            }
            None => Worker::Leased {
                source: self.source(places, findings)?,
            },
        };
        Some(GeneratorKind::Snowflake { worker })
    }

    fn segment(&self, places: &mut Places<'_>, findings: &mut Findings) -> Option<GeneratorKind> {
        let size = self.number(
            "block-size",
            BLOCK_SIZE_DEFAULT,
            1,
            BLOCK_SIZE_MAX,
            findings,
        );
        let last = i64::MAX.unsigned_abs();
        let start = self.number("start", 1, 1, last, findings);
        Some(GeneratorKind::Segment {
            source: self.source(places, findings)?,
            block_size: u32::try_from(size?).ok()?,
            start: start?,
        })
    }

    /// The node that has the table: the one that is named, else that of unlisted tables, else the first.
    fn source(&self, places: &mut Places<'_>, findings: &mut Findings) -> Option<usize> {
        let at = self.at.field("props").field("node");
        match self.prop("node") {
            Some(PropertySpec::Text(name)) => places.source(&at, name, findings),
            Some(_) => {
                findings.error(&at, "must be the name of an endpoint or group");
                None
            }
            None => match self.spec.defaults.as_ref().and_then(|d| d.node.as_ref()) {
                Some(name) => places.source(&at, name, findings),
                None => Some(0),
            },
        }
    }

    fn prop(&self, name: &str) -> Option<&PropertySpec> {
        self.generator.props.as_ref()?.get(name)
    }

    fn number(
        &self,
        name: &'static str,
        default: u64,
        least: u64,
        most: u64,
        findings: &mut Findings,
    ) -> Option<u64> {
        match self.prop(name) {
            None => Some(default),
            Some(PropertySpec::Integer(number)) if (least..=most).contains(number) => Some(*number),
            Some(_) => {
                let at = self.at.field("props").field(name);
                findings.error(&at, format!("must be a number from {least} to {most}"));
                None
            }
        }
    }
}
