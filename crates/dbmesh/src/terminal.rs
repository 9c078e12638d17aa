//! What the commands print for people: colours, tables, texts without control characters.
//!
//! It owns how things look on a terminal. It never decides what is shown.

use std::env;
use std::fmt::{self, Write as _};

/// Whether to use the terminal's colours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Text alone.
    Plain,
    /// With escape sequences.
    Ansi,
}

impl Colour {
    /// Colour on a terminal, unless `NO_COLOR` is set to anything (no-color.org) or it is dumb.
    pub fn of(terminal: bool) -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        if terminal && !refused && !dumb {
            Colour::Ansi
        } else {
            Colour::Plain
        }
    }

    /// The text in the colour of this code.
    pub fn paint(self, code: &str, text: &str) -> String {
        match self {
            Colour::Plain => text.to_owned(),
            Colour::Ansi if code.is_empty() => text.to_owned(),
            Colour::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// A text without control characters, which could move the cursor of the reader's terminal.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// One cell of a table: its text, and the code of its colour, empty for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    code: &'static str,
}

impl Cell {
    /// A text as it is; a dash for an empty one, so that columns can be counted.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::painted("", text)
    }

    /// A text in colour.
    pub fn painted(code: &'static str, text: impl AsRef<str>) -> Self {
        let text = match text.as_ref() {
            "" => "-".to_owned(),
            text => Escaped(text).to_string(),
        };
        Self { text, code }
    }
}

/// A table with columns as wide as their widest cell.
pub fn table(heads: &[&str], rows: &[Vec<Cell>], colour: Colour) -> String {
    let width = |text: &str| text.chars().count();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| width(&cell.text)).max();
            widest.unwrap_or(0).max(width(head))
        })
        .collect();
    let head: Vec<Cell> = heads.iter().map(|head| Cell::painted("1", head)).collect();
    let mut out = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (at, (cell, wide)) in row.iter().zip(&widths).enumerate() {
            line.push_str(&colour.paint(cell.code, &cell.text));
            if at + 1 < row.len() {
                line.extend(std::iter::repeat_n(' ', wide - width(&cell.text) + 2));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_with_and_without_colour() {
        let rows = [
            vec![Cell::plain("é"), Cell::painted("32", "up"), Cell::plain("")],
            vec![Cell::plain("long\n"), Cell::plain("down"), Cell::plain("x")],
        ];
        let plain = table(&["A", "STATE", "C"], &rows, Colour::Plain);
        assert_eq!(
            plain,
            "A       STATE  C\né       up     -\nlong\\n  down   x\n"
        );
        let painted = table(&["A", "STATE", "C"], &rows, Colour::Ansi);
        assert!(painted.contains("\x1b[32mup\x1b[0m     -"), "{painted:?}");
    }
}
