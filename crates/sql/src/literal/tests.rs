use super::*;
use crate::dialect::LexCharset;

#[track_caller]
fn check(literal: &[u8], expected: Option<&[u8]>) {
    assert_eq!(decode(literal, &Dialect::default()).as_deref(), expected);
}

#[test]
fn strings_lose_quotes_and_escapes() {
    check(b"'it''s'", Some(b"it's"));
    check(br#"'a\'b\\c\n\0\Z\%\_\q'"#, Some(b"a'b\\c\n\0\x1a\\%\\_q"));
    check(br#""a""b'c""#, Some(b"a\"b'c"));
    check(b"'a' 'b' \"c\"", Some(b"abc"));
    check(b"N'x'", Some(b"x"));
    check(b"_utf8mb4 'x'", Some(b"x"));
    check(b"$$a'b$$", Some(b"a'b"));
    check(b"$t$a$$b$t$", Some(b"a$$b"));
    check(b"'open", None);
    check(b"'a' b", None);
    check(b"a", None);
    check(b"", None);
    check(b"-'a'", None);
}

#[test]
fn numbers_and_digits() {
    check(b"-1.5e3", Some(b"-1.5e3"));
    check(b"- 1", Some(b"-1"));
    check(b"1 + 1", None);
    check(b"x'4D5a'", Some(b"MZ"));
    check(b"0x4D5", Some(b"\x04\xd5"));
    check(b"b'100000001'", Some(b"\x01\x01"));
    check(b"0b1", Some(b"\x01"));
}

#[test]
fn sql_mode_and_charset_count() {
    let plain = Dialect {
        no_backslash_escapes: true,
        ..Dialect::default()
    };
    assert_eq!(decode(br"'a\'", &plain).unwrap(), br"a\");
    let gbk = Dialect {
        charset: LexCharset::Gbk,
        ..Dialect::default()
    };
    assert_eq!(decode(b"'\xbf\x5c'", &gbk).unwrap(), b"\xbf\x5c");
}

#[test]
fn names_in_quotes() {
    assert_eq!(unquote_name(b"`a``b`"), b"a`b");
    assert_eq!(quote_identifier(b"a`b"), b"`a``b`");
    assert_eq!(hex_literal(b"\x00\xff"), b"x'00ff'");
}
