//! SHOW of names, as the query over information_schema that servers answer it with.
//!
//! Owns the texts of these queries: the names of columns and the order of rows are those of SHOW. What follows LIKE and
//! WHERE is copied as it was written. Input: the statement's tokens.

use dbmesh_sql::ast::Ast;
use dbmesh_sql::{Flavor, Lexer, Span, Token, TokenKind, literal};

use super::super::Input;
use super::super::reason::RefuseReason;
use super::mapping::SYSTEM_SCHEMAS;

const TABLE_STATUS: [(&str, &str); 18] = [
    ("TABLE_NAME", "Name"),
    ("ENGINE", "Engine"),
    ("VERSION", "Version"),
    ("ROW_FORMAT", "Row_format"),
    ("TABLE_ROWS", "Rows"),
    ("AVG_ROW_LENGTH", "Avg_row_length"),
    ("DATA_LENGTH", "Data_length"),
    ("MAX_DATA_LENGTH", "Max_data_length"),
    ("INDEX_LENGTH", "Index_length"),
    ("DATA_FREE", "Data_free"),
    ("AUTO_INCREMENT", "Auto_increment"),
    ("CREATE_TIME", "Create_time"),
    ("UPDATE_TIME", "Update_time"),
    ("CHECK_TIME", "Check_time"),
    ("TABLE_COLLATION", "Collation"),
    ("CHECKSUM", "Checksum"),
    ("CREATE_OPTIONS", "Create_options"),
    ("TABLE_COMMENT", "Comment"),
];
const OF_MARIADB: [(&str, &str); 2] = [
    ("MAX_INDEX_LENGTH", "Max_index_length"),
    ("TEMPORARY", "Temporary"),
];
const TRIGGERS: [(&str, &str); 11] = [
    ("TRIGGER_NAME", "Trigger"),
    ("EVENT_MANIPULATION", "Event"),
    ("EVENT_OBJECT_TABLE", "Table"),
    ("ACTION_STATEMENT", "Statement"),
    ("ACTION_TIMING", "Timing"),
    ("CREATED", "Created"),
    ("SQL_MODE", "sql_mode"),
    ("DEFINER", "Definer"),
    ("CHARACTER_SET_CLIENT", "character_set_client"),
    ("COLLATION_CONNECTION", "collation_connection"),
    ("DATABASE_COLLATION", "Database Collation"),
];
const EVENTS: [(&str, &str); 15] = [
    ("EVENT_SCHEMA", "Db"),
    ("EVENT_NAME", "Name"),
    ("DEFINER", "Definer"),
    ("TIME_ZONE", "Time zone"),
    ("EVENT_TYPE", "Type"),
    ("EXECUTE_AT", "Execute at"),
    ("INTERVAL_VALUE", "Interval value"),
    ("INTERVAL_FIELD", "Interval field"),
    ("STARTS", "Starts"),
    ("ENDS", "Ends"),
    ("STATUS", "Status"),
    ("ORIGINATOR", "Originator"),
    ("CHARACTER_SET_CLIENT", "character_set_client"),
    ("COLLATION_CONNECTION", "collation_connection"),
    ("DATABASE_COLLATION", "Database Collation"),
];
const ROUTINES: [(&str, &str); 12] = [
    ("ROUTINE_SCHEMA", "Db"),
    ("ROUTINE_NAME", "Name"),
    ("ROUTINE_TYPE", "Type"),
    ("EXTERNAL_LANGUAGE", "Language"),
    ("DEFINER", "Definer"),
    ("LAST_ALTERED", "Modified"),
    ("CREATED", "Created"),
    ("SECURITY_TYPE", "Security_type"),
    ("ROUTINE_COMMENT", "Comment"),
    ("CHARACTER_SET_CLIENT", "character_set_client"),
    ("COLLATION_CONNECTION", "collation_connection"),
    ("DATABASE_COLLATION", "Database Collation"),
];
/// The first version of MySQL whose routines have a language.
const LANGUAGES_SINCE: u32 = 90_000;

/// What a SHOW reads.
struct Listing {
    view: &'static str,
    columns: Vec<(&'static str, String)>,
    /// The column that LIKE compares.
    like: &'static str,
    /// The column that says of which schema a row is; none where all are listed.
    schema: Option<&'static str>,
    /// What holds besides.
    condition: &'static str,
    order: &'static str,
}

fn owned(columns: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let owned = columns.iter().map(|(of, name)| (*of, (*name).to_owned()));
    owned.collect()
}

/// Tokens one after the other.
struct Words<'a> {
    sql: &'a [u8],
    tokens: Vec<Token>,
    at: usize,
}

