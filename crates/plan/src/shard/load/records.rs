//! Records of a file as servers cut them: fields, quotes, escapes, ends of lines.
//!
//! Owns the bytes that came and are no whole record yet, and of the record at hand its extent and the values of its key. It
//! follows the server's own reading step by step, also where that is odd: behind the last column, the rest of a line is
//! skipped without regard to quotes. Input: pieces of the file, cut anywhere.

/// Longest record.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// What separates fields and lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pub field: Vec<u8>,
    pub enclosed: Vec<u8>,
    pub escape: Vec<u8>,
    pub line: Vec<u8>,
    /// What stands before the fields of a line; what stands before that, or in lines without it, is nothing.
    pub starting: Vec<u8>,
}

impl Default for Format {
    fn default() -> Self {
        Self {
            field: b"\t".to_vec(),
            enclosed: Vec::new(),
            escape: Vec::new(),
            line: b"\n".to_vec(),
            starting: Vec::new(),
        }
    }
}

impl Format {
    /// Whether every file is cut by it in one way only.
    pub fn is_plain(&self) -> bool {
        let all = [&self.field, &self.enclosed, &self.escape, &self.line];
        let mut ascii = all.into_iter().chain([&self.starting]);
        let different = |one: &[u8], other: &[u8]| one.first() != other.first() || one.is_empty();
        ascii.all(|text| text.is_ascii())
            && !self.field.is_empty()
            && !self.line.is_empty()
            && self.enclosed.len() <= 1
            && self.escape.len() <= 1
            && different(&self.field, &self.line)
            && different(&self.enclosed, &self.field)
            && different(&self.enclosed, &self.line)
            && different(&self.enclosed, &self.escape)
            && different(&self.escape, &self.field)
            && different(&self.escape, &self.line)
    }

    /// Whether a generated key may stand in a field as it is: of digits, letters and hyphens.
    pub fn takes_keys(&self) -> bool {
        let separators = [&self.field, &self.enclosed, &self.escape, &self.line];
        let of_key = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        !separators
            .iter()
            .any(|text| text.first().is_some_and(of_key))
    }
}

/// More of the file is needed.
struct Incomplete;

/// How a field ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Field,
    Line,
    File,
}

/// What a quote in a field is.
enum Quote {
    Ends(End),
    /// Two of them are one.
    Doubled,
    /// One like any other byte.
    Within,
}

/// A field that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// None: NULL.
    value: Option<Vec<u8>>,
    /// Where it stands in the record, with its quotes.
    start: usize,
    end: usize,
}

/// The records of a file.
#[derive(Debug)]
pub struct Records {
    format: Format,
    fields: usize,
    /// The fields that are looked at.
    watched: Vec<usize>,
    utf8: bool,
    /// Lines at the beginning that are no records.
    skipped: u64,
    bytes: Vec<u8>,
    /// Where the record at hand begins and ends in `bytes`.
    start: usize,
    end: usize,
    /// The file has no more.
    whole: bool,
    /// With less than this, it is not tried again.
    wanted: usize,
    number: u64,
    /// Where the fields of the record at hand begin in it.
    fields_at: usize,
    seen: Vec<Option<Seen>>,
}

