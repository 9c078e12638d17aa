//! Statements that end a transaction without saying so, and texts that say so and are no statements.
//!
//! Owns the question whether an open transaction over several nodes is committed before a statement. It must never be where
//! one server would not: what a server refuses to parse, what is refused here, and SET autocommit to what it is leave it
//! open. Input: the text, what is read of it.

use dbmesh_plan::shard::{RefuseReason, ShardPlan};
use dbmesh_sql::effects::VariableScope;
use dbmesh_sql::{Dialect, Effect, Facts, Statement, Verb};
use dbmesh_wire::relay::Names;
use dbmesh_wire::status::Status;

use super::super::super::{Failure, Session};
use super::super::planning::SYNTAX_ERROR;
use super::super::work::of_server;
use crate::fault::Fault;

/// What a statement does to an open transaction, besides what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Implied {
    Nothing,
    Commit,
    /// That depends on a value which is not in the text.
    Unclear,
}

/// SET autocommit commits only where it is set to 1 and was 0.
fn implied_by_set(text: &[u8], effects: &[Effect], dialect: &Dialect, was_on: bool) -> Implied {
    let mut implied = Implied::Nothing;
    for effect in effects {
        let Effect::SetSystem { name, scope, value } = effect else {
            continue;
        };
        if &**name != "autocommit" || *scope != VariableScope::Session || was_on {
            continue;
        }
        let value = value.constant(text, dialect).unwrap_or_default();
        match value.to_ascii_lowercase().as_slice() {
            b"0" | b"off" | b"false" => {}
            b"1" | b"on" | b"true" if effects.len() == 1 => implied = Implied::Commit,
            _ => return Implied::Unclear,
        }
    }
    implied
}

impl Session {
    /// What a statement does to an open transaction, besides what it is for.
    pub(in super::super) fn implied(&mut self, text: &[u8], statement: &Statement) -> Implied {
        if !statement.facts.has(Facts::IMPLICIT_COMMIT) {
            return Implied::Nothing;
        }
        match statement.verb {
            // Only tables that are locked by LOCK TABLES, which is refused in such a transaction.
            Verb::UnlockTables => Implied::Nothing,
            Verb::Set if !matches!(statement.effects.first(), Some(Effect::SetPassword)) => {
                let dialect = self.dialect();
                let begun = self.state.status.contains(Status::AUTOCOMMIT);
                implied_by_set(text, &statement.effects, &dialect, begun)
            }
            _ => Implied::Commit,
        }
    }

    /// What no server would do leaves the transaction as it is.
    pub(super) async fn will_be_done(
        &mut self,
        text: &[u8],
        statement: &Statement,
    ) -> Result<(), Failure> {
        match self.shard_plan(text, None).await? {
            // Its own refusal comes where it is executed.
            ShardPlan::Refuse(RefuseReason::Unparsed { .. }) => {}
            plan @ ShardPlan::Refuse(_) => return Err(self.unplanned(plan)),
            _ => {}
        }
        self.means_something(text, statement).await
    }

    /// A text that is no statement, though it begins like one, is told so, and nothing else happens.
    pub(super) async fn means_something(
        &mut self,
        text: &[u8],
        statement: &Statement,
    ) -> Result<(), Failure> {
        let word = text.trim_ascii();
        let word = word.strip_suffix(b";").unwrap_or(word).trim_ascii();
        let plain: [&[u8]; 3] = [b"COMMIT", b"ROLLBACK", b"BEGIN"];
        if plain.iter().any(|plain| word.eq_ignore_ascii_case(plain)) {
            return Ok(());
        }
        let Err(payload) = self.judged_by_server(text, statement).await? else {
            return Ok(());
        };
        match of_server(&payload, "", &Names::default()) {
            error @ Fault::Server {
                code: SYNTAX_ERROR, ..
            } => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_sets_autocommit_anew_commits() {
        let dialect = Dialect::default();
        let implied = |text: &str, was_on| {
            let statement = dbmesh_sql::analyze(text.as_bytes(), &dialect);
            implied_by_set(text.as_bytes(), &statement.effects, &dialect, was_on)
        };
        for (text, wanted) in [
            ("SET autocommit = 1", Implied::Commit),
            ("SET @@session.autocommit = ON", Implied::Commit),
            ("SET LOCAL autocommit = 'true'", Implied::Commit),
            ("SET autocommit = 0", Implied::Nothing),
            ("SET autocommit = OFF, sql_mode = ''", Implied::Nothing),
            ("SET GLOBAL autocommit = 1", Implied::Nothing),
            ("SET sql_mode = ''", Implied::Nothing),
            ("SET autocommit = 1, nosuch = 1", Implied::Unclear),
            ("SET autocommit = 7", Implied::Unclear),
            ("SET autocommit = 1 - 1", Implied::Unclear),
            ("SET autocommit = DEFAULT", Implied::Unclear),
        ] {
            assert_eq!(implied(text, false), wanted, "{text}");
            assert_eq!(implied(text, true), Implied::Nothing, "{text}");
        }
    }
}
