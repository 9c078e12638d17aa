//! Runs statements on both sides, counts, and makes short what differs.
//!
//! Owns the order of statements and the restoring of tables between changes. A change is judged by its answer and by what
//! every table holds afterwards.

use std::time::Instant;

use crate::answer::{Agreement, Answer, Pair};
use crate::asked::Asked;
use crate::compare::{self, Difference, DifferenceKind, Verdict, compare};
use crate::grammar::ASSIGNS;
use crate::ground::Ground;
use crate::report::Report;
use crate::statement::{NEXT, Statement};
use crate::{Result, plans, shrink};

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

    /// Goes on with new connections, which know nothing of the session before.
    pub fn reconnect(&mut self) -> Result<()> {
        self.pair = self.ground.connect()?;
        Ok(())
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
            self.reconnect()?;
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
        if statement.marked.contains(NEXT.trim()) {
            return self.verdict_of_transaction(statement);
        }
        if statement.changes {
            return self.verdict_of_change(statement);
        }
        let (judge, mesh) = self.pair.ask(statement);
        let sql = statement.sql();
        let verdict = compare(&sql, &judge, &mesh);
        let Verdict::Different(difference) = verdict else {
            return Ok(verdict);
        };
        if !plans::may_cause_of_query(difference.kind) {
            return Ok(Verdict::Different(difference));
        }
        let agrees = |judge: &Answer| is_one(&compare(&sql, judge, &mesh));
        let ways = plans::of(self.ground.kind(), difference.kind);
        let way = self
            .pair
            .otherwise(statement, &ways, agrees)
            .or_else(|| compare::described_by_plan(self.ground.kind(), &sql, &judge, &mesh));
        Ok(match way {
            Some(way) => Verdict::OtherPlan { difference, way },
            None => Verdict::Different(difference),
        })
    }

    fn verdict_of_change(&mut self, statement: &Statement) -> Result<Verdict> {
        let sql = statement.sql();
        let agreement = |judge: &Answer, mesh: &Answer| match compare(&sql, judge, mesh) {
            Verdict::Different(difference) if plans::may_cause(difference.kind) => {
                Agreement::Maybe(difference.kind)
            }
            verdict if is_one(&verdict) => Agreement::Full,
            _ => Agreement::None,
        };
        // A refused change must not have changed anything: the judge's is rolled back.
        let kind = self.ground.kind();
        let ways = |difference| plans::of(kind, difference);
        let (judge, mesh, way) =
            self.pair
                .ask_change(statement, ways, compare::is_refusal, agreement);
        let verdict = match (compare(&sql, &judge, &mesh), way) {
            (Verdict::Different(difference), Some(way)) => Verdict::OtherPlan { difference, way },
            (verdict, _) => verdict,
        };
        let equal = match &verdict {
            Verdict::Different(difference) => difference.kind == DifferenceKind::Warnings,
            _ => true,
        };
        if !equal {
            return Ok(verdict);
        }
        Ok(self.contents(statement)?.unwrap_or(verdict))
    }

    /// Each statement of a transaction; both sides roll back where one is refused or differs.
    fn verdict_of_transaction(&mut self, statement: &Statement) -> Result<Verdict> {
        let mut verdict = Verdict::Equal;
        for step in statement.steps() {
            let (judge, mesh) = self.pair.ask(&step);
            let sql = step.sql();
            match compare(&sql, &judge, &mesh) {
                Verdict::Equal | Verdict::SameError { .. } => {}
                Verdict::Different(difference) if plans::may_cause(difference.kind) => {
                    let agrees = |judge: &Answer| is_one(&compare(&sql, judge, &mesh));
                    let ways = match Asked::of(&sql).reads {
                        true => plans::of(self.ground.kind(), difference.kind),
                        false => Vec::new(),
                    };
                    let warned = difference.kind == DifferenceKind::Warnings;
                    let way = self.pair.otherwise(&step, &ways, agrees).or_else(|| {
                        compare::described_by_plan(self.ground.kind(), &sql, &judge, &mesh)
                    });
                    match way {
                        Some(way) => verdict = Verdict::OtherPlan { difference, way },
                        None if warned => verdict = Verdict::Different(difference),
                        None => return Ok(self.rolled_back(Verdict::Different(difference))),
                    }
                }
                other => return Ok(self.rolled_back(other)),
            }
        }
        let verdict = self.rolled_back(verdict);
        Ok(self.contents(statement)?.unwrap_or(verdict))
    }

    fn rolled_back(&mut self, verdict: Verdict) -> Verdict {
        for end in ["ROLLBACK", "SET autocommit = 1"] {
            self.pair.ask(&Statement::plain(end));
        }
        verdict
    }

    /// What differs in the tables that a statement names.
    fn contents(&self, statement: &Statement) -> Result<Option<Verdict>> {
        for table in self.ground.tables() {
            if !statement.marked.contains(table.name) {
                continue;
            }
            if let Some(detail) = self.ground.contents_differ(table)? {
                return Ok(Some(Verdict::Different(Difference {
                    kind: DifferenceKind::Contents,
                    detail,
                })));
            }
        }
        Ok(None)
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

/// Whether the mesh answered as one server does.
fn is_one(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Equal | Verdict::SameError { .. })
}
