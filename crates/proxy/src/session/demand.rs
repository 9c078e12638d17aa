//! What the statement at hand demands: its hints, how long it may take, and where alone it may run.
//!
//! Owns the reading of hints under the service's policy and the one place of a statement. It must never let a statement
//! run elsewhere than where it has to: what cannot be had is refused, with the reason. Input: a statement, its query
//! attributes, the service's strategy, and where the session's connection is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dbmesh_model::topology::{HashKey, HintRights, Name, Role};
use dbmesh_plan::explain::subject;
use dbmesh_plan::shard::{self, KeyValue};
use dbmesh_plan::{Proof, RoleHint};
use dbmesh_sql::hints::HINT_COMMENTS_MAX;
use dbmesh_sql::{Class, Dialect, Hints, Span, Statement, Verb, analyze};
use dbmesh_wire::column::BinaryLayout;
use dbmesh_wire::command::{ParameterValue, Parameters};
use dbmesh_wire::status::Status;

use super::columns::Read;
use super::judging::Occasion;
use super::{Failure, Session};
use crate::balance::hash_of;
use crate::fault::{Fault, Overdue};
use crate::pins::PinReason;

/// The query attribute that carries hints.
const ATTRIBUTE: &[u8] = b"mesh";

/// What the statement at hand demands.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// The role that its hint asks for.
    pub role: Option<RoleHint>,
    /// The hash of its hint `hash`, by which an endpoint is chosen.
    pub hash: Option<u64>,
    /// The value of its hint `shard`, for tables that are split by hint.
    pub shard: Option<KeyValue>,
    /// When it must have ended.
    pub deadline: Option<Deadline>,
    /// Where alone it may run.
    pub place: Place,
    /// What becomes of an answer that comes when the time is up.
    pub late: LateAnswer,
    /// The hints of the text that the statement is a part of.
    pub text: Option<Arc<TextHints>>,
}

/// The hints of a text of several statements, which are for each of them: its comments with hints, each once.
#[derive(Debug, Default)]
pub(super) struct TextHints {
    text: Vec<u8>,
    comments: Vec<Span>,
}

impl TextHints {
    /// Adds the comments with hints of a statement of the text; of too many, one too many is kept, and refused.
    pub(super) fn add(&mut self, statement: &Statement, sql: &[u8]) {
        for comment in &statement.hints {
            let comment = comment.of(sql);
            if self.comments.len() > HINT_COMMENTS_MAX
                || self.comments.iter().any(|c| c.of(&self.text) == comment)
            {
                continue;
            }
            let start = self.text.len();
            self.text.extend_from_slice(comment);
            let end = self.text.len();
            self.comments.push(Span { start, end });
        }
    }

    /// What they say.
    pub(super) fn read(&self) -> Result<Option<Hints<'_>>, Fault> {
        if self.comments.is_empty() {
            return Ok(None);
        }
        let hints = Hints::of_comments(&self.text, &self.comments);
        hints.map(Some).map_err(|error| {
            let all = "of a text with several statements, hints are for all of it";
            Fault::Hint(format!("{error}; {all}: send the statements one by one"))
        })
    }
}

/// When a statement must have ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// When.
    pub at: Instant,
    /// The limit that this comes from, in ms.
    pub limit_ms: u64,
}

/// What comes of it before the time is up; none if it takes longer. It comes pinned, so that it has its room once.
pub(super) async fn in_time<T>(
    deadline: Option<Deadline>,
    what: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let Some(deadline) = deadline else {
        return Some(what.await);
    };
    let left = deadline.at.saturating_duration_since(Instant::now());
    tokio::time::timeout(left, what).await.ok()
}

/// What the first say, and where they say nothing, the others.
fn either<'a>(first: Option<Hints<'a>>, others: Option<Hints<'a>>) -> Option<Hints<'a>> {
    match (first, others) {
        (Some(first), Some(others)) => Some(first.or(others)),
        (first, others) => first.or(others),
    }
}

