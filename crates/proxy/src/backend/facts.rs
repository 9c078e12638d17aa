//! What the proxy knows of a server: flavour, version, defaults, and how to turn its session tracking on.
//!
//! Owns the list of session variables that can be restored on another connection. A variable outside the list pins. The
//! list is cut to what the server has, because MariaDB refuses an unknown name. Input: the greeting and SHOW VARIABLES.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use dbmesh_sql::Dialect;
use dbmesh_wire::charset;

use super::Cell;
use crate::vector::{Base, Charset};

/// Session variables whose value, as session tracking reports it, restores them on another connection with no other
/// effect. What needs more (time stamps, replication, transactions' own) is left out on purpose and pins.
const RESTORABLE: &[&str] = &[
    "auto_increment_increment",
    "auto_increment_offset",
    "autocommit",
    "big_tables",
    "bulk_insert_buffer_size",
    "character_set_client",
    "character_set_connection",
    "character_set_filesystem",
    "character_set_results",
    "character_set_server",
    "collation_connection",
    "collation_server",
    "completion_type",
    "cte_max_recursion_depth",
    "max_recursive_iterations",
    "default_collation_for_utf8mb4",
    "default_storage_engine",
    "default_tmp_storage_engine",
    "default_week_format",
    "div_precision_increment",
    "end_markers_in_json",
    "eq_range_index_dive_limit",
    "explain_format",
    "explicit_defaults_for_timestamp",
    "foreign_key_checks",
    "group_concat_max_len",
    "in_predicate_conversion_threshold",
    "information_schema_stats_expiry",
    "innodb_lock_wait_timeout",
    "innodb_strict_mode",
    "innodb_table_locks",
    "interactive_timeout",
    "internal_tmp_mem_storage_engine",
    "join_buffer_size",
    "join_cache_level",
    "lc_messages",
    "lc_time_names",
    "lock_wait_timeout",
    "long_query_time",
    "low_priority_updates",
    "max_delayed_threads",
    "max_error_count",
    "max_execution_time",
    "max_heap_table_size",
    "max_join_size",
    "max_length_for_sort_data",
    "max_points_in_geometry",
    "max_seeks_for_key",
    "max_sort_length",
    "max_sp_recursion_depth",
    "max_statement_time",
    "min_examined_row_limit",
    "myisam_repair_threads",
    "myisam_sort_buffer_size",
    "myisam_stats_method",
    "net_read_timeout",
    "net_retry_count",
    "net_write_timeout",
    "new",
    "note_verbosity",
    "old_alter_table",
    "old_mode",
    "optimizer_prune_level",
    "optimizer_search_depth",
    "optimizer_switch",
    "optimizer_use_condition_selectivity",
    "parser_max_mem_size",
    "preload_buffer_size",
    "print_identified_with_as_hex",
    "query_alloc_block_size",
    "query_prealloc_size",
    "range_alloc_block_size",
    "range_optimizer_max_mem_size",
    "read_buffer_size",
    "read_rnd_buffer_size",
    "set_operations_buffer_size",
    "show_create_table_skip_secondary_engine",
    "show_create_table_verbosity",
    "show_old_temporals",
    "sort_buffer_size",
    "sql_auto_is_null",
    "sql_big_selects",
    "sql_buffer_result",
    "sql_generate_invisible_primary_key",
    "sql_if_exists",
    "sql_mode",
    "sql_notes",
    "sql_quote_show_create",
    "sql_require_primary_key",
    "sql_safe_updates",
    "sql_select_limit",
    "sql_warnings",
    "standard_compliant_cte",
    "storage_engine",
    "system_versioning_alter_history",
    "time_zone",
    "tmp_memory_table_size",
    "tmp_table_size",
    "transaction_isolation",
    "transaction_read_only",
    "tx_isolation",
    "tx_read_only",
    "unique_checks",
    "updatable_views_with_limit",
    "use_secondary_engine",
    "use_stat_tables",
    "wait_timeout",
    "windowing_use_high_precision",
    "xa_detach_on_prepare",
];

