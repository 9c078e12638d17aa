//! Runs statements on both sides, counts, and makes short what differs.
//!
//! Owns the order of statements and the restoring of tables between changes. A change is judged by its answer and by what
//! every table holds afterwards.

use std::time::Instant;

use crate::answer::Pair;
use crate::compare::{self, Difference, DifferenceKind, Verdict, compare};
use crate::grammar::ASSIGNS;
use crate::ground::Ground;
use crate::report::Report;
use crate::statement::Statement;
use crate::{Result, shrink};

/// Drawn changes between two restorings; hand-written ones begin with restored tables.
const CHANGES_MAX: usize = 25;
/// Differences that are made short and told; the rest is counted.
const TOLD_MAX: usize = 60;

/// A run.
#[derive(Debug)]
pub struct Run<'a> {
    ground: &'a Ground,
    pair: Pair,
    /// The counts.
    pub report: Report,
    /// Changes since the tables were restored.
    changes: usize,
    /// Told differences by family, so that one does not hide the others.
    told_of: std::collections::BTreeMap<(String, DifferenceKind), usize>,
    told_max: usize,
}

impl<'a> Run<'a> {
    /// A run on a ground.
    pub fn new(ground: &'a Ground) -> Result<Self> {
        Ok(Self {
            ground,
            pair: ground.connect()?,
            report: Report::default(),
            changes: 0,
            told_of: std::collections::BTreeMap::new(),
            told_max: TOLD_MAX,
        })
    }

    /// Makes short and tells at most so many differences.
    pub fn tell_most(&mut self, differences: usize) {
        self.told_max = differences;
    }

    /// Runs statements until the deadline; says how many were run.
    pub fn all(
        &mut self,
        statements: impl Iterator<Item = Statement>,
        deadline: Option<Instant>,
    ) -> Result<u64> {
        let mut count = 0;
        for statement in statements {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
            self.one(&statement)?;
            count += 1;
        }
        Ok(count)
    }

    /// Runs one.
    pub fn one(&mut self, statement: &Statement) -> Result<Verdict> {
        let drawn = statement.family.starts_with("random");
        if statement.changes && (self.changes >= CHANGES_MAX || (!drawn && self.changes > 0)) {
            self.restore()?;
        }
        let verdict = self.verdict(statement)?;
        self.report.count(statement, &verdict);
        if statement.family == ASSIGNS && verdict != Verdict::Equal {
            // One side has assigned what the other has not.
            self.pair = self.ground.connect()?;
        }
        if statement.changes {
            self.changes += 1;
        }
        if let Verdict::Different(difference) = &verdict {
            self.tell(statement, difference)?;
            let warned = difference.kind == DifferenceKind::Warnings;
            if statement.changes && !warned {
                self.restore()?;
            }
        }
        Ok(verdict)
    }

    fn verdict(&mut self, statement: &Statement) -> Result<Verdict> {
        if !statement.changes {
            let (judge, mesh) = self.pair.ask(statement);
            return Ok(compare(&statement.sql(), &judge, &mesh));
        }
        // A refused change must not have changed anything: the judge's is rolled back.
        let (judge, mesh) = self.pair.ask_change(statement, compare::is_refusal);
        let verdict = compare(&statement.sql(), &judge, &mesh);
        let equal = match &verdict {
            Verdict::Different(difference) => difference.kind == DifferenceKind::Warnings,
            _ => true,
        };
        if !equal {
            return Ok(verdict);
        }
        for table in self.ground.tables() {
            if !statement.marked.contains(table.name) {
                continue;
            }
            if let Some(detail) = self.ground.contents_differ(table)? {
                return Ok(Verdict::Different(Difference {
                    kind: DifferenceKind::Contents,
                    detail,
                }));
            }
        }
        Ok(verdict)
    }

    fn restore(&mut self) -> Result<()> {
        self.changes = 0;
        self.ground.restore()
    }

    fn tell(&mut self, statement: &Statement, difference: &Difference) -> Result<()> {
        let place = (statement.family.clone(), difference.kind);
        let told = self.told_of.entry(place).or_default();
        *told += 1;
        if *told > 3 || self.report.told.len() >= self.told_max {
            return Ok(());
        }
        let (short, detail) = self.shortened(statement, difference)?;
        let text = format!(
            "{}: {statement}\n    {}\n  short: {short}\n    {detail}",
            difference.kind, difference.detail
        );
        eprintln!("{text}\n");
        self.report.told.push(text);
        Ok(())
    }

    fn shortened(
        &mut self,
        statement: &Statement,
        difference: &Difference,
    ) -> Result<(String, String)> {
        let mut detail = String::new();
        let mut failed = None;
        let mut shorter = statement.clone();
        let short = shrink::shorten(&statement.marked, |text| {
            text.clone_into(&mut shorter.marked);
            match self.again(&shorter) {
                Ok(Verdict::Different(found)) if found.kind == difference.kind => {
                    detail = found.detail;
                    true
                }
                Ok(_) => false,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        match failed {
            Some(error) => Err(error),
            None => Ok((short, detail)),
        }
    }

    /// The verdict from restored tables.
    fn again(&mut self, statement: &Statement) -> Result<Verdict> {
        if statement.changes {
            self.restore()?;
        }
        self.verdict(statement)
    }
}
