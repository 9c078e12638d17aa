//! Which rules of a book a statement's text matches, remembered by its digest.
//!
//! Owns the conditions on text: digest, expressions, verb, class, tables, columns, missing clauses. What cannot be told is
//! said to be unknown, never to hold or not. Must never remember a verdict for a text that another with the same digest
//! could have: the guard is compared as well. Input: a statement, its dialect, the schema it runs in.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use dbmesh_model::topology::{
    Access, BoundingClause, ColumnPattern, Match, Rights, RuleBits, RuleBook,
};
use dbmesh_sql::ast::{Ast, Body};
use dbmesh_sql::parsed::{self, TableUse};
use dbmesh_sql::{
    Class, Dialect, Effect, Facts, Lexer, ParsedFacts, Parser, Statement, StatementKind, TokenKind,
    Verb, digest_text, digest_text_with_hints, literal, plain_text,
};

use crate::memory::Memory;
use crate::rights::{Denial, permit};

/// Bytes of normalised text that expressions are tried on; a longer text is not known to match or not.
const NORMAL_BYTES_MAX: usize = 1 << 20;
/// Tables of one statement that limits count.
const TABLES_COUNTED_MAX: usize = 16;

/// A statement as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What the scanner says.
    pub statement: &'a Statement,
    /// Its text.
    pub sql: &'a [u8],
    /// How it is read.
    pub dialect: &'a Dialect,
    /// The schema of names without one.
    pub schema: Option<&'a [u8]>,
}

/// What was found of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Rules whose conditions on the text hold.
    pub sure: RuleBits,
    /// Rules of which that cannot be told.
    pub unknown: RuleBits,
    /// The tables that are used, in lower case, where a limit counts them.
    pub tables: Option<Arc<[Box<str>]>>,
}

impl Found {
    /// Of a text that nobody has: what asks nothing of it holds.
    #[must_use]
    pub fn of_hidden(book: &RuleBook) -> Self {
        Self {
            sure: book.active() & !book.of_text(),
            unknown: book.active() & book.of_text(),
            tables: None,
        }
    }
}

/// What runs inside a statement that is not in its own text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inner {
    /// This text, under this name from now on if it has one.
    Text(Option<Box<str>>, Vec<u8>),
    /// Some text that only the server knows, under this name from now on if it has one.
    Hidden(Option<Box<str>>),
    /// What was prepared under this name.
    Named(Box<str>),
}

/// What PREPARE, EXECUTE and EXECUTE IMMEDIATE run.
#[must_use]
pub fn inner_of(subject: &Subject<'_>) -> Vec<Inner> {
    let decoded = |name: Option<Box<str>>, text: Option<dbmesh_sql::Span>| {
        let text = text.map(|span| span.of(subject.sql));
        // Another character set, or bytes: what the server makes of them is not known here.
        let plain = text.filter(|text| matches!(text.first(), Some(b'\'' | b'"')));
        let plain = plain.filter(|_| !reads_otherwise(subject));
        match plain.and_then(|text| literal::decode(text, subject.dialect)) {
            Some(text) => Inner::Text(name, text),
            None => Inner::Hidden(name),
        }
    };
    let effects = subject.statement.effects.iter();
    let inner = effects.filter_map(|effect| match effect {
        Effect::PrepareSql { name, text } => Some(decoded(Some(name.clone()), *text)),
        Effect::ExecuteImmediate { text } => Some(decoded(None, *text)),
        Effect::ExecuteSql { name } => Some(Inner::Named(name.clone())),
        _ => None,
    });
    let mut inner: Vec<Inner> = inner.collect();
    if inner.is_empty() && subject.statement.facts.has(Facts::DYNAMIC_SQL) {
        inner.push(Inner::Hidden(None));
    }
    inner
}

/// Whether MariaDB's `SET STATEMENT … FOR` has the text inside of the statement read in another way than the session's.
fn reads_otherwise(subject: &Subject<'_>) -> bool {
    let mut words = Lexer::new(subject.sql, subject.dialect)
        .filter(|token| !token.kind.is_trivia())
        .map(|token| token.span.of(subject.sql).to_ascii_lowercase());
    let mut is_next = |word: &[u8]| words.next().is_some_and(|next| next == word);
    let is_set_statement = is_next(b"set") && is_next(b"statement");
    let names = |word: &[u8], name: &[u8]| word.windows(name.len()).any(|part| part == name);
    is_set_statement
        && words.any(|word| names(&word, b"sql_mode") || names(&word, b"character_set_client"))
}

