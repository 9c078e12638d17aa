//! Plans of a sharded service that hold for other values too, by the digest of their text.
//!
//! Owns two generations of templates, bounded in number and bytes, and what was made of each at its shards: names, and
//! statements to prepare. It lives as long as what is known of the tables: whatever changes there, nothing of it is left. Must
//! never serve a text that its template does not vouch for. Input: statements that were planned for one shard.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use dbmesh_plan::shard::Template;
use dbmesh_runtime::exposition::{Kind, Text};
use dbmesh_sql::{Dialect, Statement};
use dbmesh_wire::relay::Names;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::catalog::Tables;
use crate::prepared::Key;
use crate::serving::{Services, Serving};

/// Parts with a lock of their own.
const SEGMENTS: usize = 16;
/// Digests of one generation of a segment.
const GENERATION_MAX: usize = 256;
/// Bytes of one generation of a segment: 32 MiB of a service in all.
const GENERATION_BYTES_MAX: usize = 1 << 20;
/// Texts of one digest: they differ in white space, comments, or the length of lists.
const VARIANTS_MAX: usize = 4;

/// What a plan depends on besides its text and the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of the text.
    pub digest: u64,
    /// How it is read.
    pub dialect: Dialect,
    /// Whether the session is in the service's schema.
    pub in_schema: bool,
    /// Whether the client's texts are UTF-8.
    pub utf8: bool,
    /// Its values come apart from it: a text with the values in it has the same digest.
    pub bound: bool,
}

/// By the digest alone: what else differs is the same for all statements of a service, or nearly.
impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

/// Digests are hashes already. A generation is small, so that clients who make digests alike gain nothing.
#[derive(Debug, Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        // The low bits have chosen the segment.
        self.0 = digest.rotate_right(8);
    }
}

/// A template, and what was made of it.
#[derive(Debug)]
pub struct Remembered {
    /// The plan; none where texts of this digest have to be planned one by one.
    pub template: Option<Template>,
    placed: Box<[OnceLock<Placed>]>,
}

/// What holds of a template at one shard.
#[derive(Debug)]
pub struct Placed {
    /// What the client calls otherwise there.
    pub names: Option<Arc<Names>>,
    /// The statement as it is prepared there, under the state of its key; only where its text has no values.
    pub prepared: OnceLock<(u64, Arc<Key>, Arc<Statement>)>,
}

impl Remembered {
    /// What holds at a shard, made now if need be.
    pub fn at(&self, shard: usize, make: impl FnOnce() -> Option<Arc<Names>>) -> Option<&Placed> {
        let placed = self.placed.get(shard)?;
        Some(placed.get_or_init(|| Placed {
            names: make(),
            prepared: OnceLock::new(),
        }))
    }

    fn bytes(&self) -> usize {
        let template = self.template.as_ref().map_or(0, Template::bytes);
        // A text and two names for each shard.
        let made = size_of::<OnceLock<Placed>>() + template + 512;
        size_of::<Self>() + size_of::<Asked>() + template + self.placed.len() * made
    }
}

/// The templates of a digest.
pub type Variants = SmallVec<[Arc<Remembered>; 1]>;

type Generation = HashMap<Asked, Variants, BuildHasherDefault<DigestHasher>>;

#[derive(Debug, Default)]
struct Segment {
    young: Generation,
    old: Generation,
    young_bytes: usize,
}

/// Templates of a service.
#[derive(Debug)]
pub struct Plans {
    segments: [Mutex<Segment>; SEGMENTS],
}

