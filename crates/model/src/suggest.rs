//! What was probably meant: the nearest of a few known words.
//!
//! It owns the edit distance and the wording "did you mean". It never decides whether something is
//! wrong. Its input is a word of the operator and the words that would have been right.

/// Words longer than this are not compared: the distance costs the product of the lengths.
const WORD_CHARS_MAX: usize = 64;
/// How many known words are listed when none is near.
const LISTED_MAX: usize = 12;

/// "did you mean `x`?" when a known word is near, else the list of known words, else nothing.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    if let Some(near) = nearest(word, &known) {
        return Some(format!("did you mean `{near}`?"));
    }
    if known.is_empty() || known.len() > LISTED_MAX {
        return None;
    }
    let listed: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    Some(format!("known here: {}", listed.join(", ")))
}

/// The known word within a third of the word's length, ignoring case; the first of the nearest.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let length = lower.chars().count();
    if length > WORD_CHARS_MAX {
        return None;
    }
    let allowed = (length / 3).max(1);
    known
        .iter()
        .filter(|name| name.len() <= WORD_CHARS_MAX)
        .map(|name| (distance(&lower, &name.to_lowercase()), *name))
        .filter(|(steps, name)| *steps <= allowed && *steps < name.chars().count())
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, name)| name)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = at(&above, j) + usize::from(x != y);
            let mut best = replaced.min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = above;
        above = row;
    }
    at(&above, b.len())
}

/// The cell of a row; rows are as long as every index used on them.
fn at(row: &[usize], index: usize) -> usize {
    row.get(index).copied().unwrap_or(usize::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let cases = [
            ("", "", 0),
            ("a", "", 1),
            ("poolsize", "poolsize", 0),
            ("poolsiez", "poolsize", 1),
            ("pol", "pool", 1),
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
        ];
        for (a, b, steps) in cases {
            assert_eq!(distance(a, b), steps, "{a} {b}");
            assert_eq!(distance(b, a), steps, "{b} {a}");
        }
    }

    #[test]
    fn near_words_are_meant_and_far_ones_are_listed() {
        let known = ["poolSize", "port", "host"];
        assert_eq!(
            suggest("poolsize", known).unwrap(),
            "did you mean `poolSize`?"
        );
        assert_eq!(suggest("prot", known).unwrap(), "did you mean `port`?");
        assert_eq!(
            suggest("colour", known).unwrap(),
            "known here: `host`, `poolSize`, `port`"
        );
        assert_eq!(suggest("colour", []), None);
        assert_eq!(suggest("x", ["y"]), Some("known here: `y`".to_owned()));
    }
}
