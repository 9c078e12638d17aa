//! User variables of a session whose tables are split: known to it, so that every connection can have them.
//!
//! Owns the reading of what a statement assigned. Must never guess: what no literal gives back exactly stays on its
//! connection, and pins the session to it. Input: statements that assign; the connection that they ran on.

mod literals;

use std::collections::BTreeMap;
use std::sync::Arc;

use dbmesh_plan::shard::Parameter;
use dbmesh_sql::{
    Class, Dialect, Effect, Facts, Lexer, Statement, TokenKind, analyze, user_variables,
};
use dbmesh_wire::column::Column;
use dbmesh_wire::relay::Shape;

use super::super::exchange::Lost;
use super::super::{Failure, Session};
use crate::backend::{Answer, Backend, BackendError, definitions_of};
use crate::pins::PinReason;
use crate::vector::{NULL_BYTES, USER_VARIABLE_BYTES_MAX, USER_VARIABLES_MAX, Vector};
use literals::{meaning, written};

/// A variable, and the literal that gives it.
pub(super) type Assigned = (Box<str>, Arc<[u8]>);

/// What tells that a connection may have variables of which the session knows nothing.
const HIDDEN: [PinReason; 2] = [PinReason::StateChange, PinReason::AfterError];

/// The user variables that a statement reads: not those that it only assigns, by SET or INTO. None where that cannot be told.
pub(super) fn variables_read(
    sql: &[u8],
    statement: &Statement,
    dialect: &Dialect,
) -> Option<Vec<Box<str>>> {
    let mut names = user_variables(sql, dialect)?;
    let mut into = false;
    let mut assigned: Vec<Box<str>> = Vec::new();
    for effect in &statement.effects {
        if let Effect::SetUser { name, .. } = effect {
            assigned.push(name.clone());
        }
    }
    for token in Lexer::new(sql, dialect) {
        let text = token.span.of(sql);
        match token.kind {
            TokenKind::Word => into = text.eq_ignore_ascii_case(b"INTO"),
            TokenKind::UserVariable if into => assigned.extend(user_variables(text, dialect)?),
            TokenKind::Comma => {}
            _ => into = false,
        }
    }
    names.retain(|name| !assigned.contains(name));
    Some(names)
}

impl Session {
    /// Before a change: which variables it reads that nobody has assigned. Servers create them, so that something may say of
    /// it behind the change: MariaDB as `SET @x = NULL` does, before the change begins; MySQL when it comes to read them.
    pub(super) fn find_unassigned(&mut self, sql: &[u8], statement: &Statement) {
        let changes = matches!(statement.class, Class::Write | Class::Ddl);
        let reads = changes && statement.facts.has(Facts::USER_VARIABLE);
        if !reads || self.state.pins.has(PinReason::UserVariable) {
            if let Some(sharded) = &mut self.sharded {
                sharded.unassigned.clear();
            }
            return;
        }
        let mariadb = self.is_mariadb();
        let mut names = user_variables(sql, &self.dialect()).unwrap_or_default();
        let known = &self.state.vector.user_variables;
        let null = |value: &Arc<[u8]>| mariadb && **value == *NULL;
        names.retain(|name| known.get(name.as_bytes()).is_none_or(null) && is_plain(name));
        if mariadb && !names.is_empty() {
            // A connection that prepares it creates them as well, and says so behind another statement.
            let null: Arc<[u8]> = NULL.into();
            let created = names.iter().map(|name| (name.clone(), null.clone()));
            self.take_assigned(created.collect());
        }
        if let Some(sharded) = &mut self.sharded {
            sharded.unassigned = names;
        }
    }

    /// Variables that a server created are the session's, if they are not too many; says whether they are.
    pub(super) fn take_assigned(&mut self, assigned: Vec<Assigned>) -> bool {
        if assigned.is_empty() {
            return true;
        }
        let mut vector = Vector::clone(&self.state.vector);
        for (name, value) in assigned {
            let name = name.as_bytes().into();
            drop(vector.user_variables.insert(name, value));
        }
        let fits = vector.user_variables_fit();
        if fits {
            let variables = vector.user_variables;
            self.state.change_vector(|v| v.user_variables = variables);
        }
        fits
    }

