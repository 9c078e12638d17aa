//! Prepared statements: what a client holds, what a server connection holds, and how they meet.
//!
//! Owns the statement ids of a session (never those of a server) and the bounded set of statements prepared on one
//! server connection. A client's statement survives its server connection: it is prepared again wherever it is executed
//! next. It must never leave a statement on a server beyond the bound. Input: COM_STMT_* of clients, PREPARE answers.

mod pins;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dbmesh_sql::Statement;
use dbmesh_wire::command::ParameterType;

use crate::fault::Fault;
use crate::pieces::Pieces;
use crate::vector::Vector;

pub use pins::Pins;

/// Statements kept prepared on one server connection; the least recently used beyond this is closed.
pub const STATEMENTS_PER_CONNECTION_MAX: usize = 64;

/// How long the answer of a PREPARE may serve another PREPARE of the same text: long enough for a client that prepares,
/// executes and closes in a loop, too short for a table to change unseen between deploys.
const ANSWER_FRESH: Duration = Duration::from_secs(1);

/// What makes two prepared statements the same on a server connection.
#[derive(Debug)]
pub struct Key {
    hash: u64,
    /// The statement's text.
    pub sql: Box<[u8]>,
    /// Hash of what it takes of the state that it was prepared under.
    state: u64,
    /// 0 for a shared statement; otherwise the only client statement that may use it (cursor, long data).
    owner: u64,
    /// The types that it keeps.
    pins: Pins,
}

impl Key {
    /// A shared statement's key, prepared under that state.
    #[must_use]
    pub fn of(sql: &[u8], under: &Vector) -> Self {
        Self::new(sql, under.prepare_state(sql), 0)
    }

    /// A statement's key.
    #[must_use]
    pub fn new(sql: &[u8], state: u64, owner: u64) -> Self {
        let mut h = DefaultHasher::new();
        (sql, state, owner).hash(&mut h);
        Self {
            hash: h.finish(),
            sql: sql.into(),
            state,
            owner,
            pins: Pins::default(),
        }
    }

    /// The key of the same text for executions with these types.
    #[must_use]
    pub fn pinned(&self, pins: Pins) -> Self {
        Self {
            hash: self.hash,
            sql: self.sql.clone(),
            state: self.state,
            owner: self.owner,
            pins,
        }
    }

    /// Hash of what it takes of the state that it was prepared under.
    #[must_use]
    pub fn state(&self) -> u64 {
        self.state
    }

    /// The types that it keeps.
    #[must_use]
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    fn same(&self, other: &Self) -> bool {
        self.same_text(other) && self.pins == other.pins
    }

    fn same_text(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.state == other.state
            && self.owner == other.owner
            && self.sql == other.sql
    }
}

/// The answer of a PREPARE, to be given again: everything behind the statement id of COM_STMT_PREPARE_OK.
#[derive(Debug)]
pub struct Answer {
    /// Number of columns.
    pub columns: u16,
    /// Number of parameters.
    pub params: u16,
    /// Warning count.
    pub warnings: u16,
    /// Payloads of the parameter definitions, then of the column definitions.
    pub definitions: Vec<Vec<u8>>,
}

/// A statement that a client prepared.
#[derive(Debug)]
pub struct ClientStatement {
    /// Its key on server connections while it is shared.
    pub key: Arc<Key>,
    /// The same for its executions.
    pub executed: Arc<Key>,
    /// What the parser knows of it.
    pub statement: Arc<Statement>,
    /// The state under which it was prepared: where it is prepared again, it is under the same.
    pub vector: Arc<Vector>,
    /// Number of parameters.
    pub params: u16,
    /// The types block of the last EXECUTE that carried one.
    pub types: Option<Arc<[u8]>>,
    /// A cursor is open.
    pub cursor: Cursor,
    /// Long data was sent and not executed yet.
    pub long_data: bool,
    /// Long data that is kept here until then: on sharded tables.
    pub pieces: Option<Box<Pieces>>,
    /// What went wrong with long data, to be told at EXECUTE.
    pub long_data_error: Option<Fault>,
    /// Diagnostics functions stand in it.
    pub reads_diagnostics: bool,
}

impl ClientStatement {
    /// The key of another spelling of the text, for one execution only.
    #[must_use]
    pub fn respelled(&self, sql: &[u8], id: u32, session: u64) -> Arc<Key> {
        Arc::new(Key::new(
            sql,
            self.key.state,
            (session << 32) | u64::from(id),
        ))
    }

