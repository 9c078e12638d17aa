//! Changes whose rows have to be found first: found over rows of several nodes, and then changed by their keys.
//!
//! Owns the path of such a change. It is one transaction, the session's or its own, from the locking reads that find the
//! rows to the last change: nobody changes between what was found. Must never change a row by what another transaction has
//! made of it meanwhile, nor leave half of a statement behind. Input: a change that no node can do by itself.

mod find;
mod moved;
mod texts;
mod warned;

use std::collections::BTreeSet;

use dbmesh_plan::Route;
use dbmesh_plan::shard::keyed::{RowsOf, Then};
use dbmesh_plan::shard::{
    self, Keyed, Merge, NodeStatement, NotKeyed, RefuseReason, RowsAs, ShardPlan, ShardPlanner,
};
use dbmesh_sql::{Class, Statement, Verb, analyze};
use dbmesh_wire::codec::HEADER_BYTES;
use dbmesh_wire::command::Parameter;
use dbmesh_wire::relay::Names;
use dbmesh_wire::status::Status;

use super::super::settle::warning;
use super::super::{Executed, Failure, Flow, Session};
use super::counts::{self, Sum};
use super::planning::Learning;
use super::prepared::{planned, selected};
use super::said;
use super::work::{Ended, of_server};
use crate::fault::Fault;
use crate::pins::PinReason;
use crate::state::Warning;
use texts::Step;

/// What undoes the statement within the session's transaction.
const SAVEPOINT: &str = "dbmesh_statement";

/// A plan that may be carried out by keys, or by moving rows.
pub(super) fn is_keyed(plan: &ShardPlan, statement: &Statement) -> bool {
    let changes = matches!(
        statement.verb,
        Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete
    );
    changes
        && statement.class == Class::Write
        && match plan {
            ShardPlan::Gather(gather) => gather.finish.is_none(),
            ShardPlan::Refuse(reason) => {
                matches!(
                    reason,
                    RefuseReason::KeyUnknown
                        | RefuseReason::NotDeterministic
                        | RefuseReason::BroadcastChange
                ) || moved::is_moving(plan, statement)
            }
            _ => false,
        }
}

/// The statements that change what was found, and what was said while it was.
#[derive(Default)]
struct Found {
    statements: Vec<Step>,
    /// How many rows they have to find again, where that is certain.
    expected: Option<u64>,
    warnings: Vec<Warning>,
    /// Character sets that only the statements name.
    charsets: BTreeSet<Vec<u8>>,
    rows: usize,
}

/// What the client asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub sql: &'a [u8],
    /// Of a prepared statement.
    pub values: &'a [Parameter<'a>],
}

impl<'a> Asked<'a> {
    /// A statement whose values are in its text.
    pub fn in_text(sql: &'a [u8]) -> Self {
        Self { sql, values: &[] }
    }

    /// The values, as the planner takes them.
    fn bound(&self) -> Option<Vec<shard::Parameter>> {
        let bound = self.values.iter().map(planned).collect();
        (!self.values.is_empty()).then_some(bound)
    }
}

/// What the changes came to.
struct Changed<'a> {
    /// What their texts have as parameters.
    values: &'a [Parameter<'a>],
    ended: Vec<Ended>,
    /// Sources with a savepoint and a clock of the statement's.
    touched: Vec<usize>,
}

impl<'a> Changed<'a> {
    fn nothing(values: &'a [Parameter<'a>]) -> Self {
        Self {
            values,
            ended: Vec::new(),
            touched: Vec::new(),
        }
    }
}

