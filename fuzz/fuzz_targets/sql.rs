//! SQL of a client in any dialect: analysis, digest and splice are total, stable and consistent with the lexer.
#![no_main]

use arbitrary::Arbitrary;
use dbmesh_sql::{
    Dialect, Flavor, LexCharset, Lexer, SessionFunctionValues, analyze, digest_text, literal,
    replace_session_functions,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    mariadb: bool,
    version: u32,
    flags: u8,
    charset: u8,
    sql: &'a [u8],
}

const CHARSETS: [LexCharset; 6] = [
    LexCharset::AsciiSafe,
    LexCharset::SingleByte,
    LexCharset::Gbk,
    LexCharset::Big5,
    LexCharset::Sjis,
    LexCharset::Gb18030,
];

fuzz_target!(|input: Input| {
    let dialect = Dialect {
        flavor: if input.mariadb {
            Flavor::MariaDb
        } else {
            Flavor::MySql
        },
        version: input.version % 200_000,
        ansi_quotes: input.flags & 1 != 0,
        no_backslash_escapes: input.flags & 2 != 0,
        ignore_space: input.flags & 4 != 0,
        charset: CHARSETS[usize::from(input.charset) % CHARSETS.len()],
        ..Dialect::default()
    };
    let statement = analyze(input.sql, &dialect);
    assert_eq!(
        statement.digest,
        analyze(input.sql, &dialect).digest,
        "a digest is stable"
    );
    let text = digest_text(input.sql, &dialect, 256);
    assert!(text.len() <= 256 + 16, "a digest's text is bounded");
    let mut end = 0;
    for token in Lexer::new(input.sql, &dialect) {
        let (from, to) = (token.span.start, token.span.end);
        assert!(
            from >= end && to > from && to <= input.sql.len(),
            "tokens advance: {from}..{to} after {end}"
        );
        end = to;
        let _ = literal::decode_span(input.sql, token.span, &dialect);
    }
    let values = SessionFunctionValues {
        connection_id: Some(7),
        row_count: Some(-1),
        found_rows: Some(3),
        warning_count: Some(2),
        error_count: Some(1),
        ..SessionFunctionValues::default()
    };
    if let Some(spliced) = replace_session_functions(input.sql, &dialect, &values) {
        let again = analyze(&spliced, &dialect);
        assert_eq!(
            again.statements,
            statement.statements,
            "splicing keeps the number of statements: {:?} {dialect:?}",
            String::from_utf8_lossy(&spliced)
        );
        assert_eq!(again.verb, statement.verb, "splicing keeps the verb");
    }
});
