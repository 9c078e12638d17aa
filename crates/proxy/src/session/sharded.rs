//! Statements of a session whose tables are split: where each goes, and what the session keeps for every source.
//!
//! Owns the session's place among the sources. A statement that runs whole at one source takes the usual path there, in
//! other words; the session only changes places before. It must never change places while a transaction or a pin binds the
//! session to a connection. Input: the planner's word on a statement of a sharded service.

mod across;
mod aimed;
mod answers;
mod begin;
mod bound;
mod branches;
mod characteristics;
mod counts;
mod current;
mod definition;
mod explained;
mod gather;
mod keyed;
mod keys;
mod load;
mod planning;
mod prepared;
mod refusing;
mod relief;
mod remembered;
mod reports;
mod rows;
mod said;
mod scatter;
mod schema;
mod shown;
mod variables;
mod work;

use std::sync::{Arc, Weak};

use dbmesh_model::topology::Sharding;
use dbmesh_plan::Route;
use dbmesh_plan::shard::{Clock, NodeStatement, RefuseReason, ShardPlan};
use dbmesh_sql::{Facts, Statement, Verb, analyze};
use dbmesh_wire::command::Query;
use dbmesh_wire::relay::Names;
use dbmesh_wire::result_set::RowFormat;

use super::exchange::Lost;
use super::leave::refuses_writes;
use super::settle::warning;
use super::{Executed, Failure, Session};
use answers::Spread;
use keyed::Asked;

use crate::catalog::Known;
use crate::fault::Fault;
use crate::pins::PinReason;
use crate::position::Position;
use crate::serving::Serving;
use crate::state::{Warning, Warnings};

pub(super) use keys::Told;
pub(crate) use planning::shards_offline;
pub(super) use prepared::planned;

/// Errors that may mean that a table is not as it was: an unknown column, another number of values, no such table.
const DOUBTS_TABLES: [u16; 3] = [1054, 1136, 1146];

/// A statement in the words of one node.
pub(super) struct PlacedText {
    source: usize,
    packet: Vec<u8>,
    /// What the client calls otherwise.
    names: Option<Arc<Names>>,
}

/// What a session keeps of its sources.
#[derive(Debug)]
pub(super) struct ShardSession {
    /// The service, of which the session's `serving` is the part at one source.
    home: Arc<Serving>,
    /// Which source that is.
    source: usize,
    /// How far the session's writes have come at the other sources.
    positions: Vec<Position>,
    /// What runs first on the connection that the session takes next.
    prologue: begin::Prologue,
    /// Its transaction at other sources.
    across: across::Across,
    /// Commits of the session that other nodes are yet to hear of.
    left: Vec<across::Left>,
    /// The session's state as a connection has it, where schemas have other names there.
    vector: Option<schema::Translated>,
    /// The same as it was last at the other sources.
    vectors: Vec<Option<schema::Translated>>,
    /// Names of the statement at hand that the client knows otherwise.
    names: Option<Arc<Names>>,
    /// Whether texts are UTF-8, under the state of this hash.
    utf8: Option<(u64, bool)>,
    /// What is known of the tables, at this version and after so many definitions.
    known: Option<(u64, u64, Arc<Known>)>,
    /// The statement at hand runs in the service's own schema, whichever the session has chosen.
    in_own_schema: bool,
    /// Rows of the statement at hand cannot be put together as they come.
    unmergeable: bool,
    /// What the client hears of the keys of the statement at hand.
    keys: Option<keys::FirstKey>,
    /// Variables that the statement at hand reads, and nobody has assigned.
    unassigned: Vec<Box<str>>,
    /// The table to whose order of columns the statement just planned leaves its values.
    unlisted: Option<String>,
}

impl ShardSession {
    /// For a session of this service, and the part of it where the session begins; none if its tables are not split.
    pub(super) fn of(serving: &Arc<Serving>) -> (Option<Box<Self>>, Arc<Serving>) {
        let Some(sharding) = &serving.service.sharding else {
            return (None, serving.clone());
        };
        let source = sharding.default_source.unwrap_or(0);
        let Some(part) = serving.sources.get(source) else {
            return (None, serving.clone());
        };
        let sharded = Self {
            home: serving.clone(),
            source,
            positions: vec![Position::Start; serving.sources.len()],
            prologue: begin::Prologue::default(),
            across: across::Across::default(),
            left: Vec::new(),
            vector: None,
            vectors: vec![None; serving.sources.len()],
            names: None,
            utf8: None,
            known: None,
            in_own_schema: false,
            unmergeable: false,
            keys: None,
            unassigned: Vec::new(),
            unlisted: None,
        };
        (Some(Box::new(sharded)), part.clone())
    }

