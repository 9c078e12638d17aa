//! The state vector: the part of a session's state that can be restored on another server connection.
//!
//! Owns the schema, character set, session variables and plain user variables of a session or of a server connection,
//! and the SQL that turns one vector into another. State that cannot be restored is no business of this module: it
//! pins (see `pins.rs`). Input: what the server's session tracking reported, and literals of parsed SET statements.

mod preparing;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use dbmesh_wire::charset;

/// User variables restored per session; more pin the session.
pub const USER_VARIABLES_MAX: usize = 128;
/// Bytes of all restored user variables; more pin the session.
pub const USER_VARIABLE_BYTES_MAX: usize = 4096;

/// Bytes that are NULL.
pub const NULL_BYTES: &[u8] = b"CAST(NULL AS BINARY)";
/// Before the character set of a text that is NULL, and `)`.
pub const NULL_TEXT: &[u8] = b"CAST(NULL AS CHAR CHARACTER SET ";

/// Variables by which a client bounds its own statements, or says how its own tables are made. Statements of dbmesh's own
/// must neither be cut nor refused by them: their rows and tables are no client's.
const BOUNDS: &[&str] = &[
    "explicit_defaults_for_timestamp",
    "innodb_strict_mode",
    "sql_generate_invisible_primary_key",
    "sql_if_exists",
    "sql_require_primary_key",
    "sql_safe_updates",
    "sql_select_limit",
    "transaction_read_only",
    "tx_read_only",
];

/// The values with which a session began, where they matter to an answer: names in lower case, and values as SQL. A server
/// may have others by now, and another server its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    values: BTreeMap<Box<str>, Arc<[u8]>>,
    hash: u64,
}

impl Base {
    /// Of names and values as a server gives them.
    #[must_use]
    pub fn of<'a>(values: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Self {
        let sql = |name, value: Option<&[u8]>| match value {
            Some(value) => variable_sql(name, value),
            None => b"NULL".to_vec(),
        };
        let values: BTreeMap<Box<str>, Arc<[u8]>> = values
            .map(|(name, value)| (name.into(), sql(name, value).into()))
            .collect();
        let mut h = DefaultHasher::new();
        values.hash(&mut h);
        let hash = h.finish();
        Self { values, hash }
    }

    /// A value as SQL, if it is known.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.values.get(name)
    }

    /// Whether nothing is known: as it comes.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.values.is_empty()
    }
}

/// How the character set of a session came about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Charset {
    /// As asked for in the handshake or COM_CHANGE_USER, by collation id.
    Handshake(u16),
    /// The server's own default, as COM_RESET_CONNECTION leaves it on MySQL.
    Server,
    /// `SET NAMES …` or `SET CHARACTER SET …`: the text behind SET.
    Set(Arc<[u8]>),
}

/// What can be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector {
    /// The current schema.
    pub schema: Option<Arc<[u8]>>,
    /// The character set.
    pub charset: Charset,
    /// What variables are that the session has not set.
    pub base: Arc<Base>,
    /// Session variables by lower-case name, their values as SQL.
    pub variables: BTreeMap<Box<str>, Arc<[u8]>>,
    /// User variables by folded name, their values as SQL literals.
    pub user_variables: BTreeMap<Box<[u8]>, Arc<[u8]>>,
    hash: u64,
    preparing: preparing::Hashes,
}

impl Vector {
    /// The vector of a fresh connection to a server of which nothing is known.
    #[must_use]
    pub fn fresh(schema: Option<Arc<[u8]>>, charset: Charset) -> Self {
        Self::begun(schema, charset, Arc::default())
    }

    /// The vector of a session that begins.
    #[must_use]
    pub fn begun(schema: Option<Arc<[u8]>>, charset: Charset, base: Arc<Base>) -> Self {
        let mut vector = Self {
            schema,
            charset,
            base,
            variables: BTreeMap::new(),
            user_variables: BTreeMap::new(),
            hash: 0,
            preparing: preparing::Hashes::default(),
        };
        vector.rehash();
        vector
    }

    /// Brings the hashes up to date after a change.
    pub fn rehash(&mut self) {
        let mut h = DefaultHasher::new();
        (
            &self.schema,
            &self.charset,
            self.base.hash,
            &self.variables,
            &self.user_variables,
        )
            .hash(&mut h);
        self.hash = h.finish();
        self.preparing = preparing::Hashes::of(self);
    }

    /// A hash of the whole vector: connections are looked up by it.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// A variable's value as SQL, if it is known.
    #[must_use]
    pub fn value_of(&self, name: &str) -> Option<&Arc<[u8]>> {
        self.variables.get(name).or_else(|| self.base.get(name))
    }

