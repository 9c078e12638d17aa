//! Pins: why a session must keep its server connection.
//!
//! Owns the closed list of reasons, what each still holds, and what must happen to the connection when the session lets
//! go of it with the pin still there. It must never drop a pin on a guess: a pin ends when its state is known to have
//! ended. Input: the effects of parsed statements and the server's session tracking (see `absorb.rs`).

use std::collections::{BTreeMap, BTreeSet};

use dbmesh_sql::Statement;

use crate::announced::Announced;

/// Names remembered for one kind of pin; beyond this the pin lasts until the session is reset.
const NAMES_MAX: usize = 256;

/// Why a session keeps its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PinReason {
    /// A transaction is open.
    Transaction,
    /// A user variable whose value is only on the server.
    UserVariable,
    /// A temporary table.
    TemporaryTable,
    /// GET_LOCK.
    UserLock,
    /// LOCK TABLES.
    TableLock,
    /// FLUSH TABLES WITH READ LOCK or FOR EXPORT.
    GlobalReadLock,
    /// LOCK INSTANCE FOR BACKUP.
    InstanceLock,
    /// HANDLER … OPEN.
    Handler,
    /// PREPARE … FROM.
    SqlPrepared,
    /// SET ROLE.
    Role,
    /// An XA branch that the session is bound to.
    Xa,
    /// A session variable that cannot be restored elsewhere.
    SessionVariable,
    /// The server reported a state change that the statement's text does not explain.
    StateChange,
    /// A stored routine ran, and may have left state that no server reports.
    Routine,
    /// SET TRANSACTION for the next transaction.
    NextTransaction,
    /// LAST_INSERT_ID(expression) set a value that only the server knows.
    LastInsertId,
    /// An open cursor.
    Cursor,
    /// COM_STMT_SEND_LONG_DATA awaits its EXECUTE.
    LongData,
    /// The client changed session_track_* itself.
    SessionTracking,
    /// The statement could not be understood.
    Unparsed,
    /// A prepared statement reads diagnostics (ROW_COUNT(), FOUND_ROWS()).
    Diagnostics,
    /// An error left the session's state unknown.
    AfterError,
    /// The resource group was changed.
    ResourceGroup,
    /// The database is configured not to share connections.
    Policy,
}

impl PinReason {
    /// All reasons.
    pub const ALL: [Self; 24] = [
        Self::Transaction,
        Self::UserVariable,
        Self::TemporaryTable,
        Self::UserLock,
        Self::TableLock,
        Self::GlobalReadLock,
        Self::InstanceLock,
        Self::Handler,
        Self::SqlPrepared,
        Self::Role,
        Self::Xa,
        Self::SessionVariable,
        Self::StateChange,
        Self::Routine,
        Self::NextTransaction,
        Self::LastInsertId,
        Self::Cursor,
        Self::LongData,
        Self::SessionTracking,
        Self::Unparsed,
        Self::Diagnostics,
        Self::AfterError,
        Self::ResourceGroup,
        Self::Policy,
    ];

    /// The name in logs, metrics and /debug.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::UserVariable => "user_variable",
            Self::TemporaryTable => "temporary_table",
            Self::UserLock => "user_lock",
            Self::TableLock => "table_lock",
            Self::GlobalReadLock => "global_read_lock",
            Self::InstanceLock => "instance_lock",
            Self::Handler => "handler",
            Self::SqlPrepared => "sql_prepared",
            Self::Role => "role",
            Self::Xa => "xa",
            Self::SessionVariable => "session_variable",
            Self::StateChange => "state_change",
            Self::Routine => "routine",
            Self::NextTransaction => "next_transaction",
            Self::LastInsertId => "last_insert_id",
            Self::Cursor => "cursor",
            Self::LongData => "long_data",
            Self::SessionTracking => "session_tracking",
            Self::Unparsed => "unparsed",
            Self::Diagnostics => "diagnostics",
            Self::AfterError => "after_error",
            Self::ResourceGroup => "resource_group",
            Self::Policy => "policy",
        }
    }

    fn bit(self) -> u32 {
        1 << (self as u8)
    }

    /// Whether COM_RESET_CONNECTION leaves this state on the connection.
    fn survives_reset(self) -> bool {
        matches!(
            self,
            Self::Role | Self::Xa | Self::ResourceGroup | Self::SessionTracking | Self::Unparsed
        )
    }

    /// Whether the state ends with the statement or command that uses it, leaving nothing behind.
    fn leaves_nothing(self) -> bool {
        matches!(self, Self::Policy | Self::Diagnostics)
    }
}

/// What becomes of a connection when its session lets go of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parting {
    /// It can be shared as it is.
    Share,
    /// It must be reset first.
    Reset,
    /// It must be closed.
    Close,
}