    fn sharding(&self) -> Option<&Arc<Sharding>> {
        self.home.service.sharding.as_ref()
    }

    /// Names that the client knows otherwise.
    pub(super) fn names(&self) -> Option<Arc<Names>> {
        self.names.clone()
    }
}

impl Session {
    /// A statement in text, of a sharded service.
    pub(super) async fn query_sharded(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        statement: &Statement,
        route: Route,
    ) -> Result<Executed, Failure> {
        self.find_unassigned(query.sql, statement);
        let hidden = self.state.pins.has(PinReason::UserVariable);
        let knew_all = !self.is_hidden();
        let executed = self.query_placed(packet, query, statement, route).await?;
        if knew_all && self.is_hidden() {
            Box::pin(self.keep_created()).await?;
        }
        if !hidden && self.state.pins.has(PinReason::UserVariable) {
            Box::pin(self.keep_variables(query.sql)).await?;
        }
        Ok(executed)
    }

    /// The statement where its rows are.
    async fn query_placed(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        statement: &Statement,
        mut route: Route,
    ) -> Result<Executed, Failure> {
        let early = self.answered_early(query.sql, statement).await?;
        if let Some(done) = early {
            return Ok(done);
        }
        route.aim = self.transaction_aim().unwrap_or(route.aim);
        if let Some(known) = self.remembered_text(packet, query, statement) {
            let sql = known.packet.get(query.sql_offset..);
            self.note_node(sql.unwrap_or_default());
            return self.execute_placed(known, statement, route).await;
        }
        // What most statements do not need is not a part of every session's task.
        Box::pin(self.query_by_plan(packet, query, statement, route)).await
    }

    /// A statement in text that has to be planned.
    async fn query_by_plan(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        statement: &Statement,
        route: Route,
    ) -> Result<Executed, Failure> {
        let plan = self.current_plan(query.sql, None, route).await?;
        self.remember(query.sql, statement, None, &plan);
        let plan = self.with_keys(query.sql, statement, None, plan).await?;
        if let Some(text) = self.with_insert_id(query.sql, statement, &plan) {
            let head = packet.get(..query.sql_offset).unwrap_or_default();
            return self.query_again([head, &text].concat(), route).await;
        }
        match plan {
            plan if keyed::is_keyed(&plan, statement) => {
                let asked = Asked::in_text(query.sql);
                self.change_by_key(asked, statement, route, plan).await
            }
            ShardPlan::Session => {
                self.go_for_session(statement).await?;
                self.in_own_schema(false).await?;
                let executed = self.execute_text(packet, query, statement, route).await;
                self.note_session_statement();
                executed
            }
            ShardPlan::Single(node) if self.shows_names(statement, &node) => {
                self.note_node(&node.sql);
                self.show_in_own_names(&node, route, RowFormat::Text).await
            }
            ShardPlan::Single(node) if self.defines_alone(statement) => {
                let spread = Spread::alike(vec![node], Clock::Unread, None);
                self.spread(statement, spread, route).await
            }
            ShardPlan::Single(node) => {
                self.note_node(&node.sql);
                self.commit_before(statement, &node).await?;
                let executed = self.execute_at(packet, query, &node, route).await;
                self.forget_keys();
                executed
            }
            ShardPlan::Broadcast {
                statements,
                gives,
                clock,
            } => {
                let spread = Spread::new(statements, gives.into(), clock, None);
                self.spread(statement, spread, route).await
            }
            ShardPlan::Scatter {
                statements,
                merge,
                clock,
            } => {
                let spread = Spread::new(statements, merge.into(), clock, None);
                self.scatter(packet, query, statement, spread, route).await
            }
            ShardPlan::Gather(gather) => self.execute_gather(packet, query, &gather, route).await,
            ShardPlan::Dictionary(views) => self.execute_views(&views, None).await,
            ShardPlan::Load(load) => self.load(statement, load, route).await,
            other @ ShardPlan::Refuse(RefuseReason::Unparsed { .. }) => {
                Err(self.unparsed(query.sql, statement, other).await)
            }
            other => Err(self.unplanned(other)),
        }
    }