    /// Leaves out what a client bounds its own statements by; [`Self::rehash`] follows.
    pub fn unbind(&mut self) {
        self.variables
            .retain(|name, _| !BOUNDS.contains(&name.as_ref()));
    }

    /// Whether two vectors are equal.
    #[must_use]
    pub fn same(a: &Arc<Self>, b: &Arc<Self>) -> bool {
        Arc::ptr_eq(a, b) || (a.hash == b.hash && a == b)
    }

    /// Notes a variable's value as the server reported it.
    pub fn note_variable(&mut self, name: &str, value: &[u8]) {
        // Setting a character set resets its collation to the default one.
        match name {
            "character_set_connection" => self.variables.remove("collation_connection"),
            "character_set_server" => self.variables.remove("collation_server"),
            _ => None,
        };
        self.variables
            .insert(name.into(), variable_sql(name, value).into());
    }

    /// Notes a new character set for all directions: `SET NAMES …`.
    pub fn note_names(&mut self, text: Arc<[u8]>) {
        self.variables.retain(|name, _| !is_charset_variable(name));
        self.charset = Charset::Set(text);
    }

    /// Whether a restored user variable is a string, whose meaning hangs on the character set.
    #[must_use]
    pub fn has_string_user_variable(&self) -> bool {
        self.string_user_variables().next().is_some()
    }

    /// The names of restored user variables that are strings.
    pub fn string_user_variables(&self) -> impl Iterator<Item = &[u8]> {
        let quoted = |value: &[u8]| value.contains(&b'\'') || value.contains(&b'"');
        let strings = self.user_variables.iter();
        strings.filter_map(move |(name, value)| quoted(value).then_some(&**name))
    }

    /// Whether the user variables are few and small enough to be restored.
    #[must_use]
    pub fn user_variables_fit(&self) -> bool {
        let bytes: usize = self
            .user_variables
            .iter()
            .map(|(k, v)| k.len() + v.len())
            .sum();
        self.user_variables.len() <= USER_VARIABLES_MAX && bytes <= USER_VARIABLE_BYTES_MAX
    }
}

/// The four variables that SET NAMES sets.
#[must_use]
pub fn is_charset_variable(name: &str) -> bool {
    matches!(
        name,
        "character_set_client"
            | "character_set_connection"
            | "character_set_results"
            | "collation_connection"
    )
}

/// A tracked value as SQL: numbers bare, everything else quoted without backslashes, so that it reads the same in
/// every sql_mode.
fn variable_sql(name: &str, value: &[u8]) -> Vec<u8> {
    let null = ["character_set_results", "default_tmp_storage_engine"];
    if value.is_empty() && null.contains(&name) {
        return b"NULL".to_vec();
    }
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let numeric = !digits.is_empty()
        && digits.iter().all(|b| b.is_ascii_digit() || *b == b'.')
        && digits.iter().filter(|b| **b == b'.').count() <= 1
        && digits.first() != Some(&b'.');
    if numeric {
        return value.to_vec();
    }
    if value.iter().any(|b| matches!(b, b'\\' | 0)) {
        // As a hexadecimal string with an introducer: free of escapes.
        let mut sql = b"CONVERT(X'".to_vec();
        for b in value {
            sql.extend_from_slice(format!("{b:02x}").as_bytes());
        }
        sql.extend_from_slice(b"' USING utf8mb4)");
        return sql;
    }
    let mut sql = vec![b'\''];
    for b in value {
        sql.push(*b);
        if *b == b'\'' {
            sql.push(b'\'');
        }
    }
    sql.push(b'\'');
    sql
}

/// How to get from one vector to another.
#[derive(Debug, PartialEq, Eq)]
pub enum Transition {
    /// They are equal.
    None,
    /// Run this SET (if not empty), then select this schema (if given).
    Change {
        /// A SET statement, or empty.
        set: Vec<u8>,
        /// A SET statement for user variables, or empty. Separate, since a server reads a whole text by the character set
        /// and sql_mode that it has before it.
        set_users: Vec<u8>,
        /// The schema to select.
        schema: Option<Arc<[u8]>>,
    },
    /// Only COM_RESET_CONNECTION clears what is there; then ask again.
    Reset,
    /// Only a new connection has that state.
    Reconnect,
}