/// A record is longer than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Records {
    pub(super) fn new(
        format: Format,
        fields: usize,
        watched: Vec<usize>,
        skipped: u64,
        utf8: bool,
    ) -> Self {
        Self {
            format,
            fields,
            watched,
            utf8,
            skipped,
            bytes: Vec::new(),
            start: 0,
            end: 0,
            whole: false,
            wanted: 0,
            number: 0,
            fields_at: 0,
            seen: Vec::new(),
        }
    }

    /// A piece of the file came.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.end);
        self.start = 0;
        self.end = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// Bytes of the file that are kept.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The file is whole.
    pub fn finish(&mut self) {
        self.whole = true;
        self.wanted = 0;
    }

    /// Goes on to the next record; false if more of the file is needed, or there is none.
    ///
    /// # Errors
    /// When it is too long.
    pub fn advance(&mut self) -> Result<bool, TooLong> {
        self.start = self.end;
        let left = self.bytes.len() - self.start;
        if left < self.wanted && !self.whole {
            return Ok(false);
        }
        while self.skipped > 0 {
            let mut at = self.end;
            match self.skip_line(&mut at) {
                Ok(_) => {
                    self.skipped -= 1;
                    (self.start, self.end) = (at, at);
                }
                Err(Incomplete) => return self.wait(),
            }
        }
        let mut at = self.start;
        match self.read(&mut at) {
            Ok(false) => Ok(false),
            Ok(true) => {
                self.end = at;
                self.number += 1;
                self.wanted = 0;
                Ok(true)
            }
            Err(Incomplete) => self.wait(),
        }
    }

    /// The record at hand, with all that belongs to it.
    #[must_use]
    pub fn record(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    fn wait(&mut self) -> Result<bool, TooLong> {
        let left = self.bytes.len() - self.end;
        // A long record is not read again for every piece.
        self.wanted = left * 2;
        match left > RECORD_BYTES_MAX {
            true => Err(TooLong),
            false => Ok(false),
        }
    }

    /// The number of the record at hand, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether texts are UTF-8.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        self.utf8
    }

    /// The value of a field that is looked at: none if the record has none, an inner none for NULL.
    #[must_use]
    pub fn value(&self, place: usize) -> Option<Option<&[u8]>> {
        let seen = self.seen.get(place)?.as_ref()?;
        Some(seen.value.as_deref())
    }

    /// Puts the record behind `out`, with another text in the place of a field that is looked at.
    pub(super) fn replace(&self, place: usize, text: &[u8], out: &mut Vec<u8>) {
        let record = self.record();
        match self.seen.get(place).and_then(Option::as_ref) {
            Some(seen) => {
                out.extend_from_slice(record.get(..seen.start).unwrap_or_default());
                out.extend_from_slice(text);
                out.extend_from_slice(record.get(seen.end..).unwrap_or_default());
            }
            None => out.extend_from_slice(record),
        }
    }

    /// Puts the record behind `out`, with a text as its first field.
    pub(super) fn prepend(&self, text: &[u8], out: &mut Vec<u8>) {
        let record = self.record();
        let (head, fields) = record.split_at_checked(self.fields_at).unwrap_or_default();
        out.extend_from_slice(head);
        out.extend_from_slice(text);
        out.extend_from_slice(&self.format.field);
        out.extend_from_slice(fields);
    }

    /// Reads a record; false if there is none.
    fn read(&mut self, at: &mut usize) -> Result<bool, Incomplete> {
        self.seen.clear();
        self.seen.resize(self.watched.len(), None);
        let begin = *at;
        if !self.find_start(at)? {
            return Ok(false);
        }
        self.fields_at = *at - begin;
        for field in 0..self.fields {
            let watched = self.watched.contains(&field);
            let mut value = watched.then(Vec::new);
            let start = *at - begin;
            let Some((end, null)) = self.field(at, value.as_mut())? else {
                // The file is over.
                return Ok(field > 0);
            };
            if let Some(value) = value {
                let seen = Seen {
                    value: if null { None } else { Some(value) },
                    start,
                    end: *at - begin - self.length_of(end),
                };
                let places = self.watched.iter().zip(&mut self.seen);
                for (_, known) in places.filter(|(place, _)| **place == field) {
                    *known = Some(seen.clone());
                }
            }
            match end {
                End::Field => {}
                End::Line | End::File => return Ok(true),
            }
        }
        self.skip_line(at)?;
        Ok(true)
    }

    /// Goes behind what stands before the fields of a line, wherever it comes; false if it does not come any more.
    fn find_start(&self, at: &mut usize) -> Result<bool, Incomplete> {
        let starting = self.format.starting.as_slice();
        if starting.is_empty() {
            return Ok(true);
        }
        let rest = self.bytes.get(*at..).unwrap_or_default();
        match rest.windows(starting.len()).position(|w| w == starting) {
            Some(place) => {
                *at += place + starting.len();
                Ok(true)
            }
            None if self.whole => Ok(false),
            None => Err(Incomplete),
        }
    }

    /// How long what ended a field is.
    fn length_of(&self, end: End) -> usize {
        match end {
            End::Field => self.format.field.len(),
            End::Line => self.format.line.len(),
            End::File => 0,
        }
    }

    /// The next byte; none at the end of the file.
    fn get(&self, at: &mut usize) -> Result<Option<u8>, Incomplete> {
        match self.bytes.get(*at) {
            Some(byte) => {
                *at += 1;
                Ok(Some(*byte))
            }
            None if self.whole => Ok(None),
            None => Err(Incomplete),
        }
    }

    /// Whether a separator goes on here, of which the first byte was read.
    fn goes_on(&self, at: &mut usize, separator: &[u8]) -> Result<bool, Incomplete> {
        let rest = separator.get(1..).unwrap_or_default();
        let here = self.bytes.get(*at..).unwrap_or_default();
        if here.starts_with(rest) {
            *at += rest.len();
            return Ok(true);
        }
        match !self.whole && rest.starts_with(here) {
            true => Err(Incomplete),
            false => Ok(false),
        }
    }

    /// Reads a field: how it ends, and whether it is NULL; none if the file is over.
    fn field(
        &self,
        at: &mut usize,
        mut value: Option<&mut Vec<u8>>,
    ) -> Result<Option<(End, bool)>, Incomplete> {
        let format = &self.format;
        let first = |text: &[u8]| text.first().copied();
        let (field, line) = (first(&format.field), first(&format.line));
        let escape = first(&format.escape);
        let Some(byte) = self.get(at)? else {
            return Ok(None);
        };
        let quote = first(&format.enclosed).filter(|quote| *quote == byte);
        let mut kept = Vec::new();
        let mut length = 0;
        let mut escaped_null = false;
        let mut put = |byte: u8| {
            length += 1;
            if length <= 4 {
                kept.push(byte);
            }
            if let Some(value) = value.as_deref_mut() {
                value.push(byte);
            }
        };
        if quote.is_some() {
            // It is the field's first byte if the field does not end as a quoted one.
            put(byte);
        } else {
            *at -= 1;
        }
        let (end, enclosed) = loop {
            let Some(byte) = self.get(at)? else {
                break (End::File, false);
            };
            if Some(byte) == escape {
                match self.get(at)? {
                    None => {
                        put(byte);
                        break (End::File, false);
                    }
                    Some(next) => {
                        escaped_null |= next == b'N';
                        put(unescaped(next));
                        continue;
                    }
                }
            }
            if Some(byte) == line && quote.is_none() && self.goes_on(at, &format.line)? {
                break (End::Line, false);
            }
            if Some(byte) == quote {
                match self.behind_quote(at, byte)? {
                    Quote::Ends(end) => break (end, true),
                    // One of them is put.
                    Quote::Doubled | Quote::Within => {}
                }
            } else if Some(byte) == field && quote.is_none() && self.goes_on(at, &format.field)? {
                break (End::Field, false);
            }
            put(byte);
        };
        let word = !enclosed && !format.enclosed.is_empty() && length == 4 && kept == b"NULL";
        let null = word || (escaped_null && length == 1);
        if enclosed && let Some(value) = value {
            value.remove(0);
        }
        Ok(Some((end, null)))
    }

    /// What a quote within a quoted field is.
    fn behind_quote(&self, at: &mut usize, quote: u8) -> Result<Quote, Incomplete> {
        let format = &self.format;
        let Some(next) = self.get(at)? else {
            return Ok(Quote::Ends(End::File));
        };
        if next == quote {
            return Ok(Quote::Doubled);
        }
        if format.line.first() == Some(&next) && self.goes_on(at, &format.line)? {
            return Ok(Quote::Ends(End::Line));
        }
        if format.field.first() == Some(&next) && self.goes_on(at, &format.field)? {
            return Ok(Quote::Ends(End::Field));
        }
        *at -= 1;
        Ok(Quote::Within)
    }

    /// Skips the rest of a line; false if the file ended before.
    fn skip_line(&self, at: &mut usize) -> Result<bool, Incomplete> {
        let (line, escape) = (self.format.line.first(), self.format.escape.first());
        loop {
            let Some(byte) = self.get(at)? else {
                return Ok(false);
            };
            if Some(&byte) == escape {
                if self.get(at)?.is_none() {
                    return Ok(false);
                }
                continue;
            }
            if Some(&byte) == line && self.goes_on(at, &self.format.line)? {
                return Ok(true);
            }
        }
    }
}