impl Session {
    /// Finds the rows and changes them; `plan` is why it comes here.
    pub(super) async fn change_by_key(
        &mut self,
        asked: Asked<'_>,
        statement: &Statement,
        route: Route,
        plan: ShardPlan,
    ) -> Result<Executed, Failure> {
        if moved::is_moving(&plan, statement) {
            return self.change_and_move(asked, statement, route).await;
        }
        let keyed = match self.keyed_plan(asked).await? {
            Ok(keyed) => keyed,
            Err(why) => return Err(self.not_keyed(plan, why)),
        };
        self.may_change(statement)?;
        self.has_plain_charset()?;
        for part in find::all_of(&keyed) {
            self.hides_nothing(&part.table)?;
        }
        let own = self.begin_change().await?;
        self.forget_keys();
        let mut changed = Changed::nothing(asked.values);
        let done = self
            .find_and_change(&keyed, statement, route, &mut changed)
            .await;
        let found = self.end_change(own, &changed, done).await?;
        let queried = !matches!(
            keyed.then,
            Then::Insert {
                rows: RowsOf::Values,
                ..
            }
        );
        self.forget_given_key(&keyed.then);
        self.answer_changed(statement, queried, found, changed)
            .await
    }

    /// Why it is not done by keys; `plan` is why it was tried.
    fn not_keyed(&self, plan: ShardPlan, why: NotKeyed) -> Failure {
        match why {
            NotKeyed::Unserved(reason) => {
                let why = reason.why();
                let why = format!(
                    "it changes rows by rows of several nodes in a form that is not served: {why}"
                );
                Fault::Sharding(why).into()
            }
            // What was wrong at first says it better.
            _ if matches!(plan, ShardPlan::Refuse(_)) => self.unplanned(plan),
            NotKeyed::Refused(reason) => self.refusal(&reason).into(),
            NotKeyed::Unknown(table) => {
                let why = format!(
                    "the columns of `{table}` are not known: it is not there, or is a temporary table"
                );
                Fault::Sharding(why).into()
            }
        }
    }

    /// What would be done, in a sentence.
    pub(super) async fn explain_steps(
        &mut self,
        sql: &[u8],
        statement: &Statement,
        plan: ShardPlan,
    ) -> Result<String, Failure> {
        if moved::is_moving(&plan, statement) {
            return self.explain_move(sql).await;
        }
        match self.keyed_plan(Asked::in_text(sql)).await? {
            Ok(keyed) => {
                let tables: Vec<&str> = find::all_of(&keyed)
                    .map(|part| part.table.as_str())
                    .collect();
                Ok(format!(
                    "in two steps: rows of {} are found where they are, with locks, and changed by their keys, as one change",
                    tables.join(", ")
                ))
            }
            Err(why) => Err(self.not_keyed(plan, why)),
        }
    }

    /// Begins a change of several steps, as a transaction if none is open; says whether it is the change's own.
    async fn begin_change(&mut self) -> Result<bool, Failure> {
        if !self.state.in_transaction() && !self.state.pins.is_empty() {
            let why = format!(
                "it needs rows of several nodes in one place, and the session has {}",
                self.own_state()
            );
            return Err(Fault::Sharding(why).into());
        }
        self.ends_plainly()?;
        let begins = !self.state.in_transaction();
        if begins {
            if self.lease.is_some() {
                self.give_up_hold().await;
            }
            self.begin_own();
        }
        Ok(begins && self.state.status.contains(Status::AUTOCOMMIT))
    }

    /// Ends it: all of it is done, or nothing.
    async fn end_change(
        &mut self,
        own: bool,
        changed: &Changed<'_>,
        done: Result<Found, Failure>,
    ) -> Result<Found, Failure> {
        let reset = self.reset_clocks(&changed.touched).await;
        match done.and_then(|found| reset.map(|()| found)) {
            Ok(found) => {
                if own {
                    self.commit_own().await?;
                }
                Ok(found)
            }
            Err(failure) => {
                self.forget_keys();
                self.undo(own, &changed.touched).await;
                Err(failure)
            }
        }
    }