/// The way from what a connection has to what a session needs.
#[must_use]
pub fn transition(have: &Vector, want: &Vector) -> Transition {
    if have.hash == want.hash && have == want {
        return Transition::None;
    }
    if have.schema.is_some() && want.schema.is_none() {
        return Transition::Reconnect;
    }
    let stray_user_variable = have
        .user_variables
        .keys()
        .any(|name| !want.user_variables.contains_key(name));
    if stray_user_variable {
        return Transition::Reset;
    }
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut users: Vec<Vec<u8>> = Vec::new();
    let charset_drops = have
        .variables
        .keys()
        .any(|n| is_charset_variable(n) && !want.variables.contains_key(n));
    let charset_again = have.charset != want.charset || charset_drops;
    if charset_again {
        match &want.charset {
            Charset::Server => return Transition::Reset,
            Charset::Set(text) => parts.push(text.to_vec()),
            Charset::Handshake(id) => match charset::by_id(*id) {
                Some(c) => {
                    parts.push(format!("NAMES {} COLLATE {}", c.charset, c.name).into_bytes())
                }
                None => return Transition::Reconnect,
            },
        }
    }
    let wide = has_wide_texts(have);
    put_beginning(have, want, wide, &mut parts);
    for (name, value) in &want.variables {
        let again = charset_again && is_charset_variable(name);
        if again || have.variables.get(name) != Some(value) {
            parts.push(assign_variable(name, value, wide));
        }
    }
    for (name, value) in &want.user_variables {
        let before = have.user_variables.get(name);
        if before == Some(value) {
            continue;
        }
        let assign = |value: &[u8]| [b"@`".as_slice(), name, b"` = ", value].concat();
        match before.and_then(|_| empty_of_null(value)) {
            // What was another value keeps its type and character set when it becomes NULL.
            Some(empty) => users.extend([assign(&empty), assign(b"NULL")]),
            None => users.push(assign(value)),
        }
    }
    let (set, set_users) = (set_statement(&parts), set_statement(&users));
    let schema = if have.schema == want.schema {
        None
    } else {
        want.schema.clone()
    };
    Transition::Change {
        set,
        set_users,
        schema,
    }
}

/// What the session has not set is as it was when it began.
fn put_beginning(have: &Vector, want: &Vector, wide: bool, parts: &mut Vec<Vec<u8>>) {
    for name in have.variables.keys() {
        let known = want.value_of(name).is_some();
        if !known && !is_charset_variable(name) {
            parts.push(undo(name));
        }
    }
    for (name, value) in &want.base.values {
        if !want.variables.contains_key(name) && have.value_of(name) != Some(value) {
            parts.push(assign_variable(name, value, wide));
        }
    }
}

/// Whether the connection reads literals in a character set that has no single bytes: there, values of variables are not
/// understood without an introducer.
fn has_wide_texts(have: &Vector) -> bool {
    ["character_set_connection", "collation_connection"]
        .iter()
        .filter_map(|name| have.variables.get(*name))
        .any(|value| {
            let name = value
                .strip_prefix(b"'")
                .unwrap_or(value)
                .to_ascii_lowercase();
            let wide: [&[u8]; 3] = [b"utf16", b"utf32", b"ucs2"];
            wide.iter().any(|charset| name.starts_with(charset))
        })
}

/// The empty text of the type and collation that this literal of a NULL has; none if it is none, or no text's.
fn empty_of_null(value: &[u8]) -> Option<Vec<u8>> {
    if value.eq_ignore_ascii_case(b"NULL") || value == NULL_BYTES {
        return Some(b"_binary''".to_vec());
    }
    let rest = value.strip_prefix(NULL_TEXT)?;
    let end = rest.iter().position(|byte| *byte == b')')?;
    let (charset, collated) = rest.split_at(end);
    let collated = collated.strip_prefix(b")").unwrap_or_default();
    Some([b"_", charset, b"''", collated].concat())
}

fn set_statement(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut set = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        set.extend_from_slice(if i == 0 {
            b"SET ".as_slice()
        } else {
            b", ".as_slice()
        });
        set.extend_from_slice(part);
    }
    set
}

fn assign_variable(name: &str, value: &[u8], wide: bool) -> Vec<u8> {
    let mut part = format!("SESSION {name} = ").into_bytes();
    if wide && value.starts_with(b"'") {
        part.extend_from_slice(b"_utf8mb4");
    }
    part.extend_from_slice(value);
    part
}

