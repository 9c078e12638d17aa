//! LOAD DATA LOCAL into a sharded table: the shard of every record of the file.
//!
//! Owns what the options mean, and the key of a record. Must never send a record to a shard that a condition on its key would
//! not look at: what is not certain is an error that names the record. Input: the statement; then the file.

mod records;

use std::fmt;
use std::sync::Arc;

use dbmesh_model::topology::sharding::{KeyKind, ShardedTable, Table};
use dbmesh_sql::ast::{Assignment, Body};
use dbmesh_sql::{Lexer, Span, Token, TokenKind, literal};

use super::algorithm::{self, Slot};
use super::reason::{LoadReason, RefuseReason, Stop};
use super::rewrite::{self, Splice};
use super::scope::{Place, Scope};
use super::slots::Positions;
use super::value::{self, Compared, KeyValue};
use super::{KeyLimit, NodeStatement, ShardPlan, define, read};
use records::Format;
pub use records::Records;

/// Character sets in which the bytes of separators and digits occur as such only.
const SAFE_CHARSETS: [&str; 18] = [
    "armscii8", "ascii", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852",
    "cp866", "greek", "hebrew", "koi8r", "latin1", "latin2", "utf8", "utf8mb3", "utf8mb4",
];

/// How a file is split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// What every shard executes, with records of its own.
    pub statements: Vec<NodeStatement>,
    /// The file's name.
    pub file: Vec<u8>,
    /// Its character set; none: that of the schema.
    pub charset: Option<String>,
    format: Format,
    skipped: u64,
    fields: usize,
    keys: Vec<LoadKey>,
    table: Arc<SameTable>,
}

/// A table, which is the same as itself only.
#[derive(Debug)]
struct SameTable(Arc<ShardedTable>);

impl PartialEq for SameTable {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SameTable {}

/// A column of the key in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LoadKey {
    column: String,
    field: usize,
    kind: KeyKind,
    limit: Option<KeyLimit>,
}

/// Why a file cannot be split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFault {
    /// The record, counted from 1.
    pub record: u64,
    /// Why.
    pub why: String,
}

impl fmt::Display for LoadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {} of the file: {}", self.record, self.why)
    }
}

/// The plan of a LOAD DATA.
pub(super) fn plan(scope: &Scope<'_>) -> Result<ShardPlan, Stop> {
    let load = match scope.ast.statement().body {
        Body::LoadData(load) => scope.ast.node(load),
        _ => None,
    };
    let load = load.ok_or(RefuseReason::Kind(scope.facts.kind))?;
    let name = scope.ast.node(load.table).map(|table| table.name);
    let place = name.and_then(|name| scope.use_of_name(name));
    let table_use = place.and_then(|place| scope.uses.get(place));
    let (Some(name), Some(table_use)) = (name, table_use) else {
        return Err(RefuseReason::Kind(scope.facts.kind).into());
    };
    let refuse = |why| Stop::from(RefuseReason::LoadData(why));
    let sharded = match table_use.place {
        Place::Single(source) if scope.uses.len() == 1 => return define::single(scope, source),
        Place::Sharded(sharded) if scope.uses.len() == 1 => sharded,
        Place::Broadcast => return Err(refuse(LoadReason::Copies)),
        _ => return Err(refuse(LoadReason::Values)),
    };
    if !load.local {
        return Err(refuse(LoadReason::ServersFile));
    }
    let Some(Table::Sharded(table)) = scope.input.sharding.tables.get(&table_use.table) else {
        return Err(refuse(LoadReason::Values));
    };
    let options = Options::read(scope, name.span).map_err(refuse)?;
    if scope.assigns() || scope.hangs_on_session() {
        return Err(refuse(LoadReason::Variables));
    }
    let columns = match options.columns {
        Some(columns) => columns,
        None => {
            let known = scope.input.catalog.tables.get(&table_use.table);
            let known = known.ok_or_else(|| refuse(LoadReason::Columns))?;
            known.iter().map(|name| name.to_lowercase()).collect()
        }
    };
    let generated = sharded.key_generator.as_ref();
    if generated.is_some_and(|generator| !columns.contains(&generator.column)) {
        return Err(refuse(LoadReason::Generated));
    }
    let sets_key = |assignment: &Assignment| sharded.is_key(&scope.lower(assignment.column.name));
    if scope.ast.list(load.assignments).iter().any(sets_key) {
        return Err(refuse(LoadReason::Values));
    }
    let keys = keys(scope, sharded, &table_use.table, &columns)?;
    let splices: Vec<Splice> = options
        .skip
        .map(|span| Splice::text(span, ""))
        .into_iter()
        .collect();
    let statements = (0..table.shards.len())
        .map(|shard| rewrite::statement(scope, &read::target(scope, shard)?, &splices))
        .collect::<Result<Vec<_>, _>>()?;
    let file = literal::decode(scope.text(load.file), scope.input.dialect);
    Ok(ShardPlan::Load(Box::new(Load {
        statements,
        file: file.ok_or_else(|| refuse(LoadReason::Options))?,
        charset: options.charset,
        format: options.format,
        skipped: options.skipped,
        fields: columns.len(),
        keys,
        table: Arc::new(SameTable(table.clone())),
    })))
}