    /// A statement in other words, that asks for less of the connection.
    async fn query_again(&mut self, packet: Vec<u8>, route: Route) -> Result<Executed, Failure> {
        let query = Query::decode(&packet, self.client.capabilities)
            .map_err(|_| Fault::Malformed("COM_QUERY"))?;
        let statement = analyze(query.sql, &self.dialect());
        Box::pin(self.query_by_plan(&packet, &query, &statement, route)).await
    }

    /// What commits by itself does so where the transaction is, before it goes to another node.
    async fn commit_before(
        &mut self,
        statement: &Statement,
        node: &NodeStatement,
    ) -> Result<(), Failure> {
        let here = self.sharded.as_ref().map(|sharded| sharded.source);
        let commits = self.implied(&node.sql, statement) == across::Implied::Commit;
        match commits && here != Some(node.source) {
            true => self.commit_before_definition().await,
            false => Ok(()),
        }
    }

    /// A SHOW of names, in the text that shows what the user may see.
    async fn list_permitted(&mut self, sql: &[u8]) -> Result<Executed, Failure> {
        match self.shard_plan(sql, None).await? {
            ShardPlan::Dictionary(views) => self.execute_views(&views, None).await,
            other => Err(self.unplanned(other)),
        }
    }

    /// What needs no plan of its own: the ends and beginnings of transactions, listings of what a user may see, and the choice
    /// of the service's own schema.
    async fn answered_early(
        &mut self,
        sql: &[u8],
        statement: &Statement,
    ) -> Result<Option<Executed>, Failure> {
        let on_rows = matches!(
            statement.verb,
            Verb::Select | Verb::Insert | Verb::Replace | Verb::Update | Verb::Delete
        );
        let filtered = self.governed.filtered.is_some();
        if on_rows && statement.statements == 1 && !filtered && !self.is_across() {
            return Ok(None);
        }
        Box::pin(async {
            if let Some(done) = self.cross(sql, statement).await? {
                return Ok(Some(done));
            }
            if let Some(done) = self.client_branch(sql, statement).await? {
                return Ok(Some(done));
            }
            if let Some(done) = self.defer(sql, statement).await? {
                return Ok(Some(done));
            }
            if let Some(filtered) = self.governed.filtered.take() {
                return self.list_permitted(&filtered).await.map(Some);
            }
            let chooses = self.uses_own_schema(statement).await?;
            Ok(chooses.then_some(Executed::LOCAL))
        })
        .await
    }

    /// Scatters a statement in text; what rows do not tell, one server that has them all knows.
    async fn scatter(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        statement: &Statement,
        spread: Spread<'_>,
        route: Route,
    ) -> Result<Executed, Failure> {
        let done = self.spread(statement, spread, route).await;
        self.forget_keys();
        if !self.takes_unmergeable() {
            return done;
        }
        match self.gather_plan(query.sql, None).await? {
            ShardPlan::Gather(gather) => self.execute_gather(packet, query, &gather, route).await,
            _ => done,
        }
    }

    /// After an answer: what an error of its server means for the session and its tables.
    pub(super) fn note_error(&mut self, error: Option<u16>) {
        let Some(code) = error else {
            return;
        };
        self.refused |= refuses_writes(code);
        self.noted.failed = true;
        if let Some(sharded) = &mut self.sharded {
            sharded.across.note_error(code);
        }
        let tables = self.sharded.as_ref().and_then(|s| s.home.tables.as_ref());
        if let Some(tables) = tables.filter(|_| DOUBTS_TABLES.contains(&code)) {
            tables.forget();
        }
    }

    /// The usual path, in the words of one node.
    async fn execute_at(
        &mut self,
        packet: &[u8],
        query: &Query<'_>,
        node: &NodeStatement,
        route: Route,
    ) -> Result<Executed, Failure> {
        let head = packet.get(..query.sql_offset).unwrap_or_default();
        let placed = PlacedText {
            source: node.source,
            packet: [head, &node.sql].concat(),
            names: self.names_of(std::slice::from_ref(node)),
        };
        let statement = analyze(&node.sql, &self.dialect());
        self.execute_placed(placed, &statement, route).await
    }

