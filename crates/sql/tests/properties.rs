//! Properties that hold for every text.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use dbmesh_sql::literal::{decode, hex_literal, quote_identifier, quote_literal, unquote_name};
use dbmesh_sql::{
    Dialect, Flavor, Hints, LexCharset, Lexer, SessionFunctionValues, analyze, digest_text,
    replace_session_functions,
};
use proptest::prelude::*;

fn dialects() -> impl Strategy<Value = Dialect> {
    let charsets = prop_oneof![
        Just(LexCharset::AsciiSafe),
        Just(LexCharset::SingleByte),
        Just(LexCharset::Gbk),
        Just(LexCharset::Big5),
        Just(LexCharset::Sjis),
        Just(LexCharset::Gb18030),
    ];
    let servers = prop_oneof![
        Just((Flavor::MySql, 80_400)),
        Just((Flavor::MySql, 50_744)),
        Just((Flavor::MariaDb, 101_119)),
        Just((Flavor::MariaDb, 110_802)),
    ];
    (servers, any::<[bool; 3]>(), charsets).prop_map(|((flavor, version), [a, b, c], charset)| {
        Dialect {
            flavor,
            version,
            ansi_quotes: a,
            no_backslash_escapes: b,
            ignore_space: c,
            charset,
            ..Dialect::default()
        }
    })
}

/// Text made of pieces that mean something to the lexer, with stray bytes between.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"SELECT",
        b"SET",
        b"CREATE TEMPORARY TABLE",
        b"WITH",
        b"INSERT INTO",
        b"VALUES",
        b"ROW",
        b"IN",
        b"BEGIN",
        b"END",
        b"CASE",
        b"CREATE PROCEDURE",
        b"GET_LOCK",
        b"LAST_INSERT_ID",
        b"CONNECTION_ID()",
        b"ROW_COUNT()",
        b"AS",
        b"NULL",
        b"@",
        b"@@",
        b"@a",
        b"@@session.",
        b":=",
        b"(",
        b")",
        b",",
        b";",
        b".",
        b"=",
        b"-",
        b"--",
        b"-- ",
        b"#",
        b"\n",
        b"/*",
        b"*/",
        b"/*!",
        b"/*!50000 ",
        b"/*!999999 ",
        b"/*M!",
        b"/*+",
        b"'",
        b"\"",
        b"`",
        b"\\",
        b"$$",
        b"$a$",
        b"x'",
        b"b'",
        b"N'",
        b"_utf8mb4",
        b"0x",
        b"0b",
        b"1",
        b"1e5",
        b".5",
        b"a",
        b" ",
        b"\t",
        b"\0",
        b"\xa0",
        b"\xbf",
        b"\x81\x30",
        b"\xe0\x5c",
        b"NAMES",
        b"FOR",
        b"UPDATE",
        b"SET STATEMENT",
        b"EXECUTE IMMEDIATE",
        b"SHOW WARNINGS LIMIT",
        b"KILL",
        b"LOAD DATA LOCAL INFILE",
        b"HANDLER",
        b"XA COMMIT",
        b"PREPARE",
        b"FROM",
        b"ROLE",
        b"DEFINER=",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(PIECES).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_read_to_its_end(sql in hostile(), dialect in dialects()) {
        let mut end = 0;
        for token in Lexer::new(&sql, &dialect) {
            prop_assert!(token.span.start >= end, "tokens do not overlap");
            prop_assert!(token.span.end > token.span.start, "tokens are not empty");
            prop_assert!(token.span.end <= sql.len() || token.unterminated);
            end = token.span.end;
        }
        let statement = analyze(&sql, &dialect);
        prop_assert_eq!(statement.digest, analyze(&sql, &dialect).digest);
        digest_text(&sql, &dialect, 200);
        let values = SessionFunctionValues { connection_id: Some(1), row_count: Some(-1), found_rows: Some(1), warning_count: Some(1), error_count: Some(1), last_insert_id: Some(1) };
        if let Some(spliced) = replace_session_functions(&sql, &dialect, &values) {
            prop_assert_ne!(spliced, sql);
        }
    }

    #[test]
    fn any_bytes_are_read(sql in prop::collection::vec(any::<u8>(), 0..200), dialect in dialects()) {
        prop_assert!(Lexer::new(&sql, &dialect).count() <= sql.len());
        analyze(&sql, &dialect);
        digest_text(&sql, &dialect, 50);
    }

    #[test]
    fn digests_forget_literals_blanks_comments_and_keyword_case(
        number in 0u32..1_000_000,
        text in "[a-z ']{0,8}",
        blank in prop::sample::select(vec![" ", "  ", "\n", "\t", " /* c */ ", " -- c\n", " #c\n", "/**/ "]),
        list in prop::collection::vec(-9i32..9, 1..20),
        upper in any::<bool>(),
    ) {
        let dialect = Dialect::default();
        let word = |w: &str| if upper { w.to_uppercase() } else { w.to_lowercase() };
        let quoted = String::from_utf8(quote_literal(text.as_bytes(), false)).unwrap();
        let items = list.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let sql = format!(
            "{}{blank}a, {}(B){blank}{} t {} a = {number} {} b{blank}= {quoted}{blank}{} c {} ({items})",
            word("select"), word("count"), word("from"), word("where"), word("and"), word("and"), word("in"),
        );
        let plain = "SELECT a, COUNT(B) FROM t WHERE a = 1 AND b = 'x' AND c IN (1)";
        prop_assert_eq!(analyze(sql.as_bytes(), &dialect).digest, analyze(plain.as_bytes(), &dialect).digest, "{}", &sql);
        prop_assert_eq!(digest_text(sql.as_bytes(), &dialect, 1000), digest_text(plain.as_bytes(), &dialect, 1000));
    }

    #[test]
    fn equal_digests_and_equal_texts_go_together(left in hostile(), right in hostile()) {
        let dialect = Dialect::default();
        let texts = digest_text(&left, &dialect, 100_000) == digest_text(&right, &dialect, 100_000);
        let digests = analyze(&left, &dialect).digest == analyze(&right, &dialect).digest;
        prop_assert!(texts || !digests, "two texts with one digest");
    }

    #[test]
    fn quoting_is_undone_by_decoding(bytes in prop::collection::vec(any::<u8>(), 0..40), plain in any::<bool>()) {
        let dialect = Dialect { no_backslash_escapes: plain, ..Dialect::default() };
        let quoted = quote_literal(&bytes, plain);
        prop_assert_eq!(decode(&quoted, &dialect), Some(bytes.clone()));
        prop_assert_eq!(Lexer::new(&quoted, &dialect).count(), 1);
        prop_assert_eq!(decode(&hex_literal(&bytes), &dialect), Some(bytes.clone()));
        prop_assert_eq!(unquote_name(&quote_identifier(&bytes)), bytes);
    }

    #[test]
    fn hidden_text_has_no_facts(inner in "[a-zA-Z@():= ]{0,30}") {
        let dialect = Dialect::default();
        for sql in [
            format!("SELECT '{inner}'"),
            format!("SELECT \"{inner}\""),
            format!("SELECT a AS `{inner}`"),
            format!("SELECT 1 /* {inner} */"),
            format!("SELECT 1 -- {inner}"),
            format!("SELECT 1 # {inner}"),
            format!("SELECT 1 /*!999999 {inner} */"),
        ] {
            let statement = analyze(sql.as_bytes(), &dialect);
            prop_assert!(statement.facts.is_empty(), "{sql}: {:?}", statement.facts);
            prop_assert!(statement.effects.is_empty());
            prop_assert!(statement.is_read_only());
        }
    }

    #[test]
    fn facts_survive_blanks_comments_and_executable_comments(
        blank in prop::sample::select(vec![" ", "\n", "/**/", " /* ' */ ", " -- '\n", "\t#`\n"]),
    ) {
        let dialect = Dialect::default();
        let cases = [
            (format!("SELECT{blank}last_insert_id{blank}({blank}){blank}"), "READS_LAST_INSERT_ID"),
            (format!("SELECT{blank}@a{blank}:={blank}1"), "USER_VARIABLE_ASSIGNED"),
            (format!("CREATE{blank}TEMPORARY{blank}TABLE{blank}t{blank}(a int)"), "TEMPORARY_TABLE"),
            (format!("SELECT 1{blank}INTO{blank}@a"), "USER_VARIABLE_ASSIGNED"),
            (format!("SELECT 1,{blank}GET_LOCK{blank}('a',{blank}1)"), "GET_LOCK_FUNCTION"),
            (format!("SELECT{blank}db{blank}.{blank}f{blank}(1)"), "CALLS_ROUTINE"),
            (format!("SELECT * FROM t FOR{blank}UPDATE"), "LOCKING_READ"),
        ];
        for (sql, fact) in cases {
            for sql in [sql.clone(), format!("/*!50000 {sql} \n*/")] {
                let facts = analyze(sql.as_bytes(), &dialect).facts;
                prop_assert!(facts.names().any(|name| name == fact), "{sql}: {facts:?}");
            }
        }
    }
}