/// Where the columns of the key are in the file.
fn keys(
    scope: &Scope<'_>,
    sharded: &ShardedTable,
    table: &str,
    columns: &[String],
) -> Result<Vec<LoadKey>, Stop> {
    let limits = scope.input.catalog.limits.get(table);
    let mut keys = Vec::new();
    for key in sharded.key_columns() {
        let field = columns.iter().position(|column| *column == key.name);
        keys.push(LoadKey {
            column: key.name.clone(),
            field: field.ok_or(RefuseReason::LoadData(LoadReason::KeyMissing))?,
            kind: key.kind,
            limit: limits.and_then(|limits| limits.get(&key.name).copied()),
        });
    }
    match keys.is_empty() {
        true => Err(RefuseReason::HintMissing.into()),
        false => Ok(keys),
    }
}

impl Load {
    /// The records of a file in this character set.
    ///
    /// # Errors
    /// When its bytes may be parts of other characters.
    pub fn records(&self, charset: &str) -> Result<Records, LoadFault> {
        let charset = charset.to_ascii_lowercase();
        if !SAFE_CHARSETS.contains(&charset.as_str()) {
            return Err(LoadFault {
                record: 1,
                why: format!("files in character set {charset} are not split"),
            });
        }
        let keys = self.keys.iter().map(|key| key.field).collect();
        let utf8 = charset.starts_with("utf8");
        Ok(Records::new(
            self.format.clone(),
            self.fields,
            keys,
            self.skipped,
            utf8,
        ))
    }

    /// The shard of a record with these values of the key.
    ///
    /// # Errors
    /// When the key is not certain, or no shard takes it.
    pub fn shard(&self, records: &Records) -> Result<usize, LoadFault> {
        let fault = |why: String| LoadFault {
            record: records.number(),
            why,
        };
        let table = &self.table.0;
        let mut values: Vec<(&str, KeyValue)> = Vec::with_capacity(self.keys.len());
        for (place, key) in self.keys.iter().enumerate() {
            let column = &key.column;
            let bytes = match records.key(place) {
                Some(Some(bytes)) => bytes,
                Some(None) => return Err(fault(format!("its key {column} is NULL"))),
                None => return Err(fault(format!("it has no value for its key {column}"))),
            };
            let value = match value::loaded(key.kind, bytes, records.is_utf8()) {
                Compared::Value(value) if key.limit.is_none_or(|limit| limit.holds(&value)) => {
                    value
                }
                _ => {
                    let shown = String::from_utf8_lossy(bytes.get(..40).unwrap_or(bytes));
                    let why =
                        format!("its key {column} may be stored otherwise than '{shown}' says");
                    return Err(fault(why));
                }
            };
            values.push((column, value));
        }
        let mut set = Positions::all(table.shards.len());
        for axis in table.database.iter().chain(&table.table) {
            let of = |name: &str| values.iter().find(|(known, _)| *known == name);
            let own: Option<Vec<KeyValue>> = axis
                .columns
                .iter()
                .map(|column| Some(of(&column.name)?.1.clone()))
                .collect();
            let slot = own.map_or(Slot::Unknown, |own| algorithm::slot(axis, &own));
            let Slot::At(slot) = slot else {
                return Err(fault("no shard takes its key".to_owned()));
            };
            let slots = algorithm::of_slot(axis.targets.len(), Slot::At(slot));
            set.intersect(&algorithm::shards(table, axis, &slots));
        }
        match (set.len(), set.first()) {
            (1, Some(shard)) => Ok(shard),
            _ => Err(fault("no shard takes its key".to_owned())),
        }
    }
}

/// What stands behind the table.
#[derive(Debug, Default)]
struct Options {
    charset: Option<String>,
    format: Format,
    skipped: u64,
    /// `IGNORE n LINES`.
    skip: Option<Span>,
    columns: Option<Vec<String>>,
}

/// The statement's tokens, and where the reading is.
struct Words<'a> {
    scope: &'a Scope<'a>,
    tokens: Vec<Token>,
    at: usize,
}

