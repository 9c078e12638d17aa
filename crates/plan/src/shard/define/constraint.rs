//! Constraints and keys in the words of a definition.
//!
//! Owns the names of foreign keys and checks, which a schema has once: where several shards of a table are in one, every
//! shard has them with its number behind. Owns also what ALTER TABLE says of keys, of which the tree holds nothing. Must
//! never take a word in quotes for a keyword. Input: the tokens of the text.

use dbmesh_model::topology::sharding::ShardedTable;
use dbmesh_sql::ast::MentionRole;
use dbmesh_sql::{Lexer, Span, TokenKind, literal};

use super::super::dictionary::mapping::MADE_NAMES;
use super::super::dictionary::numbered::{numbered, room};
use super::super::locality;
use super::super::reason::{RefuseReason, Stop};
use super::super::rewrite::Splice;
use super::super::scope::{Place, Scope};

/// The tokens of a definition that say something.
pub(in super::super) struct Words<'a, 's> {
    scope: &'a Scope<'s>,
    tokens: Vec<(TokenKind, Span)>,
}

/// What a foreign key says.
struct Foreign {
    columns: Vec<String>,
    parents: Vec<String>,
    /// The table's own words, without its schema.
    table: String,
    /// Whether the servers change the child's columns with the parent's row.
    assigns: bool,
}

impl<'a, 's> Words<'a, 's> {
    pub fn of(scope: &'a Scope<'s>) -> Self {
        let all = scope.ast.statement().span;
        let sql = scope.text(all);
        let tokens = Lexer::new(sql, scope.input.dialect)
            .filter(|token| !token.kind.is_trivia() && token.kind != TokenKind::Semicolon);
        let tokens = tokens.map(|token| {
            let span = Span {
                start: token.span.start + all.start,
                end: token.span.end + all.start,
            };
            (token.kind, span)
        });
        Self {
            scope,
            tokens: tokens.collect(),
        }
    }

    fn kind(&self, at: usize) -> Option<TokenKind> {
        self.tokens.get(at).map(|(kind, _)| *kind)
    }

    /// Whether a keyword stands there.
    fn is(&self, at: usize, word: &str) -> bool {
        let token = self.tokens.get(at);
        token.is_some_and(|(kind, span)| {
            *kind == TokenKind::Word && self.scope.text(*span).eq_ignore_ascii_case(word.as_bytes())
        })
    }

    /// Whether one of these keywords stands there.
    pub fn is_any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    /// The token there.
    pub fn span(&self, at: usize) -> Option<Span> {
        self.tokens.get(at).map(|(_, span)| *span)
    }

    /// The last of all.
    pub fn last(&self) -> Option<Span> {
        self.tokens.last().map(|(_, span)| *span)
    }

    fn name(&self, at: usize) -> Option<Span> {
        let (kind, span) = self.tokens.get(at)?;
        matches!(kind, TokenKind::Word | TokenKind::QuotedName).then_some(*span)
    }

    /// Behind `IF EXISTS`, if that stands there.
    fn behind_if_exists(&self, at: usize) -> usize {
        match self.is(at, "if") && self.is(at + 1, "exists") {
            true => at + 2,
            false => at,
        }
    }

