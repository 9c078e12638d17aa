//! User variables of a session whose tables are split: known to it, so that every connection can have them.
//!
//! Owns the reading of what a statement assigned, and the literals that assign it again with the same type, character set
//! and collation. Must never guess: what no literal gives back exactly stays on its connection, and pins the session to it.
//! Input: statements that assign; the connection that they ran on.

use std::collections::BTreeMap;
use std::sync::Arc;

use dbmesh_plan::shard::Parameter;
use dbmesh_sql::{
    Class, Dialect, Effect, Facts, Lexer, Statement, TokenKind, analyze, literal, user_variables,
};
use dbmesh_wire::column::{Column, ColumnFlags, ColumnType};
use dbmesh_wire::relay::Shape;

use super::super::exchange::Lost;
use super::super::{Failure, Session};
use crate::backend::{Answer, Backend, BackendError, Cell, definitions_of};
use crate::pins::PinReason;
use crate::vector::{NULL_BYTES, NULL_TEXT, USER_VARIABLE_BYTES_MAX, USER_VARIABLES_MAX, Vector};

/// Character sets whose texts are written as their bytes.
const CHARSETS: [&str; 5] = ["utf8mb4", "utf8mb3", "latin1", "ascii", "binary"];

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

/// What MariaDB says of a variable of bytes is longer by one before anything is assigned.
const ASSIGNED_BYTES: u32 = 0xFF_FFFF;

/// The literal of a value: its collation, its bytes' number, its bytes as hexadecimal digits.
fn written(column: &Column<'_>, cells: &[Cell]) -> Option<Found> {
    let [collation, length, hex] = cells else {
        return None;
    };
    let collation = String::from_utf8(collation.clone()?).ok()?;
    let value = match hex {
        Some(hex) => {
            let length: usize = std::str::from_utf8(length.as_ref()?).ok()?.parse().ok()?;
            Some(bytes_of(hex).filter(|bytes| bytes.len() == length)?)
        }
        None => None,
    };
    let unsigned = column.flags.contains(ColumnFlags::UNSIGNED);
    let number = value.as_deref().map(|value| std::str::from_utf8(value));
    let number = number.transpose().ok().flatten().unwrap_or("NULL");
    let written = match column.column_type {
        ColumnType::LONGLONG => match (unsigned, value.is_some()) {
            (false, true) if number != "-9223372036854775808" => number.to_owned(),
            (false, _) => format!("CAST({number} AS SIGNED)"),
            (true, _) => format!("CAST({number} AS UNSIGNED)"),
        },
        ColumnType::DECIMAL | ColumnType::NEWDECIMAL => {
            let scale = number
                .split_once('.')
                .map_or(0, |(_, fraction)| fraction.len());
            (scale <= 30).then(|| format!("CAST({number} AS DECIMAL(65,{scale}))"))?
        }
        ColumnType::DOUBLE if value.is_none() => "CAST(NULL AS DOUBLE)".to_owned(),
        ColumnType::DOUBLE if number.contains('e') => number.to_owned(),
        ColumnType::DOUBLE => format!("{number}e0"),
        ColumnType::VARCHAR
        | ColumnType::VAR_STRING
        | ColumnType::STRING
        | ColumnType::TINY_BLOB
        | ColumnType::BLOB
        | ColumnType::MEDIUM_BLOB
        | ColumnType::LONG_BLOB => {
            let assigned = column.length_bytes == ASSIGNED_BYTES;
            return text(&collation, value.as_deref(), assigned);
        }
        _ => return None,
    };
    Some(Found::Value(written.into_bytes()))
}

fn text(collation: &str, value: Option<&[u8]>, assigned: bool) -> Option<Found> {
    let charset = collation.split('_').next().unwrap_or_default();
    let named = collation
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !CHARSETS.contains(&charset) || !named {
        return None;
    }
    let text = match value {
        None if charset == "binary" && !assigned => return Some(Found::Unset),
        None if charset == "binary" => String::from_utf8_lossy(NULL_BYTES).into_owned(),
        None => format!("{}{charset})", String::from_utf8_lossy(NULL_TEXT)),
        Some(b"") => format!("_{charset}''"),
        Some(bytes) => {
            // A server refuses what is no text.
            let sound = match charset {
                "utf8mb4" | "utf8mb3" => std::str::from_utf8(bytes).is_ok(),
                "ascii" => bytes.is_ascii(),
                _ => true,
            };
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            sound.then(|| format!("_{charset} 0x{digits}"))?
        }
    };
    let collated = match charset {
        "binary" => text,
        _ => format!("{text} COLLATE {collation}"),
    };
    Some(Found::Value(collated.into_bytes()))
}

fn bytes_of(hex: &[u8]) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.chunks(2).map(pair).collect()
}