/// The statement in an EXPLAIN MESH.
fn explained<'a>(statement: &Statement, sql: &'a [u8]) -> Option<(Box<Statement>, &'a [u8])> {
    if statement.verb != Verb::Explain {
        return None;
    }
    let dialect = Dialect::default();
    let text = subject(sql, &dialect)?.of(sql);
    Some((Box::new(analyze(text, &dialect)), text))
}

/// Where alone a statement may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Where its role says.
    #[default]
    Home,
    /// At this endpoint of the service.
    Named(Name),
    /// At this endpoint, which is none of the service's own.
    Away(Errand, Name),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home => f.write_str("the service's own endpoints"),
            Self::Named(name) => write!(f, "endpoint {name}"),
            Self::Away(Errand::Shadow, name) => write!(f, "shadow endpoint {name}"),
            Self::Away(Errand::Site, name) => write!(f, "another site's endpoint {name}"),
        }
    }
}

/// Why a statement runs away from home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// It is a shadow statement.
    Shadow,
    /// Another site owns its key.
    Site,
}

/// What becomes of an answer that comes when the time is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LateAnswer {
    /// It is the client's: what the statement did, it did.
    #[default]
    Passed,
    /// It is dropped: the statement did nothing but read.
    Dropped,
}

/// The query attributes of a command.
pub(super) enum Attributes<'a> {
    /// It has none.
    None,
    /// It is a PREPARE: an execution may bring some.
    Later,
    /// These.
    Read(Parameters<'a>),
    /// They cannot be found behind parameters that came before in pieces.
    Hidden,
}

/// What a command carries besides its text.
pub(super) struct Carried<'a> {
    /// Query attributes.
    pub attributes: Attributes<'a>,
    /// The parameters of an execution, if anybody asks for them.
    pub bound: Option<Vec<shard::Parameter>>,
}

impl<'a> Carried<'a> {
    /// Nothing but these attributes.
    pub(super) fn of(attributes: Attributes<'a>) -> Self {
        Self {
            attributes,
            bound: None,
        }
    }
}