/// What a verdict depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    book: u64,
    digest: u64,
    guard: u64,
    schema: u64,
    dialect: Dialect,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The guard alone tells texts apart; the rest is compared.
        state.write_u64(self.guard ^ self.book.rotate_left(32));
    }
}

/// Judges texts, and remembers.
#[derive(Debug, Default)]
pub struct Judge {
    parser: Parser,
    facts: ParsedFacts,
    known: Memory<Key, Found>,
    permitted: Memory<Key, Option<Arc<Denial>>>,
    allowed: Memory<Key, bool>,
    touched: Memory<Key, Arc<[Box<str>]>>,
    schemas: RandomState,
}

impl Judge {
    /// What rules of the book, whose number is `id`, this text matches.
    pub fn find(&mut self, book: &RuleBook, id: u64, subject: &Subject<'_>) -> Found {
        let mut found = match subject.statement.guard {
            0 => self.look(book, subject),
            _ => {
                let key = self.key(id, subject);
                match self.known.find(&key) {
                    Some(found) => found,
                    None => {
                        let found = self.look(book, subject);
                        self.known.keep(key, found.clone());
                        found
                    }
                }
            }
        };
        let of_text = book.text.rules();
        if !((found.sure | found.unknown) & of_text).is_empty() {
            let matching = !of_text | text_matches(book, subject);
            found.sure = found.sure & matching;
            found.unknown = found.unknown & matching;
        }
        found
    }

    fn key(&self, book: u64, subject: &Subject<'_>) -> Key {
        Key {
            book,
            digest: subject.statement.digest.0,
            guard: subject.statement.guard,
            schema: subject.schema.map_or(0, |s| self.schemas.hash_one(s)),
            dialect: *subject.dialect,
        }
    }

    /// The tables that a statement uses, in lower case and sorted; none that is not taken apart.
    pub fn tables(&mut self, subject: &Subject<'_>) -> Arc<[Box<str>]> {
        let mut key = self.key(0, subject);
        if key.guard == 0 {
            // A miscount is all that two texts of one digest can bring about.
            key.guard = key.digest;
        }
        if let Some(known) = self.touched.find(&key) {
            return known;
        }
        let all = match self.parser.parse(subject.sql, subject.dialect) {
            Ok(ast) => {
                self.facts.fill(ast, subject.sql, subject.dialect);
                let tables = self.facts.tables.iter();
                names_of(tables.map(|table| used(subject, table)))
            }
            Err(_) => Arc::from([]),
        };
        self.touched.keep(key, all.clone());
        all
    }

    /// What the rights, whose number is `id`, do not permit.
    pub fn denial(
        &mut self,
        rights: &Rights,
        id: u64,
        subject: &Subject<'_>,
    ) -> Option<Arc<Denial>> {
        let key = self.key(id, subject);
        if key.guard != 0
            && let Some(known) = self.permitted.find(&key)
        {
            return known;
        }
        let tree = match self.parser.parse(subject.sql, subject.dialect) {
            Ok(ast) => {
                self.facts.fill(ast, subject.sql, subject.dialect);
                Some((ast, &self.facts))
            }
            Err(_) => None,
        };
        let denial = permit(rights, subject, tree).err().map(Arc::new);
        if key.guard != 0 {
            self.permitted.keep(key, denial.clone());
        }
        denial
    }

    /// Whether an allow-list, whose number is `id`, has the text; `listed` is asked for what is not remembered, and for
    /// nothing that is not understood.
    pub fn is_listed(
        &mut self,
        id: u64,
        subject: &Subject<'_>,
        listed: impl FnOnce(&str) -> bool,
    ) -> bool {
        let key = self.key(id, subject);
        if key.guard != 0
            && let Some(known) = self.allowed.find(&key)
        {
            return known;
        }
        let kind = match self.parser.parse(subject.sql, subject.dialect) {
            Ok(ast) => Some(ast.statement().kind),
            Err(_) => None,
        };
        let text = digest_text_with_hints(subject.sql, subject.dialect, NORMAL_BYTES_MAX + 1);
        let understood =
            kind.is_some() && text.len() <= NORMAL_BYTES_MAX && !hides(subject.statement, kind);
        let found = understood && listed(&text);
        if key.guard != 0 && found {
            // What is not listed may be learned later.
            self.allowed.keep(key, true);
        }
        found
    }

