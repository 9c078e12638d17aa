//! Whether a user may run a statement: its grants against what the parser finds.
//!
//! Owns which right each use of a table needs, and which statements need a right on everything. What is not understood is
//! not permitted. Views are tables by their own names; what routines do is not seen, so calling them is a right of its own.
//! Input: rights, a statement that was parsed.

mod listing;
mod whole;

use std::fmt;

use dbmesh_model::topology::{Grant, Right, Rights};
use dbmesh_sql::ast::{
    Assignment, Ast, ColumnName, Delete, Insert, Join, JoinKind, MentionRole, Name,
};
use dbmesh_sql::effects::{Effect, VariableScope};
use dbmesh_sql::parsed::{self, ReadOnly, TableUse};
use dbmesh_sql::{Class, Facts, Lexer, ParsedFacts, StatementKind, Verb, digest_text};

use crate::judge::Subject;
pub use listing::{Listing, filtered, listing};

/// Why a statement is not permitted: a MySQL error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A table, with the verb that is denied.
    Table {
        /// As errors name it.
        verb: &'static str,
        /// Its name.
        table: String,
    },
    /// A column that may not be named, or all of them.
    Column {
        /// Its name, or `*`.
        column: String,
        /// Its table.
        table: String,
    },
    /// A schema.
    Schema(String),
    /// Something else: which right is missing.
    Other(&'static str),
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { verb, table } => write!(f, "{verb} on {table}"),
            Self::Column { column, table } => write!(f, "column {column} of {table}"),
            Self::Schema(schema) => write!(f, "schema {schema}"),
            Self::Other(right) => f.write_str(right),
        }
    }
}

/// SHOWs that name no rows of anybody.
const HARMLESS: [&str; 22] = [
    "CHARACTER SET",
    "CHARSET",
    "COLLATION",
    "COUNT",
    "ENGINES",
    "ERRORS",
    "GLOBAL STATUS",
    "GLOBAL VARIABLES",
    "LOCAL STATUS",
    "LOCAL VARIABLES",
    "PLUGINS",
    "PRIVILEGES",
    "PROFILE",
    "PROFILES",
    "SESSION STATUS",
    "SESSION VARIABLES",
    "STATUS",
    "STORAGE",
    "VARIABLES",
    "WARNINGS",
    "CREATE TABLE",
    "CREATE VIEW",
];

/// What stands behind SHOW.
fn shown(subject: &Subject<'_>) -> String {
    let text = digest_text(subject.sql, subject.dialect, 256).to_uppercase();
    text.strip_prefix("SHOW ").unwrap_or_default().to_owned()
}

/// Whether the rights permit a statement; without a tree it was not understood.
///
/// # Errors
/// What is missing.
pub fn permit(
    rights: &Rights,
    subject: &Subject<'_>,
    tree: Option<(&Ast, &ParsedFacts)>,
) -> Result<(), Denial> {
    if rights.read_only {
        reads_only(subject, tree)?;
    }
    let Some(grants) = &rights.grants else {
        return Ok(());
    };
    let Some((ast, facts)) = tree else {
        return Err(Denial::Other("statements that are not understood"));
    };
    let check = Check {
        grants,
        subject,
        ast,
        facts,
    };
    check.everything()?;
    check.routines()?;
    check.tables()
}

/// A user that reads only: proofs, and what changes nothing but the session.
fn reads_only(subject: &Subject<'_>, tree: Option<(&Ast, &ParsedFacts)>) -> Result<(), Denial> {
    let statement = subject.statement;
    let of_session = matches!(statement.class, Class::Session | Class::Tcl | Class::Show)
        && statement.verb != Verb::LockTables;
    let reads = tree.is_some_and(|(_, facts)| facts.read_only == ReadOnly::Proved);
    let calls = statement
        .facts
        .has_any(Facts::CALLS_ROUTINE | Facts::UNPARSED | Facts::UNTRUSTED_TEXT | Facts::COMPOUND);
    let permitted = reads
        || (of_session && !calls && !sets_globally(subject) && tree.is_some())
        || matches!(statement.verb, Verb::Execute | Verb::Kill);
    match permitted {
        true => Ok(()),
        false => Err(Denial::Other("writing: the user is read-only")),
    }
}