    async fn execute_placed(
        &mut self,
        placed: PlacedText,
        statement: &Statement,
        route: Route,
    ) -> Result<Executed, Failure> {
        self.go_to(placed.source).await?;
        if let Some(sharded) = &mut self.sharded {
            sharded.names = placed.names;
        }
        let packet = &placed.packet;
        let query = Query::decode(packet, self.client.capabilities)
            .map_err(|_| Fault::Malformed("COM_QUERY"))?;
        self.in_own_schema(true).await?;
        let executed = self.execute_text(packet, &query, statement, route).await;
        self.note_work(statement);
        self.follow_doom().await;
        if executed.is_ok() {
            self.keep_named_warnings().await?;
        }
        if let Some(sharded) = &mut self.sharded {
            sharded.names = None;
        }
        executed
    }

    /// Fetches the warnings of the statement at hand, to show them with the client's names.
    async fn keep_named_warnings(&mut self) -> Result<(), Failure> {
        if self.state.diagnostics.warnings != Warnings::OnConnection || self.lease.is_none() {
            return Ok(());
        }
        let Some(names) = self.sharded.as_ref().and_then(|sharded| sharded.names()) else {
            return Ok(());
        };
        let rows = match self.backend()?.query(b"SHOW WARNINGS").await {
            Ok(rows) => rows.unwrap_or_default(),
            Err(e) => return Err(self.lost(Lost::before(e), None)),
        };
        let mut rows: Vec<Warning> = rows.into_iter().filter_map(warning).collect();
        for row in &mut rows {
            row.message = names.text(&row.message);
        }
        let count = self.state.diagnostics.warning_count.max(rows.len() as u64);
        self.state.diagnostics.warnings = Warnings::Kept { rows, count };
        self.state.diagnostics.row_count_only_here = true;
        Ok(())
    }

    /// What the client calls otherwise than these nodes.
    fn names_of(&self, nodes: &[NodeStatement]) -> Option<Arc<Names>> {
        let sources: Vec<usize> = nodes.iter().map(|node| node.source).collect();
        let tables: Vec<_> = nodes.iter().flat_map(|node| node.tables.clone()).collect();
        self.names_at(&sources, &tables)
    }

    /// What the client calls otherwise at these sources, with these tables as they are there and as it knows them.
    fn names_at(&self, sources: &[usize], tables: &[(String, String)]) -> Option<Arc<Names>> {
        let pair = |theirs: &str, ours: &str| (theirs.as_bytes().into(), ours.as_bytes().into());
        let mut schemas: Vec<_> = sources
            .iter()
            .filter_map(|source| self.schemas_at(*source))
            .map(|(ours, theirs)| pair(theirs, ours))
            .collect();
        schemas.dedup();
        let tables = tables.iter().map(|(theirs, ours)| pair(theirs, ours));
        let names = Names::new(schemas, tables.collect());
        let others: Weak<Serving> = Arc::downgrade(&self.sharded.as_ref()?.home);
        (!names.is_empty()).then(|| Arc::new(names.with_others(others)))
    }

    /// What asks nothing of a table runs where the session is, except locks by name: there is one server for those.
    async fn go_for_session(&mut self, statement: &Statement) -> Result<(), Failure> {
        let locks = Facts::GET_LOCK_FUNCTION | Facts::RELEASE_LOCK_FUNCTION;
        let sharding = self.sharded.as_ref().and_then(|sharded| sharded.sharding());
        let first = sharding.map(|sharding| sharding.default_source.unwrap_or(0));
        match first {
            Some(first) if statement.facts.has_any(locks) => self.go_to(first).await,
            _ => Ok(()),
        }
    }