/// Text of comments that are nearly hints.
fn nearly_hints() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "mesh:",
        "SHARDINGSPHERE_HINT:",
        "primary",
        "replica",
        "endpoint",
        "timeout_ms",
        "tag.a",
        "=",
        ",",
        "'",
        "\"",
        " ",
        "\n",
        "7",
        "x",
        "\u{e9}",
        "*",
        "/",
        "#",
        "--",
    ];
    let piece = (0..PIECES.len()).prop_map(|at| PIECES[at].to_owned());
    prop::collection::vec(prop_oneof![4 => piece, 1 => ".{0,3}"], 0..20).prop_map(|p| p.concat())
}

proptest! {
    #[test]
    fn hints_are_read_or_refused_and_change_no_digest(text in nearly_hints(), dialect in dialects()) {
        let _ = Hints::of_attribute(text.as_bytes());
        let inside = text.replace("*/", "").replace(['*', '!', '+'], "");
        let sql = format!("/* mesh: {inside} */ SELECT a FROM t WHERE b = 1");
        let statement = analyze(sql.as_bytes(), &dialect);
        prop_assert_eq!(statement.hints.len(), 1);
        let _ = Hints::of_comments(sql.as_bytes(), &statement.hints);
        prop_assert_eq!(statement.digest, analyze(b"SELECT a FROM t WHERE b = 2", &dialect).digest);
    }
}