/// The pins of one session.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    bits: u32,
    names: Option<Box<Names>>,
    announced: Announced,
}

/// What the pins that end by name still hold.
#[derive(Clone, Debug, Default)]
struct Names {
    temporary_tables: BTreeSet<Vec<u8>>,
    locks: BTreeMap<Vec<u8>, u32>,
    handlers: BTreeSet<Vec<u8>>,
    /// Whether the text is known to leave nothing behind, by name.
    prepared: BTreeMap<Vec<u8>, bool>,
    /// Whether the session has a clock of its own.
    clock: bool,
    /// Reasons with something unnamed: they last until the session is reset.
    unnamed: u32,
}

impl Pins {
    /// Whether nothing holds the session to its connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Whether this pin is there.
    #[must_use]
    pub fn has(&self, reason: PinReason) -> bool {
        self.bits & reason.bit() != 0
    }

    /// Adds a pin; gives whether it is new.
    pub fn add(&mut self, reason: PinReason) -> bool {
        let new = !self.has(reason);
        self.bits |= reason.bit();
        new
    }

    /// Adds a pin whose end will not be seen before the session is reset.
    pub fn add_unnamed(&mut self, reason: PinReason) {
        self.add(reason);
        self.names.get_or_insert_default().unnamed |= reason.bit();
    }

    /// The session's clock is its own from here on, or the server's again.
    pub fn set_clock(&mut self, own: bool) {
        match own {
            true => {
                self.add(PinReason::SessionVariable);
                self.names.get_or_insert_default().clock = true;
            }
            false if self.names.as_ref().is_some_and(|names| names.clock) => {
                self.names.get_or_insert_default().clock = false;
                self.remove(PinReason::SessionVariable);
            }
            false => {}
        }
    }

    /// Ends a pin, unless something unnamed keeps it.
    pub fn remove(&mut self, reason: PinReason) {
        if self
            .names
            .as_ref()
            .is_none_or(|n| n.unnamed & reason.bit() == 0)
        {
            self.bits &= !reason.bit();
        }
    }

    /// Ends a pin together with whatever unnamed kept it.
    pub fn remove_all(&mut self, reason: PinReason) {
        self.bits &= !reason.bit();
        if let Some(names) = &mut self.names {
            names.unnamed &= !reason.bit();
            match reason {
                PinReason::UserLock => names.locks.clear(),
                PinReason::TemporaryTable => names.temporary_tables.clear(),
                PinReason::Handler => names.handlers.clear(),
                PinReason::SqlPrepared => names.prepared.clear(),
                PinReason::SessionVariable => names.clock = false,
                _ => {}
            }
        }
    }

    /// Sets or ends a pin.
    pub fn set(&mut self, reason: PinReason, on: bool) {
        if on {
            self.add(reason);
        } else {
            self.remove(reason);
        }
    }

