//! A sketch of durations whose quantiles are within one per cent, and which adds up with others.
//!
//! Owns buckets that grow by a constant factor (DDSketch: Masson, Rim, Lee, VLDB 2019). It must never take more than
//! [`BUCKETS_MAX`] counts. Input: nanoseconds.

use serde_json::{Value, json};

/// How far a quantile may be off, relative to its value.
pub const RELATIVE_ERROR: f64 = 0.01;
/// Growth from one bucket to the next: (1 + error) / (1 - error).
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);
/// Everything below is counted as this, in ns.
const LEAST_NS: f64 = 1_000.0;
/// Buckets: 1 us to more than 5 hours; what is longer is counted in the last one.
pub const BUCKETS_MAX: usize = 1_200;
/// Buckets are added in steps of this many.
const STEP: usize = 8;

/// The sketch.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    /// The bucket of the first count.
    first: u16,
    counts: Vec<u32>,
}

fn bucket(ns: u64) -> usize {
    #[allow(
        clippy::cast_precision_loss,
        reason = "an error far below the sketch's"
    )]
    let over = (ns as f64 / LEAST_NS).max(1.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and cut at the last bucket"
    )]
    let index = (over.ln() / GAMMA.ln()).ceil() as usize;
    index.min(BUCKETS_MAX - 1)
}

/// The value that stands for a bucket, in ns.
fn value(index: usize) -> f64 {
    let exponent = i32::try_from(index).unwrap_or(i32::MAX);
    LEAST_NS * GAMMA.powi(exponent) * 2.0 / (GAMMA + 1.0)
}

impl Sketch {
    /// Counts a duration.
    pub fn add(&mut self, ns: u64) {
        self.count(bucket(ns), 1);
    }

    /// Counts all that another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (at, count) in other.counts.iter().enumerate() {
            if *count > 0 {
                self.count(usize::from(other.first) + at, *count);
            }
        }
    }

    fn count(&mut self, index: usize, count: u32) {
        let at = self.make_room(index);
        if let Some(known) = self.counts.get_mut(at) {
            *known = known.saturating_add(count);
        }
    }

    /// The place of a bucket in `counts`, which has it then.
    fn make_room(&mut self, index: usize) -> usize {
        let first = usize::from(self.first);
        if self.counts.is_empty() {
            let start = index / STEP * STEP;
            self.first = u16::try_from(start).unwrap_or(0);
            self.counts.reserve_exact(STEP);
            self.counts.resize(STEP, 0);
            return index - start;
        }
        if index < first {
            let start = index / STEP * STEP;
            let missing = first - start;
            self.counts.reserve_exact(missing);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = u16::try_from(start).unwrap_or(0);
            return index - start;
        }
        let at = index - first;
        if at >= self.counts.len() {
            let wanted = (at / STEP + 1) * STEP;
            self.counts.reserve_exact(wanted - self.counts.len());
            self.counts.resize(wanted, 0);
        }
        at
    }

    /// How many were counted.
    pub fn len(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The quantile, 0 to 1, in ns, by the nearest rank: of two durations, the 99th percentile is the longer one. 0 of
    /// nothing.
    pub fn quantile(&self, q: f64) -> f64 {
        let total = self.len();
        if total == 0 {
            return 0.0;
        }
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank below the total"
        )]
        let rank = ((q.clamp(0.0, 1.0) * total as f64).ceil() as u64).saturating_sub(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen > rank {
                return value(usize::from(self.first) + at);
            }
        }
        value(BUCKETS_MAX - 1)
    }

    /// Memory behind it, in bytes.
    pub fn bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u32>()
    }

    /// For who adds up the sketches of several proxies: bucket `first + i` has `counts[i]`, and ends at
    /// `least_ns * gamma^(first + i)`.
    pub fn to_json(&self) -> Value {
        json!({ "gamma": GAMMA, "least_ns": LEAST_NS, "first": self.first, "counts": self.counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // From 2 us to 33 s, evenly in its logarithm.
        let exponent = (*seed >> 33) as f64 / f64::from(1_u32 << 31) * 24.0;
        (2_000.0 * exponent.exp2()) as u64
    }

    #[test]
    fn quantiles_of_ten_proxies_are_within_one_per_cent() {
        let mut all = Vec::new();
        let mut merged = Sketch::default();
        for proxy in 1..=10_u64 {
            let (mut sketch, mut seed) = (Sketch::default(), proxy * 7919);
            for _ in 0..5_000 {
                let ns = draw(&mut seed) * proxy;
                sketch.add(ns);
                all.push(ns);
            }
            merged.merge(&sketch);
        }
        all.sort_unstable();
        assert_eq!(merged.len(), all.len() as u64);
        for q in [0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            let rank = ((q * all.len() as f64).ceil() as usize).saturating_sub(1);
            let exact = all[rank] as f64;
            let off = (merged.quantile(q) - exact).abs() / exact;
            assert!(off <= RELATIVE_ERROR * 1.000_001, "{q}: {off}");
        }
        assert!(merged.bytes() <= BUCKETS_MAX * 4 + STEP * 4);
    }

    #[test]
    fn a_high_percentile_of_few_is_the_longest() {
        let mut sketch = Sketch::default();
        for ns in [1_000_000, 50_000_000] {
            sketch.add(ns);
        }
        assert!(sketch.quantile(0.5) < 1_100_000.0);
        assert!(sketch.quantile(0.95) > 49_000_000.0 && sketch.quantile(0.99) > 49_000_000.0);
    }

    #[test]
    fn any_duration_is_counted_in_bounded_memory() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.quantile(0.5), 0.0);
        for ns in [u64::MAX, 0, 1, 999, 1_000, 1_001, 1 << 40, u64::MAX] {
            sketch.add(ns);
        }
        assert_eq!(sketch.len(), 8);
        assert!(sketch.bytes() <= BUCKETS_MAX * 4, "{}", sketch.bytes());
        assert!(sketch.quantile(0.0) <= 1_001.0);
        assert!(sketch.quantile(1.0) > 18e12, "5 hours");
    }
}