    /// What does not depend on literals and comments.
    fn look(&mut self, book: &RuleBook, subject: &Subject<'_>) -> Found {
        let parsed = self.parser.parse(subject.sql, subject.dialect);
        let tree = match parsed {
            Ok(ast) if book.counts_tables() || !book.parsed().is_empty() => {
                self.facts.fill(ast, subject.sql, subject.dialect);
                Some((ast, &self.facts))
            }
            Ok(ast) => {
                self.facts.tables.clear();
                self.facts.tables_known = false;
                Some((ast, &self.facts))
            }
            Err(_) => None,
        };
        let text = Text::new(book, subject, tree);
        let (mut sure, mut unknown) = (RuleBits::NONE, RuleBits::NONE);
        for place in book.active().iter() {
            let Some(rule) = book.rules().get(place) else {
                continue;
            };
            match text.holds(place, &rule.matches) {
                Tells::Yes => sure.add(place),
                Tells::Unknown => unknown.add(place),
                Tells::No => {}
            }
        }
        let tables = book.counts_tables().then(|| {
            let all = text.tables.iter();
            names_of(all.map(|table| Used {
                schema: table.schema.clone(),
                name: table.name.clone(),
                access: table.access,
            }))
        });
        Found {
            sure,
            unknown,
            tables,
        }
    }
}

