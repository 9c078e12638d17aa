//! Facts that may hold anywhere in a statement.
//!
//! Owns their names and meaning. Must never miss one that leaves state on the connection; reporting one too many costs a
//! pin. The facts of all statements in a text are united.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of facts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Facts(u64);

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Facts {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            const NAMES: &'static [(&'static str, Self)] = &[$((stringify!($name), Self::$name),)*];
        }
    };
}

facts! {
    /// A user variable is mentioned: `@x`.
    USER_VARIABLE = 0;
    /// A user variable is assigned otherwise than by `SET @x = <literal>`, which is an effect: `:=`, `INTO @x`,
    /// `SET @x = <expression>`, `CALL p(@x)`, `LOAD DATA … (@x)`, `GET DIAGNOSTICS @x = …`.
    USER_VARIABLE_ASSIGNED = 1;
    /// `GET_LOCK(` stands in the text, other than as the whole statement (then it is an effect).
    GET_LOCK_FUNCTION = 2;
    /// `RELEASE_LOCK(` or `RELEASE_ALL_LOCKS(` stands in the text, other than as the whole statement.
    RELEASE_LOCK_FUNCTION = 3;
    /// `SQL_CALC_FOUND_ROWS`.
    CALC_FOUND_ROWS = 4;
    /// `FOUND_ROWS()`.
    READS_FOUND_ROWS = 5;
    /// `ROW_COUNT()`.
    READS_ROW_COUNT = 6;
    /// `LAST_INSERT_ID()`, `@@last_insert_id`, `@@identity`.
    READS_LAST_INSERT_ID = 7;
    /// `LAST_INSERT_ID(expr)`.
    SETS_LAST_INSERT_ID = 8;
    /// `CONNECTION_ID()`, `@@pseudo_thread_id`, `PS_CURRENT_THREAD_ID()`, `IS_USED_LOCK()`.
    READS_CONNECTION_ID = 9;
    /// `@@warning_count`, `@@error_count`.
    READS_WARNING_COUNT = 10;
    /// `FOR UPDATE`, `FOR SHARE`, `LOCK IN SHARE MODE`.
    LOCKING_READ = 11;
    /// `INTO OUTFILE`, `INTO DUMPFILE`.
    INTO_OUTFILE = 12;
    /// `LOAD DATA LOCAL`, `LOAD XML LOCAL`.
    LOCAL_INFILE = 13;
    /// A temporary table (or sequence) may be created.
    TEMPORARY_TABLE = 14;
    /// A `HANDLER` statement.
    HANDLER = 15;
    /// `SET ROLE`.
    ROLE = 16;
    /// A stored routine or loadable function is called, whose doing is not known.
    CALLS_ROUTINE = 17;
    /// The open transaction may be committed by this statement.
    IMPLICIT_COMMIT = 18;
    /// `COMMIT AND CHAIN`, `ROLLBACK AND CHAIN`.
    CHAIN = 19;
    /// `COMMIT RELEASE`, `ROLLBACK RELEASE`: the server closes the connection.
    RELEASE = 20;
    /// A `session_track_…` variable is assigned.
    SETS_SESSION_TRACK = 21;
    /// A `SET` whose assignments could not all be listed as effects.
    UNPARSED_SET = 22;
    /// More than one statement.
    MULTI = 23;
    /// A head or a state-changing statement was not understood: treat the connection as changed in unknown ways.
    UNPARSED = 24;
    /// SQL text runs that is not in this text: `EXECUTE`, `EXECUTE IMMEDIATE`.
    DYNAMIC_SQL = 25;
    /// A compound statement runs (`BEGIN NOT ATOMIC`, `IF … END IF`): its effects depend on its own flow.
    COMPOUND = 26;
    /// A sequence's session state is used: `NEXTVAL`, `LASTVAL`, `SETVAL`, `NEXT VALUE FOR`.
    SEQUENCE = 27;
    /// `SHOW PROFILE`, `SHOW PROFILES`.
    READS_PROFILE = 28;
    /// `USER()`, `CURRENT_USER`, `CURRENT_ROLE()`…: the account on the backend is not the client's.
    READS_USER = 29;
    /// An executable comment is run.
    EXECUTABLE_COMMENT = 30;
    /// An optimizer hint `/*+ … */` is present.
    HINT = 31;
    /// Text that the server might cut otherwise than the lexer did: unclosed quotes or comments.
    UNTRUSTED_TEXT = 32;
    /// `LOAD_FILE(`.
    LOAD_FILE = 33;
    /// MariaDB's `@@last_gtid`, which is the connection's own.
    READS_LAST_GTID = 34;
    /// An optimizer hint `SET_VAR(…)`: a variable is set for the time of the statement.
    SET_VAR_HINT = 35;
}

impl Facts {
    /// No fact.
    pub const NONE: Self = Self(0);

    /// Whether all of `facts` hold.
    #[inline]
    pub const fn has(self, facts: Self) -> bool {
        self.0 & facts.0 == facts.0
    }

    /// Whether any of `facts` holds.
    #[inline]
    pub const fn has_any(self, facts: Self) -> bool {
        self.0 & facts.0 != 0
    }

    /// Adds `facts`.
    #[inline]
    pub fn add(&mut self, facts: Self) {
        self.0 |= facts.0;
    }

    /// Takes `facts` away.
    pub fn remove(&mut self, facts: Self) {
        self.0 &= !facts.0;
    }

    /// Whether no fact holds.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The bits, for storage and comparison.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The names of the facts that hold, in the order of their bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .iter()
            .filter(move |(_, fact)| self.has(*fact))
            .map(|(name, _)| *name)
    }

    /// The fact of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, fact)| *fact)
    }
}

impl BitOr for Facts {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Facts {
    fn bitor_assign(&mut self, other: Self) {
        self.add(other);
    }
}

impl fmt::Debug for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