    /// How the change is done, once all that it needs is known.
    async fn keyed_plan(&mut self, asked: Asked<'_>) -> Result<Result<Keyed, NotKeyed>, Failure> {
        let (sql, bound) = (asked.sql, asked.bound());
        let gone = || Fault::Sharding("the service is not sharded any more".into());
        let mut learning = Learning::default();
        loop {
            learning.look(self.definitions_passed());
            let known = self.known_tables().ok_or_else(gone)?;
            let bound = bound.as_deref();
            let planned = self.planned(sql, &known, &known.catalog, bound, ShardPlanner::keyed)?;
            match planned {
                Err(NotKeyed::Unknown(table)) if learning.is_new(&table) => {
                    self.learn(&[table]).await?;
                }
                planned => return Ok(planned),
            }
        }
    }

    async fn find_and_change(
        &mut self,
        keyed: &Keyed,
        statement: &Statement,
        route: Route,
        changed: &mut Changed<'_>,
    ) -> Result<Found, Failure> {
        let source = keyed.find.finish.as_ref().map_or(0, |finish| finish.source);
        let mut scratch = self.scratch(source).await?;
        // Dropped before its end, it is closed.
        let found = self.find(keyed, &mut scratch, (route, changed.values));
        let mut found = found.await?;
        // What it cannot be known to have created goes with it.
        let backend = scratch.backend()?;
        if self.learn_created(backend).await.is_some() {
            scratch.end().await;
        }
        let statements = std::mem::take(&mut found.statements);
        for step in statements {
            self.may_go_on()?;
            self.change(&step, statement, route, changed).await?;
        }
        if let Some(expected) = found.expected {
            found_again(statement, expected, changed)?;
        }
        Ok(found)
    }

    /// Plans and executes a change with literal keys.
    async fn change(
        &mut self,
        step: &Step,
        statement: &Statement,
        route: Route,
        changed: &mut Changed<'_>,
    ) -> Result<(), Failure> {
        let words = &step.words;
        let sql = &words.text;
        let own = selected(changed.values, &words.parameters);
        let bound: Vec<shard::Parameter> = own.iter().map(planned).collect();
        let bound = (!bound.is_empty()).then_some(bound.as_slice());
        let rows = step.rows.as_ref().map(|rows| RowsAs {
            before: &rows.before,
            rows: &rows.rows,
            between: &rows.between,
            after: &rows.after,
        });
        let plan = self.step_plan(sql, bound, rows).await?;
        let planned = rows.is_some().then(|| plan.clone());
        let first = self.first_key();
        let plan = self.with_keys(sql, statement, bound, plan).await?;
        self.keep_first_key(first);
        if planned.is_some_and(|planned| planned != plan) {
            return Err(self.refusal(&RefuseReason::KeyGenerated).into());
        }
        let (mut nodes, counted) = match plan {
            ShardPlan::Single(node) => (vec![node], usize::MAX),
            ShardPlan::Scatter {
                statements,
                merge: Merge::Affected,
                ..
            } => (statements, usize::MAX),
            // Every copy changes; the first is counted.
            ShardPlan::Broadcast { statements, .. } => (statements, 1),
            other => return Err(self.unplanned(other)),
        };
        for (number, node) in nodes.iter_mut().enumerate() {
            for place in &mut node.parameters {
                let own = usize::try_from(*place).ok();
                let clients = own.and_then(|own| words.parameters.get(own));
                *place = clients.copied().unwrap_or(u32::MAX);
            }
            let ended = self.change_at(node, statement, route, changed).await?;
            if number < counted {
                changed.ended.push(ended);
            }
        }
        Ok(())
    }

    /// Goes to a source, which can be brought back to how it is now.
    async fn touch(
        &mut self,
        source: usize,
        route: Route,
        changed: &mut Changed<'_>,
    ) -> Result<(), Failure> {
        self.reach(source, route).await?;
        if changed.touched.contains(&source) {
            return Ok(());
        }
        changed.touched.push(source);
        self.tell(format!("SAVEPOINT {SAVEPOINT}").as_bytes())
            .await?;
        if !self.has_own_clock() {
            let set = format!("SET timestamp = {}", self.clock_of_statement());
            self.tell(set.as_bytes()).await?;
        }
        Ok(())
    }

