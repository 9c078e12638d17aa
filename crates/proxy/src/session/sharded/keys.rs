//! Generated keys in the INSERTs of a session.
//!
//! Owns when a generator is asked, and that the client hears of the keys as of AUTO_INCREMENT: the OK packet and
//! LAST_INSERT_ID() say the first one. Must never give a key to a statement that says its own. Input: the planner's word on an
//! INSERT or REPLACE.

use std::sync::Arc;

use dbmesh_plan::shard::{Generation, KeyValue, ShardPlan, Zero};
use dbmesh_sql::{Statement, Verb};
use dbmesh_wire::relay::{Names, Outcome};

use super::super::{Failure, Session};
use super::ShardSession;
use super::counts::Sum;
use crate::backend::Cell;
use crate::fault::Fault;
use crate::generated::{Ask, AskError, leases_at};
use crate::pins::PinReason;
use crate::state::LastId;
use crate::upstream::{Member, Need};

/// What the client is told otherwise than the server says it.
#[derive(Debug, Default)]
pub(in super::super) struct Told {
    /// Names of tables and schemas.
    pub names: Option<Arc<Names>>,
    /// The id of an INSERT.
    pub insert_id: Option<u64>,
}

/// What the client hears of an INSERT's keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstKey {
    /// The id in the OK packet.
    id: u64,
    /// What LAST_INSERT_ID() says afterwards.
    last: LastId,
}

impl ShardSession {
    /// What the client is told of the statement at hand.
    pub(in super::super) fn told(&self) -> Told {
        Told {
            names: self.names(),
            insert_id: self.keys.map(|first| first.id),
        }
    }
}

impl Session {
    /// The plan with generated keys in it, where the statement leaves keys to a generator.
    pub(super) async fn with_keys(
        &mut self,
        sql: &[u8],
        statement: &Statement,
        plan: ShardPlan,
    ) -> Result<ShardPlan, Fault> {
        let inserts = matches!(statement.verb, Verb::Insert | Verb::Replace);
        let Some(known) = self.known_tables().filter(|_| inserts) else {
            return Ok(plan);
        };
        if !known.sharding.generates {
            return Ok(plan);
        }
        let zero = self.zero();
        let generation = self.ask_planner(sql, &known, &known.catalog, |planner, input| {
            planner.generation(input, zero)
        })?;
        let generation = match generation {
            Ok(Some(generation)) => generation,
            Ok(None) => return Ok(plan),
            Err(reason) => return Ok(ShardPlan::Refuse(reason)),
        };
        let values = self.generate(&generation).await?;
        let told = match (values.first(), generation.given) {
            (Some(KeyValue::Integer(first)), _) => u64::try_from(*first).ok().map(|id| FirstKey {
                id,
                last: LastId::Known(id),
            }),
            (None, Some(id)) => Some(FirstKey {
                id,
                last: self.state.last_insert_id,
            }),
            _ => None,
        };
        let plan = match values.is_empty() {
            true => plan,
            false => self.ask_planner(sql, &known, &known.catalog, |planner, input| {
                planner.plan_generated(input, zero, &values)
            })?,
        };
        let runs = matches!(plan, ShardPlan::Single(_) | ShardPlan::Scatter { .. });
        if let Some(sharded) = self.sharded.as_mut().filter(|_| runs) {
            sharded.keys = told;
        }
        Ok(plan)
    }

    /// After the answer: LAST_INSERT_ID() is known here, and not on the connection.
    pub(in super::super) fn take_up_keys(&mut self, outcome: &Outcome) -> Result<(), Failure> {
        // BEGIN may have come before the INSERT on its connection, and inserts nothing.
        let told = self.sharded.as_ref().and_then(|sharded| sharded.keys);
        if let Some(told) = told.filter(|_| outcome.affected_rows > 0) {
            self.state.last_insert_id = told.last;
            if let LastId::Known(_) = told.last {
                self.state.pins.remove(PinReason::LastInsertId);
                self.backend()?.last_insert_id = None;
            }
        }
        Ok(())
    }

    /// The same for rows that went to several shards.
    pub(super) fn tell_first_key(&mut self, sum: &mut Sum) {
        let told = self.sharded.as_ref().and_then(|sharded| sharded.keys);
        if let Some(told) = told.filter(|_| sum.affected_rows > 0) {
            sum.last_insert_id = told.id;
            self.state.last_insert_id = told.last;
        }
    }

    /// The statement is over.
    pub(super) fn forget_keys(&mut self) {
        if let Some(sharded) = &mut self.sharded {
            sharded.keys = None;
        }
    }

    async fn generate(&self, generation: &Generation) -> Result<Vec<KeyValue>, Fault> {
        let failed = |why: String| Fault::Sharding(format!("key generator: {why}"));
        if generation.count == 0 {
            return Ok(Vec::new());
        }
        let generators = &self.process.generators;
        let Some(source) = leases_at(generation.generator.kind) else {
            let values = generators.values(generation, "", &Nowhere).await;
            return values.map_err(failed);
        };
        let gone = || failed("its source is gone".to_owned());
        let sharded = self.sharded.as_ref().ok_or_else(gone)?;
        let part = sharded.home.sources.get(source).ok_or_else(gone)?;
        let member = part.upstream.choose(Need::Primary, None, &[], || 0);
        let member = member.ok_or_else(|| Fault::NoEndpoint(part.upstream.why_no_primary()))?;
        let schema = member.endpoint.schema.as_deref();
        let schema = schema
            .or(part.service.schema.as_deref())
            .unwrap_or_default();
        let sharding = sharded.sharding().ok_or_else(gone)?;
        let name = sharding.sources.get(source).ok_or_else(gone)?.name.as_str();
        let place = format!("{}/{name}/{schema}", part.service.namespace.as_str());
        let leases = Leases { member, schema };
        generators
            .values(generation, &place, &leases)
            .await
            .map_err(failed)
    }

    /// Whether 0 asks for a value, by the session's sql_mode.
    fn zero(&self) -> Zero {
        let mode = self.state.vector.variables.get("sql_mode");
        let mode = mode
            .map(|mode| mode.to_ascii_uppercase())
            .unwrap_or_default();
        let word = b"NO_AUTO_VALUE_ON_ZERO";
        match mode.windows(word.len()).any(|part| part == word) {
            true => Zero::Counts,
            false => Zero::Asks,
        }
    }
}

/// The source that has the leases.
struct Leases<'a> {
    member: &'a Member,
    schema: &'a str,
}

impl Ask for Leases<'_> {
    async fn ask(&self, statements: Vec<String>) -> Result<Vec<Vec<Cell>>, AskError> {
        let mut all = vec![format!("USE `{}`", self.schema.replace('`', "``"))];
        all.extend(statements);
        let answer = self.member.pool.ask_all_aside(&all).await;
        let unreached = |message: String| AskError {
            code: None,
            message,
        };
        match answer {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(AskError {
                code: Some(error.code),
                message: error.message,
            }),
            Err(error) => Err(unreached(error.to_string())),
        }
    }
}

/// For generators that ask nobody.
struct Nowhere;

impl Ask for Nowhere {
    async fn ask(&self, _: Vec<String>) -> Result<Vec<Vec<Cell>>, AskError> {
        Err(AskError {
            code: None,
            message: "there are no leases".to_owned(),
        })
    }
}
