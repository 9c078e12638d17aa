//! Definitions, and tables that other statements name.
//!
//! Owns what a sharding or renaming layer needs of them: names, columns, keys. Must never claim to hold options it does
//! not: the text between is reachable by spans only.

use super::{Id, List, Name, Query, TableName};
use crate::lexer::Span;

/// Words around the kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DdlFlags {
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// `TEMPORARY`.
    pub temporary: bool,
}

/// A table named by a statement that is neither a query nor DML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMention {
    /// Its name; where the schema is said elsewhere (`SHOW COLUMNS FROM t FROM db`), that is its qualifier.
    pub name: Name,
    /// The alias in LOCK TABLES and HANDLER.
    pub alias: Option<Span>,
    /// What is done with it.
    pub role: MentionRole,
}

/// What a statement does with a table it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MentionRole {
    /// Its rows or definition are read.
    Read,
    /// Its rows are written.
    Write,
    /// It comes into being.
    Created,
    /// It is changed.
    Altered,
    /// It goes.
    Dropped,
    /// The name a table gets by RENAME.
    RenamedTo,
    /// A foreign key refers to it.
    Referenced,
}

/// CREATE TABLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateTable {
    /// The table.
    pub table: Id<TableName>,
    /// Columns.
    pub columns: List<ColumnDefinition>,
    /// Keys and constraints.
    pub keys: List<KeyDefinition>,
    /// The list of columns and keys with its parentheses; empty where there is none.
    pub elements_span: Span,
    /// Table options and partitioning; empty where there are none.
    pub options_span: Span,
    /// `LIKE t`.
    pub like: Option<Id<TableName>>,
    /// `SELECT …`.
    pub query: Option<Id<Query>>,
}

/// A column of CREATE TABLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its text.
    pub span: Span,
    /// Its name.
    pub name: Span,
    /// Its type, with length, UNSIGNED, charset.
    pub data_type: Span,
    /// `NOT NULL`, or part of an inline primary key.
    pub not_null: bool,
    /// `AUTO_INCREMENT`, `SERIAL`.
    pub auto_increment: bool,
    /// `PRIMARY KEY` at the column.
    pub primary: bool,
    /// `UNIQUE` at the column.
    pub unique: bool,
    /// `DEFAULT`: the value's text.
    pub default: Option<Span>,
    /// `[GENERATED ALWAYS] AS (…)`: the text in parentheses.
    pub generated: Option<Span>,
}

/// A key or constraint of CREATE TABLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDefinition {
    /// Its text.
    pub span: Span,
    /// Which.
    pub kind: KeyKind,
    /// Its name.
    pub name: Option<Span>,
    /// The columns; key parts that are expressions are left out.
    pub columns: List<Name>,
    /// The table a foreign key refers to.
    pub references: Option<Id<TableName>>,
}

/// Kinds of keys and constraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// `PRIMARY KEY`.
    Primary,
    /// `UNIQUE`.
    Unique,
    /// `KEY`, `INDEX`.
    Index,
    /// `FULLTEXT`.
    Fulltext,
    /// `SPATIAL`.
    Spatial,
    /// MariaDB and MySQL 9: `VECTOR`.
    Vector,
    /// `FOREIGN KEY`.
    Foreign,
    /// `CHECK`.
    Check,
    /// MariaDB's `PERIOD FOR`.
    Period,
}