/// Those of them that change what a statement answers or does, and that every account may set: a session keeps the values with
/// which it began, on whatever connection and server.
const BASE: &[&str] = &[
    "autocommit",
    "collation_server",
    "completion_type",
    "cte_max_recursion_depth",
    "default_storage_engine",
    "default_tmp_storage_engine",
    "default_week_format",
    "div_precision_increment",
    "end_markers_in_json",
    "explain_format",
    "explicit_defaults_for_timestamp",
    "foreign_key_checks",
    "group_concat_max_len",
    "innodb_lock_wait_timeout",
    "lc_messages",
    "lc_time_names",
    "lock_wait_timeout",
    "max_execution_time",
    "max_recursive_iterations",
    "max_sort_length",
    "max_sp_recursion_depth",
    "max_statement_time",
    "old_mode",
    "print_identified_with_as_hex",
    "sql_auto_is_null",
    "sql_if_exists",
    "sql_mode",
    "sql_notes",
    "sql_quote_show_create",
    "sql_safe_updates",
    "sql_select_limit",
    "sql_warnings",
    "standard_compliant_cte",
    "time_zone",
    "transaction_isolation",
    "transaction_read_only",
    "tx_isolation",
    "tx_read_only",
    "unique_checks",
    "updatable_views_with_limit",
    "windowing_use_high_precision",
];

/// Between the values of [`ServerFacts::base_sql`]; no value has it.
const BETWEEN: u8 = 0x1F;
/// A value that is NULL there.
const NULL: &[u8] = &[0x1E];

/// Not on MariaDB, where setting them leaves something on the connection that no statement restores: with
/// `sql_auto_is_null`, which row the last INSERT made there.
const BOUND_ON_MARIADB: &[&str] = &["sql_auto_is_null"];

/// Asks for the character set of clients that ask for none that the server knows.
pub const OWN_CLIENT_CHARSET: &str = "SELECT @@GLOBAL.character_set_client";

/// MariaDB's variable that holds the GTID of the session's last transaction.
pub const LAST_GTID: &str = "last_gtid";

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// MySQL and what behaves like it.
    MySql,
    /// MariaDB.
    MariaDb,
}

/// What is known of one server.
#[derive(Debug)]
pub struct ServerFacts {
    /// The version string of its greeting.
    pub version: String,
    /// Whose server it is.
    pub flavor: Flavor,
    /// As digits: 80400, 101119.
    pub version_id: u32,
    /// Session variables that session tracking reports and that can be restored.
    pub tracked: BTreeSet<Box<str>>,
    /// Values with which new connections start.
    pub defaults: HashMap<Box<str>, Vec<u8>>,
    /// The character set of clients that ask for one that it does not know.
    pub own_client_charset: Option<Vec<u8>>,
    /// The values with which its sessions begin, as asked last.
    pub base: Arc<Base>,
    /// Asks for them.
    pub base_sql: String,
    /// The SET that turns session tracking on.
    pub tracking_sql: String,
    /// Whether the server reports session state at all.
    pub tracks_state: bool,
    /// Whether it reports the GTID of every transaction that it commits.
    pub tracks_gtids: bool,
}

impl ServerFacts {
    /// Flavour and version number of a greeting's version string: `8.4.3`, `5.5.5-10.11.19-MariaDB-deb12`,
    /// `8.0.11-TiDB-v7.5.1`.
    #[must_use]
    pub fn parse_version(version: &str) -> (Flavor, u32) {
        let flavor = if version.contains("MariaDB") {
            Flavor::MariaDb
        } else {
            Flavor::MySql
        };
        let digits = version
            .strip_prefix("5.5.5-")
            .filter(|_| flavor == Flavor::MariaDb)
            .unwrap_or(version);
        let mut parts = digits
            .split(|c: char| !c.is_ascii_digit())
            .map(|p| p.parse::<u32>().unwrap_or(0).min(99));
        let mut next = || parts.next().unwrap_or(0);
        let (major, minor, patch) = (next(), next(), next());
        (flavor, major * 10_000 + minor * 100 + patch)
    }

