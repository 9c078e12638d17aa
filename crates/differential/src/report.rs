//! What became of all statements: equal, refused by reason, different; and the share that was accepted, by family.
//!
//! Numbers of warnings are counted apart: a statement over several shards is told by each of them what one server says once.

use std::collections::BTreeMap;
use std::fmt;

use crate::compare::{DifferenceKind, Verdict};
use crate::statement::Statement;

/// Counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    families: BTreeMap<String, Counts>,
    reasons: BTreeMap<String, (u64, String)>,
    errors: BTreeMap<String, (u64, String)>,
    kinds: BTreeMap<DifferenceKind, u64>,
    plans: BTreeMap<String, (u64, String)>,
    /// Differences, in words.
    pub told: Vec<String>,
}

/// Counts of a family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Equal answers.
    pub equal: u64,
    /// The same error on both sides.
    pub errors: u64,
    /// Refused, though the judge answers.
    pub refused: u64,
    /// Refused, and an error of the judge as well.
    pub hopeless: u64,
    /// Different answers.
    pub different: u64,
    /// Equal answers, but for the number of warnings.
    pub warnings: u64,
    /// The answer of one server that executes the statement in another way.
    pub planned: u64,
}

impl Counts {
    /// Share of the statements with an answer that the mesh answers, in percent.
    pub fn accepted_percent(self) -> f64 {
        let accepted = self.equal + self.different + self.warnings + self.planned;
        match accepted + self.refused {
            0 => 100.0,
            all => accepted as f64 * 100.0 / all as f64,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            equal: self.equal + other.equal,
            errors: self.errors + other.errors,
            refused: self.refused + other.refused,
            hopeless: self.hopeless + other.hopeless,
            different: self.different + other.different,
            warnings: self.warnings + other.warnings,
            planned: self.planned + other.planned,
        }
    }
}

impl Report {
    /// Counts a verdict.
    pub fn count(&mut self, statement: &Statement, verdict: &Verdict) {
        let counts = self.families.entry(statement.family.clone()).or_default();
        match verdict {
            Verdict::Equal => counts.equal += 1,
            Verdict::SameError { error } => {
                counts.errors += 1;
                let code = error.split(' ').next().unwrap_or_default().to_owned();
                let example = || (0, format!("{error}: {}", statement.marked));
                self.errors.entry(code).or_insert_with(example).0 += 1;
            }
            Verdict::Refused { reason, answerable } => {
                match answerable {
                    true => counts.refused += 1,
                    false => counts.hopeless += 1,
                }
                if *answerable {
                    let example = || (0, statement.marked.clone());
                    let entry = self.reasons.entry(reason.clone()).or_insert_with(example);
                    entry.0 += 1;
                }
            }
            Verdict::OtherPlan { difference, way } => {
                counts.planned += 1;
                let told = format!("{} by {way:?}", difference.kind);
                let example = || (0, format!("{}; {}", statement.marked, difference.detail));
                self.plans.entry(told).or_insert_with(example).0 += 1;
            }
            Verdict::Different(difference) => {
                match difference.kind {
                    DifferenceKind::Warnings => counts.warnings += 1,
                    _ => counts.different += 1,
                }
                *self.kinds.entry(difference.kind).or_default() += 1;
            }
        }
    }

    /// Takes in what another run counted.
    pub fn absorb(&mut self, other: Self) {
        for (name, counts) in other.families {
            let own = self.families.entry(name).or_default();
            *own = own.plus(counts);
        }
        let texts = [
            (&mut self.reasons, other.reasons),
            (&mut self.errors, other.errors),
            (&mut self.plans, other.plans),
        ];
        for (own, others) in texts {
            for (text, (count, example)) in others {
                own.entry(text).or_insert((0, example)).0 += count;
            }
        }
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.told.extend(other.told);
    }

    /// Counts by family.
    pub fn families(&self) -> impl Iterator<Item = (&str, Counts)> {
        let all = self.families.iter();
        all.map(|(name, counts)| (name.as_str(), *counts))
    }

    /// How often what was refused, though one MySQL answers, with an example.
    pub fn refusals(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        counted(&self.reasons)
    }

    /// How often an answer was that of one server by another plan, with an example.
    pub fn plans(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        counted(&self.plans)
    }

    /// All families together.
    pub fn total(&self) -> Counts {
        let all = self.families.values();
        all.fold(Counts::default(), |sum, counts| sum.plus(*counts))
    }

    /// The families whose name begins so, together.
    pub fn of(&self, prefix: &str) -> Counts {
        let all = self.families.iter();
        all.filter(|(name, _)| name.starts_with(prefix))
            .fold(Counts::default(), |sum, (_, counts)| sum.plus(*counts))
    }
}

fn counted(of: &BTreeMap<String, (u64, String)>) -> impl Iterator<Item = (&str, u64, &str)> {
    let all = of.iter();
    all.map(|(text, (count, example))| (text.as_str(), *count, example.as_str()))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<30} {:>8} {:>8} {:>8} {:>8} {:>10} {:>9} {:>9}",
            "family",
            "equal",
            "errors",
            "refused",
            "warnings",
            "other plan",
            "different",
            "accepted"
        )?;
        let total = ("all".to_owned(), self.total());
        let lines = self
            .families
            .iter()
            .map(|(name, counts)| (name.clone(), *counts));
        for (name, counts) in lines.chain([total]) {
            writeln!(
                f,
                "{name:<30} {:>8} {:>8} {:>8} {:>8} {:>10} {:>9} {:>8.1}%",
                counts.equal,
                counts.errors,
                counts.refused,
                counts.warnings,
                counts.planned,
                counts.different,
                counts.accepted_percent()
            )?;
        }
        if !self.reasons.is_empty() {
            writeln!(f, "\nrefused, though one MySQL answers:")?;
        }
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for (reason, (count, example)) in reasons {
            writeln!(f, "{count:>8}  {reason}\n          as {example}")?;
        }
        if !self.errors.is_empty() {
            writeln!(f, "\nerrors of both sides:")?;
        }
        for (count, example) in self.errors.values() {
            writeln!(f, "{count:>8}  {example}")?;
        }
        if !self.plans.is_empty() {
            writeln!(f, "\nas one server answers by another plan:")?;
        }
        for (told, (count, example)) in &self.plans {
            writeln!(f, "{count:>8}  {told}\n          as {example}")?;
        }
        for (kind, count) in &self.kinds {
            writeln!(f, "{count:>8}  different in {kind}")?;
        }
        Ok(())
    }
}