/// `schema.table` of each, once.
fn names_of(tables: impl Iterator<Item = Used>) -> Arc<[Box<str>]> {
    let mut names: Vec<Box<str>> = tables
        .take(TABLES_COUNTED_MAX)
        .map(|table| format!("{}.{}", table.schema, table.name).into())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// Rules of which an expression matches the text as it came, or without comments.
fn text_matches(book: &RuleBook, subject: &Subject<'_>) -> RuleBits {
    let text = String::from_utf8_lossy(subject.sql);
    let matching = book.text.matching(text.trim());
    match plain_text(subject.sql, subject.dialect) {
        std::borrow::Cow::Borrowed(_) => matching,
        std::borrow::Cow::Owned(plain) => {
            matching | book.text.matching(&String::from_utf8_lossy(&plain))
        }
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tells {
    Yes,
    No,
    Unknown,
}

impl Tells {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }

    fn of(holds: bool) -> Self {
        match holds {
            true => Self::Yes,
            false => Self::No,
        }
    }

    /// What does not hold for what is seen may hold for what is not.
    fn or_hidden(self, hidden: bool) -> Self {
        match self {
            Self::No if hidden => Self::Unknown,
            other => other,
        }
    }
}

/// A table that is used, in lower case.
struct Used {
    schema: String,
    name: String,
    access: parsed::Access,
}

/// One text, taken apart as far as the book asks.
struct Text<'a> {
    subject: &'a Subject<'a>,
    /// What it does: of ANALYZE and its like, what runs.
    verbs: [Verb; 2],
    classes: [Class; 2],
    /// Rules of which an expression matches the normalised text.
    normal: RuleBits,
    normal_known: bool,
    tree: Option<(&'a Ast, &'a ParsedFacts)>,
    tables: Vec<Used>,
    /// Something runs, now or later, that is not taken apart.
    hidden: bool,
}

impl<'a> Text<'a> {
    fn new(
        book: &RuleBook,
        subject: &'a Subject<'a>,
        tree: Option<(&'a Ast, &'a ParsedFacts)>,
    ) -> Self {
        let statement = subject.statement;
        let (mut verbs, mut classes) = ([statement.verb; 2], [statement.class; 2]);
        if let Some((ast, _)) = tree
            && let Body::Explain {
                kind, runs: true, ..
            } = ast.statement().body
        {
            verbs[1] = kind.verb(); // tidy-allow: there are two
            classes[1] = kind.class(); // tidy-allow: there are two
        }
        let (mut normal, mut normal_known) = (RuleBits::NONE, true);
        if !book.normal.rules().is_empty() {
            let text = digest_text(subject.sql, subject.dialect, NORMAL_BYTES_MAX + 1);
            normal_known = text.len() <= NORMAL_BYTES_MAX;
            normal = book.normal.matching(&text);
            if statement.facts.has(Facts::HINT) {
                // An expression may ask for hints, and none that asks for the code around them is evaded by one.
                let max = NORMAL_BYTES_MAX + 1;
                let text = digest_text_with_hints(subject.sql, subject.dialect, max);
                normal_known &= text.len() <= NORMAL_BYTES_MAX;
                normal = normal | book.normal.matching(&text);
            }
        }
        let tables = match tree {
            Some((_, facts)) => facts.tables.iter().map(|t| used(subject, t)).collect(),
            None => Vec::new(),
        };
        Self {
            subject,
            verbs,
            classes,
            normal,
            normal_known,
            tree,
            tables,
            hidden: hides(statement, tree.map(|(ast, _)| ast.statement().kind)),
        }
    }

    fn holds(&self, place: usize, matches: &Match) -> Tells {
        let mut tells = Tells::Yes;
        if !matches.digests.is_empty() {
            let listed = matches.digests.contains(&self.subject.statement.digest.0);
            tells = tells.and(Tells::of(listed).or_hidden(self.hidden));
        }
        if !matches.regexes.is_empty() {
            let unsure = self.hidden || !self.normal_known;
            tells = tells.and(Tells::of(self.normal.has(place)).or_hidden(unsure));
        }
        if !matches.verbs.is_empty() {
            let listed = self.verbs.iter().any(|verb| matches.verbs.contains(verb));
            let unsure = self.hidden || self.verbs.contains(&Verb::Unknown);
            tells = tells.and(Tells::of(listed).or_hidden(unsure));
        }
        if !matches.classes.is_empty() {
            let listed = self.classes.iter().any(|c| matches.classes.contains(c));
            let unsure = self.hidden || self.classes.contains(&Class::Unknown);
            tells = tells.and(Tells::of(listed).or_hidden(unsure));
        }
        if tells == Tells::No || !matches.needs_parser() {
            return tells;
        }
        let Some((ast, facts)) = self.tree else {
            return tells.and(Tells::Unknown);
        };
        // What PREPARE and EXECUTE run is judged by itself.
        let elsewhere = matches!(facts.kind, StatementKind::Prepare | StatementKind::Execute);
        let unsure = self.hidden || !(facts.tables_known || elsewhere);
        if !matches.tables.is_empty() {
            let meant = |used: &&Used| {
                let mut patterns = matches.tables.iter();
                patterns.any(|pattern| pattern.matches(&used.schema, &used.name))
            };
            let found = self.used(matches.access).any(|used| meant(&used));
            tells = tells.and(Tells::of(found).or_hidden(unsure));
        }
        if !matches.columns.is_empty() {
            let found = matches.columns.iter().any(|c| self.uses(c, matches.access));
            tells = tells.and(Tells::of(found).or_hidden(unsure));
        }
        if !matches.without.is_empty() {
            let missing = matches.without.iter().any(|clause| match clause {
                BoundingClause::Where => parsed::lacks_where(ast),
                BoundingClause::Limit => parsed::lacks_limit(ast),
            });
            tells = tells.and(Tells::of(missing).or_hidden(self.hidden));
        }
        tells
    }

    fn used(&self, access: Access) -> impl Iterator<Item = &Used> {
        self.tables.iter().filter(move |used| match access {
            Access::Any => true,
            Access::Read => used.access == parsed::Access::Read,
            Access::Write => used.access == parsed::Access::Write,
        })
    }

    /// Whether the column may be used: its table is, and it is named anywhere, or all columns are meant.
    fn uses(&self, column: &ColumnPattern, access: Access) -> bool {
        let of_table = |used: &Used| column.table.matches(&used.schema, &used.name);
        if !self.used(access).any(of_table) {
            return false;
        }
        let every = self
            .tree
            .is_some_and(|(ast, _)| parsed::takes_every_column(ast));
        every || self.names(|name| column.column.matches(name))
    }

    /// Whether a name of the text, in lower case, is meant.
    fn names(&self, meant: impl Fn(&str) -> bool) -> bool {
        let Subject { sql, dialect, .. } = *self.subject;
        Lexer::new(sql, dialect).any(|token| {
            let name = matches!(token.kind, TokenKind::Word | TokenKind::QuotedName);
            name && meant(&lower(&Ast::unquoted(sql, token.span, dialect)))
        })
    }
}

fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_lowercase()
}

fn used(subject: &Subject<'_>, table: &TableUse) -> Used {
    let name = |span| lower(&Ast::unquoted(subject.sql, span, subject.dialect));
    Used {
        schema: match table.name.qualifier {
            Some(schema) => name(schema),
            None => lower(subject.schema.unwrap_or_default()),
        },
        name: name(table.name.name),
        access: table.access,
    }
}

/// Whether statements run, now or later, that are not taken apart: bodies of routines, triggers and events, compound
/// statements, what is not understood.
fn hides(statement: &Statement, kind: Option<StatementKind>) -> bool {
    use StatementKind as Kind;
    let untold = Facts::COMPOUND | Facts::UNPARSED | Facts::UNTRUSTED_TEXT;
    let body = match kind {
        Some(kind) => matches!(
            kind,
            Kind::Compound
                | Kind::CreateRoutine
                | Kind::CreateTrigger
                | Kind::CreateEvent
                | Kind::AlterEvent
        ),
        None => matches!(
            statement.verb,
            Verb::Create | Verb::Alter | Verb::Compound | Verb::Unknown
        ),
    };
    body || statement.unterminated || statement.facts.has_any(untold)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
