//! What is not in order yet, written down so that it can only get less: `xtask/tidy-ratchet.toml` maps each known defect to
//! its size. It must never hide a defect that is new or has grown; its input is that file and what this run counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A rule whose existing breaches are tolerated and counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// Files longer than the limit: lines.
    LongFiles,
    /// Functions longer than the limit: lines.
    LongFunctions,
    /// Calls that panic, per file.
    Panics,
    /// Indexing that may panic, per file.
    Indexing,
}

impl Rule {
    /// Every rule, in the order of the file.
    pub const ALL: [Rule; 4] = [
        Rule::LongFiles,
        Rule::LongFunctions,
        Rule::Panics,
        Rule::Indexing,
    ];

    /// The name of its section.
    pub fn section(self) -> &'static str {
        match self {
            Rule::LongFiles => "long-files",
            Rule::LongFunctions => "long-functions",
            Rule::Panics => "panics",
            Rule::Indexing => "indexing",
        }
    }
}

/// Sizes of defects by rule and place: what the file holds, or what a run counted.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub struct Ratchet(BTreeMap<(Rule, String), usize>);

/// How a counted defect stands against the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Not in the file.
    New,
    /// Larger than the file says, which is given.
    Grown(usize),
    /// As the file says, or smaller.
    Known,
}

impl Ratchet {
    /// Reads the file's text.
    ///
    /// # Errors
    /// Names the line that is neither a section, a comment nor `"place" = number`.
    pub fn parse(text: &str) -> Result<Ratchet, String> {
        let mut entries = BTreeMap::new();
        let mut rule = None;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = || format!("line {}: `{line}` is no entry", number + 1);
            if let Some(section) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                rule = Some(
                    Rule::ALL
                        .into_iter()
                        .find(|rule| rule.section() == section)
                        .ok_or_else(wrong)?,
                );
                continue;
            }
            let (place, size) = line.split_once(" = ").ok_or_else(wrong)?;
            let size = size.parse().map_err(|_| wrong())?;
            entries.insert(
                (rule.ok_or_else(wrong)?, place.trim_matches('"').to_owned()),
                size,
            );
        }
        Ok(Ratchet(entries))
    }

    /// The file's text.
    pub fn print(&self) -> String {
        let mut out = String::from(
            "# Known defects of order. Entries may shrink and vanish, never grow; `cargo xtask tidy --bless` lowers them.\n",
        );
        for rule in Rule::ALL {
            let mut entries = self.0.iter().filter(|((of, _), _)| *of == rule).peekable();
            if entries.peek().is_some() {
                let _ = write!(out, "\n[{}]\n", rule.section());
            }
            for ((_, place), size) in entries {
                let _ = writeln!(out, "\"{place}\" = {size}");
            }
        }
        out
    }

    /// Adds `size` to what is counted at `place`.
    pub fn count(&mut self, rule: Rule, place: &str, size: usize) {
        *self.0.entry((rule, place.to_owned())).or_default() += size;
    }

    /// How `size` at `place` stands against this file.
    pub fn standing(&self, rule: Rule, place: &str, size: usize) -> Standing {
        match self.0.get(&(rule, place.to_owned())) {
            None => Standing::New,
            Some(known) if size > *known => Standing::Grown(*known),
            Some(_) => Standing::Known,
        }
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = (Rule, &str, usize)> {
        self.0
            .iter()
            .map(|((rule, place), size)| (*rule, place.as_str(), *size))
    }

    /// This file lowered to `counted`: vanished entries go, smaller ones shrink, none is added or raised.
    pub fn lowered(&self, counted: &Ratchet) -> Ratchet {
        let kept = self
            .0
            .iter()
            .filter_map(|(key, known)| Some((key.clone(), *counted.0.get(key)?.min(known))));
        Ratchet(kept.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Ratchet, Rule, Standing};

    fn sample() -> Ratchet {
        let mut ratchet = Ratchet::default();
        ratchet.count(Rule::LongFiles, "a.rs", 700);
        ratchet.count(Rule::Panics, "b.rs", 2);
        ratchet
    }

    #[test]
    fn what_is_printed_is_read_again() {
        assert_eq!(Ratchet::parse(&sample().print()), Ok(sample()));
        assert!(Ratchet::parse("[nonsense]").is_err());
        assert!(
            Ratchet::parse("\"a\" = 1").is_err(),
            "an entry outside a section"
        );
    }

    #[test]
    fn growth_and_news_are_told_from_the_known() {
        let known = sample();
        assert_eq!(
            known.standing(Rule::LongFiles, "a.rs", 700),
            Standing::Known
        );
        assert_eq!(
            known.standing(Rule::LongFiles, "a.rs", 701),
            Standing::Grown(700)
        );
        assert_eq!(known.standing(Rule::Panics, "a.rs", 1), Standing::New);
    }

    #[test]
    fn lowering_never_raises_nor_adds() {
        let mut counted = Ratchet::default();
        counted.count(Rule::LongFiles, "a.rs", 900);
        counted.count(Rule::Indexing, "c.rs", 1);
        let mut expected = Ratchet::default();
        expected.count(Rule::LongFiles, "a.rs", 700);
        assert_eq!(sample().lowered(&counted), expected);
    }
}