    /// From a greeting's version and the rows of `SHOW SESSION VARIABLES`.
    #[must_use]
    pub fn new(version: &str, variables: &[Vec<Cell>]) -> Self {
        let (flavor, version_id) = Self::parse_version(version);
        let defaults: HashMap<Box<str>, Vec<u8>> = variables
            .iter()
            .filter_map(|row| match row.as_slice() {
                [Some(name), Some(value), ..] => Some((
                    String::from_utf8_lossy(name).to_ascii_lowercase().into(),
                    value.clone(),
                )),
                _ => None,
            })
            .collect();
        let tracked: BTreeSet<Box<str>> = RESTORABLE
            .iter()
            .filter(|name| defaults.contains_key(**name))
            .filter(|name| flavor == Flavor::MySql || !BOUND_ON_MARIADB.contains(name))
            .map(|name| (*name).into())
            .collect();
        let tracks_state = defaults.contains_key("session_track_state_change");
        let on = |name: &str| {
            defaults
                .get(name)
                .is_some_and(|v| v.eq_ignore_ascii_case(b"ON") || *v == b"1")
        };
        let tracks_gtids = tracks_state
            && match flavor {
                Flavor::MySql => on("gtid_mode") && defaults.contains_key("session_track_gtids"),
                Flavor::MariaDb => on("log_bin") && defaults.contains_key(LAST_GTID),
            };
        let tracking_sql = if tracks_state {
            let names: Vec<&str> = tracked
                .iter()
                .map(AsRef::as_ref)
                .chain((tracks_gtids && flavor == Flavor::MariaDb).then_some(LAST_GTID))
                .collect();
            let gtids = match (tracks_gtids, flavor) {
                (true, Flavor::MySql) => ", SESSION session_track_gtids = 'OWN_GTID'",
                _ => "",
            };
            format!(
                "SET SESSION session_track_schema = 1, SESSION session_track_state_change = 1, SESSION \
                 session_track_system_variables = '{}', SESSION session_track_transaction_info = \
                 'CHARACTERISTICS'{gtids}",
                names.join(",")
            )
        } else {
            "DO 0".to_owned()
        };
        let asked: Vec<String> = base_names(&tracked)
            .map(|name| format!("IFNULL(@@SESSION.{name}, X'1E')"))
            .collect();
        let base_sql = match asked.is_empty() {
            true => "DO 0".to_owned(),
            // A LIMIT of its own, for the server's may be 0.
            false => format!("SELECT CONCAT_WS(X'1F', {}) LIMIT 1", asked.join(", ")),
        };
        Self {
            version: version.to_owned(),
            flavor,
            version_id,
            tracked,
            defaults,
            own_client_charset: None,
            base: Arc::default(),
            base_sql,
            tracking_sql,
            tracks_state,
            tracks_gtids,
        }
    }

    /// A server of this version that has and reports all that can be restored: where none was asked.
    #[must_use]
    pub fn assumed(version: &str) -> Self {
        let names = RESTORABLE.iter().copied();
        let rows: Vec<Vec<Cell>> = names
            .chain(["session_track_state_change"])
            .map(|name| vec![Some(name.as_bytes().to_vec()), Some(Vec::new())])
            .collect();
        Self::new(version, &rows)
    }

    /// The values that [`Self::base_sql`] gave.
    #[must_use]
    pub fn base_of(&self, rows: &[Vec<Cell>]) -> Base {
        let Some(Some(Some(all))) = rows.first().map(|row| row.first()) else {
            return Base::default();
        };
        let values = all.split(|byte| *byte == BETWEEN);
        let values: Vec<Option<&[u8]>> = values
            .map(|value| (value != NULL).then_some(value))
            .collect();
        let names: Vec<&str> = base_names(&self.tracked).collect();
        match values.len() == names.len() {
            true => Base::of(names.into_iter().zip(values)),
            false => Base::default(),
        }
    }

    /// The charset that a handshake with this collation leads to: a server that does not know it takes its own.
    #[must_use]
    pub fn handshake_charset(&self, collation: u16) -> Charset {
        let known = charset::by_id(collation)
            .is_some_and(|c| self.flavor == Flavor::MySql || !c.name.contains("_0900_"));
        if known {
            Charset::Handshake(collation)
        } else {
            Charset::Server
        }
    }