/// What the planner may know of a literal.
fn meaning(written: &[u8], dialect: &Dialect) -> Parameter {
    let Ok(text) = std::str::from_utf8(written) else {
        return Parameter::Other;
    };
    let number = |text: &str| -> Parameter {
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
        match text.parse() {
            Ok(number) => Parameter::Integer(number),
            Err(_) if plain => Parameter::Decimal(text.to_owned()),
            Err(_) => Parameter::Other,
        }
    };
    if text.eq_ignore_ascii_case("NULL") || text.starts_with("CAST(NULL ") {
        return Parameter::Null;
    }
    if let Some(inner) = text.strip_prefix("CAST(") {
        return number(inner.split(' ').next().unwrap_or_default());
    }
    if let Some(inner) = text.strip_prefix('_') {
        let (charset, digits) = inner.split_once(" 0x").unwrap_or_default();
        let bytes = bytes_of(digits.split(' ').next().unwrap_or_default().as_bytes());
        let bytes = bytes.filter(|bytes| !bytes.is_empty() && CHARSETS.contains(&charset));
        let same = |bytes: &Vec<u8>| charset.starts_with("utf8") || bytes.is_ascii();
        return bytes.filter(same).map_or(Parameter::Other, Parameter::Text);
    }
    match written.first() {
        Some(b'\'' | b'"') => match literal::decode(written, dialect) {
            Some(text) => Parameter::Text(text),
            None => Parameter::Other,
        },
        _ => number(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> Cell {
        Some(text.as_bytes().to_vec())
    }

    fn of(
        kind: ColumnType,
        unsigned: bool,
        collation: &str,
        value: Option<&str>,
    ) -> Option<String> {
        let column = Column {
            catalog: b"def",
            schema: b"",
            table: b"",
            org_table: b"",
            name: b"@a",
            org_name: b"",
            extended: b"",
            collation: 63,
            length_bytes: 20,
            column_type: kind,
            flags: match unsigned {
                true => ColumnFlags::UNSIGNED,
                false => ColumnFlags(0),
            },
            decimals: 0,
            default_value: None,
        };
        let hex = value.map(|v| v.bytes().map(|b| format!("{b:02X}")).collect::<String>());
        let length = value.map(|value| value.len().to_string().into_bytes());
        let cells = [cell(collation), length, hex.map(String::into_bytes)];
        match written(&column, &cells)? {
            Found::Unset => Some("unset".to_owned()),
            Found::Value(value) => String::from_utf8(value).ok(),
        }
    }

    type Case = (
        ColumnType,
        bool,
        &'static str,
        Option<&'static str>,
        Option<&'static str>,
    );

    #[test]
    fn a_literal_gives_numbers_back() {
        check(&[
            (
                ColumnType::LONGLONG,
                false,
                "binary",
                Some("-5"),
                Some("-5"),
            ),
            (
                ColumnType::DOUBLE,
                false,
                "binary",
                Some("0.1"),
                Some("0.1e0"),
            ),
            (
                ColumnType::DOUBLE,
                false,
                "binary",
                Some("1e-300"),
                Some("1e-300"),
            ),
            (ColumnType::JSON, false, "binary", Some("{}"), None),
        ]);
    }

    #[test]
    fn a_literal_gives_texts_back() {
        check(&[
            (
                ColumnType::VAR_STRING,
                false,
                "latin1_bin",
                Some("a'"),
                Some("_latin1 0x6127 COLLATE latin1_bin"),
            ),
            (
                ColumnType::LONG_BLOB,
                false,
                "binary",
                Some("a"),
                Some("_binary 0x61"),
            ),
            (ColumnType::LONG_BLOB, false, "binary", None, Some("unset")),
            (
                ColumnType::VAR_STRING,
                false,
                "utf8mb4_bin",
                Some(""),
                Some("_utf8mb4'' COLLATE utf8mb4_bin"),
            ),
            (ColumnType::VAR_STRING, false, "utf16_bin", Some("a"), None),
            (ColumnType::VAR_STRING, false, "x; DROP", Some("a"), None),
        ]);
    }

    fn check(cases: &[Case]) {
        for (kind, unsigned, collation, value, expected) in cases {
            let found = of(*kind, *unsigned, collation, *value);
            assert_eq!(
                found.as_deref(),
                *expected,
                "{kind:?} {collation} {value:?}"
            );
        }
    }

    #[test]
    fn the_planner_knows_what_it_can_compare() {
        let dialect = Dialect::default();
        let of = |text: &str| meaning(text.as_bytes(), &dialect);
        assert_eq!(of("5"), Parameter::Integer(5));
        assert_eq!(
            of("CAST(18446744073709551615 AS UNSIGNED)"),
            Parameter::Integer(u64::MAX.into())
        );
        assert_eq!(
            of("CAST(1.50 AS DECIMAL(65,2))"),
            Parameter::Decimal("1.50".into())
        );
        assert_eq!(of("'it''s'"), Parameter::Text(b"it's".to_vec()));
        assert_eq!(
            of("_utf8mb4 0x6127 COLLATE utf8mb4_bin"),
            Parameter::Text(b"a'".to_vec())
        );
        assert_eq!(of("_latin1 0xe9 COLLATE latin1_bin"), Parameter::Other);
        assert_eq!(of("CAST(NULL AS SIGNED)"), Parameter::Null);
        assert_eq!(of("NULL"), Parameter::Null);
        assert_eq!(of("1e3"), Parameter::Other);
        assert_eq!(of("0x61"), Parameter::Other);
        assert_eq!(of("TRUE"), Parameter::Other);
    }
}
