#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use dbmesh_sql::Flavor;

use super::{LentTable, Moments, ScratchTable, Wanted, Writing};

const SHOWN: &str = "CREATE TABLE `src_3` (
  `id` bigint unsigned NOT NULL,
  `a` varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT 'x'', AS (y',
  `c` enum('x','y,z','q''') DEFAULT NULL,
  `e` json DEFAULT NULL,
  `f` float DEFAULT NULL,
  `j` timestamp(3) NULL DEFAULT NULL,
  `l` date DEFAULT NULL,
  `n``n` binary(4) DEFAULT NULL,
  `q` int GENERATED ALWAYS AS ((`id` * 3)) VIRTUAL /*!80023 INVISIBLE */,
  `r` varchar(10) DEFAULT NULL COMMENT 'with `ticks` and \\n newline',
  PRIMARY KEY (`id`),
  UNIQUE KEY `u` (`a`,`n``n`),
  KEY `kb` (`c`,`l`),
  KEY `kf` ((upper(`r`))),
  FULLTEXT KEY `ft` (`r`),
  CONSTRAINT `fk` FOREIGN KEY (`id`) REFERENCES `par` (`id`),
  CONSTRAINT `chk` CHECK ((`id` > 0))
) ENGINE=InnoDB AUTO_INCREMENT=4 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='tab'
/*!50100 PARTITION BY HASH (`id`) */";

fn of(needed: Option<&[&str]>) -> ScratchTable {
    let needed: Option<BTreeSet<String>> =
        needed.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    ScratchTable::of(SHOWN.as_bytes(), "g", needed.as_ref()).unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

static NONE: BTreeSet<String> = BTreeSet::new();

/// All of these columns, as they are.
fn all(columns: &[String]) -> Wanted<'_> {
    Wanted {
        columns,
        moments: &NONE,
        asking: None,
    }
}

#[test]
fn a_column_whose_null_asks_for_a_key_takes_null() {
    let shown = "CREATE TABLE `t` (
  ` NOT NULL` int NOT NULL,
  `id` char(36) NOT NULL COMMENT 'is NOT NULL',
  `v` int NOT NULL DEFAULT '1'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";
    let names = [" not null", "id", "v"].map(str::to_owned);
    for (asking, created) in [
        (
            " not null",
            "(` NOT NULL` int, `id` char(36) NOT NULL COMMENT",
        ),
        (
            "id",
            "(` NOT NULL` int NOT NULL, `id` char(36) COMMENT 'is NOT NULL', `v` int NOT NULL",
        ),
    ] {
        let wanted = Wanted {
            asking: Some(asking),
            ..all(&names)
        };
        let table = ScratchTable::of_columns(shown.as_bytes(), "g", &wanted).unwrap();
        let create = text(table.create);
        assert!(create.contains(created), "{create}");
    }
}

#[test]
fn needed_columns_bring_those_of_unique_keys_along() {
    let table = of(Some(&["c", "l"]));
    assert_eq!(
        text(table.create.clone()),
        "CREATE TEMPORARY TABLE `g` (`id` bigint unsigned NOT NULL, \
         `a` varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci DEFAULT 'x'', AS (y', \
         `c` enum('x','y,z','q''') DEFAULT NULL, `l` date DEFAULT NULL, `n``n` binary(4) DEFAULT NULL, \
         PRIMARY KEY (`id`), UNIQUE KEY `u` (`a`,`n``n`), KEY `kb` (`c`,`l`)) ENGINE=InnoDB \
         DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"
    );
    assert_eq!(
        text(table.select("src_3", b"s", Some(b"(s.c = 'x')"))),
        "SELECT `id`, CAST(`a` AS BINARY), `c` + 0, `l`, `n``n` FROM `src_3` AS s WHERE (s.c = 'x')"
    );
    assert_eq!(
        text(table.insert()),
        "INSERT INTO `g` (`id`, `a`, `c`, `l`, `n``n`) VALUES "
    );
    assert_eq!(
        text(table.copy("src_3", b"`s`", None, Moments::AsTheyAre)),
        "INSERT INTO `g` (`id`, `a`, `c`, `l`, `n``n`) SELECT `id`, `a`, `c`, `l`, `n``n` FROM `src_3` AS `s`"
    );
}