impl<'a> Words<'a> {
    fn span(&self) -> Option<Span> {
        self.tokens.get(self.at).map(|token| token.span)
    }

    fn take(&mut self, word: &str) -> bool {
        let is = self
            .span()
            .is_some_and(|span| span.of(self.sql).eq_ignore_ascii_case(word.as_bytes()));
        self.at += usize::from(is);
        is
    }

    fn rest(&self) -> &'a [u8] {
        match (self.span(), self.tokens.last()) {
            (Some(span), Some(last)) => self.sql.get(span.start..last.span.end).unwrap_or_default(),
            _ => b"",
        }
    }
}

/// The query that a SHOW is; none if it is none of names.
pub(in super::super) fn query(input: &Input<'_>) -> Option<Result<Vec<u8>, RefuseReason>> {
    let mut lexer = Lexer::new(input.sql, input.dialect).filter(|token| !token.kind.is_trivia());
    let first = lexer.next()?;
    if !first.span.of(input.sql).eq_ignore_ascii_case(b"show") {
        return None;
    }
    let tokens: Vec<Token> = lexer.collect();
    let several = |token: &Token| token.kind == TokenKind::Semicolon;
    let end = tokens.iter().position(several).unwrap_or(tokens.len());
    if end + 1 < tokens.len() {
        return None;
    }
    let mut words = Words {
        sql: input.sql,
        tokens: tokens.into_iter().take(end).collect(),
        at: 0,
    };
    let mut listing = listing(&mut words, input)?;
    let named = listing.schema.is_some() && !is_routine(&listing);
    let schema = match named.then(|| schema(&mut words, input)) {
        Some(Ok(schema)) => Some(schema),
        Some(Err(reason)) => return Some(Err(reason)),
        None => None,
    };
    if let (Some(schema), Some(name)) = (&schema, listed(&mut listing)) {
        name.push_str(schema);
    }
    let mut tail = Vec::new();
    if words.take("like") {
        let pattern = words.span()?;
        if let Some(name) = listed(&mut listing) {
            let shown = Ast::unquoted(input.sql, pattern, input.dialect);
            name.push_str(&format!(" ({})", String::from_utf8_lossy(&shown)));
        }
        let mut columns = listing.columns.iter();
        let (_, name) = columns.find(|(of, _)| *of == listing.like)?;
        tail.extend_from_slice(b" WHERE ");
        tail.extend(literal::quote_identifier(name.as_bytes()));
        tail.extend_from_slice(b" LIKE ");
        tail.extend_from_slice(pattern.of(input.sql));
        words.at += 1;
        if words.span().is_some() {
            return None;
        }
    } else if words.span().is_some() {
        if !words.take("where") {
            return None;
        }
        tail.extend_from_slice(b" WHERE (");
        tail.extend_from_slice(words.rest());
        tail.push(b')');
    }
    Some(Ok(text(&listing, schema.as_deref(), &tail, input)))
}

/// The name of the first column, if it says what is listed: `Database`, `Tables_in_…`.
fn listed(listing: &mut Listing) -> Option<&mut String> {
    let (_, name) = listing.columns.first_mut()?;
    (name.starts_with("Database") || name.starts_with("Tables_in_")).then_some(name)
}

fn is_routine(listing: &Listing) -> bool {
    listing.view == "ROUTINES"
}

fn listing(words: &mut Words<'_>, input: &Input<'_>) -> Option<Listing> {
    let mariadb = input.dialect.flavor == Flavor::MariaDb;
    if words.take("databases") || words.take("schemas") {
        return Some(Listing {
            view: "SCHEMATA",
            columns: owned(&[("SCHEMA_NAME", "Database")]),
            like: "SCHEMA_NAME",
            schema: None,
            condition: "",
            order: " ORDER BY 1",
        });
    }
    let full = words.take("full");
    let of_tables = |columns| Listing {
        view: "TABLES",
        columns,
        like: "TABLE_NAME",
        schema: Some("TABLE_SCHEMA"),
        condition: "",
        order: " ORDER BY 1",
    };
    if words.take("tables") {
        let mut columns = owned(&[("TABLE_NAME", "Tables_in_")]);
        if full {
            columns.extend(owned(&[("TABLE_TYPE", "Table_type")]));
        }
        return Some(of_tables(columns));
    }
    if words.take("triggers") {
        return Some(Listing {
            view: "TRIGGERS",
            columns: owned(&TRIGGERS),
            like: "EVENT_OBJECT_TABLE",
            schema: Some("TRIGGER_SCHEMA"),
            condition: "",
            order: "",
        });
    }
    if full {
        return None;
    }
    if words.take("table") {
        if !words.take("status") {
            return None;
        }
        let mut columns = owned(&TABLE_STATUS);
        if mariadb {
            columns.extend(owned(&OF_MARIADB));
        }
        return Some(of_tables(columns));
    }
    if words.take("events") {
        return Some(Listing {
            view: "EVENTS",
            columns: owned(&EVENTS),
            like: "EVENT_NAME",
            schema: Some("EVENT_SCHEMA"),
            condition: "",
            order: " ORDER BY 1, 2",
        });
    }
    routines(words, input)
}