    /// The key under which to execute: its own while it has a cursor or long data, else the shared one.
    #[must_use]
    pub fn key_for(&self, id: u32, session: u64, own: bool) -> Arc<Key> {
        if own || self.long_data {
            Arc::new(Key::new(
                &self.key.sql,
                self.key.state,
                (session << 32) | u64::from(id),
            ))
        } else {
            self.executed.clone()
        }
    }

    /// It is executed with these types.
    pub fn pin<'a>(&mut self, types: impl Iterator<Item = ParameterType<'a>>) {
        let pins = Pins::of(types);
        if self.executed.pins.give_way_to(&pins) {
            self.executed = Arc::new(self.key.pinned(pins));
        }
    }
}

/// The cursor of a client's statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// None is open.
    Closed,
    /// Rows can be fetched.
    Open,
}

/// The statements of one session, by the ids that the client knows.
#[derive(Debug, Default)]
pub struct ClientStatements {
    by_id: HashMap<u32, ClientStatement>,
    last_id: u32,
}

impl ClientStatements {
    /// Takes a statement in and gives its id, never one used shortly before.
    pub fn insert(&mut self, statement: ClientStatement) -> u32 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            // The last id but one (0xFFFFFFFF) means "the last prepared one" to MariaDB clients.
            if self.last_id != u32::MAX && !self.by_id.contains_key(&self.last_id) {
                break;
            }
        }
        self.by_id.insert(self.last_id, statement);
        self.last_id
    }

    /// A statement.
    pub fn find(&mut self, id: u32) -> Option<&mut ClientStatement> {
        let id = if id == u32::MAX { self.last_id } else { id };
        self.by_id.get_mut(&id)
    }

    /// Takes a statement out.
    pub fn remove(&mut self, id: u32) -> Option<ClientStatement> {
        self.by_id.remove(&id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All statements.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut ClientStatement> {
        self.by_id.values_mut()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_id.clear();
    }
}

/// A statement prepared on a server connection.
#[derive(Debug)]
pub struct ServerStatement {
    key: Arc<Key>,
    /// The server's id.
    pub id: u32,
    /// The types block that the server remembers.
    pub types: Option<Arc<[u8]>>,
    /// It has been executed.
    pub executed: bool,
    /// What the server said when it was prepared.
    pub answer: Arc<Answer>,
    prepared: Instant,
    schema_epoch: u64,
    used: u64,
}

/// The statements prepared on one server connection.
#[derive(Debug, Default)]
pub struct ServerStatements {
    list: Vec<ServerStatement>,
    clock: u64,
}

impl ServerStatements {
    /// The statement of this key.
    pub fn find(&mut self, key: &Key) -> Option<&mut ServerStatement> {
        self.clock += 1;
        let clock = self.clock;
        let found = self.list.iter_mut().find(|s| s.key.same(key))?;
        found.used = clock;
        Some(found)
    }

    /// The statement of this key, or else one that has no types yet, which is of this key from now on.
    pub fn find_or_pin(&mut self, key: &Arc<Key>) -> Option<&mut ServerStatement> {
        let blank = |s: &ServerStatement| {
            !s.executed && s.key.pins == Pins::default() && s.key.same_text(key)
        };
        let same = self.list.iter().position(|s| s.key.same(key));
        let at = same.or_else(|| self.list.iter().position(blank))?;
        self.clock += 1;
        let found = self.list.get_mut(at)?;
        found.used = self.clock;
        if same.is_none() {
            found.key = key.clone();
        }
        Some(found)
    }

    /// The answer to another PREPARE of this text, while it is fresh, and the statement that it was.
    pub fn fresh_answer(
        &self,
        key: &Key,
        now: Instant,
        schema_epoch: u64,
    ) -> Option<(u32, Arc<Answer>)> {
        let fresh = |s: &&ServerStatement| {
            s.key.same_text(key)
                && now.duration_since(s.prepared) < ANSWER_FRESH
                && s.schema_epoch == schema_epoch
        };
        let found = self.list.iter().find(fresh)?;
        Some((found.id, found.answer.clone()))
    }

    /// Takes a statement in; gives the ids that must be closed on the server.
    pub fn insert(
        &mut self,
        key: Arc<Key>,
        id: u32,
        answer: Arc<Answer>,
        now: Instant,
        schema_epoch: u64,
    ) -> Vec<u32> {
        let mut closed = Vec::new();
        self.list.retain(|s| {
            let again = s.key.same(&key);
            if again {
                closed.push(s.id);
            }
            !again
        });
        while self.list.len() >= STATEMENTS_PER_CONNECTION_MAX {
            let oldest = self
                .list
                .iter()
                .enumerate()
                .filter(|(_, s)| s.key.owner == 0)
                .min_by_key(|(_, s)| s.used);
            let Some(at) = oldest.map(|(at, _)| at) else {
                break;
            };
            closed.push(self.list.swap_remove(at).id);
        }
        self.clock += 1;
        self.list.push(ServerStatement {
            key,
            id,
            types: None,
            executed: false,
            answer,
            prepared: now,
            schema_epoch,
            used: self.clock,
        });
        closed
    }

    /// Takes out all statements of this text; gives their ids, to be closed on the server.
    pub fn remove_text(&mut self, key: &Key) -> Vec<u32> {
        let of_text = self.list.extract_if(.., |s| s.key.same_text(key));
        of_text.map(|s| s.id).collect()
    }

    /// Takes a statement out; gives its id, to be closed on the server.
    pub fn remove(&mut self, key: &Key) -> Option<u32> {
        let at = self.list.iter().position(|s| s.key.same(key))?;
        Some(self.list.swap_remove(at).id)
    }

    /// Takes out the statements that only one client statement could use; gives their ids.
    pub fn remove_owned(&mut self) -> Vec<u32> {
        let mut ids = Vec::new();
        self.list.retain(|s| {
            if s.key.owner != 0 {
                ids.push(s.id);
            }
            s.key.owner == 0
        });
        ids
    }

    /// Forgets all: the server did.
    pub fn clear(&mut self) {
        self.list.clear();
    }
}

#[cfg(test)]
mod tests {
    use dbmesh_wire::column::ColumnType;

    use super::*;

    fn answer() -> Arc<Answer> {
        Arc::new(Answer {
            columns: 0,
            params: 0,
            warnings: 0,
            definitions: Vec::new(),
        })
    }

    #[test]
    fn the_least_recently_used_is_closed() {
        let mut statements = ServerStatements::default();
        let now = Instant::now();
        let keys: Vec<_> = (0..=STATEMENTS_PER_CONNECTION_MAX as u32)
            .map(|i| Arc::new(Key::new(&i.to_le_bytes(), 0, 0)))
            .collect();
        for (i, key) in keys.iter().take(STATEMENTS_PER_CONNECTION_MAX).enumerate() {
            assert!(
                statements
                    .insert(key.clone(), i as u32, answer(), now, 0)
                    .is_empty()
            );
        }
        assert!(statements.find(&keys[0]).is_some());
        let closed = statements.insert(
            keys[STATEMENTS_PER_CONNECTION_MAX].clone(),
            999,
            answer(),
            now,
            0,
        );
        assert_eq!(closed, [1]);
        assert_eq!(statements.list.len(), STATEMENTS_PER_CONNECTION_MAX);
    }

    #[test]
    fn a_statement_is_of_the_types_that_it_was_first_executed_with() {
        let mut statements = ServerStatements::default();
        let number = |column_type| ParameterType {
            column_type,
            unsigned: false,
            name: &[],
        };
        let text = Key::new(b"select ?", 7, 0);
        let of = |kind| Arc::new(text.pinned(Pins::of([number(kind)].into_iter())));
        let (int, double) = (of(ColumnType::LONG), of(ColumnType::DOUBLE));
        statements.insert(
            Arc::new(Key::new(b"select ?", 7, 0)),
            1,
            answer(),
            Instant::now(),
            3,
        );
        let found = statements.find_or_pin(&int).unwrap();
        assert_eq!(found.id, 1);
        found.executed = true;
        assert!(statements.find_or_pin(&double).is_none());
        assert!(statements.find(&text).is_none());
        assert_eq!(statements.find_or_pin(&int).unwrap().id, 1);
    }

    #[test]
    fn an_answer_serves_only_while_fresh() {
        let mut statements = ServerStatements::default();
        let now = Instant::now();
        let key = Arc::new(Key::new(b"select 1", 7, 0));
        statements.insert(key.clone(), 1, answer(), now, 3);
        assert!(statements.fresh_answer(&key, now, 3).is_some());
        assert!(statements.fresh_answer(&key, now, 4).is_none());
        assert!(
            statements
                .fresh_answer(&key, now + ANSWER_FRESH, 3)
                .is_none()
        );
        assert!(
            statements
                .fresh_answer(&Key::new(b"select 1", 8, 0), now, 3)
                .is_none()
        );
    }
}