    fn unassigned(&self) -> Vec<Box<str>> {
        let sharded = self.sharded.as_ref();
        sharded.map_or_else(Vec::new, |sharded| sharded.unassigned.clone())
    }

    /// Whether the session's connection may have a variable that the statement at hand made there.
    pub(super) fn is_hidden(&self) -> bool {
        HIDDEN.iter().any(|reason| self.state.pins.has(*reason))
    }

    /// After a change on the session's own connection, whose state nothing was hidden of before: variables that its server
    /// created become known, and do not bind the session to it.
    pub(super) async fn keep_created(&mut self) -> Result<(), Failure> {
        let names = self.unassigned();
        if names.is_empty() || !self.is_hidden() || self.lease.is_none() {
            return Ok(());
        }
        if !self.recall().await {
            return Err(Failure::AnswerCut);
        }
        let learned = match self.backend()?.learn(&names).await {
            Ok(learned) => learned,
            Err(error) => {
                drop(self.lost(Lost::before(error), None));
                return Err(Failure::AnswerCut);
            }
        };
        self.state.diagnostics.row_count_only_here = true;
        self.state.diagnostics.found_rows_only_here = true;
        if let Ok(Some(assigned)) = learned
            && !assigned.is_empty()
            && self.take_assigned(assigned)
        {
            self.translate_vector();
            for reason in HIDDEN {
                self.state.pins.remove_all(reason);
            }
        }
        Ok(())
    }

    /// After a change on one of several connections: how many variables its server created, which are known now; none if they
    /// cannot be known.
    pub(super) async fn learn_created(&mut self, backend: &mut Backend) -> Option<usize> {
        let names = self.unassigned();
        if names.is_empty() {
            return Some(0);
        }
        match backend.learn(&names).await {
            Ok(Ok(Some(assigned))) => {
                let count = assigned.len();
                self.take_assigned(assigned).then_some(count)
            }
            _ => None,
        }
    }

    /// After a statement that assigned the variables in its text, or changed how literals of strings are read: they become
    /// part of the session's state as what they are.
    pub(super) async fn keep_variables(&mut self, sql: &[u8]) -> Result<(), Failure> {
        let mut names = user_variables(sql, &self.dialect()).unwrap_or_default();
        if self.state.vector.has_string_user_variable() && rereads_texts(sql, &self.dialect()) {
            for name in self.state.vector.string_user_variables() {
                let name = String::from_utf8_lossy(name).into();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let few = (1..=USER_VARIABLES_MAX).contains(&names.len());
        let pinned = self.state.pins.has(PinReason::UserVariable);
        if !few || !pinned || !names.iter().all(|name| is_plain(name)) || self.lease.is_none() {
            return Ok(());
        }
        // The next statement may ask for what this one left.
        if !self.recall().await {
            // Where it was alone with the connection, its transaction is gone; the client has its answer already.
            return Err(Failure::AnswerCut);
        }
        let found = match self.backend()?.variables(&names).await {
            Ok(found) => found,
            Err(error) => {
                drop(self.lost(Lost::before(error), None));
                return Err(Failure::AnswerCut);
            }
        };
        self.state.diagnostics.row_count_only_here = true;
        self.state.diagnostics.found_rows_only_here = true;
        let Ok(Some(values)) = found else {
            return Ok(());
        };
        let mut vector = Vector::clone(&self.state.vector);
        for (name, value) in names.iter().zip(values) {
            let known = vector.user_variables.contains_key(name.as_bytes());
            match value {
                Found::Unset if !known => {}
                // Nothing unsets a variable.
                Found::Unset => {
                    let name = name.as_bytes().into();
                    drop(vector.user_variables.insert(name, NULL_BYTES.into()));
                }
                Found::Value(value) => {
                    let name = name.as_bytes().into();
                    drop(vector.user_variables.insert(name, value.into()));
                }
            }
        }
        if !vector.user_variables_fit() {
            return Ok(());
        }
        let variables = vector.user_variables;
        self.state.change_vector(|v| v.user_variables = variables);
        self.translate_vector();
        let vector = self.connection_vector().clone();
        self.backend()?.vector = vector;
        self.state.pins.remove_all(PinReason::UserVariable);
        Ok(())
    }

    /// The values of the session's user variables, for a text that reads some; none if a connection has one that the
    /// session does not know.
    pub(super) fn known_variables(
        &self,
        sql: &[u8],
        dialect: &Dialect,
    ) -> Option<BTreeMap<Box<str>, Parameter>> {
        if self.state.pins.has(PinReason::UserVariable) {
            return None;
        }
        let all = &self.state.vector.user_variables;
        if all.is_empty() || !sql.contains(&b'@') {
            return Some(BTreeMap::new());
        }
        let mut known = BTreeMap::new();
        for (name, value) in all {
            let name = String::from_utf8_lossy(name).into_owned();
            known.insert(name.into(), meaning(value, dialect));
        }
        Some(known)
    }
}

/// Whether literals of strings may be read otherwise after it.
fn rereads_texts(sql: &[u8], dialect: &Dialect) -> bool {
    let effects = analyze(sql, dialect).effects;
    let sets =
        |effect: &Effect| matches!(effect, Effect::SetSystem { .. } | Effect::SetNames { .. });
    effects.iter().any(sets)
}

/// Whether a name can be written between backquotes, whatever the session's character set and sql_mode are.
fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'`' && byte != b'\\')
}

