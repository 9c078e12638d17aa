//! How the server that will run a statement reads its bytes.
//!
//! Owns the settings that change tokenisation: flavor, version, the lexical `sql_mode` flags and the client charset.
//! Must never guess: the session fills it from what its backend announced and from the `SET`s it has seen.

/// The family of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// MySQL and Percona Server.
    MySql,
    /// MariaDB.
    MariaDb,
}

/// What multi-byte characters mean to the lexer (`character_set_client`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LexCharset {
    /// ASCII bytes never occur inside a longer character: utf8mb4, utf8mb3, ujis, euckr, binary, ascii…
    #[default]
    AsciiSafe,
    /// Single-byte sets of the ISO 8859 and Windows families, where 0xA0 (no-break space) separates tokens.
    SingleByte,
    /// gbk: the second byte may be `\`, a backquote, `|` or `@`.
    Gbk,
    /// big5: as gbk, with other ranges.
    Big5,
    /// sjis and cp932.
    Sjis,
    /// gb18030: two-byte characters as gbk, four-byte characters with digits inside.
    Gb18030,
}

impl LexCharset {
    /// The lexical class of a MySQL character set name, in any letter case. Unknown names are [`LexCharset::AsciiSafe`].
    pub fn of_charset(name: &str) -> Self {
        const SINGLE: &[&str] = &[
            "latin1", "latin2", "latin5", "latin7", "greek", "hebrew", "cp1250", "cp1251",
            "cp1256", "cp1257",
        ];
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("gbk") {
            Self::Gbk
        } else if is("big5") {
            Self::Big5
        } else if is("sjis") || is("cp932") {
            Self::Sjis
        } else if is("gb18030") {
            Self::Gb18030
        } else if SINGLE.iter().any(|s| is(s)) {
            Self::SingleByte
        } else {
            Self::AsciiSafe
        }
    }

    /// Bytes of the multi-byte character that starts `rest`, or 1 when none does (the ranges are those of the server's
    /// own `my_ismbchar`; an incomplete character counts as single bytes, as there).
    pub(crate) fn char_len(self, rest: &[u8]) -> usize {
        let (Some(&first), Some(&second)) = (rest.first(), rest.get(1)) else {
            return 1;
        };
        let two = match self {
            Self::AsciiSafe | Self::SingleByte => return 1,
            Self::Gbk | Self::Gb18030 => {
                matches!(first, 0x81..=0xfe) && matches!(second, 0x40..=0x7e | 0x80..=0xfe)
            }
            Self::Big5 => {
                matches!(first, 0xa1..=0xf9) && matches!(second, 0x40..=0x7e | 0xa1..=0xfe)
            }
            Self::Sjis => {
                matches!(first, 0x81..=0x9f | 0xe0..=0xfc)
                    && matches!(second, 0x40..=0x7e | 0x80..=0xfc)
            }
        };
        if two {
            return 2;
        }
        let four = self == Self::Gb18030
            && matches!(first, 0x81..=0xfe)
            && second.is_ascii_digit()
            && matches!(rest.get(2), Some(0x81..=0xfe))
            && matches!(rest.get(3), Some(b'0'..=b'9'));
        if four { 4 } else { 1 }
    }
}

/// The lexical dialect of one backend session. The default is MySQL 8.4 with its default `sql_mode` and utf8mb4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// The family of the server.
    pub flavor: Flavor,
    /// Major × 10 000 + minor × 100 + patch: 80400, 101119.
    pub version: u32,
    /// `sql_mode` has ANSI_QUOTES: `"x"` is an identifier.
    pub ansi_quotes: bool,
    /// `sql_mode` has NO_BACKSLASH_ESCAPES: `\` is an ordinary character in strings.
    pub no_backslash_escapes: bool,
    /// `sql_mode` has IGNORE_SPACE: blanks between a built-in function and its parenthesis do not matter.
    pub ignore_space: bool,
    /// `sql_mode` has PIPES_AS_CONCAT: `||` joins strings.
    pub pipes_as_concat: bool,
    /// `sql_mode` has HIGH_NOT_PRECEDENCE: NOT binds as `!` does.
    pub high_not_precedence: bool,
    /// The class of `character_set_client`.
    pub charset: LexCharset,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            flavor: Flavor::MySql,
            version: 80_400,
            ansi_quotes: false,
            no_backslash_escapes: false,
            ignore_space: false,
            pipes_as_concat: false,
            high_not_precedence: false,
            charset: LexCharset::AsciiSafe,
        }
    }
}

impl Dialect {
    /// Whether the server runs the text of `/*!NNNNN … */`; `mariadb_only` is the `/*M!NNNNN` form.
    pub(crate) fn runs_versioned(&self, version: u32, mariadb_only: bool) -> bool {
        // MariaDB skips 5.7–9.x versions in `/*!`: those comments were written for MySQL features it does not have.
        let foreign =
            self.flavor == Flavor::MariaDb && !mariadb_only && (50_700..=99_999).contains(&version);
        version <= self.version && !foreign
    }

    /// Whether `$$ … $$` quotes text (MySQL since the release that deprecated a leading `$` in names).
    pub(crate) fn has_dollar_quotes(&self) -> bool {
        self.flavor == Flavor::MySql && self.version >= 80_032
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multi_byte_characters_swallow_their_tail() {
        assert_eq!(LexCharset::Gbk.char_len(b"\xbf\x5c'"), 2);
        assert_eq!(LexCharset::Gbk.char_len(b"\xbf\x27"), 1);
        assert_eq!(LexCharset::Gbk.char_len(b"\xbf"), 1);
        assert_eq!(LexCharset::Sjis.char_len(b"\x83\x5c"), 2);
        assert_eq!(LexCharset::Sjis.char_len(b"\xb1\x5c"), 1);
        assert_eq!(LexCharset::Big5.char_len(b"\xa5\x5c"), 2);
        assert_eq!(LexCharset::Gb18030.char_len(b"\x81\x30\x81\x30"), 4);
        assert_eq!(LexCharset::Gb18030.char_len(b"\x81\x30\x81"), 1);
        assert_eq!(LexCharset::AsciiSafe.char_len(b"\xbf\x5c"), 1);
    }

    #[test]
    fn charsets_by_name() {
        assert_eq!(LexCharset::of_charset("GBK"), LexCharset::Gbk);
        assert_eq!(LexCharset::of_charset("cp932"), LexCharset::Sjis);
        assert_eq!(LexCharset::of_charset("latin1"), LexCharset::SingleByte);
        assert_eq!(LexCharset::of_charset("utf8mb4"), LexCharset::AsciiSafe);
    }
}
