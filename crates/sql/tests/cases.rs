//! The corpus: statements with the verb, facts, digest text and effects they must give.
//!
//! Format of `cases/*.txt`: `: flavor version flags…` sets the dialect for what follows; `> text` is a statement (`\xNN`
//! and `\n` are bytes); `= Verb Class count facts…`, `~ digest text` and `+ effect` lines follow it. With
//! `BLESS_CASES=1` the expectations are written anew; read the difference before keeping it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::path::Path;

use dbmesh_sql::{Dialect, Effect, Flavor, LexCharset, Span, analyze, digest_text};

fn dialect(line: &str) -> Dialect {
    let mut dialect = Dialect::default();
    for word in line.split_whitespace() {
        match word {
            "mysql" => dialect.flavor = Flavor::MySql,
            "mariadb" => dialect.flavor = Flavor::MariaDb,
            "ansi_quotes" => dialect.ansi_quotes = true,
            "no_backslash_escapes" => dialect.no_backslash_escapes = true,
            "ignore_space" => dialect.ignore_space = true,
            "gbk" | "sjis" | "big5" | "gb18030" | "latin1" => {
                dialect.charset = LexCharset::of_charset(word)
            }
            version => dialect.version = version.parse().expect("a version"),
        }
    }
    dialect
}

fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        if let Some(hex) = rest
            .strip_prefix("\\x")
            .and_then(|r| r.get(..2))
            .filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            out.push(u8::from_str_radix(hex, 16).expect("two hex digits"));
            rest = &rest[4..];
        } else if let Some(after) = rest.strip_prefix("\\n") {
            out.push(b'\n');
            rest = after;
        } else {
            out.push(b'\\');
            rest = &rest[1..];
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// The effect with the text of its spans in place of their offsets.
fn effect_line(effect: &Effect, sql: &[u8]) -> String {
    let debug = format!("{effect:?}");
    let mut out = String::new();
    let mut rest = debug.as_str();
    while let Some(at) = rest.find("Span { start: ") {
        out.push_str(&rest[..at]);
        let span = &rest[at..];
        let end = span.find('}').expect("a closed span");
        let numbers: Vec<usize> = span[..end]
            .split(|c: char| !c.is_ascii_digit())
            .filter(|n| !n.is_empty())
            .map(|n| n.parse().expect("a number"))
            .collect();
        let text = Span {
            start: numbers[0],
            end: numbers[1],
        }
        .of(sql);
        write!(out, "«{}»", String::from_utf8_lossy(text)).expect("a string takes text");
        rest = &span[end + 1..];
    }
    out.push_str(rest);
    out
}

fn outcome(text: &str, dialect: &Dialect) -> String {
    let sql = bytes(text);
    let statement = analyze(&sql, dialect);
    let mut out = format!(
        "= {:?} {:?} {}",
        statement.verb, statement.class, statement.statements
    );
    for fact in statement.facts.names() {
        write!(out, " {fact}").expect("a string takes text");
    }
    writeln!(out).expect("a string takes text");
    writeln!(out, "~ {}", digest_text(&sql, dialect, 2000)).expect("a string takes text");
    for effect in &statement.effects {
        writeln!(out, "+ {}", effect_line(effect, &sql)).expect("a string takes text");
    }
    out
}

fn check(file: &Path) -> usize {
    let text = std::fs::read_to_string(file).expect("a readable case file");
    let bless = std::env::var_os("BLESS_CASES").is_some();
    let mut current = Dialect::default();
    let mut blessed = String::new();
    let mut cases = 0;
    let mut failures = String::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if let Some(words) = line.strip_prefix(": ") {
            current = dialect(words);
        }
        blessed.push_str(line);
        blessed.push('\n');
        let Some(sql) = line.strip_prefix("> ") else {
            continue;
        };
        let mut expected = String::new();
        while let Some((_, line)) = lines.next_if(|(_, l)| l.starts_with(['=', '~', '+'])) {
            expected.push_str(line);
            expected.push('\n');
        }
        let got = outcome(sql, &current);
        cases += 1;
        if got != expected {
            write!(
                failures,
                "{}:{}: {sql}\nexpected\n{expected}got\n{got}\n",
                file.display(),
                number + 1
            )
            .expect("a string takes text");
        }
        blessed.push_str(&got);
    }
    if bless {
        std::fs::write(file, blessed).expect("a writable case file");
    } else {
        assert!(failures.is_empty(), "{failures}");
    }
    cases
}

#[test]
fn corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of cases") {
        let path = entry.expect("an entry").path();
        // Folders hold the corpus and the cases of the parser.
        if path.is_file() {
            cases += check(&path);
        }
    }
    assert!(cases > 300, "only {cases} cases were found");
}
