//! Collation ids, as the protocol carries them, and their character sets.
//!
//! Owns the tables of MySQL and MariaDB. It converts no text and decides nothing about a session.
//! Input: collation ids of handshakes and column definitions, names of SET NAMES.

mod table;

use std::borrow::Cow;
use table::{CHARSETS, COLLATIONS, MARIADB_NAMES, UCA1400_LANGUAGES};

/// First id of MariaDB's uca1400 collations. `id = 2048 + 256·charset + 8·language + 4·nopad + 2·as + cs`.
const UCA1400_FIRST: u16 = 2048;
const UCA1400_CHARSETS: [&str; 5] = ["utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32"];
const UCA1400_LANGUAGE_IDS: u16 = 32;

/// Collation id of utf8mb4_0900_ai_ci, the default of MySQL 8.
pub const UTF8MB4_0900_AI_CI: u16 = 255;
/// Collation id of utf8mb4_general_ci, which every server since 5.5 knows.
pub const UTF8MB4_GENERAL_CI: u16 = 45;
/// Collation id of binary data.
pub const BINARY: u16 = 63;

/// A collation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collation {
    /// Its id on the wire.
    pub id: u16,
    /// Its name, e.g. `utf8mb4_0900_ai_ci`; MySQL's where the servers differ.
    pub name: Cow<'static, str>,
    /// Its character set, e.g. `utf8mb4`.
    pub charset: &'static str,
}

impl Collation {
    /// Its name on MariaDB, which calls a few ids differently.
    pub fn name_on_mariadb(&self) -> &str {
        MARIADB_NAMES
            .iter()
            .find(|(id, _)| *id == self.id)
            .map_or(&*self.name, |(_, name)| name)
    }
}

/// Whether SQL text in a character set can be read byte by byte as if it were ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteLexing {
    /// It can: no byte of a longer character looks like ASCII.
    Safe,
    /// It cannot: the second byte of a character may be `\`, `` ` `` or a letter.
    Unsafe,
    /// Servers refuse the character set for clients.
    NotForClients,
}

/// The collation with this id.
pub fn by_id(id: u16) -> Option<Collation> {
    if id >= UCA1400_FIRST {
        return uca1400(id);
    }
    let index = COLLATIONS.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    COLLATIONS
        .get(index)
        .and_then(|(id, name)| listed(*id, name))
}

/// The collation with this name, in any case. Where one name stands for an id of MySQL and another
/// of MariaDB, MySQL's is returned.
pub fn by_collation_name(name: &str) -> Option<Collation> {
    let lists = COLLATIONS.iter().chain(MARIADB_NAMES);
    let found = lists
        .clone()
        .find(|(_, listed)| listed.eq_ignore_ascii_case(name));
    if let Some((id, _)) = found {
        return by_id(*id);
    }
    if !name.to_ascii_lowercase().contains("_uca1400_") {
        return None;
    }
    let last = UCA1400_FIRST.saturating_add(256 * UCA1400_CHARSETS.len() as u16);
    (UCA1400_FIRST..last)
        .filter_map(uca1400)
        .find(|collation| collation.name.eq_ignore_ascii_case(name))
}

/// Id of the default collation of a character set in MySQL 8. `utf8` means utf8mb3.
pub fn default_collation_id(charset: &str) -> Option<u16> {
    let charset = canonical(charset);
    CHARSETS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(charset))
        .map(|(_, id)| *id)
}

/// The same in MariaDB, whose utf8mb4 has another default and which has no gb18030.
pub fn default_collation_id_on_mariadb(charset: &str) -> Option<u16> {
    match default_collation_id(charset)? {
        UTF8MB4_0900_AI_CI => Some(UTF8MB4_GENERAL_CI),
        id if by_id(id)?.charset == "gb18030" => None,
        id => Some(id),
    }
}

/// Whether SQL text in this character set can be read byte by byte. Unknown sets are unsafe.
pub fn byte_lexing(charset: &str) -> ByteLexing {
    let charset = canonical(charset).to_ascii_lowercase();
    match charset.as_str() {
        "ucs2" | "utf16" | "utf16le" | "utf32" => ByteLexing::NotForClients,
        // swe7 has letters in place of `\`, `[` and `` ` ``.
        "gbk" | "big5" | "sjis" | "cp932" | "gb18030" | "swe7" => ByteLexing::Unsafe,
        known if default_collation_id(known).is_some() => ByteLexing::Safe,
        _ => ByteLexing::Unsafe,
    }
}