impl Attributes<'_> {
    fn occasion(&self) -> Occasion {
        match self {
            Self::Later => Occasion::Prepared,
            _ => Occasion::Runs,
        }
    }

    /// The text of one of them; none if it cannot be read.
    pub(super) fn text_of(&self, name: &[u8]) -> Option<&[u8]> {
        let Self::Read(parameters) = self else {
            return None;
        };
        let mut named = parameters.clone().filter_map(Result::ok);
        let found = named.find(|parameter| parameter.kind.name == name)?;
        match found.value {
            ParameterValue::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The hints in them.
    pub(super) fn hints(&self) -> Result<Option<&[u8]>, Fault> {
        let parameters = match self {
            Self::None | Self::Later => return Ok(None),
            Self::Read(parameters) => parameters.clone(),
            Self::Hidden => {
                let why = "query attributes cannot be read together with COM_STMT_SEND_LONG_DATA";
                return Err(Fault::Hint(why.into()));
            }
        };
        for parameter in parameters {
            let parameter = parameter.map_err(|_| Fault::Malformed("query attributes"))?;
            if parameter.kind.name != ATTRIBUTE {
                continue;
            }
            let text = parameter.kind.column_type.binary_layout() == BinaryLayout::LengthEncoded;
            return match parameter.value {
                ParameterValue::Bytes(bytes) if text => Ok(Some(bytes)),
                _ => Err(Fault::Hint("the query attribute `mesh` is no text".into())),
            };
        }
        Ok(None)
    }
}

impl Session {
    /// Begins a command that may take as long as the service allows, and runs where its session's commands do.
    pub(super) fn demand_nothing(&mut self) {
        if let Some(journal) = &mut self.replay {
            journal.announce_nothing();
        }
        let limit_ms = self.serving.service.limits.statement_timeout_ms;
        let text = self.demand.text.take();
        self.demand = Demand {
            text,
            deadline: self.deadline(limit_ms),
            place: self.usual_place(),
            ..Demand::default()
        };
    }

    fn deadline(&self, limit_ms: u64) -> Option<Deadline> {
        (limit_ms > 0).then(|| Deadline {
            at: self.started + Duration::from_millis(limit_ms),
            limit_ms,
        })
    }

    /// Before a statement that can go anywhere: the newest configuration decides on it.
    async fn keep_up(&mut self) -> Result<(), Failure> {
        if self.lease.is_some() && self.process.current.epoch() != self.epoch {
            Box::pin(self.give_up_hold()).await;
        }
        match self.lease {
            None => self.follow_reload(),
            Some(_) => Ok(()),
        }
    }

    /// Takes up what a statement demands; gives what is proved of it.
    pub(super) async fn take_demand(
        &mut self,
        statement: &Statement,
        sql: &[u8],
        carried: Carried<'_>,
    ) -> Result<Proof, Failure> {
        self.keep_up().await?;
        self.demand_nothing();
        self.demand.place = Place::Home;
        let attributes = &carried.attributes;
        let of_text = self.demand.text.clone();
        let hints = self.hints((statement, sql), of_text.as_deref(), attributes)?;
        // EXPLAIN MESH is told what the statement in it would be told; it runs nowhere itself.
        let explained = explained(statement, sql);
        let own = (statement, sql);
        let (statement, sql) = match &explained {
            Some((inner, text)) => (&**inner, *text),
            None => (statement, sql),
        };
        if let Some(hints) = &hints {
            self.follow_hints(hints, statement)?;
        }
        let occasion = attributes.occasion();
        // Rules judge what was sent: what is explained takes no turn of a limit.
        self.judge(own.0, own.1, hints.as_ref(), occasion);
        let read = Read {
            statement,
            sql,
            carried: &carried,
        };
        let shadow = self.shadow_place(hints.as_ref(), &read)?;
        if statement.class == Class::Tcl {
            // A COMMIT that is cut short leaves nobody the wiser.
            self.demand.deadline = None;
        }
        let asked = self.demand.place != Place::Home
            || self.demand.deadline.is_some()
            || self.serving.mirror.is_some()
            || self.serving.service.strategy.units.is_some();
        let proof = self.prove(statement, sql, asked);
        if proof == Proof::Reads {
            self.demand.late = LateAnswer::Dropped;
        }
        match shadow {
            // It writes nothing that a site owns.
            Some(place) => self.demand.place = place,
            None => {
                let later = matches!(attributes, Attributes::Later);
                let place = self.unit_place(hints.as_ref(), &read, proof, later)?;
                self.demand_unit(place)?;
            }
        }
        if explained.is_some() {
            if let Place::Named(name) = &self.demand.place {
                self.allow_named(name, proof)?;
            }
            return Ok(proof);
        }
        let follows = match attributes {
            Attributes::Later => true,
            _ => Self::follows_transaction(statement),
        };
        self.take_place(follows, proof).await?;
        Ok(proof)
    }

    /// The hints of a statement that its user may use: its own, and those of the text that it is a part of.
    fn hints<'a>(
        &self,
        (statement, sql): (&Statement, &'a [u8]),
        of_text: Option<&'a TextHints>,
        attributes: &'a Attributes<'_>,
    ) -> Result<Option<Hints<'a>>, Fault> {
        let without = statement.hints.is_empty() && of_text.is_none();
        if without && matches!(attributes, Attributes::None | Attributes::Later) {
            return Ok(None);
        }
        let user = &self.handle().user;
        let rights = self.serving.service.strategy.hints.rights_of(user);
        if rights == HintRights::NotRead {
            return Ok(None);
        }
        let refused = |e: dbmesh_sql::HintError| Fault::Hint(e.to_string());
        let comments = match statement.hints.as_slice() {
            [] => None,
            spans => Some(Hints::of_comments(sql, spans).map_err(refused)?),
        };
        let of_text = of_text.map(TextHints::read).transpose()?.flatten();
        let comments = either(comments, of_text);
        let attribute = match attributes.hints()? {
            None => None,
            Some(text) => Some(Hints::of_attribute(text).map_err(refused)?),
        };
        let Some(hints) = either(attribute, comments) else {
            return Ok(None);
        };
        let chooses = match &hints {
            _ if rights == HintRights::Nothing => Some("hints"),
            _ if rights == HintRights::Everything => None,
            hints if hints.endpoint.is_some() => Some("hint 'endpoint'"),
            hints if hints.shadow => Some("hint 'shadow'"),
            _ => None,
        };
        match chooses {
            Some(what) => Err(Fault::HintDenied(what)),
            None => Ok(Some(hints)),
        }
    }

    fn follow_hints(&mut self, hints: &Hints<'_>, statement: &Statement) -> Result<(), Fault> {
        let refused = |why: &str| Err(Fault::Hint(why.into()));
        self.handle().note_labels(hints);
        self.noted.labelled = true;
        self.demand.role = hints.role;
        if let Some(key) = hints.hash {
            if self.serving.service.strategy.hashing.by != HashKey::Hint {
                return refused("'hash' needs loadBalance.consistentHash {by: hint}");
            }
            self.demand.hash = Some(hash_of(key.as_bytes()));
        }
        if let Some(value) = hints.shard {
            if self.sharded.is_none() {
                return refused("'shard' needs a service with a DataShard");
            }
            self.demand.shard = Some(KeyValue::of_hint(value));
        }
        // In a text that is bounded as a whole, what ends a transaction is not cut short.
        let part = self.demand.text.is_some() && statement.class == Class::Tcl;
        if let Some(limit_ms) = hints.timeout_ms.filter(|_| !part) {
            if statement.class == Class::Tcl {
                return refused(
                    "'timeout_ms' cannot bound a statement that ends or begins a transaction",
                );
            }
            let own = self.serving.service.limits.statement_timeout_ms;
            if own == 0 || limit_ms < own {
                self.demand.deadline = self.deadline(limit_ms);
            }
        }
        if let Some(name) = hints.endpoint {
            if hints.role.is_some() {
                return refused("'endpoint' excludes 'primary' and 'replica'");
            }
            let members = &self.serving.upstream.members;
            let Some(member) = members.iter().find(|m| m.endpoint.name.as_str() == name) else {
                return refused(&format!("the service has no endpoint '{name}'"));
            };
            self.demand.place = Place::Named(member.endpoint.name.clone());
        }
        Ok(())
    }

    /// A key that is another site's, and hints that name servers of this one, exclude each other.
    fn demand_unit(&mut self, place: Place) -> Result<(), Fault> {
        let chosen = self.demand.place != Place::Home || self.demand.role.is_some();
        if place == Place::Home {
            return Ok(());
        }
        if chosen {
            let why =
                "the unit's key is another site's: 'endpoint', 'primary' and 'replica' exclude it";
            return Err(Fault::Hint(why.into()));
        }
        self.demand.place = place;
        Ok(())
    }

    /// Makes sure that the statement can run where it has to: that the session is not bound elsewhere.
    /// What `follows` runs where its session is bound, if nothing says otherwise.
    async fn take_place(&mut self, follows: bool, proof: Proof) -> Result<(), Failure> {
        if let Place::Named(name) = &self.demand.place {
            self.allow_named(&name.clone(), proof)?;
        }
        if follows && self.is_away() && self.is_bound() && self.demand.place == Place::Home {
            self.demand.place.clone_from(&self.lease_place);
        }
        if self.lease.is_none() || self.is_in_place() {
            return Ok(());
        }
        if self.is_bound() {
            return Err(Fault::Misplaced(self.bound_elsewhere()).into());
        }
        // The connection only remembers something of the last statement, which planning must know.
        self.give_up_hold().await;
        Ok(())
    }

    /// For who asks where it would run: the place, if it is no question of roles.
    pub(super) fn demanded_target(&self) -> Option<String> {
        (self.demand.place != Place::Home).then(|| format!("{}, and no other", self.demand.place))
    }

    /// Whether transaction or pins keep the session at its connection.
    pub(super) fn is_bound(&self) -> bool {
        self.state.in_transaction() || !self.state.pins.is_empty()
    }

    /// What the session has that only its connection has, in words.
    pub(super) fn own_state(&self) -> String {
        let reasons: Vec<_> = self.state.pins.reasons().map(PinReason::label).collect();
        match reasons.is_empty() {
            true => "state that only its connection has".to_owned(),
            false => format!(
                "state that only its connection has ({})",
                reasons.join(", ")
            ),
        }
    }

    /// Whether the session's connection is where the statement has to run.
    pub(super) fn is_in_place(&self) -> bool {
        let away = matches!(self.lease_place, Place::Away(..));
        match &self.demand.place {
            Place::Home => !away,
            Place::Named(name) => {
                !away && (self.member.as_ref()).is_some_and(|m| m.endpoint.name == *name)
            }
            Place::Away(..) => self.lease_place == self.demand.place,
        }
    }

    fn bound_elsewhere(&self) -> String {
        let by = if self.state.in_transaction() {
            "its transaction".to_owned()
        } else {
            self.own_state()
        };
        let at = self.member.as_ref().map(|m| m.endpoint.name.as_str());
        let at = at.unwrap_or("another endpoint");
        let wanted = &self.demand.place;
        format!("the session is bound to {at} by {by}, and the statement must run at {wanted}")
    }

    /// A write never goes to a replica, whoever asks.
    fn allow_named(&self, name: &Name, proof: Proof) -> Result<(), Fault> {
        let upstream = &self.serving.upstream;
        let member = upstream.members.iter().find(|m| m.endpoint.name == *name);
        let role = member.and_then(|m| upstream.role_of(m));
        let refused = |why: &str| Err(Fault::Misplaced(format!("endpoint {name} {why}")));
        let begins =
            !self.state.status.contains(Status::AUTOCOMMIT) && proof != Proof::ReadOnlyTransaction;
        match role {
            Some(Role::Primary) => Ok(()),
            Some(Role::Replica) if proof == Proof::NotProved => {
                refused("is a replica, and the statement is not proved to read only")
            }
            Some(Role::Replica) if begins => refused(
                "is a replica, and without autocommit a read begins a transaction that may write",
            ),
            Some(Role::Replica) => Ok(()),
            Some(Role::Shadow) | None => refused("does not serve now"),
        }
    }

    /// What consistent hashing goes by.
    pub(super) fn hash_key(&self) -> u64 {
        let handle = self.handle();
        match (self.serving.service.strategy.hashing.by, self.demand.hash) {
            (HashKey::Hint, Some(hash)) => hash,
            (HashKey::User, _) => hash_of(handle.user.as_bytes()),
            (HashKey::Client | HashKey::Hint, _) => hash_of(handle.ip().as_bytes()),
        }
    }

    /// The error if the time of the statement at hand is up while dbmesh holds it.
    pub(super) fn overdue(&self) -> Option<Fault> {
        let deadline = self.demand.deadline?;
        (Instant::now() >= deadline.at).then_some(Fault::Overdue {
            limit_ms: deadline.limit_ms,
            when: Overdue::Waiting,
        })
    }

    /// No more than this, and no longer than the statement at hand may take.
    pub(super) fn within_deadline(&self, limit: Duration) -> Duration {
        match self.demand.deadline {
            None => limit,
            Some(deadline) => limit.min(deadline.at.saturating_duration_since(Instant::now())),
        }
    }
}
