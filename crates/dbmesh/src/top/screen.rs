//! The screen: lines and a table, cut to its size, drawn at once.
//!
//! It owns the terminal's other screen and leaves it when dropped. Its input is cells, which hold no control characters.

use std::io::{self, Write};

use rustix::stdio::stdout;
use rustix::termios::tcgetwinsize;

use crate::terminal::{Cell, Colour, table};

/// A terminal that does not tell its size.
const USUAL: (usize, usize) = (24, 80);

pub struct Screen {
    colour: Colour,
}

impl Screen {
    pub fn open() -> io::Result<Self> {
        // Letters that are two columns wide must not wrap.
        print("\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(Self {
            colour: Colour::of(true),
        })
    }

    pub fn draw(&mut self, lines: &[String], heads: &[&str], rows: &[Vec<Cell>]) -> io::Result<()> {
        let (height, width) = size();
        let room = height.saturating_sub(lines.len() + 2);
        let shown = table(heads, rows.get(..room).unwrap_or(rows), self.colour);
        let lines = lines.iter().map(String::as_str).chain(shown.lines());
        print(&page(lines, height, width))
    }
}

/// What draws these lines from the top; the last one ends without a new line, which would scroll the first away.
fn page<'a>(lines: impl Iterator<Item = &'a str>, height: usize, width: usize) -> String {
    let lines = lines.take(height).map(|line| cut(line, width));
    let drawn: Vec<String> = lines.map(|line| line + "\x1b[0m\x1b[K").collect();
    format!("\x1b[H{}\x1b[J", drawn.join("\r\n"))
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = print("\x1b[?7h\x1b[?25h\x1b[?1049l");
    }
}

fn size() -> (usize, usize) {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            (usize::from(size.ws_row), usize::from(size.ws_col))
        }
        _ => USUAL,
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A line cut to a width; colours take no room.
fn cut(line: &str, width: usize) -> String {
    let (mut out, mut room, mut inside) = (String::new(), width, false);
    for c in line.chars() {
        if c == '\x1b' {
            inside = true;
        } else if !inside {
            if room == 0 {
                continue;
            }
            room -= 1;
        }
        out.push(c);
        if inside && c == 'm' {
            inside = false;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_no_more_lines_than_the_screen_and_does_not_scroll() {
        let drawn = page(["one", "two", "three"].into_iter(), 2, 2);
        assert_eq!(drawn, "\x1b[Hon\x1b[0m\x1b[K\r\ntw\x1b[0m\x1b[K\x1b[J");
    }

    #[test]
    fn lines_are_cut_and_colours_are_whole() {
        assert_eq!(cut("abcdef", 3), "abc");
        assert_eq!(cut("\x1b[32mab\x1b[0mcdef", 3), "\x1b[32mab\x1b[0mc");
        assert_eq!(cut("\x1b[32mabcdef\x1b[0m", 2), "\x1b[32mab\x1b[0m");
    }
}