    async fn change_at(
        &mut self,
        node: &NodeStatement,
        statement: &Statement,
        route: Route,
        changed: &mut Changed<'_>,
    ) -> Result<Ended, Failure> {
        self.touch(node.source, route, changed).await?;
        let names = self
            .names_of(std::slice::from_ref(node))
            .unwrap_or_default();
        let own = selected(changed.values, &node.parameters);
        let (outcome, bytes) = match self.run_step(&node.sql, &own).await? {
            Ok(answer) => answer,
            Err(mut error) => {
                self.note_error(Some(error.code));
                said::renumber(&mut error.payload, &node.rows);
                let place = self.place_of(node);
                return Err(of_server(&error.payload, &place, &names).into());
            }
        };
        self.note_work(statement);
        let mut ended = Ended {
            end: bytes.get(HEADER_BYTES..).unwrap_or_default().to_vec(),
            warnings: Vec::new(),
            source: node.source,
            place: self.place_of(node),
            outcome,
        };
        if ended.outcome.warnings > 0 {
            let rows = self.backend()?.query(b"SHOW WARNINGS").await;
            let rows = rows.map_err(super::gather::broken)?.unwrap_or_default();
            let rows = rows.into_iter().filter_map(warning).map(|mut row| {
                row.message = names.text(&row.message);
                said::renumber(&mut row.message, &node.rows);
                row
            });
            ended.warnings.extend(rows);
        }
        self.learn_here().await?;
        Ok(ended)
    }

    /// Takes in which variables a change created on the connection at hand.
    async fn learn_here(&mut self) -> Result<(), Failure> {
        let Some(mut lease) = self.lease.take() else {
            return Ok(());
        };
        let learned = match lease.backend() {
            Ok(backend) => self.learn_created(backend).await,
            Err(error) => return Err(super::gather::broken(error)),
        };
        self.lease = Some(lease);
        if learned.is_none() {
            self.state.pins.add_unnamed(PinReason::StateChange);
        }
        Ok(())
    }

    /// Runs a statement of dbmesh's own on the connection at hand.
    async fn tell(&mut self, sql: &[u8]) -> Result<(), Failure> {
        super::gather::run(self.backend()?, sql).await
    }

    fn has_own_clock(&self) -> bool {
        self.state.vector.variables.contains_key("timestamp")
    }

    /// One moment for all nodes.
    fn clock_of_statement(&self) -> String {
        super::scatter::now()
    }

    async fn reset_clocks(&mut self, touched: &[usize]) -> Result<(), Failure> {
        if self.has_own_clock() {
            return Ok(());
        }
        let mut all = Ok(());
        for source in touched {
            let reset = match self.go_to(*source).await {
                Ok(()) if self.lease.is_some() => self.tell(b"SET timestamp = DEFAULT").await,
                Ok(()) => Ok(()),
                Err(failure) => Err(failure),
            };
            if reset.is_err() {
                // Nobody else may have it so.
                self.lease = None;
                all = reset;
            }
        }
        all
    }

