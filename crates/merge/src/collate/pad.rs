//! Strings as bytes that compare one by one, also where more columns follow.
//!
//! Owns the two forms: of NO PAD strings, ended by a terminator less than anything, and of PAD SPACE strings,
//! which compare as if they were continued with blanks for ever. Equal strings have equal forms, and no form is
//! the beginning of another. Input: bytes, or weights of a fixed width.

/// How the weights of a collation are continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// NO PAD.
    None,
    /// With this many bytes of these, one blank's weight.
    Blank([u8; 3], usize),
}

impl Padding {
    /// That of WEIGHT_STRING of a collation (server-facts.md, 11); `None` where it was not examined.
    pub(crate) fn of(collation: &str) -> Option<Self> {
        let (charset, rest) = collation.split_once('_').unwrap_or((collation, ""));
        let utf8 = charset.starts_with("utf8mb");
        if charset == "binary" || rest.starts_with("0900_") || rest.contains("nopad") {
            return Some(Self::None);
        }
        match (charset, rest) {
            ("latin1", "swedish_ci" | "bin") => Some(Self::Blank([b' ', 0, 0], 1)),
            (_, "general_ci") if utf8 => Some(Self::Blank([0, b' ', 0], 2)),
            ("utf8mb4", "bin") => Some(Self::Blank([0, 0, b' '], 3)),
            (_, "unicode_ci") if utf8 => Some(Self::Blank([2, 9, 0], 2)),
            (_, "unicode_520_ci") if utf8 => Some(Self::Blank([2, 0xA, 0], 2)),
            (_, "uca1400_ai_ci") if utf8 => Some(Self::Blank([2, 9, 0], 2)),
            _ => None,
        }
    }

    /// Appends a value of WEIGHT_STRING. `None` when it does not consist of whole weights.
    pub(crate) fn put(&self, weights: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::None => put_bytes(weights, out),
            Self::Blank(blank, width) => {
                if !weights.len().is_multiple_of(*width) {
                    return None;
                }
                put_padded(weights, blank.get(..*width)?, out);
            }
        }
        Some(())
    }
}

/// Appends bytes: a zero becomes 00 01, the end 00 00.
pub(crate) fn put_bytes(value: &[u8], out: &mut Vec<u8>) {
    for part in value.split_inclusive(|byte| *byte == 0) {
        out.extend_from_slice(part);
        if part.last() == Some(&0) {
            out.push(1);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// What follows a run of blanks, as a byte behind one blank.
const LESS_THAN_BLANK: u8 = 0;
const END: u8 = 1;
const MORE_THAN_BLANK: u8 = 2;

/// Appends weights of `blank`'s width, continued with blanks for ever.
///
/// Where blanks begin, the rest is compared with nothing but blanks: it is less, equal (the end) or more,
/// which the byte behind the blank says. Of two that are less, the longer run of blanks is more; of two that are
/// more it is less.
pub(crate) fn put_padded(weights: &[u8], blank: &[u8], out: &mut Vec<u8>) {
    let width = blank.len().max(1);
    let mut kept = weights.len() - weights.len() % width;
    while kept >= width && weights.get(kept - width..kept) == Some(blank) {
        kept -= width;
    }
    let mut units = weights.get(..kept).unwrap_or(weights).chunks_exact(width);
    while let Some(unit) = units.next() {
        out.extend_from_slice(unit);
        if unit != blank {
            continue;
        }
        let mut run = 1_u32;
        for next in units.by_ref() {
            if next == blank {
                run = run.saturating_add(1);
                continue;
            }
            let (mark, run) = if next < blank {
                (LESS_THAN_BLANK, run)
            } else {
                (MORE_THAN_BLANK, !run)
            };
            out.push(mark);
            out.extend_from_slice(&run.to_be_bytes());
            out.extend_from_slice(next);
            break;
        }
    }
    out.extend_from_slice(blank);
    out.push(END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn padded(value: &[u8], blank: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_padded(value, blank, &mut out);
        out
    }

    fn continued(value: &[u8], blank: &[u8], length: usize) -> Vec<u8> {
        let blanks = blank.iter().copied().cycle().take(length - value.len());
        value.iter().copied().chain(blanks).collect()
    }

    proptest! {
        #[test]
        fn padded_strings_compare_as_if_continued(a in "[ !\t]{0,8}", b in "[ !\t]{0,8}", next in any::<bool>()) {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let whole = continued(a, b" ", 8).cmp(&continued(b, b" ", 8));
            let (mut x, mut y) = (padded(a, b" "), padded(b, b" "));
            prop_assert_eq!(x.cmp(&y), whole);
            // What follows decides between equal ones only.
            x.push(u8::from(next));
            y.push(u8::from(!next));
            prop_assert_eq!(x.cmp(&y), whole.then(next.cmp(&!next)));
        }

        #[test]
        fn wide_weights_too(a in prop::collection::vec(0_u16..4, 0..6), b in prop::collection::vec(0_u16..4, 0..6)) {
            let bytes = |units: &[u16]| units.iter().flat_map(|u| u.to_be_bytes()).collect::<Vec<u8>>();
            let (a, b, blank) = (bytes(&a), bytes(&b), [0, 2]);
            let whole = continued(&a, &blank, 12).cmp(&continued(&b, &blank, 12));
            prop_assert_eq!(padded(&a, &blank).cmp(&padded(&b, &blank)), whole);
        }

        #[test]
        fn bytes_compare_as_they_are(a in prop::collection::vec(0_u8..3, 0..6), b in prop::collection::vec(0_u8..3, 0..6)) {
            let form = |value: &[u8]| { let mut out = Vec::new(); put_bytes(value, &mut out); out };
            prop_assert_eq!(form(&a).cmp(&form(&b)), a.cmp(&b));
            prop_assert!(a == b || !form(&a).starts_with(&form(&b)));
        }
    }
}