    /// The reasons that hold now.
    pub fn reasons(&self) -> impl Iterator<Item = PinReason> + '_ {
        PinReason::ALL.into_iter().filter(|r| self.has(*r))
    }

    /// The reasons as bits, for a snapshot elsewhere.
    #[must_use]
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The reasons in a snapshot of bits.
    pub fn reasons_of(bits: u32) -> impl Iterator<Item = PinReason> {
        PinReason::ALL
            .into_iter()
            .filter(move |r| bits & r.bit() != 0)
    }

    /// What becomes of the connection if the session lets go of it now.
    #[must_use]
    pub fn parting(&self) -> Parting {
        self.reasons().fold(Parting::Share, |worst, reason| {
            worst.max(if reason.survives_reset() {
                Parting::Close
            } else if reason.leaves_nothing() {
                Parting::Share
            } else {
                Parting::Reset
            })
        })
    }

    /// Forgets everything: the connection is gone or was reset.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The server tells which statements lead to the transaction at hand, or announce the next one.
    pub fn announce(&mut self, words: &[u8]) {
        // Only "SET TRANSACTION …" announces something for a transaction that has not begun.
        let next = words.starts_with(b"SET TRANSACTION");
        self.set(PinReason::NextTransaction, next);
        self.announced.note(words);
    }

    /// The server tells what has been done in the transaction.
    pub fn note_transaction(&mut self, state: &[u8]) {
        if state.contains(&b'L') {
            self.add(PinReason::TableLock);
        }
        self.announced.note_state(state);
    }

    /// A statement was answered; `open` while a transaction is.
    pub fn follow(&mut self, statement: &Statement, failed: bool, open: bool) {
        let alone = statement.statements <= 1;
        self.announced.follow(statement.verb, alone, failed, open);
    }

    /// What was announced for a transaction.
    #[must_use]
    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    fn named(
        &mut self,
        reason: PinReason,
        set: fn(&mut Names) -> &mut BTreeSet<Vec<u8>>,
        name: Vec<u8>,
    ) {
        self.add(reason);
        let names = self.names.get_or_insert_default();
        let kept = set(names);
        kept.insert(name);
        if kept.len() > NAMES_MAX {
            names.unnamed |= reason.bit();
        }
    }

    fn unnamed(
        &mut self,
        reason: PinReason,
        set: fn(&mut Names) -> &mut BTreeSet<Vec<u8>>,
        name: &[u8],
    ) {
        if let Some(names) = self.names.as_deref_mut() {
            let kept = set(names);
            kept.remove(name);
            if kept.is_empty() {
                self.remove(reason);
            }
        }
    }

    /// A temporary table was created.
    pub fn add_temporary_table(&mut self, name: Vec<u8>) {
        self.named(PinReason::TemporaryTable, |n| &mut n.temporary_tables, name);
    }

    /// A table was dropped; it may have been a temporary one.
    pub fn drop_table(&mut self, name: &[u8]) {
        self.unnamed(PinReason::TemporaryTable, |n| &mut n.temporary_tables, name);
    }

    /// A handler was opened.
    pub fn add_handler(&mut self, name: Vec<u8>) {
        self.named(PinReason::Handler, |n| &mut n.handlers, name);
    }

    /// A handler was closed.
    pub fn drop_handler(&mut self, name: &[u8]) {
        self.unnamed(PinReason::Handler, |n| &mut n.handlers, name);
    }

    /// A statement was prepared by SQL; `plain` if its text is known to leave nothing behind when executed.
    pub fn add_prepared(&mut self, name: Vec<u8>, plain: bool) {
        self.add(PinReason::SqlPrepared);
        let names = self.names.get_or_insert_default();
        names.prepared.insert(name, plain);
        if names.prepared.len() > NAMES_MAX {
            names.unnamed |= PinReason::SqlPrepared.bit();
        }
    }

    /// Whether executing this statement leaves nothing behind.
    #[must_use]
    pub fn prepares_plain(&self, name: &[u8]) -> bool {
        self.names
            .as_ref()
            .and_then(|n| n.prepared.get(name))
            .copied()
            .unwrap_or(false)
    }

    /// A statement prepared by SQL was deallocated.
    pub fn drop_prepared(&mut self, name: &[u8]) {
        let Some(names) = self.names.as_deref_mut() else {
            return;
        };
        names.prepared.remove(name);
        if names.prepared.is_empty() {
            self.remove(PinReason::SqlPrepared);
        }
    }

    /// A lock was asked for. It counts as held whether or not it was granted: one pin too long beats a lost lock.
    pub fn add_lock(&mut self, name: Vec<u8>) {
        self.add(PinReason::UserLock);
        let names = self.names.get_or_insert_default();
        *names.locks.entry(name).or_default() += 1;
        if names.locks.len() > NAMES_MAX {
            names.unnamed |= PinReason::UserLock.bit();
        }
    }

    /// A lock was released once.
    pub fn drop_lock(&mut self, name: &[u8]) {
        let Some(names) = self.names.as_deref_mut() else {
            return;
        };
        if let Some(count) = names.locks.get_mut(name) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                names.locks.remove(name);
            }
        }
        if names.locks.is_empty() {
            self.remove(PinReason::UserLock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_pins_end_with_their_last_name() {
        let mut pins = Pins::default();
        pins.add_temporary_table(b"a".to_vec());
        pins.add_temporary_table(b"b".to_vec());
        pins.drop_table(b"a");
        assert!(pins.has(PinReason::TemporaryTable));
        assert_eq!(pins.parting(), Parting::Reset);
        pins.drop_table(b"b");
        assert!(pins.is_empty());
    }

    #[test]
    fn locks_are_counted_and_unnamed_ones_stay() {
        let mut pins = Pins::default();
        pins.add_lock(b"x".to_vec());
        pins.add_lock(b"x".to_vec());
        pins.drop_lock(b"x");
        assert!(pins.has(PinReason::UserLock));
        pins.drop_lock(b"x");
        assert!(pins.is_empty());
        pins.add_unnamed(PinReason::UserLock);
        pins.add_lock(b"y".to_vec());
        pins.drop_lock(b"y");
        assert!(pins.has(PinReason::UserLock));
        pins.remove_all(PinReason::UserLock);
        assert!(pins.is_empty());
    }

    #[test]
    fn every_reason_is_documented() {
        let page = include_str!("../../../docs/sessions.md");
        for reason in PinReason::ALL {
            assert!(
                page.contains(&format!("| `{}` |", reason.label())),
                "{}",
                reason.label()
            );
        }
    }

    #[test]
    fn what_a_reset_leaves_behind_closes() {
        let mut pins = Pins::default();
        pins.add(PinReason::UserVariable);
        pins.add(PinReason::Role);
        assert_eq!(pins.parting(), Parting::Close);
    }
}