    /// Undoes what the statement has done.
    async fn undo(&mut self, own: bool, touched: &[usize]) {
        if own {
            if self.is_across() {
                self.roll_back_across().await;
            } else if self.has_prologue() {
                self.end_deferred();
            } else if self.lease.is_some() && self.run_aside(b"ROLLBACK").await.is_ok() {
                self.give_back().await;
            } else {
                self.lease = None;
                self.end_deferred();
            }
            return;
        }
        for source in touched {
            let back = format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}");
            let gone = self.go_to(*source).await.is_err();
            // A deadlock has rolled all back, the savepoint with it.
            if gone || (self.lease.is_some() && self.tell(back.as_bytes()).await.is_err()) {
                self.follow_status();
            }
        }
        self.follow_status();
        self.follow_doom().await;
    }

    /// Whether the transaction is still there, as its server says.
    fn follow_status(&mut self) {
        if self.is_across() {
            return;
        }
        let open = Status::IN_TRANS.union(Status::IN_TRANS_READONLY);
        let status = self.lease.as_mut().and_then(|lease| lease.backend().ok());
        match status.map(|backend| (backend.status, backend.is_idle())) {
            Some((status, true)) => {
                let rest = self.state.status.difference(open);
                self.state.status = rest.union(status.intersection(open));
            }
            _ if self.has_prologue() => {}
            _ => {
                self.lease = None;
                self.state.pins.clear();
                self.state.status = self.state.status.difference(open);
            }
        }
    }

    /// Commits the statement's own transaction.
    async fn commit_own(&mut self) -> Result<(), Failure> {
        if self.is_across() {
            return self.commit_across().await;
        }
        if self.has_prologue() {
            self.end_deferred();
            return Ok(());
        }
        self.run_aside(b"COMMIT").await?;
        let ended = analyze(b"COMMIT", &self.dialect());
        self.note_work(&ended);
        self.give_back().await;
        Ok(())
    }

    async fn answer_changed(
        &mut self,
        statement: &Statement,
        queried: bool,
        found: Found,
        mut changed: Changed<'_>,
    ) -> Result<Executed, Failure> {
        said::once(changed.ended.iter_mut(), b"", self.is_mariadb());
        let inserts = matches!(statement.verb, Verb::Insert | Verb::Replace);
        let mut sum = Sum::of(changed.ended.iter(), inserts);
        if inserts && sum.info.is_empty() && (found.rows != 1 || queried) {
            sum.info = match changed.ended.first() {
                Some(ended) => counts::of_one_row(ended),
                None => b"Records: 0  Duplicates: 0  Warnings: 0".to_vec(),
            };
        }
        // Some servers say nothing of a condition that can never hold.
        if sum.info.is_empty() && statement.verb == Verb::Update {
            sum.info = b"Rows matched: 0  Changed: 0  Warnings: 0".to_vec();
        }
        self.tell_first_key(&mut sum);
        self.forget_keys();
        let mut rows = found.warnings;
        let changed = said::warnings(changed.ended.iter());
        let unheard = warned::unheard(&rows, changed, &found.charsets);
        rows.extend(unheard);
        rows.extend(std::mem::take(&mut self.governed.warned));
        sum.count_warnings(rows.len() as u64);
        self.tell_warnings(rows, sum.warnings);
        let diagnostics = &mut self.state.diagnostics;
        diagnostics.row_count_only_here = true;
        diagnostics.row_count = i64::try_from(sum.affected_rows).unwrap_or(i64::MAX);
        let warnings = u16::try_from(sum.warnings).unwrap_or(u16::MAX);
        let payload = sum.ok(self.state.status, warnings, self.client.capabilities);
        self.client.packet(&payload).await?;
        self.answered = std::time::Instant::now();
        Ok(Executed {
            flow: Flow::Continue,
            bytes_out: payload.len() as u64,
            rows: 0,
            affected: sum.affected_rows,
            error: None,
        })
    }
}

/// That every row which was found, and is locked since, was found again by its key.
fn found_again(statement: &Statement, expected: u64, changed: &Changed<'_>) -> Result<(), Failure> {
    let sum = Sum::of(changed.ended.iter(), false);
    let again = match statement.verb {
        Verb::Update => counts::matched(&sum.info),
        _ => Some(sum.affected_rows),
    };
    match again {
        Some(again) if again != expected => {
            let why = format!(
                "{expected} rows were found, and {again} of them by their keys, so that nothing was changed: please report the table's definition"
            );
            Err(Fault::Sharding(why).into())
        }
        _ => Ok(()),
    }
}

/// A server's error in the client's names.
fn in_words_of(failure: Failure, names: &Names) -> Failure {
    match failure {
        Failure::Fault(Fault::Server {
            code,
            sqlstate,
            message,
        }) => Fault::Server {
            code,
            sqlstate,
            message: String::from_utf8_lossy(&names.text(message.as_bytes())).into_owned(),
        }
        .into(),
        other => other,
    }
}