/// What an escaped byte means.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'0' => 0,
        b'Z' => 26,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(field: &str, enclosed: &str, line: &str) -> Format {
        Format {
            field: field.into(),
            enclosed: enclosed.into(),
            escape: b"\\".to_vec(),
            line: line.into(),
            starting: Vec::new(),
        }
    }

    /// Records, and their first and second fields, of a file in pieces of so many bytes.
    fn read(
        format: &Format,
        file: &[u8],
        skipped: u64,
        piece: usize,
    ) -> Vec<(Vec<u8>, String, String)> {
        let mut records = Records::new(format.clone(), 2, vec![0, 1], skipped, true);
        let mut found = Vec::new();
        let mut pieces = file.chunks(piece);
        loop {
            while records.advance().unwrap() {
                let record = records.record().to_vec();
                let shown = |place: usize| match records.value(place) {
                    None => "-".to_owned(),
                    Some(None) => "NULL".to_owned(),
                    Some(Some(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
                };
                found.push((record, shown(0), shown(1)));
            }
            match pieces.next() {
                Some(piece) => records.push(piece),
                None if records.whole => return found,
                None => records.finish(),
            }
        }
    }

    type Case<'a> = (&'a Format, &'a str, u64, &'a [(&'a str, &'a str)]);

    #[test]
    fn files_are_cut_as_servers_cut_them_wherever_their_pieces_end() {
        let tabs = format("\t", "", "\n");
        let csv = format(",", "\"", "\r\n");
        let cases: [Case<'_>; 9] = [
            (&tabs, "1\ta\n2\tb\n", 0, &[("1", "a"), ("2", "b")]),
            (&tabs, "1\ta\n2\tb", 0, &[("1", "a"), ("2", "b")]),
            (&tabs, "id\tv\n1\ta\n", 1, &[("1", "a")]),
            (
                &tabs,
                "1\\\t2\tx\\ny\n\\N\t\\\\\n",
                0,
                &[("1\t2", "x\ny"), ("NULL", "\\")],
            ),
            (
                &tabs,
                "1\n\n2\tb\tmore\n3\tc",
                0,
                &[("1", "-"), ("", "-"), ("2", "b"), ("3", "c")],
            ),
            (
                &csv,
                "\"1\",\"a\r\nb\"\r\n2,x\"y\r\n",
                0,
                &[("1", "a\r\nb"), ("2", "x\"y")],
            ),
            (
                &csv,
                "\"a\"\"b\",NULL\r\n\"NULL\",\"c\"d\"\r\n",
                0,
                &[("a\"b", "NULL"), ("NULL", "c\"d")],
            ),
            (&csv, "1,a\rb\r\n", 0, &[("1", "a\rb")]),
            (&csv, "1,a,\"x\r\n2,b\r\n", 0, &[("1", "a"), ("2", "b")]),
        ];
        for (format, file, skipped, expected) in cases {
            for piece in [1, 2, 3, 7, 1000] {
                let found = read(format, file.as_bytes(), skipped, piece);
                let keys: Vec<(&str, &str)> = found
                    .iter()
                    .map(|(_, a, b)| (a.as_str(), b.as_str()))
                    .collect();
                assert_eq!(keys, expected, "{file:?} by {piece}");
                let whole: Vec<u8> = found
                    .iter()
                    .flat_map(|(record, ..)| record.clone())
                    .collect();
                assert!(file.as_bytes().ends_with(&whole), "{file:?}");
            }
        }
    }

    #[test]
    fn what_can_be_cut_in_two_ways_is_not() {
        assert!(format(",", "\"", "\n").is_plain());
        for (field, enclosed, line) in [
            ("", "", "\n"),
            (",", "", ""),
            (",", "''", "\n"),
            ("\n", "", "\n"),
            (",", ",", "\n"),
            ("§", "", "\n"),
        ] {
            assert!(
                !format(field, enclosed, line).is_plain(),
                "{field:?} {enclosed:?} {line:?}"
            );
        }
    }
}
