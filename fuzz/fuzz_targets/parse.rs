//! SQL of a client in any dialect: the parser is total, its spans lie in the text, and its facts are those of a second parse.
#![no_main]

use arbitrary::Arbitrary;
use dbmesh_sql::ast::{Expr, Query, Select, TableRef};
use dbmesh_sql::{Dialect, Flavor, LexCharset, ParsedFacts, Parser, Span};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    mariadb: bool,
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

fn lies_in(span: Span, outer: Span) {
    assert!(
        outer.start <= span.start && span.start <= span.end && span.end <= outer.end,
        "{span:?} in {outer:?}"
    );
}

fuzz_target!(|input: Input| {
    let dialect = Dialect {
        flavor: if input.mariadb {
            Flavor::MariaDb
        } else {
            Flavor::MySql
        },
        version: if input.mariadb { 101_119 } else { 90_700 },
        ansi_quotes: input.flags & 1 != 0,
        no_backslash_escapes: input.flags & 2 != 0,
        ignore_space: input.flags & 4 != 0,
        pipes_as_concat: input.flags & 8 != 0,
        high_not_precedence: input.flags & 16 != 0,
        charset: CHARSETS[usize::from(input.charset) % CHARSETS.len()],
    };
    let mut parser = Parser::new();
    let mut again = Parser::new();
    let mut offset = 0;
    while offset < input.sql.len() {
        let Ok(ast) = parser.parse_at(input.sql, offset, &dialect) else {
            break;
        };
        let parsed = ast.statement();
        assert!(
            parsed.next_offset > offset && parsed.next_offset <= input.sql.len(),
            "a statement ends after it starts"
        );
        let spans = (ast.all::<Expr>().iter().map(|node| node.span))
            .chain(ast.all::<Query>().iter().map(|node| node.span))
            .chain(ast.all::<Select>().iter().map(|node| node.span))
            .chain(ast.all::<TableRef>().iter().map(|node| node.span));
        for span in spans {
            lies_in(span, parsed.span);
        }
        let facts = ParsedFacts::of(ast, input.sql, &dialect);
        for table in &facts.tables {
            lies_in(table.name.span, parsed.span);
        }
        let second = again
            .parse_at(input.sql, offset, &dialect)
            .map(|ast| ParsedFacts::of(ast, input.sql, &dialect));
        assert_eq!(second, Ok(facts), "parsing is stable");
        offset = parsed.next_offset;
    }
});
