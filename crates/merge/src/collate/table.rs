//! Weights of characters for the collations that the crate compares itself, as the server has them.
//!
//! Owns the lookup in the committed tables (`tables/*.bin`, made from a server's WEIGHT_STRING by the test
//! of this module with `DBMESH_BLESS=1`) and the rules for characters that follow one. It must never guess:
//! a page of 256 characters that does not follow the rule is in the table. Input: code points.
//!
//! A file holds 0x1100 page numbers of two bytes (0xFFFF: the rule), a count of pages of two bytes, the
//! pages (256 entries of four bytes), and a pool of weights. An entry is `count << 24 | weight` for up to one
//! weight, `count << 24 | index into the pool` else. All little-endian.

use super::Native;

/// Pages of 256 code points in Unicode.
pub(super) const PAGES: usize = 0x1100;
/// The page number of a page whose characters follow the collation's rule.
pub(super) const RULE: u16 = 0xFFFF;
const PAGES_START: usize = PAGES * 2 + 2;

static UCA_900: &[u8] = include_bytes!("tables/uca_900_primary.bin");
static UCA_400: &[u8] = include_bytes!("tables/uca_400.bin");
static GENERAL: &[u8] = include_bytes!("tables/general.bin");

/// The weights of one character: none, one or several 16-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weights {
    /// It does not count.
    Ignored,
    /// One weight.
    One(u16),
    /// This many from this place of the table's pool.
    Pool { first: usize, count: usize },
    /// Two weights by the rule for characters that no table lists.
    Implicit(u16, u16),
    /// A Hangul syllable: the weights of its two or three letters.
    Hangul([u32; 3]),
}

/// A table of one collation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    bytes: &'static [u8],
    collation: Native,
}

impl Table {
    /// The table of a collation, if it needs one.
    pub(super) fn of(collation: Native) -> Option<Self> {
        let bytes = match collation {
            Native::Uca900 => UCA_900,
            Native::Uca400 => UCA_400,
            Native::General => GENERAL,
            Native::Bytes { .. } | Native::Latin1Swedish => return None,
        };
        Some(Self { bytes, collation })
    }

    /// The weights of a character.
    pub(super) fn weights(&self, code: u32) -> Weights {
        let page = (code >> 8) as usize;
        match self.u16_at(page.saturating_mul(2)) {
            Some(number) if number != RULE => self.listed(usize::from(number), code),
            _ => by_rule(self.collation, code),
        }
    }

    /// Appends the weights of a character, two bytes each, high byte first.
    pub(super) fn put(&self, code: u32, out: &mut Vec<u8>) {
        match self.weights(code) {
            Weights::Ignored => {}
            Weights::One(weight) => out.extend_from_slice(&weight.to_be_bytes()),
            Weights::Implicit(first, second) => {
                out.extend_from_slice(&first.to_be_bytes());
                out.extend_from_slice(&second.to_be_bytes());
            }
            Weights::Pool { first, count } => {
                for index in first..first.saturating_add(count) {
                    let weight = self.u16_at(self.pool_start().saturating_add(index * 2));
                    out.extend_from_slice(&weight.unwrap_or_default().to_be_bytes());
                }
            }
            Weights::Hangul(letters) => {
                for letter in letters.into_iter().filter(|letter| *letter != 0) {
                    self.put(letter, out);
                }
            }
        }
    }

    fn listed(&self, page: usize, code: u32) -> Weights {
        let index = page * 256 + (code & 0xFF) as usize;
        let at = PAGES_START.saturating_add(index * 4);
        let entry = match self.bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(bytes) => u32::from_le_bytes(*bytes),
            None => 0,
        };
        match entry >> 24 {
            0 => Weights::Ignored,
            1 => Weights::One((entry & 0xFFFF) as u16),
            count => Weights::Pool {
                first: (entry & 0xFF_FFFF) as usize,
                count: count as usize,
            },
        }
    }

    fn pool_start(&self) -> usize {
        let pages = self.u16_at(PAGES * 2).unwrap_or_default();
        PAGES_START + usize::from(pages) * 1024
    }

    fn u16_at(&self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..)?.first_chunk()?;
        Some(u16::from_le_bytes(*bytes))
    }
}

/// The weights of characters that the table of their collation leaves to the rule.
pub(super) fn by_rule(collation: Native, code: u32) -> Weights {
    let base = match (collation, code) {
        (Native::Uca900, 0xAC00..=0xD7A3) => return hangul(code),
        (Native::General | Native::Uca400, 0x1_0000..) => return Weights::One(0xFFFD),
        (Native::General, _) => return Weights::One((code & 0xFFFF) as u16),
        (Native::Uca900, 0x4E00..=0x9FD5) => 0xFB40,
        (Native::Uca400, 0x4E00..=0x9FA5) => 0xFB40,
        (Native::Uca900 | Native::Uca400, 0x3400..=0x4DB5) => 0xFB80,
        (Native::Uca900, 0x2_0000..=0x2_A6D6 | 0x2_A700..=0x2_B734) => 0xFB80,
        (Native::Uca900, 0x2_B740..=0x2_B81D | 0x2_B820..=0x2_CEA1) => 0xFB80,
        (Native::Uca900, 0x1_7000..=0x1_8AFF) => {
            let second = (code - 0x1_7000) & 0x7FFF | 0x8000;
            return Weights::Implicit(0xFB00, second as u16);
        }
        _ => 0xFBC0,
    };
    let second = code & 0x7FFF | 0x8000;
    Weights::Implicit(base + (code >> 15) as u16, second as u16)
}

/// The letters of a Hangul syllable (The Unicode Standard, 3.12).
fn hangul(code: u32) -> Weights {
    let index = code.saturating_sub(0xAC00);
    let last = index % 28;
    let last = if last == 0 { 0 } else { 0x11A7 + last };
    Weights::Hangul([0x1100 + index / 588, 0x1161 + index % 588 / 28, last])
}