/// SHOW PROCEDURE STATUS and SHOW FUNCTION STATUS.
fn routines(words: &mut Words<'_>, input: &Input<'_>) -> Option<Listing> {
    let mariadb = input.dialect.flavor == Flavor::MariaDb;
    let function = words.take("function");
    if (function || words.take("procedure")) && words.take("status") {
        let mut columns = owned(&ROUTINES);
        if mariadb || input.dialect.version < LANGUAGES_SINCE {
            columns.retain(|(_, name)| name != "Language");
        }
        return Some(Listing {
            view: "ROUTINES",
            columns,
            like: "ROUTINE_NAME",
            schema: Some("ROUTINE_SCHEMA"),
            condition: match function {
                true => "ROUTINE_TYPE = 'FUNCTION'",
                false => "ROUTINE_TYPE = 'PROCEDURE'",
            },
            order: " ORDER BY 1, 2",
        });
    }
    None
}

/// `FROM schema`, or the session's.
fn schema(words: &mut Words<'_>, input: &Input<'_>) -> Result<String, RefuseReason> {
    if words.take("from") || words.take("in") {
        let span = words.span().ok_or(RefuseReason::PhysicalNames)?;
        words.at += 1;
        let name = Ast::unquoted(input.sql, span, input.dialect);
        let name = String::from_utf8_lossy(&name).into_owned();
        let system = SYSTEM_SCHEMAS
            .iter()
            .find(|s| s.eq_ignore_ascii_case(&name));
        return match (system, input.schema) {
            (Some(system), _) => Ok((*system).to_owned()),
            (None, Some(own)) if own == name => Ok(name),
            _ => Err(RefuseReason::UnknownSchema(name)),
        };
    }
    match (input.chosen, input.schema.filter(|_| input.in_schema)) {
        (_, Some(own)) => Ok(own.to_owned()),
        (Some(chosen), None) => match SYSTEM_SCHEMAS.contains(&chosen) {
            true => Ok(chosen.to_owned()),
            false => Err(RefuseReason::ForeignSchema),
        },
        (None, None) => Err(RefuseReason::ForeignSchema),
    }
}

fn text(listing: &Listing, schema: Option<&str>, tail: &[u8], input: &Input<'_>) -> Vec<u8> {
    let mut sql = b"SELECT * FROM (SELECT ".to_vec();
    for (place, (of, name)) in listing.columns.iter().enumerate() {
        if place > 0 {
            sql.extend_from_slice(b", ");
        }
        sql.extend_from_slice(of.as_bytes());
        sql.extend_from_slice(b" AS ");
        sql.extend(literal::quote_identifier(name.as_bytes()));
    }
    sql.extend_from_slice(b" FROM information_schema.");
    sql.extend_from_slice(listing.view.as_bytes());
    let mut conditions = Vec::new();
    if let (Some(column), Some(schema)) = (listing.schema, schema) {
        let no_backslash = input.dialect.no_backslash_escapes;
        let value = literal::quote_literal(schema.as_bytes(), no_backslash);
        conditions.push([column.as_bytes(), b" = ", &value].concat());
    }
    if !listing.condition.is_empty() {
        conditions.push(listing.condition.as_bytes().to_vec());
    }
    if !conditions.is_empty() {
        sql.extend_from_slice(b" WHERE ");
        sql.extend(conditions.join(&b" AND "[..]));
    }
    sql.extend_from_slice(b") AS `");
    let names = listing.view == "TABLES" && listing.columns.len() <= 2;
    let view = match names && input.dialect.flavor == Flavor::MariaDb {
        true => "TABLE_NAMES",
        false => listing.view,
    };
    sql.extend_from_slice(view.as_bytes());
    sql.push(b'`');
    sql.extend(tail);
    sql.extend_from_slice(listing.order.as_bytes());
    sql
}