fn canonical(charset: &str) -> &str {
    if charset.eq_ignore_ascii_case("utf8") {
        "utf8mb3"
    } else {
        charset
    }
}

fn listed(id: u16, name: &'static str) -> Option<Collation> {
    let prefix = name.split_once('_').map_or(name, |(prefix, _)| prefix);
    let (charset, _) = CHARSETS.iter().find(|(charset, _)| *charset == prefix)?;
    Some(Collation {
        id,
        name: Cow::Borrowed(name),
        charset,
    })
}

fn uca1400(id: u16) -> Option<Collation> {
    let number = id.checked_sub(UCA1400_FIRST)?;
    let charset = *UCA1400_CHARSETS.get(usize::from(number / (UCA1400_LANGUAGE_IDS * 8)))?;
    let language = (*UCA1400_LANGUAGES.get(usize::from(number / 8 % UCA1400_LANGUAGE_IDS))?)?;
    let separator = if language.is_empty() { "" } else { "_" };
    let pad = if number & 4 != 0 { "_nopad" } else { "" };
    let accents = if number & 2 != 0 { "as" } else { "ai" };
    let case = if number & 1 != 0 { "cs" } else { "ci" };
    let name = format!("{charset}_uca1400{separator}{language}{pad}_{accents}_{case}");
    Some(Collation {
        id,
        name: Cow::Owned(name),
        charset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_consistent() {
        assert!(COLLATIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (id, name) in COLLATIONS {
            let collation = by_id(*id).unwrap_or_else(|| panic!("{id} {name}"));
            assert_eq!(collation.name, *name);
        }
        for (charset, id) in CHARSETS {
            assert_eq!(by_id(*id).unwrap().charset, *charset);
        }
    }

    #[test]
    fn known_collations() {
        let cases = [
            (8, "latin1_swedish_ci", "latin1"),
            (33, "utf8mb3_general_ci", "utf8mb3"),
            (45, "utf8mb4_general_ci", "utf8mb4"),
            (63, "binary", "binary"),
            (255, "utf8mb4_0900_ai_ci", "utf8mb4"),
            (309, "utf8mb4_0900_bin", "utf8mb4"),
            (1025, "big5_chinese_nopad_ci", "big5"),
            (2304, "utf8mb4_uca1400_ai_ci", "utf8mb4"),
            (3271, "utf32_uca1400_croatian_nopad_as_cs", "utf32"),
        ];
        for (id, name, charset) in cases {
            let collation = by_id(id).unwrap();
            assert_eq!((&*collation.name, collation.charset), (name, charset));
            assert_eq!(
                by_collation_name(&name.to_uppercase()).map(|c| c.id),
                Some(id),
                "{name}"
            );
        }
        assert_eq!(by_id(0), None);
        assert_eq!(by_id(u16::MAX), None);
        assert_eq!(by_collation_name("utf8mb4_klingon_ci"), None);
        assert_eq!(
            by_id(245).unwrap().name_on_mariadb(),
            "utf8mb4_croatian_mysql561_ci"
        );
    }

    #[test]
    fn defaults() {
        assert_eq!(default_collation_id("UTF8MB4"), Some(255));
        assert_eq!(default_collation_id_on_mariadb("utf8mb4"), Some(45));
        assert_eq!(default_collation_id("utf8"), Some(33));
        assert_eq!(default_collation_id("klingon"), None);
        assert_eq!(default_collation_id_on_mariadb("gb18030"), None);
    }

    #[test]
    fn lexing() {
        assert_eq!(byte_lexing("utf8mb4"), ByteLexing::Safe);
        assert_eq!(byte_lexing("GBK"), ByteLexing::Unsafe);
        assert_eq!(byte_lexing("ucs2"), ByteLexing::NotForClients);
        assert_eq!(byte_lexing("klingon"), ByteLexing::Unsafe);
    }
}