/// Whether a SET is for everybody, or of a password.
fn sets_globally(subject: &Subject<'_>) -> bool {
    let shared = |scope: &VariableScope| {
        matches!(
            scope,
            VariableScope::Global | VariableScope::Persist | VariableScope::PersistOnly
        )
    };
    let effects = subject.statement.effects.iter();
    let mut effects = effects.map(|effect| match effect {
        Effect::SetSystem { scope, .. } => shared(scope),
        Effect::SetTransaction { scope, .. } => {
            *scope == dbmesh_sql::effects::TransactionScope::Global
        }
        Effect::SetPassword | Effect::SetRole => true,
        _ => false,
    });
    effects.any(|global| global) || subject.statement.facts.has(Facts::UNPARSED_SET)
}

struct Check<'a> {
    grants: &'a [Grant],
    subject: &'a Subject<'a>,
    ast: &'a Ast,
    facts: &'a ParsedFacts,
}

impl Check<'_> {
    fn on_all(&self, right: Right) -> bool {
        let mut grants = self.grants.iter();
        grants.any(|grant| grant.is_of_all() && grant.allow.contains(&right))
    }

    /// Statements that are of no table.
    fn everything(&self) -> Result<(), Denial> {
        let statement = self.subject.statement;
        let need = |right: Right, name: &'static str| match self.on_all(right) {
            true => Ok(()),
            false => Err(Denial::Other(name)),
        };
        if sets_globally(self.subject) {
            return need(Right::Admin, "the right `admin`");
        }
        if statement
            .facts
            .has_any(Facts::INTO_OUTFILE | Facts::LOAD_FILE)
            || (statement.verb == Verb::LoadData && !statement.facts.has(Facts::LOCAL_INFILE))
        {
            return need(Right::Admin, "files of the server: the right `admin`");
        }
        if statement.verb == Verb::Show {
            return self.show();
        }
        let untold = Facts::UNPARSED | Facts::UNTRUSTED_TEXT | Facts::COMPOUND;
        if statement.facts.has_any(untold) || statement.unterminated {
            return Err(Denial::Other("statements that are not understood"));
        }
        if statement.class == Class::Unknown {
            return Err(Denial::Other("statements that are not understood"));
        }
        let kind = self.facts.kind;
        for (right, name) in whole::of_kind(kind) {
            need(*right, name)?;
        }
        if let Some((right, name)) = whole::of_statement(self.subject, self.ast, kind) {
            need(right, name)?;
        }
        match statement.class {
            Class::Admin if statement.verb != Verb::Kill && self.facts.tables.is_empty() => {
                need(Right::Admin, "the right `admin`")
            }
            Class::Ddl if self.facts.tables.is_empty() || !self.facts.tables_known => {
                need(Right::Ddl, "the right `ddl` on `*.*`")
            }
            _ => Ok(()),
        }
    }

    fn show(&self) -> Result<(), Denial> {
        let text = shown(self.subject);
        let is = |words: &str| {
            let rest = text.strip_prefix(words);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        let of_table = !self.facts.tables.is_empty();
        let known = of_table || listing(self.subject).is_some() || HARMLESS.iter().any(|w| is(w));
        match known || self.on_all(Right::Admin) {
            true => Ok(()),
            false => Err(Denial::Other("this SHOW: the right `admin`")),
        }
    }

    /// Routines, and what else runs text or rows that the parser does not see.
    fn routines(&self) -> Result<(), Denial> {
        let dynamic = matches!(
            self.facts.kind,
            StatementKind::Prepare | StatementKind::Execute
        );
        let ddl = self.subject.statement.class == Class::Ddl;
        if self.facts.tables_known || dynamic || ddl {
            return Ok(());
        }
        let administers = self.subject.statement.class == Class::Admin;
        let right = match administers {
            true => Right::Admin,
            false => Right::Call,
        };
        match self.on_all(right) {
            true => Ok(()),
            false if administers => Err(Denial::Other("the right `admin`")),
            false => Err(Denial::Other("stored code: the right `call`")),
        }
    }

    fn tables(&self) -> Result<(), Denial> {
        for table in &self.facts.tables {
            for right in self.needs(table) {
                self.table(table, right)?;
            }
        }
        Ok(())
    }

    /// The rights that a use of a table needs.
    fn needs(&self, table: &TableUse) -> Vec<Right> {
        let class = self.subject.statement.class;
        if self.facts.kind == StatementKind::Maintenance {
            return match self.maintains() {
                true => vec![Right::Read, Right::Write],
                false => vec![Right::Read],
            };
        }
        if self.facts.kind == StatementKind::ServerAdmin {
            // CACHE INDEX and LOAD INDEX.
            return vec![Right::Ddl];
        }
        if table.access == parsed::Access::Read {
            return vec![Right::Read];
        }
        let defines = matches!(
            table.role,
            Some(
                MentionRole::Created
                    | MentionRole::Altered
                    | MentionRole::Dropped
                    | MentionRole::RenamedTo
            )
        );
        if defines || matches!(class, Class::Ddl | Class::Admin) {
            return vec![Right::Ddl];
        }
        let changes = matches!(
            self.facts.kind,
            StatementKind::Update | StatementKind::Delete | StatementKind::Explain
        );
        let returns = |ast: &Ast| {
            ast.all::<Insert>().iter().any(|i| !i.returning.is_empty())
                || ast.all::<Delete>().iter().any(|d| !d.returning.is_empty())
                || ast.all::<Insert>().iter().any(|i| i.on_duplicate.is_some())
        };
        // Whether a row is found, or what it becomes, tells what is in it.
        match changes || returns(self.ast) {
            true => vec![Right::Write, Right::Read],
            false => vec![Right::Write],
        }
    }

    /// ANALYZE, OPTIMIZE and REPAIR change what a table is kept in, or what the server knows of it; CHECK and CHECKSUM do not.
    fn maintains(&self) -> bool {
        let sql = self.subject.sql;
        let mut tokens = Lexer::new(sql, self.subject.dialect);
        let head = tokens.find(|token| !token.kind.is_trivia());
        let is = |word: &[u8]| head.is_some_and(|t| t.span.of(sql).eq_ignore_ascii_case(word));
        !is(b"check") && !is(b"checksum")
    }

    fn table(&self, table: &TableUse, right: Right) -> Result<(), Denial> {
        let (schema, name) = self.name(table.name);
        let covers = |grant: &&Grant| grant.allow.contains(&right) && grant.covers(&schema, &name);
        let grants: Vec<&Grant> = self.grants.iter().filter(covers).collect();
        if grants.is_empty() {
            let verb = match right {
                Right::Read => "SELECT",
                Right::Write => "WRITE",
                Right::Ddl => "ALTER",
                Right::Call | Right::Admin => "ANY",
            };
            return Err(Denial::Table { verb, table: name });
        }
        if grants.iter().any(|grant| grant.columns.is_none()) {
            return Ok(());
        }
        let allowed = |column: &str| {
            let mut lists = grants.iter().filter_map(|grant| grant.columns.as_ref());
            lists.any(|list| list.iter().any(|known| known == column))
        };
        match self.forbidden_column(table, allowed) {
            None => Ok(()),
            Some(column) => Err(Denial::Column {
                column,
                table: name,
            }),
        }
    }

    /// A column that the statement may take from the table, and may not name. A name without a table may be of any.
    fn forbidden_column(&self, table: &TableUse, allowed: impl Fn(&str) -> bool) -> Option<String> {
        let ast = self.ast;
        let natural = |join: &Join| {
            matches!(
                join.kind,
                JoinKind::Natural | JoinKind::NaturalLeft | JoinKind::NaturalRight
            )
        };
        let whole = !matches!(
            self.facts.kind,
            StatementKind::Describe | StatementKind::Show
        );
        let every = parsed::takes_every_column(ast) || ast.all::<Join>().iter().any(natural);
        if every || table.role.is_some() && whole {
            return Some("*".to_owned());
        }
        let known = table.alias.unwrap_or(table.name.name);
        let known = self.lower(known);
        let columns = ast.all::<ColumnName>().iter().map(|column| column.name);
        let set = ast.all::<Assignment>().iter().map(|a| a.column);
        let inserts = ast.all::<Insert>().iter();
        let listed = inserts.flat_map(|insert| ast.list(insert.columns).iter().copied());
        let joined = ast.all::<Join>().iter();
        let using = joined.flat_map(|join| ast.list(join.using).iter().copied());
        let named = columns.chain(set).chain(listed).chain(using);
        let foreign = |name: &Name| name.qualifier.is_some_and(|q| self.lower(q) != known);
        named
            .filter(|name| !foreign(name))
            .map(|name| self.lower(name.name))
            .find(|column| !allowed(column))
    }

    fn name(&self, name: Name) -> (String, String) {
        let part = |span| {
            let name = Ast::unquoted(self.subject.sql, span, self.subject.dialect);
            String::from_utf8_lossy(&name).into_owned()
        };
        let schema = match name.qualifier {
            Some(schema) => part(schema),
            None => {
                let schema = self.subject.schema.unwrap_or_default();
                String::from_utf8_lossy(schema).into_owned()
            }
        };
        (schema, part(name.name))
    }

    fn lower(&self, span: dbmesh_sql::Span) -> String {
        let name = Ast::unquoted(self.subject.sql, span, self.subject.dialect);
        String::from_utf8_lossy(&name).to_lowercase()
    }
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
