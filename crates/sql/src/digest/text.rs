//! The digest as text for logs and views.

use super::{Piece, Sink};
use crate::lexer::{Chars, is_name_byte};

/// Writes pieces as one line, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct TextSink {
    text: Vec<u8>,
    max_bytes: usize,
    last: Last,
    hints: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Keyword,
    Name,
    Tight,
    Other,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct TextMark {
    length: usize,
    last: Last,
}

impl TextSink {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            text: Vec::new(),
            max_bytes,
            last: Last::Nothing,
            hints: false,
        }
    }

    pub(crate) fn with_hints(max_bytes: usize) -> Self {
        Self {
            hints: true,
            ..Self::new(max_bytes)
        }
    }

    pub(crate) fn finish(self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        let end = text.floor_char_boundary(self.max_bytes.min(text.len()));
        text.get(..end).unwrap_or_default().to_owned()
    }

    fn write(&mut self, bytes: &[u8]) {
        // A little more than asked for is kept, so that the cut is made once, at the end.
        let room = (self.max_bytes + 4).saturating_sub(self.text.len());
        self.text
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn separate(&mut self, piece: Piece<'_>) {
        let tight = match piece {
            Piece::Symbol(symbol) => match symbol.bytes {
                b"," | b")" | b"." | b";" => true,
                b"(" => self.last == Last::Name,
                _ => false,
            },
            _ => false,
        };
        if !(tight || matches!(self.last, Last::Nothing | Last::Tight)) {
            self.write(b" ");
        }
    }

    fn write_name(&mut self, name: &[u8]) {
        let plain = name.iter().all(|&b| is_name_byte(b))
            && !name.is_empty()
            && !crate::words::lookup(name).is_reserved();
        if plain {
            self.write(name);
        } else {
            self.write(b"`");
            self.write(name);
            self.write(b"`");
        }
    }
}

impl Sink for TextSink {
    type Mark = TextMark;
    type Row = (usize, usize);

    fn put(&mut self, piece: Piece<'_>) {
        self.separate(piece);
        self.last = match piece {
            Piece::Keyword(Chars { bytes: word, .. }) => {
                if word.starts_with(b"@") {
                    self.write(&word.to_ascii_lowercase());
                } else {
                    self.write(&word.to_ascii_uppercase());
                }
                // A built-in function keeps its parenthesis close; IN and VALUES do not.
                if crate::words::lookup(word).is_reserved() {
                    Last::Keyword
                } else {
                    Last::Name
                }
            }
            Piece::Name(Chars { bytes: name, .. }) => {
                self.write_name(name);
                Last::Name
            }
            Piece::Symbol(Chars { bytes: symbol, .. }) => {
                self.write(symbol);
                match symbol {
                    b"(" | b"." => Last::Tight,
                    _ => Last::Other,
                }
            }
            Piece::Value => {
                self.write(b"?");
                Last::Other
            }
            Piece::List => {
                self.write(b"(...)");
                Last::Other
            }
        };
    }

    fn put_hint(&mut self, piece: Piece<'_>) {
        if self.hints {
            self.put(piece);
        }
    }

    fn mark(&self) -> TextMark {
        TextMark {
            length: self.text.len(),
            last: self.last,
        }
    }

    fn reset(&mut self, mark: TextMark) {
        self.text.truncate(mark.length);
        self.last = mark.last;
    }

    fn open_row(&mut self) -> TextMark {
        self.mark()
    }

    fn close_row(
        &mut self,
        mark: TextMark,
        previous: Option<(TextMark, (usize, usize))>,
    ) -> (usize, usize) {
        let row = (mark.length, self.text.len());
        let bytes = |(start, end): (usize, usize)| {
            self.text.get(start..end).unwrap_or_default().trim_ascii()
        };
        if let Some((before, old)) = previous
            && bytes(old) == bytes(row)
        {
            self.reset(before);
            return old;
        }
        row
    }
}
