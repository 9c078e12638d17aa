use super::*;
use crate::dialect::LexCharset;

const VALUES: SessionFunctionValues = SessionFunctionValues {
    connection_id: Some(77),
    row_count: Some(-1),
    found_rows: Some(5),
    warning_count: Some(2),
    error_count: Some(1),
    last_insert_id: None,
};

#[track_caller]
fn check(sql: &str, expected: Option<&str>) {
    let got = replace_session_functions(sql.as_bytes(), &Dialect::default(), &VALUES)
        .map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(got.as_deref(), expected, "{sql}");
}

#[test]
fn an_id_is_put_in_where_it_is_given() {
    let put = |sql: &str| {
        let values = SessionFunctionValues {
            last_insert_id: Some(9),
            ..SessionFunctionValues::default()
        };
        replace_session_functions(sql.as_bytes(), &Dialect::default(), &values)
            .map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let own = put("SELECT v FROM t WHERE id = LAST_INSERT_ID()");
    let expected = "SELECT v FROM t WHERE id = CAST(9|0 AS UNSIGNED)";
    assert_eq!(own.as_deref(), Some(expected));
    assert_eq!(put("SELECT LAST_INSERT_ID(7)"), None);
    assert_eq!(
        put("SELECT 1 FROM t WHERE id IN (@@identity, @@session.`last_insert_id`)").as_deref(),
        Some("SELECT 1 FROM t WHERE id IN (IF(1,9|0,NULL), IF(1,9|0,NULL))")
    );
    assert_eq!(put("SET @@last_insert_id = 7"), None);
    check("SELECT v FROM t WHERE id = LAST_INSERT_ID()", None);
}

#[test]
fn columns_keep_their_names() {
    check(
        "SELECT CONNECTION_ID()",
        Some("SELECT CAST(77 AS UNSIGNED) AS `CONNECTION_ID()`"),
    );
    check(
        "select  row_count ( ) ;",
        Some("select  CAST(-1|0 AS SIGNED) AS `row_count ( )` ;"),
    );
    check(
        "SELECT FOUND_ROWS() n",
        Some("SELECT CAST(5|0 AS SIGNED) n"),
    );
    check(
        "SELECT FOUND_ROWS() AS n",
        Some("SELECT CAST(5|0 AS SIGNED) AS n"),
    );
    check(
        "SELECT FOUND_ROWS() 'n'",
        Some("SELECT CAST(5|0 AS SIGNED) 'n'"),
    );
    check(
        "SELECT 1+ROW_COUNT( ), @@warning_count, a FROM t",
        Some(
            "SELECT 1+CAST(-1|0 AS SIGNED) AS `1+ROW_COUNT( )`, IF(1,2|0,NULL) AS `@@warning_count`, a FROM t",
        ),
    );
    check(
        "SELECT DISTINCT @@session.error_count LIMIT 1",
        Some("SELECT DISTINCT IF(1,1|0,NULL) AS `@@session.error_count` LIMIT 1"),
    );
    check(
        "SELECT `connection_id`()",
        Some("SELECT CAST(77 AS UNSIGNED) AS ```connection_id``()`"),
    );
    check(
        "SELECT NOW() + INTERVAL ROW_COUNT() SECOND",
        Some(
            "SELECT NOW() + INTERVAL CAST(-1|0 AS SIGNED) SECOND AS `NOW() + INTERVAL ROW_COUNT() SECOND`",
        ),
    );
}

#[test]
fn nested_lists_get_names_at_every_level() {
    check(
        "SELECT * FROM (SELECT CONNECTION_ID()) d",
        Some("SELECT * FROM (SELECT CAST(77 AS UNSIGNED) AS `CONNECTION_ID()`) d"),
    );
    check(
        "SELECT (SELECT CONNECTION_ID())",
        Some(
            "SELECT (SELECT CAST(77 AS UNSIGNED) AS `CONNECTION_ID()`) AS `(SELECT CONNECTION_ID())`",
        ),
    );
    check(
        "(SELECT ROW_COUNT()) UNION SELECT 1",
        Some("(SELECT CAST(-1|0 AS SIGNED) AS `ROW_COUNT()`) UNION SELECT 1"),
    );
}

#[test]
fn names_are_those_the_server_makes() {
    check(
        "SELECT CASE WHEN ROW_COUNT() THEN 1 END",
        Some(
            "SELECT CASE WHEN CAST(-1|0 AS SIGNED) THEN 1 END AS `CASE WHEN ROW_COUNT() THEN 1 END`",
        ),
    );
    check(
        "SELECT /*!50000 ROW_COUNT() */ + 1",
        Some("SELECT /*!50000 CAST(-1|0 AS SIGNED) */ + 1 AS `ROW_COUNT()  + 1`"),
    );
    check(
        "SELECT 1 + /*!99999 2 + */ ROW_COUNT( /* c */ )",
        Some("SELECT 1 + /*!99999 2 + */ CAST(-1|0 AS SIGNED) AS `1 +  ROW_COUNT( /* c */ )`"),
    );
}

#[test]
fn only_calls_are_replaced() {
    check("SELECT 'CONNECTION_ID()'", None);
    check("SELECT 1 /* CONNECTION_ID() */", None);
    check("SELECT db.connection_id()", None);
    check("SELECT connection_id FROM t", None);
    check("SELECT connection_id(1)", None);
    check("INSERT INTO connection_id() VALUES ()", None);
    check("SET @@pseudo_thread_id = 5", None);
    check("SELECT @@global.warning_count", None);
    check("CREATE VIEW v AS SELECT CONNECTION_ID()", None);
    check(
        "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT CONNECTION_ID(); END",
        None,
    );
    check(
        "SET @a = @@warning_count, @b = CONNECTION_ID()",
        Some("SET @a = IF(1,2|0,NULL), @b = CAST(77 AS UNSIGNED)"),
    );
    check(
        "UPDATE t SET a = CONNECTION_ID() WHERE b = FOUND_ROWS(); SELECT ROW_COUNT()",
        Some(
            "UPDATE t SET a = CAST(77 AS UNSIGNED) WHERE b = CAST(5|0 AS SIGNED); \
             SELECT CAST(-1|0 AS SIGNED) AS `ROW_COUNT()`",
        ),
    );
    let nothing = SessionFunctionValues::default();
    let sql = b"SELECT CONNECTION_ID()";
    assert_eq!(
        replace_session_functions(sql, &Dialect::default(), &nothing),
        None
    );
}

#[test]
fn aliases_keep_multi_byte_characters_whole() {
    let gbk = Dialect {
        charset: LexCharset::Gbk,
        ..Dialect::default()
    };
    let sql = b"SELECT CONCAT('\x81\x60', ROW_COUNT())";
    let expected =
        b"SELECT CONCAT('\x81\x60', CAST(-1|0 AS SIGNED)) AS `CONCAT('\x81\x60', ROW_COUNT())`";
    assert_eq!(
        replace_session_functions(sql, &gbk, &VALUES).unwrap(),
        expected
    );
}

#[test]
fn a_name_with_nul_is_not_quoted() {
    check(
        "SELECT CONNECTION_ID()\0+1; SELECT 2",
        Some("SELECT CAST(77 AS UNSIGNED)\0+1; SELECT 2"),
    );
}