    /// The names of foreign keys and checks. Keys have names of their own, which a table has once: `DROP CONSTRAINT` is
    /// taken to be of the others.
    pub fn names(&self) -> Vec<Span> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            let behind = |by: usize| self.behind_if_exists(at + by);
            let changes = at > 0 && self.is_any(at - 1, &["drop", "alter"]);
            let place = if self.is(at, "constraint") && changes {
                Some(behind(1))
            } else if self.is(at, "constraint") {
                let once = self.is(at + 1, "if") && self.is(at + 2, "not");
                let name = if once { at + 4 } else { at + 1 };
                let named = !self.is_any(name, &["check", "foreign", "unique", "primary"]);
                (named && self.is_any(name + 1, &["check", "foreign"])).then_some(name)
            } else if self.is(at, "check") && changes {
                Some(behind(1))
            } else if self.is(at, "foreign") && changes {
                Some(behind(2))
            } else {
                None
            };
            found.extend(place.and_then(|place| self.name(place)));
        }
        found
    }

    /// The names in the parentheses that open there, and the place behind them. None where anything else stands with them.
    fn list(&self, open: usize) -> Option<(Vec<String>, usize)> {
        if self.kind(open) != Some(TokenKind::Open) {
            return None;
        }
        let mut names = Vec::new();
        let mut at = open + 1;
        loop {
            names.push(self.scope.lower(self.name(at)?));
            at += 1;
            if self.is_any(at, &["asc", "desc"]) {
                at += 1;
            }
            match self.kind(at)? {
                TokenKind::Comma => at += 1,
                TokenKind::Close => return Some((names, at + 1)),
                _ => return None,
            }
        }
    }

    /// A foreign key whose first word stands there.
    fn foreign(&self, at: usize) -> Option<Foreign> {
        let open = (at + 2..at + 4).find(|at| self.kind(*at) == Some(TokenKind::Open))?;
        let (columns, at) = self.list(open)?;
        if !self.is(at, "references") {
            return None;
        }
        let open = (at + 2..at + 5).find(|at| self.kind(*at) == Some(TokenKind::Open))?;
        let table = self.scope.lower(self.name(open - 1)?);
        let (parents, mut at) = self.list(open)?;
        let mut assigns = false;
        while self.is_any(at, &["on", "match"]) {
            let on_update = self.is(at + 1, "update");
            assigns |= self.is(at + 2, "set") || (on_update && self.is(at + 2, "cascade"));
            let two = self.is_any(at + 2, &["set", "no"]);
            at += match (self.is(at, "match"), two) {
                (true, _) => 2,
                (false, true) => 4,
                (false, false) => 3,
            };
        }
        Some(Foreign {
            columns,
            parents,
            table,
            assigns,
        })
    }

    /// What ALTER TABLE and CREATE INDEX say of foreign and unique keys of a sharded table.
    pub fn fit(&self, table: &ShardedTable) -> Result<(), Stop> {
        let mut referred = 0;
        for at in 0..self.tokens.len() {
            let dropped = at > 0 && self.is(at - 1, "drop");
            if self.is(at, "foreign") && !dropped {
                let key = self.foreign(at).ok_or(RefuseReason::ForeignKey)?;
                self.keeps(table, &key)?;
                referred += 1;
            } else if self.is_any(at, &["unique", "primary"]) && !dropped {
                self.is_unique(table, at)?;
            }
        }
        // REFERENCES may stand at a column as well.
        let all = (0..self.tokens.len()).filter(|at| self.is(*at, "references"));
        match all.count() == referred {
            true => Ok(()),
            false => Err(RefuseReason::ForeignKey.into()),
        }
    }

    /// Whether servers would change sharding keys by themselves, as a foreign key says.
    pub fn assigns_keys(&self, table: &ShardedTable) -> bool {
        let keys = (0..self.tokens.len()).filter(|at| self.is(*at, "foreign"));
        let mut keys = keys.filter_map(|at| self.foreign(at));
        keys.any(|key| moves(table, &key.columns, key.assigns))
    }

    /// Whether a shard has all that a foreign key asks for.
    fn keeps(&self, table: &ShardedTable, key: &Foreign) -> Result<(), Stop> {
        let of_table = |place: &Place<'_>| match place {
            Place::Broadcast => Some(true),
            Place::Sharded(parent) => Some(
                locality::bound(table, parent)
                    && super::pairs(table, &key.columns, parent, &key.parents),
            ),
            Place::Single(_) => Some(false),
            _ => None,
        };
        let mut referenced = self.scope.uses.iter().filter(|other| {
            other.role == Some(MentionRole::Referenced)
                && other.table.eq_ignore_ascii_case(&key.table)
        });
        let local = referenced.next().and_then(|other| of_table(&other.place));
        match local == Some(true) && !moves(table, &key.columns, key.assigns) {
            true => Ok(()),
            false => Err(RefuseReason::ForeignKey.into()),
        }
    }

    /// Whether a unique key whose word stands there holds for all shards. One that stands at its column does not tell.
    fn is_unique(&self, table: &ShardedTable, at: usize) -> Result<(), Stop> {
        let before = |by: usize| at.checked_sub(by);
        let begins = before(1).is_some_and(|at| self.is_any(at, &["add", "create", "constraint"]))
            || before(2).is_some_and(|at| self.is(at, "constraint"));
        let open = (at + 1..at + 10).find(|at| self.kind(*at) == Some(TokenKind::Open));
        let plain = |at: usize| self.name(at).is_some() || self.kind(at) == Some(TokenKind::Dot);
        let columns = open
            .filter(|open| begins && (at + 1..*open).all(plain))
            .and_then(|open| self.list(open))
            .map(|(columns, _)| columns)
            .unwrap_or_default();
        match super::covers(table, &columns) {
            true => Ok(()),
            false => Err(RefuseReason::UniqueKey.into()),
        }
    }
}

/// Whether servers would change the sharding key of a row where it is.
fn moves(table: &ShardedTable, columns: &[String], assigns: bool) -> bool {
    assigns && table.key_columns().any(|key| columns.contains(&key.name))
}

/// What is written in place of the names for one of the shards. Names that servers made are those of the shard's table.
pub(super) fn for_shard(
    scope: &Scope<'_>,
    table: &ShardedTable,
    names: &[Span],
    (shard, crowded): (usize, bool),
) -> Result<Vec<Splice>, Stop> {
    let theirs = table.shards.get(shard).map(|shard| shard.table.as_str());
    let mut splices = Vec::new();
    for span in names {
        let name = scope.name(*span);
        let own = match made(&name, &table.name) {
            Some(Made::OfTable(rest)) => format!("{}{rest}", theirs.unwrap_or_default()),
            Some(Made::InTable) => continue,
            None if !crowded => continue,
            None if !room(&name, shard) => return Err(RefuseReason::ConstraintName.into()),
            None => numbered(&name, shard),
        };
        splices.push(Splice::text(
            *span,
            literal::quote_identifier(own.as_bytes()),
        ));
    }
    Ok(splices)
}

/// A name that a server gave.
enum Made<'a> {
    /// The table's, and this behind it.
    OfTable(&'a str),
    /// One that a table has once, as MariaDB names its checks.
    InTable,
}

fn made<'a>(name: &'a str, table: &str) -> Option<Made<'a>> {
    let counts = |number: &str| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    if name.strip_prefix("CONSTRAINT_").is_some_and(counts) {
        return Some(Made::InTable);
    }
    let (head, rest) = name.split_at_checked(table.len())?;
    let mut numbers = MADE_NAMES.iter().filter_map(|made| rest.strip_prefix(made));
    let own = head.eq_ignore_ascii_case(table) && numbers.any(counts);
    own.then_some(Made::OfTable(rest))
}