    /// The character set of clients that ask for none that it knows; empty where it did not say.
    #[must_use]
    pub fn own_client_charset(&self) -> String {
        let charset = self.own_client_charset.as_deref().unwrap_or_default();
        String::from_utf8_lossy(charset).into_owned()
    }

    /// The default of a variable, as text.
    #[must_use]
    pub fn default_of(&self, name: &str) -> Option<&[u8]> {
        self.defaults.get(name).map(Vec::as_slice)
    }

    /// How this server reads SQL while `sql_mode` has this value.
    #[must_use]
    pub fn dialect(&self, sql_mode: &[u8], charset: dbmesh_sql::LexCharset) -> Dialect {
        let has = |mode: &[u8]| {
            sql_mode
                .split(|b| *b == b',')
                .any(|m| m.trim_ascii().eq_ignore_ascii_case(mode))
        };
        Dialect {
            flavor: match self.flavor {
                Flavor::MySql => dbmesh_sql::Flavor::MySql,
                Flavor::MariaDb => dbmesh_sql::Flavor::MariaDb,
            },
            version: self.version_id,
            ansi_quotes: has(b"ANSI_QUOTES") || has(b"ANSI"),
            no_backslash_escapes: has(b"NO_BACKSLASH_ESCAPES"),
            ignore_space: has(b"IGNORE_SPACE") || has(b"ANSI"),
            pipes_as_concat: has(b"PIPES_AS_CONCAT") || has(b"ANSI"),
            high_not_precedence: has(b"HIGH_NOT_PRECEDENCE"),
            charset,
        }
    }
}

fn base_names(tracked: &BTreeSet<Box<str>>) -> impl Iterator<Item = &'static str> {
    BASE.iter().copied().filter(|name| tracked.contains(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(ServerFacts::parse_version("8.4.3"), (Flavor::MySql, 80403));
        assert_eq!(
            ServerFacts::parse_version("9.7.4-2"),
            (Flavor::MySql, 90704)
        );
        assert_eq!(
            ServerFacts::parse_version("5.5.5-10.11.19-MariaDB-deb12"),
            (Flavor::MariaDb, 101_119)
        );
        assert_eq!(
            ServerFacts::parse_version("8.0.11-TiDB-v7.5.1"),
            (Flavor::MySql, 80011)
        );
        assert_eq!(ServerFacts::parse_version("").1, 0);
    }

    #[test]
    fn a_beginning_is_read_by_its_names() {
        let row = |name: &str| vec![Some(name.as_bytes().to_vec()), Some(Vec::new())];
        let names = [
            "time_zone",
            "sql_mode",
            "default_tmp_storage_engine",
            "port",
        ];
        let facts = ServerFacts::new("8.4.3", &names.map(row));
        let asked = "SELECT CONCAT_WS(X'1F', IFNULL(@@SESSION.default_tmp_storage_engine, X'1E'), \
                     IFNULL(@@SESSION.sql_mode, X'1E'), IFNULL(@@SESSION.time_zone, X'1E')) LIMIT 1";
        assert_eq!(facts.base_sql, asked);
        let base = facts.base_of(&[vec![Some(b"\x1e\x1f\x1fSYSTEM".to_vec())]]);
        let value = |name: &str| base.get(name).map(|value| value.to_vec());
        assert_eq!(value("default_tmp_storage_engine"), Some(b"NULL".to_vec()));
        assert_eq!(value("sql_mode"), Some(b"''".to_vec()));
        assert_eq!(value("time_zone"), Some(b"'SYSTEM'".to_vec()));
        assert!(facts.base_of(&[vec![Some(b"1".to_vec())]]).is_unknown());
    }

    #[test]
    fn only_what_the_server_has_is_tracked() {
        let cell = |s: &str| Some(s.as_bytes().to_vec());
        let rows = vec![
            vec![cell("sql_mode"), cell("")],
            vec![cell("session_track_state_change"), cell("OFF")],
            vec![cell("timestamp"), cell("1.0")],
        ];
        let facts = ServerFacts::new("8.4.3", &rows);
        assert!(
            facts
                .tracking_sql
                .contains("session_track_system_variables = 'sql_mode'")
        );
        assert!(!facts.tracked.contains("timestamp"));
    }
}
