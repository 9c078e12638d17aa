//! Generated keys in the INSERTs of a session.
//!
//! Owns when a generator is asked, and that the client hears of the keys as of AUTO_INCREMENT: the OK packet and
//! LAST_INSERT_ID() say the first one. Must never give a key to a statement that says its own. Input: the planner's word on an
//! INSERT or REPLACE.

use std::sync::Arc;

use dbmesh_plan::shard::keyed::{RowsOf, Then};
use dbmesh_plan::shard::{Generation, KeyValue, Parameter, RefuseReason, ShardPlan, Zero};
use dbmesh_sql::{Facts, SessionFunctionValues, Statement, Verb, replace_session_functions};
use dbmesh_wire::relay::{Names, Outcome};

use super::super::{Failure, Session};
use super::ShardSession;
use super::counts::Sum;
use crate::backend::Cell;
use crate::fault::Fault;
use crate::generated::{Ask, AskError, leases_at};
use crate::pins::PinReason;
use crate::process::Process;
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
    by: GivenBy,
}

/// Where the id of an INSERT comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivenBy {
    Generator,
    /// The statement's last row.
    Row,
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
        bound: Option<&[Parameter]>,
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
        let generation = self.planned(sql, &known, &known.catalog, bound, |planner, input| {
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
                by: GivenBy::Generator,
            }),
            (None, Some(id)) => Some(FirstKey {
                id,
                last: self.state.last_insert_id,
                by: GivenBy::Row,
            }),
            _ => None,
        };
        let plan = match values.is_empty() {
            true => plan,
            false => self.planned(sql, &known, &known.catalog, bound, |planner, input| {
                planner.plan_generated(input, zero, &values)
            })?,
        };
        let runs = matches!(plan, ShardPlan::Single(_) | ShardPlan::Scatter { .. });
        if let Some(sharded) = self.sharded.as_mut().filter(|_| runs) {
            sharded.keys = told;
        }
        Ok(plan)
    }

    /// The text with the session's LAST_INSERT_ID() in it, where several nodes would need it, or it is a key.
    pub(super) fn with_insert_id(
        &mut self,
        sql: &[u8],
        statement: &Statement,
        plan: &ShardPlan,
    ) -> Option<Vec<u8>> {
        let needs = |reason: &RefuseReason| {
            matches!(
                reason,
                RefuseReason::SessionState | RefuseReason::KeyUnknown | RefuseReason::KeyUpdate
            )
        };
        let refused = matches!(plan, ShardPlan::Refuse(reason) if needs(reason));
        let moves = matches!(plan, ShardPlan::Gather(_));
        let reads = statement.facts.has(Facts::READS_LAST_INSERT_ID);
        let (true, LastId::Known(id)) = (reads && (refused || moves), self.state.last_insert_id)
        else {
            return None;
        };
        let known = self.known_tables()?;
        let compared = self
            .planned(sql, &known, &known.catalog, None, |planner, input| {
                planner.with_insert_id(input, id)
            })
            .ok()?;
        let values = SessionFunctionValues {
            last_insert_id: Some(id),
            ..SessionFunctionValues::default()
        };
        let text = compared.as_deref().unwrap_or(sql);
        replace_session_functions(text, &self.dialect(), &values).or(compared)
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

    /// The same for a file: its OK says nothing of keys, LAST_INSERT_ID() does.
    pub(super) fn tell_loaded_key(&mut self, first: Option<u64>, sum: &Sum) {
        if let Some(id) = first.filter(|_| sum.affected_rows > 0) {
            self.state.last_insert_id = LastId::Known(id);
        }
    }

    /// What the client hears so far of a statement in steps.
    pub(super) fn first_key(&self) -> Option<FirstKey> {
        self.sharded.as_ref().and_then(|sharded| sharded.keys)
    }

    /// Of a statement in steps, it hears the first key that was generated, or else the last one that a row gives itself.
    pub(super) fn keep_first_key(&mut self, before: Option<FirstKey>) {
        let keys = self.sharded.as_mut().map(|sharded| &mut sharded.keys);
        if let (Some(before), Some(now)) = (before, keys)
            && (before.by == GivenBy::Generator || now.is_none())
        {
            *now = Some(before);
        }
    }

    /// Of rows of a query that may update others, servers tell no key that they give themselves.
    pub(super) fn forget_given_key(&mut self, then: &Then) {
        let Then::Insert {
            tail,
            rows: RowsOf::Query,
            ..
        } = then
        else {
            return;
        };
        let updates = tail.iter().any(|part| !part.text.is_empty());
        if let Some(sharded) = self.sharded.as_mut().filter(|_| updates) {
            sharded.keys = sharded.keys.filter(|first| first.by == GivenBy::Generator);
        }
    }

    /// The statement is over.
    pub(super) fn forget_keys(&mut self) {
        if let Some(sharded) = &mut self.sharded {
            sharded.keys = None;
        }
    }

    async fn generate(&self, generation: &Generation) -> Result<Vec<KeyValue>, Fault> {
        match generation.count {
            0 => Ok(Vec::new()),
            count => self.key_source(generation)?.values(count).await,
        }
    }

    /// Where values of a generator come from.
    pub(super) fn key_source(&self, generation: &Generation) -> Result<KeySource, Fault> {
        let keys = |leases| KeySource {
            process: self.process.clone(),
            generation: generation.clone(),
            leases,
        };
        let Some(source) = leases_at(generation.generator.kind) else {
            return Ok(keys(None));
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
        Ok(keys(Some(Leases {
            member: member.clone(),
            schema: schema.to_owned(),
            place,
        })))
    }

    /// Whether 0 asks for a value, by the session's sql_mode.
    pub(super) fn zero(&self) -> Zero {
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

fn failed(why: String) -> Fault {
    Fault::Sharding(format!("key generator: {why}"))
}

/// Where values of a generator come from.
pub(super) struct KeySource {
    process: Arc<Process>,
    generation: Generation,
    leases: Option<Leases>,
}

impl KeySource {
    /// As many values, in order.
    pub async fn values(&self, count: usize) -> Result<Vec<KeyValue>, Fault> {
        let generation = Generation {
            count,
            ..self.generation.clone()
        };
        let generators = &self.process.generators;
        let values = match &self.leases {
            Some(leases) => generators.values(&generation, &leases.place, leases).await,
            None => generators.values(&generation, "", &Nowhere).await,
        };
        values.map_err(failed)
    }
}

/// The source that has the leases.
struct Leases {
    member: Arc<Member>,
    schema: String,
    /// What names it among all of the process.
    place: String,
}

impl Ask for Leases {
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