#[test]
fn a_generated_column_brings_all_along_and_is_not_sent() {
    let table = of(Some(&["q"]));
    assert!(text(table.create.clone()).contains("GENERATED ALWAYS"));
    assert!(text(table.create.clone()).contains("upper"));
    assert!(!text(table.insert()).contains("`q`"));
    assert_eq!(table.width(), 9);
    assert_eq!(of(None).create, table.create);
}

#[test]
fn a_table_without_a_key_keeps_a_column() {
    let shown =
        b"CREATE TABLE `t` (\n  `x` int DEFAULT NULL,\n  `y` int DEFAULT NULL\n) ENGINE=InnoDB";
    let table = ScratchTable::of(shown, "g", Some(&BTreeSet::new())).unwrap();
    assert_eq!(
        text(table.create),
        "CREATE TEMPORARY TABLE `g` (`x` int DEFAULT NULL) ENGINE=InnoDB"
    );
}

#[test]
fn values_arrive_as_they_were() {
    let table = of(Some(&["c", "e", "f", "j", "l"]));
    let mut sql = Vec::new();
    let row: Vec<Option<&[u8]>> = vec![
        Some(b"7"),
        Some(b"it's \\ \xe9\0"),
        Some(b"2"),
        Some(b"{\"a\": \"\\\"\"}"),
        Some(b"-0"),
        Some(b"1700000000.123"),
        Some(b"2024-02-29"),
        None,
    ];
    assert!(table.push_row(row.iter().copied(), &mut sql));
    let expected = b"(7,_binary'it\\'s \\\\ \xe9\\0',2,_utf8mb4'{\"a\": \"\\\\\"\"}',-0e0,\
        FROM_UNIXTIME(1700000000.123),'2024-02-29',NULL)";
    assert_eq!(sql, expected);
    let mut zero = row.clone();
    zero[5] = Some(b"0.000");
    let mut sql = Vec::new();
    assert!(table.push_row(zero.into_iter(), &mut sql));
    assert!(String::from_utf8_lossy(&sql).contains("'0000-00-00 00:00:00'"));
    assert!(!table.push_row(row.into_iter().skip(1), &mut Vec::new()));
}

#[test]
fn literals_mean_the_bytes_that_are_stored() {
    let shown = "CREATE TABLE `t` (
  `a` varchar(9) DEFAULT NULL,
  `b` varchar(9) CHARACTER SET utf16 DEFAULT NULL,
  `c` varchar(9) CHARACTER SET ucs2 COLLATE ucs2_bin DEFAULT NULL,
  `d` varchar(9) CHARACTER SET utf16le DEFAULT NULL,
  `e` varchar(9) CHARACTER SET swe7 DEFAULT NULL,
  `f` varchar(9) CHARACTER SET sjis DEFAULT NULL,
  `g` varchar(9) CHARACTER SET latin1 DEFAULT NULL,
  `h` varbinary(9) DEFAULT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"].map(str::to_owned);
    let table = ScratchTable::of_columns(shown.as_bytes(), "g", &all(&names)).unwrap();
    let writing = Writing {
        no_backslash_escapes: false,
        utf8: true,
        zones: true,
    };
    let written: Vec<String> = (0..names.len())
        .map(|column| {
            let mut literal = Vec::new();
            table.push_literal(column, Some(b"[E"), writing, &mut literal);
            text(literal).to_lowercase()
        })
        .collect();
    let expected = [
        "'[e'",
        "_utf16 x'5b45'",
        "_ucs2 x'5b45'",
        "_utf16le x'5b45'",
        "_swe7 x'5b45'",
        "_sjis x'5b45'",
        "'[e'",
        "'[e'",
    ];
    assert_eq!(written, expected);
    assert_eq!(table.charsets().len(), 7);
}

#[test]
fn moments_are_copied_with_their_offset_where_times_do_not_tell() {
    let shown = b"CREATE TABLE `t` (\n  `k` int DEFAULT NULL,\n  `at` timestamp NULL DEFAULT NULL\n) ENGINE=InnoDB";
    let table = ScratchTable::of(shown, "g", None).unwrap();
    let copy = |moments| text(table.copy("t_1", b"t", Some(b"k > 1"), moments));
    assert_eq!(
        copy(Moments::AsTheyAre),
        "INSERT INTO `g` (`k`, `at`) SELECT `k`, `at` FROM `t_1` AS t WHERE k > 1"
    );
    assert_eq!(
        copy(Moments::ByOffset),
        "INSERT INTO `g` (`k`, `at`) SELECT `k`, IF(UNIX_TIMESTAMP(`at`) = 0, '0000-00-00 00:00:00', \
         CONCAT(TIMESTAMP'1970-01-01 00:00:00' + INTERVAL UNIX_TIMESTAMP(`at`) SECOND, '+00:00')) FROM `t_1` AS t WHERE k > 1"
    );
}