impl Words<'_> {
    fn token(&self, ahead: usize) -> Result<&Token, LoadReason> {
        self.tokens.get(self.at + ahead).ok_or(LoadReason::Options)
    }

    fn bytes(&self, ahead: usize) -> &[u8] {
        let token = self.tokens.get(self.at + ahead);
        token.map_or(&[][..], |token| self.scope.text(token.span))
    }

    fn is(&self, ahead: usize, wanted: &str) -> bool {
        self.bytes(ahead).eq_ignore_ascii_case(wanted.as_bytes())
    }

    fn is_kind(&self, kind: TokenKind) -> bool {
        self.token(0).is_ok_and(|token| token.kind == kind)
    }

    /// A plain string.
    fn string(&self, ahead: usize) -> Result<Vec<u8>, LoadReason> {
        let plain = self.token(ahead)?.kind == TokenKind::String;
        let text = literal::decode(self.bytes(ahead), self.scope.input.dialect);
        text.filter(|_| plain).ok_or(LoadReason::Options)
    }
}

impl Options {
    fn read(scope: &Scope<'_>, table: Span) -> Result<Self, LoadReason> {
        let tokens: Vec<Token> = Lexer::new(scope.input.sql, scope.input.dialect)
            .filter(|token| !token.kind.is_trivia())
            .collect();
        let mut words = Words {
            scope,
            tokens,
            at: 1,
        };
        // LOAD DATA [LOW_PRIORITY | CONCURRENT] LOCAL INFILE 'file'.
        let data = words.is(0, "data");
        words.at += 1 + usize::from(words.is(1, "low_priority") || words.is(1, "concurrent"));
        if !(data && words.is(0, "local") && words.is(1, "infile")) {
            return Err(LoadReason::Options);
        }
        let behind = words.tokens.iter();
        words.at = behind
            .take_while(|token| token.span.end <= table.end)
            .count();
        let mut options = Self::default();
        // What stands in no text is what the mode says of backslashes.
        options.format.escape = match scope.input.dialect.no_backslash_escapes {
            true => Vec::new(),
            false => b"\\".to_vec(),
        };
        // What the servers set stands last.
        while words.at < words.tokens.len() && !words.is(0, "set") {
            options.one(&mut words)?;
        }
        match options.format.is_plain() {
            true => Ok(options),
            false => Err(LoadReason::Options),
        }
    }

    /// The option at hand.
    fn one(&mut self, words: &mut Words<'_>) -> Result<(), LoadReason> {
        if words.is(0, "character") || words.is(0, "charset") {
            words.at += 1 + usize::from(words.is(0, "character"));
            let name = String::from_utf8_lossy(words.bytes(0)).to_lowercase();
            self.charset = Some(name.trim_matches(['\'', '"', '`']).to_owned());
            words.at += 1;
            Ok(())
        } else if words.is(0, "fields") || words.is(0, "columns") || words.is(0, "lines") {
            self.separators(words)
        } else if words.is(0, "ignore") {
            let (first, last) = (words.token(0)?.span, words.token(2)?.span);
            let number = std::str::from_utf8(words.bytes(1)).ok();
            let number = number.and_then(|number| number.parse().ok());
            self.skipped = number.ok_or(LoadReason::Options)?;
            self.skip = Some(Span {
                start: first.start,
                end: last.end,
            });
            words.at += 3;
            Ok(())
        } else if words.is_kind(TokenKind::Open) {
            self.list(words)
        } else if words.is_kind(TokenKind::Semicolon) {
            words.at += 1;
            Ok(())
        } else {
            Err(LoadReason::Options)
        }
    }

    /// `FIELDS TERMINATED BY ',' …`, `LINES TERMINATED BY …`.
    fn separators(&mut self, words: &mut Words<'_>) -> Result<(), LoadReason> {
        let lines = words.is(0, "lines");
        words.at += 1;
        while words.is(1, "by") || (words.is(0, "optionally") && words.is(2, "by")) {
            words.at += usize::from(words.is(0, "optionally"));
            let value = words.string(2)?;
            match () {
                () if words.is(0, "terminated") && lines => self.format.line = value,
                () if words.is(0, "terminated") => self.format.field = value,
                () if words.is(0, "enclosed") => self.format.enclosed = value,
                () if words.is(0, "escaped") => self.format.escape = value,
                // LINES STARTING BY.
                () => return Err(LoadReason::Options),
            }
            words.at += 3;
        }
        Ok(())
    }

    /// The list of columns.
    fn list(&mut self, words: &mut Words<'_>) -> Result<(), LoadReason> {
        let mut columns = Vec::new();
        words.at += 1;
        while !words.is_kind(TokenKind::Close) {
            let token = words.token(0)?;
            match token.kind {
                TokenKind::Word | TokenKind::QuotedName => {
                    columns.push(words.scope.lower(token.span));
                }
                TokenKind::Comma => {}
                TokenKind::UserVariable => return Err(LoadReason::Variables),
                _ => return Err(LoadReason::Values),
            }
            words.at += 1;
        }
        words.at += 1;
        self.columns = (!columns.is_empty()).then_some(columns);
        Ok(())
    }
}
