//! What the views of information_schema tell, and in which of their columns names stand.
//!
//! Owns the list of views that are served. A view that is not in it describes one server and is refused. Names of columns
//! are in capitals, as servers write them.

/// A view of information_schema.
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    /// Its name.
    pub name: &'static str,
    /// Whose rows it has.
    pub rows: RowsOf,
    /// Columns with names of schemas. A row is of the schema that the first names.
    pub schemas: &'static [&'static str],
    /// Columns with names of tables. A row is of the table that the first names.
    pub tables: &'static [&'static str],
    /// A column with the name of the table that a row is of, which only some servers have.
    pub some_table: Option<&'static str>,
    /// Columns with names of constraints, which may begin with the table's or end with the number of a shard.
    pub constraints: &'static [&'static str],
    /// Columns with texts that name tables.
    pub texts: &'static [&'static str],
    /// Columns that count, of which a split table has the sum over its shards.
    pub sums: &'static [&'static str],
    /// Columns of which a split table has the greatest value of its shards.
    pub latest: &'static [&'static str],
    /// Columns that tell the rows of one table apart, or those of a schema.
    pub key: &'static [&'static str],
}

/// Whose rows a view has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsOf {
    /// Of tables.
    Tables,
    /// Of something else that a schema has, which is alike on all nodes or on one of them only.
    Schemas,
    /// Of the server that answers, whatever it is.
    Server,
}

const VIEW: View = View {
    name: "",
    rows: RowsOf::Tables,
    schemas: &["TABLE_SCHEMA"],
    tables: &["TABLE_NAME"],
    some_table: None,
    constraints: &[],
    texts: &[],
    sums: &[],
    latest: &[],
    key: &[],
};

const SERVER: View = View {
    rows: RowsOf::Server,
    schemas: &[],
    tables: &[],
    ..VIEW
};

/// A view of what schemas have besides tables.
const fn of_schemas(
    name: &'static str,
    schemas: &'static [&'static str],
    key: &'static [&'static str],
) -> View {
    View {
        name,
        rows: RowsOf::Schemas,
        schemas,
        tables: &[],
        key,
        ..VIEW
    }
}

const fn server(name: &'static str) -> View {
    View { name, ..SERVER }
}

const fn tables(name: &'static str) -> View {
    View { name, ..VIEW }
}