    /// Makes this source the session's place, if nothing binds it to the one where it is.
    pub(super) async fn go_to(&mut self, source: usize) -> Result<(), Failure> {
        let place = match &self.sharded {
            Some(sharded) if sharded.source != source => sharded.source,
            _ => return Ok(()),
        };
        let crosses = self.is_across() || (self.lease.is_some() && self.is_bound());
        if crosses {
            if !self.cross_to(source).await? {
                return Err(Fault::Sharding(self.bound_to(place, source)).into());
            }
        } else if self.lease.is_some() {
            self.give_up_hold().await;
        }
        let Some(sharded) = &mut self.sharded else {
            return Ok(());
        };
        let Some(part) = sharded.home.sources.get(source) else {
            return Err(Fault::Sharding("there is no such source any more".into()).into());
        };
        self.serving = part.clone();
        if let Some(kept) = sharded.positions.get_mut(place) {
            *kept = std::mem::take(&mut self.state.position);
        }
        if let Some(there) = sharded.positions.get_mut(source) {
            self.state.position = std::mem::take(there);
        }
        let there = sharded.vectors.get_mut(source).and_then(Option::take);
        let here = std::mem::replace(&mut sharded.vector, there);
        if let Some(kept) = sharded.vectors.get_mut(place) {
            *kept = here;
        }
        sharded.source = source;
        self.member = None;
        self.fixed = None;
        self.unpark();
        Ok(())
    }

    fn bound_to(&self, place: usize, wanted: usize) -> String {
        let sharding = self.sharded.as_ref().and_then(|sharded| sharded.sharding());
        let name = |place: usize| {
            let source = sharding.and_then(|sharding| sharding.sources.get(place));
            source.map_or("?", |source| source.name.as_str())
        };
        let by = match self.state.in_transaction() {
            true => "its transaction".to_owned(),
            false => self.own_state(),
        };
        format!(
            "the session is bound to node {} by {by}, and the statement needs node {} (`transactions.acrossNodes` of the DataShard)",
            name(place),
            name(wanted)
        )
    }

    /// Whether the plan of the statement at hand, if it has one, holds under the newest configuration too.
    pub(super) fn plan_outlives_reload(&self) -> bool {
        let Some(sharding) = self.sharded.as_ref().and_then(|sharded| sharded.sharding()) else {
            return true;
        };
        let now = self.process.current.find(&self.serving.service);
        let then = now.as_ref().and_then(|now| now.service.sharding.as_ref());
        then.is_some_and(|then| then.places_alike(sharding))
    }

    /// Takes up another configuration of the service; what the statement at hand asked for stays.
    pub(super) fn take_up(&mut self, now: Arc<Serving>) {
        let before = self.sharded.take();
        let (sharded, part) = ShardSession::of(&now);
        self.sharded = sharded;
        self.serving = part;
        let (Some(before), Some(sharded)) = (before, &mut self.sharded) else {
            return;
        };
        sharded.prologue = before.prologue;
        sharded.in_own_schema = before.in_own_schema;
        sharded.names = before.names;
        sharded.keys = before.keys;
        sharded.unassigned = before.unassigned;
        sharded.unlisted = before.unlisted;
        // What was said before the first statement; nothing of it is at a node yet.
        sharded.across = before.across;
        let left = before.left.into_iter();
        sharded.left = left.map(across::Left::anywhere).collect();
        // Sources may have changed places. What is not known of one is asked at its primary.
        let name = |sharding: &Sharding, place: usize| {
            let source = sharding.sources.get(place);
            source.map(|source| source.name.clone())
        };
        let (Some(old), Some(new)) = (&before.home.service.sharding, &now.service.sharding) else {
            return;
        };
        let here = name(old, before.source);
        for (place, position) in sharded.positions.iter_mut().enumerate() {
            let wanted = name(new, place);
            let known = (0..old.sources.len()).find(|old_place| name(old, *old_place) == wanted);
            *position = match known {
                Some(known) if known == before.source => self.state.position.clone(),
                Some(known) => before
                    .positions
                    .get(known)
                    .cloned()
                    .unwrap_or(Position::Unknown),
                None => Position::Unknown,
            };
        }
        let place = (0..new.sources.len()).find(|place| name(new, *place) == here);
        sharded.source = place.unwrap_or(sharded.source);
        if let Some(part) = now.sources.get(sharded.source) {
            self.serving = part.clone();
        }
        if let Some(there) = sharded.positions.get(sharded.source) {
            self.state.position = there.clone();
        }
    }
}