impl Default for Plans {
    fn default() -> Self {
        Self {
            segments: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Plans {
    fn place(asked: &Asked) -> usize {
        // The low bits of a digest are as good as any.
        usize::try_from(asked.digest % SEGMENTS as u64).unwrap_or(0)
    }

    /// The templates that a text may be like.
    pub fn find(&self, asked: &Asked) -> Variants {
        let Some(segment) = self.segments.get(Self::place(asked)) else {
            return Variants::new();
        };
        let mut segment = segment.lock();
        if let Some(known) = segment.young.get(asked) {
            return known.clone();
        }
        let Some(known) = segment.old.remove(asked) else {
            return Variants::new();
        };
        segment.keep(*asked, known.clone());
        known
    }

    /// Remembers a template, or that there is none.
    pub fn keep(&self, asked: Asked, template: Option<Template>) {
        let shards = template.as_ref().map_or(0, Template::shards);
        let remembered = Remembered {
            placed: (0..shards).map(|_| OnceLock::new()).collect(),
            template,
        };
        if remembered.bytes() > GENERATION_BYTES_MAX / 4 {
            return;
        }
        let Some(segment) = self.segments.get(Self::place(&asked)) else {
            return;
        };
        let mut segment = segment.lock();
        let mut variants = segment.take(&asked);
        if variants.len() >= VARIANTS_MAX {
            variants.remove(0);
        }
        variants.push(Arc::new(remembered));
        segment.keep(asked, variants);
    }

    /// Templates now, and their bytes.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        let mut sizes = (0, 0);
        for segment in &self.segments {
            let segment = segment.lock();
            for variants in segment.young.values().chain(segment.old.values()) {
                sizes.0 += variants.len();
                sizes.1 += bytes(variants);
            }
        }
        sizes
    }
}

impl Segment {
    fn take(&mut self, asked: &Asked) -> Variants {
        let young = self.young.remove(asked);
        if let Some(young) = &young {
            self.young_bytes = self.young_bytes.saturating_sub(bytes(young));
        }
        young.or_else(|| self.old.remove(asked)).unwrap_or_default()
    }

    fn keep(&mut self, asked: Asked, variants: Variants) {
        let more = bytes(&variants);
        let full = self.young_bytes + more > GENERATION_BYTES_MAX;
        if full || self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += more;
        self.young.insert(asked, variants);
    }
}

fn bytes(variants: &Variants) -> usize {
    variants.iter().map(|known| known.bytes()).sum()
}

/// Writes the metrics of all sharded services.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
pub fn expose(services: &Services, out: &mut Text) {
    type Of = fn(&Serving, &Tables) -> f64;
    let families: [(&str, &str, Kind, Of); 4] = [
        (
            "dbmesh_shard_plans_found_total",
            "Statements on sharded tables that went by a remembered plan.",
            Kind::Counter,
            |serving, _| serving.metrics.plans()[0] as f64, // tidy-allow: there are two
        ),
        (
            "dbmesh_shard_plans_made_total",
            "Plans of statements on sharded tables that were made to be remembered.",
            Kind::Counter,
            |serving, _| serving.metrics.plans()[1] as f64, // tidy-allow: there are two
        ),
        (
            "dbmesh_shard_plans",
            "Plans of statements on sharded tables that are remembered now.",
            Kind::Gauge,
            |_, tables| tables.plans().0 as f64,
        ),
        (
            "dbmesh_shard_plans_bytes",
            "About how much memory they take.",
            Kind::Gauge,
            |_, tables| tables.plans().1 as f64,
        ),
    ];
    for (name, help, kind, value) in families {
        out.family(name, help, kind);
        for serving in &services.list {
            if let Some(tables) = &serving.tables {
                let database = serving.database_label();
                let labels = [
                    ("database", &*database),
                    ("service", serving.service.name.as_str()),
                ];
                out.sample(&labels, value(serving, tables));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(digest: u64) -> Asked {
        Asked {
            digest,
            dialect: Dialect::default(),
            in_schema: true,
            utf8: true,
            bound: false,
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_used_stays() {
        let plans = Plans::default();
        let most = 2 * SEGMENTS * GENERATION_MAX;
        for digest in 0..3 * most as u64 {
            plans.keep(asked(digest + 1), None);
            if plans.find(&asked(0)).is_empty() {
                plans.keep(asked(0), None);
                assert_eq!(digest, 0, "it was asked for all the time");
            }
        }
        let (count, bytes) = plans.sizes();
        assert!(count <= most && count >= most / 2, "{count}");
        assert!(bytes <= 2 * SEGMENTS * GENERATION_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn a_digest_has_few_variants() {
        let plans = Plans::default();
        for _ in 0..3 * VARIANTS_MAX {
            plans.keep(asked(7), None);
        }
        assert_eq!(plans.find(&asked(7)).len(), VARIANTS_MAX);
        assert!(plans.find(&asked(8)).is_empty());
    }
}