#[test]
fn columns_with_computed_defaults_take_values_that_are_given() {
    let shown = "CREATE TABLE `t` (
  `k` int NOT NULL DEFAULT '0',
  `s` varchar(40) DEFAULT (uuid()) COMMENT 'a DEFAULT (b)',
  `c` varchar(20) NOT NULL DEFAULT (concat(_utf8mb4'd) (',`k`)) /*!80023 INVISIBLE */,
  `m` varchar(20) DEFAULT concat('d)',`k`) CHECK (`m` <> 'x'),
  `n` int(11) DEFAULT `k`,
  `b` bit(2) DEFAULT b'01' COMMENT ' DEFAULT (1)',
  `t` timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
  `g` int GENERATED ALWAYS AS ((`k` + 1)) VIRTUAL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";
    let of = |name: &str| {
        let wanted = [name.to_owned()];
        let table = ScratchTable::of_columns(shown.as_bytes(), "g", &all(&wanted));
        table.map(|table| {
            let create = text(table.create);
            let (head, tail) = (
                "CREATE TEMPORARY TABLE `g` (",
                ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
            );
            let line = create
                .strip_prefix(head)
                .and_then(|line| line.strip_suffix(tail));
            line.unwrap().to_owned()
        })
    };
    for (name, line) in [
        ("k", "`k` int NOT NULL DEFAULT '0'"),
        ("s", "`s` varchar(40) COMMENT 'a DEFAULT (b)'"),
        ("c", "`c` varchar(20) NOT NULL /*!80023 INVISIBLE */"),
        ("m", "`m` varchar(20) CHECK (`m` <> 'x')"),
        ("n", "`n` int(11)"),
        ("b", "`b` bit(2) DEFAULT b'01' COMMENT ' DEFAULT (1)'"),
        (
            "t",
            "`t` timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)",
        ),
    ] {
        assert_eq!(of(name).as_deref(), Some(line));
    }
    assert_eq!(of("g"), None);
    // What such a default is computed of stays where it may be asked for.
    let needed = BTreeSet::from(["n".to_owned()]);
    let table = ScratchTable::of(shown.as_bytes(), "g", Some(&needed)).unwrap();
    assert_eq!(table.width(), 7);
}

#[test]
fn what_is_no_table_is_nothing() {
    assert_eq!(ScratchTable::of(b"", "g", None), None);
    assert_eq!(
        ScratchTable::of(b"CREATE VIEW `v` AS select 1", "g", None),
        None
    );
    assert_eq!(ScratchTable::of(b"CREATE TABLE `t` (", "g", None), None);
}

#[test]
fn a_set_is_its_number_with_all_digits() {
    let shown = "CREATE TABLE `t` (
  `s` set('a','b') NOT NULL,
  `e` enum('a','b') NOT NULL,
  `b` bit(64) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";
    let names = ["s", "e", "b"].map(str::to_owned);
    let table = ScratchTable::of_columns(shown.as_bytes(), "g", &all(&names)).unwrap();
    let expected = "SELECT `s` | 0, `e` + 0, `b` + 0 FROM `g`";
    assert_eq!(text(table.read()), expected);
    assert_eq!(
        [0, 1, 2, 3].map(|column| table.is_listed(column)),
        [true, true, false, false]
    );
}