/// Back to what a new session has. MySQL takes DEFAULT of these two for 0: their bits are kept reversed.
fn undo(name: &str) -> Vec<u8> {
    match name {
        "foreign_key_checks" | "unique_checks" => {
            format!("SESSION {name} = @@GLOBAL.{name}").into_bytes()
        }
        _ => format!("SESSION {name} = DEFAULT").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(charset: Charset, variables: &[(&str, &str)]) -> Vector {
        let mut v = Vector::fresh(Some(b"shop".as_slice().into()), charset);
        for (name, value) in variables {
            v.note_variable(name, value.as_bytes());
        }
        v.rehash();
        v
    }

    fn sql(have: &Vector, want: &Vector) -> String {
        match transition(have, want) {
            Transition::Change { set, set_users, .. } => {
                String::from_utf8(if set.is_empty() { set_users } else { set }).unwrap()
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn differences_become_one_set() {
        let a = vector(
            Charset::Handshake(255),
            &[("autocommit", "OFF"), ("sql_select_limit", "5")],
        );
        let b = vector(
            Charset::Handshake(255),
            &[("sql_select_limit", "6"), ("time_zone", "+00:00")],
        );
        assert_eq!(
            sql(&a, &b),
            "SET SESSION autocommit = DEFAULT, SESSION sql_select_limit = 6, SESSION time_zone = '+00:00'"
        );
        assert_eq!(transition(&a, &a.clone()), Transition::None);
    }

    #[test]
    fn what_a_session_began_with_is_restored() {
        let base = |mode: &str| {
            let values = [("sql_mode", mode), ("autocommit", "1")];
            let bytes = values.iter().map(|(n, v)| (*n, Some(v.as_bytes())));
            Arc::new(Base::of(bytes))
        };
        let of = |mode: &str, variables: &[(&str, &str)]| {
            let mut v = vector(Charset::Handshake(255), variables);
            v.base = base(mode);
            v.rehash();
            v
        };
        let (old, new) = (of("", &[]), of("ANSI_QUOTES", &[]));
        assert_eq!(transition(&old, &of("", &[])), Transition::None);
        assert_eq!(sql(&new, &old), "SET SESSION sql_mode = ''");
        assert_ne!(old.prepare_state(b""), new.prepare_state(b""));
        let set = of("", &[("autocommit", "OFF"), ("time_zone", "+00:00")]);
        assert_eq!(
            sql(&set, &new),
            "SET SESSION time_zone = DEFAULT, SESSION autocommit = 1, SESSION sql_mode = 'ANSI_QUOTES'"
        );
        assert_eq!(
            sql(&new, &set),
            "SET SESSION sql_mode = '', SESSION autocommit = 'OFF', SESSION time_zone = '+00:00'"
        );
    }

    #[test]
    fn charset_comes_first_and_its_variables_again() {
        let a = vector(Charset::Handshake(255), &[]);
        let mut b = a.clone();
        b.note_names(b"NAMES latin1".as_slice().into());
        b.note_variable("character_set_results", b"");
        b.rehash();
        assert_eq!(
            sql(&a, &b),
            "SET NAMES latin1, SESSION character_set_results = NULL"
        );
        assert_eq!(sql(&b, &a), "SET NAMES utf8mb4 COLLATE utf8mb4_0900_ai_ci");
    }

    #[test]
    fn user_variables_are_set_but_never_unset() {
        let a = vector(Charset::Handshake(255), &[]);
        let mut b = a.clone();
        b.user_variables
            .insert(b"x".as_slice().into(), b"1".as_slice().into());
        b.rehash();
        assert_eq!(sql(&a, &b), "SET @`x` = 1");
        assert_eq!(transition(&b, &a), Transition::Reset);
    }

    #[test]
    fn what_becomes_null_gets_the_type_of_that_null() {
        let of = |value: &str| {
            let mut v = vector(Charset::Handshake(255), &[]);
            let value = value.as_bytes().into();
            v.user_variables.insert(b"x".as_slice().into(), value);
            v.rehash();
            v
        };
        let none = vector(Charset::Handshake(255), &[]);
        assert_eq!(sql(&none, &of("NULL")), "SET @`x` = NULL");
        let bytes = "SET @`x` = _binary'', @`x` = NULL";
        assert_eq!(sql(&of("5"), &of("NULL")), bytes);
        assert_eq!(sql(&of("5"), &of("CAST(NULL AS BINARY)")), bytes);
        let text = "CAST(NULL AS CHAR CHARACTER SET latin1) COLLATE latin1_bin";
        assert_eq!(
            sql(&of("5"), &of(text)),
            "SET @`x` = _latin1'' COLLATE latin1_bin, @`x` = NULL"
        );
        let number = "CAST(NULL AS SIGNED)";
        assert_eq!(
            sql(&of("'a'"), &of(number)),
            "SET @`x` = CAST(NULL AS SIGNED)"
        );
    }

    #[test]
    fn values_are_quoted_for_every_sql_mode() {
        assert_eq!(variable_sql("sql_mode", b"A,B"), b"'A,B'");
        assert_eq!(variable_sql("x", b"it's"), b"'it''s'");
        assert_eq!(variable_sql("x", b"-1.5"), b"-1.5");
        assert_eq!(variable_sql("time_zone", b"+00:00"), b"'+00:00'");
        assert_eq!(
            variable_sql("x", b"a\\b"),
            b"CONVERT(X'615c62' USING utf8mb4)"
        );
        assert_eq!(variable_sql("character_set_results", b""), b"NULL");
    }
}