/// All that are served.
static VIEWS: &[View] = &[
    View {
        name: "TABLES",
        sums: &["TABLE_ROWS", "DATA_LENGTH", "INDEX_LENGTH", "DATA_FREE"],
        latest: &["AUTO_INCREMENT", "UPDATE_TIME"],
        ..VIEW
    },
    View {
        name: "PARTITIONS",
        sums: &["TABLE_ROWS", "DATA_LENGTH", "INDEX_LENGTH", "DATA_FREE"],
        latest: &["UPDATE_TIME"],
        key: &["PARTITION_NAME", "SUBPARTITION_NAME"],
        ..VIEW
    },
    tables("COLUMNS"),
    tables("COLUMNS_EXTENSIONS"),
    tables("TABLES_EXTENSIONS"),
    tables("ST_GEOMETRY_COLUMNS"),
    tables("COLUMN_PRIVILEGES"),
    tables("TABLE_PRIVILEGES"),
    View {
        name: "STATISTICS",
        schemas: &["TABLE_SCHEMA", "INDEX_SCHEMA"],
        sums: &["CARDINALITY"],
        key: &["INDEX_NAME", "SEQ_IN_INDEX"],
        // A foreign key without an index has one of its own name.
        constraints: &["INDEX_NAME"],
        ..VIEW
    },
    View {
        name: "COLUMN_STATISTICS",
        schemas: &["SCHEMA_NAME"],
        ..VIEW
    },
    View {
        name: "GEOMETRY_COLUMNS",
        schemas: &["F_TABLE_SCHEMA", "G_TABLE_SCHEMA"],
        tables: &["F_TABLE_NAME", "G_TABLE_NAME"],
        ..VIEW
    },
    View {
        name: "KEY_COLUMN_USAGE",
        schemas: &[
            "TABLE_SCHEMA",
            "CONSTRAINT_SCHEMA",
            "REFERENCED_TABLE_SCHEMA",
        ],
        tables: &["TABLE_NAME", "REFERENCED_TABLE_NAME"],
        constraints: &["CONSTRAINT_NAME"],
        ..VIEW
    },
    View {
        name: "TABLE_CONSTRAINTS",
        schemas: &["TABLE_SCHEMA", "CONSTRAINT_SCHEMA"],
        constraints: &["CONSTRAINT_NAME"],
        ..VIEW
    },
    View {
        name: "TABLE_CONSTRAINTS_EXTENSIONS",
        schemas: &["CONSTRAINT_SCHEMA"],
        constraints: &["CONSTRAINT_NAME"],
        ..VIEW
    },
    View {
        name: "REFERENTIAL_CONSTRAINTS",
        schemas: &["CONSTRAINT_SCHEMA", "UNIQUE_CONSTRAINT_SCHEMA"],
        tables: &["TABLE_NAME", "REFERENCED_TABLE_NAME"],
        constraints: &["CONSTRAINT_NAME"],
        ..VIEW
    },
    View {
        name: "CHECK_CONSTRAINTS",
        // MariaDB's, where tables have the same names.
        some_table: Some("TABLE_NAME"),
        constraints: &["CONSTRAINT_NAME"],
        ..of_schemas(
            "CHECK_CONSTRAINTS",
            &["CONSTRAINT_SCHEMA"],
            &["CONSTRAINT_NAME"],
        )
    },
    View {
        name: "VIEWS",
        texts: &["VIEW_DEFINITION"],
        ..VIEW
    },
    View {
        name: "VIEW_TABLE_USAGE",
        schemas: &["VIEW_SCHEMA", "TABLE_SCHEMA"],
        tables: &["VIEW_NAME", "TABLE_NAME"],
        ..VIEW
    },
    View {
        name: "VIEW_ROUTINE_USAGE",
        schemas: &["TABLE_SCHEMA", "SPECIFIC_SCHEMA"],
        ..VIEW
    },
    View {
        name: "TRIGGERS",
        schemas: &["TRIGGER_SCHEMA", "EVENT_OBJECT_SCHEMA"],
        tables: &["EVENT_OBJECT_TABLE"],
        ..VIEW
    },
    of_schemas("SCHEMATA", &["SCHEMA_NAME"], &["SCHEMA_NAME"]),
    of_schemas("SCHEMATA_EXTENSIONS", &["SCHEMA_NAME"], &["SCHEMA_NAME"]),
    of_schemas(
        "SCHEMA_PRIVILEGES",
        &["TABLE_SCHEMA"],
        &["GRANTEE", "PRIVILEGE_TYPE"],
    ),
    of_schemas("EVENTS", &["EVENT_SCHEMA"], &["EVENT_NAME"]),
    of_schemas(
        "ROUTINES",
        &["ROUTINE_SCHEMA"],
        &["ROUTINE_TYPE", "SPECIFIC_NAME"],
    ),
    of_schemas(
        "PARAMETERS",
        &["SPECIFIC_SCHEMA"],
        &["ROUTINE_TYPE", "SPECIFIC_NAME", "ORDINAL_POSITION"],
    ),
    server("ADMINISTRABLE_ROLE_AUTHORIZATIONS"),
    server("ALL_PLUGINS"),
    server("APPLICABLE_ROLES"),
    server("CHARACTER_SETS"),
    server("COLLATIONS"),
    server("COLLATION_CHARACTER_SET_APPLICABILITY"),
    server("ENABLED_ROLES"),
    server("ENGINES"),
    server("FILES"),
    server("KEYWORDS"),
    server("PLUGINS"),
    server("RESOURCE_GROUPS"),
    server("SPATIAL_REF_SYS"),
    server("SQL_FUNCTIONS"),
    server("ST_SPATIAL_REFERENCE_SYSTEMS"),
    server("ST_UNITS_OF_MEASURE"),
    server("SYSTEM_VARIABLES"),
    server("TABLESPACES"),
    server("TABLESPACES_EXTENSIONS"),
    server("USER_ATTRIBUTES"),
    server("USER_PRIVILEGES"),
];

/// The view of this name.
pub(in super::super) fn of_name(name: &str) -> Option<&'static View> {
    VIEWS
        .iter()
        .find(|view| view.name.eq_ignore_ascii_case(name))
}

/// Columns of averages: what is divided, and by what.
pub(super) const AVERAGE: (&str, &str, &str) = ("AVG_ROW_LENGTH", "DATA_LENGTH", "TABLE_ROWS");

impl View {
    /// Columns that are pulled in any case: by them, rows are known. For these of the client's (in lower case).
    pub fn own_columns(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
        let mut own: Vec<&'static str> = Vec::new();
        own.extend(self.schemas.first());
        own.extend(self.tables.first());
        own.extend(self.some_table);
        own.extend(self.key);
        if wanted(&AVERAGE.0.to_lowercase()) && self.sums.contains(&AVERAGE.1) {
            own.extend([AVERAGE.1, AVERAGE.2]);
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_have_names_of_their_own() {
        for (place, view) in VIEWS.iter().enumerate() {
            let first = VIEWS.iter().position(|other| other.name == view.name);
            assert_eq!(first, Some(place), "{}", view.name);
            assert_eq!(of_name(&view.name.to_lowercase()), Some(view));
            assert_eq!(view.rows == RowsOf::Tables, !view.tables.is_empty());
            assert_eq!(view.rows == RowsOf::Server, view.schemas.is_empty());
        }
        assert_eq!(of_name("innodb_trx"), None);
    }
}