const LENT: &[u8] = b"CREATE TEMPORARY TABLE `mesh_lent` (
  `mesh_0` decimal(41,0) DEFAULT NULL,
  `mesh_1` varchar(10) DEFAULT NULL,
  `mesh_2` varchar(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'CHARACTER SET x',
  `mesh_3` varbinary(9) DEFAULT NULL,
  `mesh_4` enum('a)''b','c') CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci DEFAULT NULL
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_german1_ci";

fn lent(shown: &[u8], lent: &[u8], wanted: &str, flavor: Flavor) -> Option<LentTable> {
    let columns = [wanted.to_owned()];
    LentTable::of(shown, lent, ("mesh_found", &all(&columns)), flavor)
}

#[test]
fn what_is_lent_goes_as_what_it_is() {
    let table = lent(LENT, LENT, "mesh_0", Flavor::MySql).unwrap();
    let create = text(table.table.create.clone());
    for column in [
        "`mesh_1` varchar(10) CHARACTER SET latin1 COLLATE latin1_german1_ci NULL, ",
        "`mesh_2` varchar(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL, ",
        "`mesh_4` enum('a)''b','c') CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NULL)",
    ] {
        assert!(create.contains(column), "{create}");
    }
    assert_eq!(
        text(table.read()),
        "SELECT CAST(CONVERT(JSON_ARRAY(CAST(`mesh_0` AS CHAR), CAST(`mesh_0` AS CHAR), \
         CONVERT(`mesh_1` USING utf8mb4), CONVERT(`mesh_2` USING utf8mb4), HEX(`mesh_3`), \
         CONVERT(`mesh_4` USING utf8mb4)) USING utf8mb4) AS BINARY) FROM `mesh_found` LIMIT 18446744073709551615"
    );
    assert_eq!(text(table.lent(1).to_vec()), "mesh_rows.mesh_1");
    assert_eq!(text(table.lent(3).to_vec()), "UNHEX(mesh_rows.mesh_3)");
}

#[test]
fn rows_go_as_one_document() {
    let table = lent(LENT, LENT, "mesh_0", Flavor::MySql).unwrap();
    let writing = |no_backslash_escapes| Writing {
        no_backslash_escapes,
        utf8: true,
        zones: true,
    };
    let whole = |rows: &[&[u8]], plain| {
        let words = table.words(rows, writing(plain));
        let rows = words.rows.join(&words.between[..]);
        text([words.before, rows, words.after].concat())
    };
    let rows: [&[u8]; 2] = [br#"["1\n"]"#, b"['2']"];
    let escaped = whole(&rows, false);
    assert!(
        escaped.starts_with(r#" SELECT mesh_rows.own_0 FROM JSON_TABLE('[["1\\n"],[''2'']]', '$[*]' COLUMNS (own_0 decimal(41,0) PATH '$[0]' ERROR ON EMPTY ERROR ON ERROR, mesh_0 "#),
        "{escaped}"
    );
    assert!(escaped.ends_with(")) AS mesh_rows"), "{escaped}");
    let plain = whole(&rows, true);
    assert!(plain.contains(r#"'[["1\n"],[''2'']]'"#), "{plain}");
    let hex = whole(&["ä".as_bytes(), b"1"], false);
    assert!(
        hex.contains("JSON_TABLE(_utf8mb4 x'5bc3a42c315d', "),
        "{hex}"
    );
}

#[test]
fn rows_that_others_take_along() {
    let with = |key: &str| {
        let shown = format!(
            "CREATE TABLE `t` (\n  `a` int COMMENT ' FOREIGN KEY  CASCADE',\n  {key}\n) ENGINE=InnoDB"
        );
        ScratchTable::cascades(shown.as_bytes())
    };
    assert!(with(
        "CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `t` (`b`) ON DELETE CASCADE"
    ));
    assert!(with(
        "CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `u` (`b`) ON DELETE SET NULL"
    ));
    assert!(!with(
        "CONSTRAINT ` CASCADE` FOREIGN KEY (`a`) REFERENCES `t` (`b`)"
    ));
    assert!(!with("CONSTRAINT `c` CHECK ((`a` <> _utf8mb4' CASCADE'))"));
}

#[test]
fn a_type_that_no_row_of_a_document_has_is_not_lent() {
    let enums = b"CREATE TABLE `t` (\n  `mesh_0` enum('a') DEFAULT NULL\n) ENGINE=InnoDB";
    assert!(lent(LENT, enums, "mesh_0", Flavor::MySql).is_some());
    assert!(lent(LENT, enums, "mesh_0", Flavor::MariaDb).is_none());
    for kind in ["bit(3)", "json", "point", "inet6"] {
        let shown = format!("CREATE TABLE `t` (\n  `mesh_0` {kind} DEFAULT NULL\n) ENGINE=InnoDB");
        let made = lent(LENT, shown.as_bytes(), "mesh_0", Flavor::MySql);
        assert!(made.is_none(), "{kind}");
        // The rows' own columns may have it.
        assert!(lent(shown.as_bytes(), LENT, "mesh_0", Flavor::MySql).is_some());
    }
}