/// What a variable is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// NULL, as if nothing had ever been assigned.
    Unset,
    /// This literal gives it.
    Value(Vec<u8>),
}

impl Backend {
    /// Which of these variables are there now, as literals; they are of the connection's known state from here on. None if
    /// no literal gives one of them back.
    async fn learn(
        &mut self,
        names: &[Box<str>],
    ) -> Result<Answer<Option<Vec<Assigned>>>, BackendError> {
        let found = match self.variables(names).await? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let Some(found) = found else {
            return Ok(Ok(None));
        };
        let mut vector = Vector::clone(&self.vector);
        let mut assigned = Vec::new();
        for (name, value) in names.iter().zip(found) {
            if let Found::Value(value) = value {
                let value: Arc<[u8]> = value.into();
                let key = name.as_bytes().into();
                drop(vector.user_variables.insert(key, value.clone()));
                assigned.push((name.clone(), value));
            }
        }
        vector.rehash();
        self.vector = Arc::new(vector);
        Ok(Ok(Some(assigned)))
    }

    /// What these variables are; none if no literal gives one of them back.
    pub(super) async fn variables(
        &mut self,
        names: &[Box<str>],
    ) -> Result<Answer<Option<Vec<Found>>>, BackendError> {
        let list = |each: &dyn Fn(&str) -> String| {
            let each: Vec<String> = names
                .iter()
                .map(|name| each(&format!("@`{name}`")))
                .collect();
            format!("SELECT {}", each.join(", "))
        };
        // The types alone: a value may be of any length.
        let typed = list(&|name| name.to_owned()) + " LIMIT 0";
        let payload = self.query_payload(typed.as_bytes());
        let definitions = match self.run(&payload, Shape::Results).await? {
            Ok((_, bytes)) => definitions_of(&bytes)?,
            Err(error) => return Ok(Err(error)),
        };
        let bytes = USER_VARIABLE_BYTES_MAX;
        let valued = list(&|name| {
            format!(
                "COLLATION({name}), LENGTH({name}), HEX(SUBSTRING(CAST({name} AS BINARY), 1, {bytes}))"
            )
        });
        let rows = match self.query(valued.as_bytes()).await? {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(error)),
        };
        let row = rows.into_iter().next().unwrap_or_default();
        let found = definitions
            .iter()
            .zip(row.chunks(3))
            .map(|(definition, cells)| {
                let column = Column::decode(definition).ok()?;
                written(&column, cells)
            });
        let found: Option<Vec<Found>> = found.collect();
        Ok(Ok(found.filter(|found| found.len() == names.len())))
    }
}

/// What a variable is of which only this is known.
const NULL: &[u8] = b"NULL";
