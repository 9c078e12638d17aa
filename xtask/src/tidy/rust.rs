//! What tidy needs to know about Rust text, without a parser: which bytes are code, which lines belong to tests, where
//! functions begin and end. It must never report anything itself; its input is the text of one `.rs` file, and it is total:
//! text that does not compile gives a less precise answer, never a failure.

/// A Rust file with comments and literals blanked out, and its test code marked.
pub struct Code {
    /// The text, byte for byte, with comments and the insides of literals turned into blanks. Line breaks are kept.
    pub masked: Vec<u8>,
    line_starts: Vec<usize>,
    test: Vec<(usize, usize)>,
    constants: Vec<(usize, usize)>,
}

/// One function with a body.
pub struct Function {
    /// Its name, without path.
    pub name: String,
    /// The line of its `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to the closing brace, both included.
    pub lines: usize,
}

impl Code {
    /// Masks `text` and finds its test regions.
    pub fn new(text: &str) -> Code {
        let masked = mask(text.as_bytes());
        let mut line_starts = vec![0];
        line_starts.extend(
            masked
                .iter()
                .enumerate()
                .filter(|(_, b)| **b == b'\n')
                .map(|(at, _)| at + 1),
        );
        let test = test_regions(&masked);
        let mut code = Code {
            masked,
            line_starts,
            test,
            constants: Vec::new(),
        };
        code.constants = code.constant_regions();
        code
    }

    /// The line, from 1, of the byte at `offset`.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// Whether the byte at `offset` belongs to test code.
    pub fn is_test(&self, offset: usize) -> bool {
        self.test
            .iter()
            .any(|(from, to)| (*from..*to).contains(&offset))
    }

    /// Offsets of `needle` where it stands as a whole: not inside a longer identifier.
    pub fn words<'a>(&'a self, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
        find_all(&self.masked, needle.as_bytes()).filter(move |at| {
            let before = at.checked_sub(1).and_then(|i| self.masked.get(i));
            let after = self.masked.get(at + needle.len());
            let starts_open = needle.as_bytes().first().is_some_and(|b| !is_word(*b));
            let ends_open = needle.as_bytes().last().is_some_and(|b| !is_word(*b));
            (starts_open || !before.is_some_and(|b| is_word(*b)))
                && (ends_open || !after.is_some_and(|b| is_word(*b)))
        })
    }

    /// Offsets of `[` that index a value: those that follow a name, a call, another index or `?` without a blank. Not those
    /// that cannot fail at run time: in the value of a constant, of the bytes of an integer, of a named table by a byte.
    pub fn indexings(&self) -> impl Iterator<Item = usize> + '_ {
        let indexes = |pair: &[u8]| matches!(pair, [before, b'['] if is_word(*before) || matches!(before, b')' | b']' | b'?'));
        let offsets = self
            .masked
            .windows(2)
            .enumerate()
            .filter(move |(_, pair)| indexes(pair))
            .map(|(at, _)| at + 1);
        offsets.filter(|at| !self.is_constant(*at) && !self.is_total(*at))
    }

    fn is_constant(&self, offset: usize) -> bool {
        self.constants
            .iter()
            .any(|(from, to)| (*from..*to).contains(&offset))
    }

    /// Whether the index at `[` is one of `x.to_le_bytes()[0]` (the compiler checks it) or `TABLE[usize::from(byte)]` (tables
    /// that are indexed so have an entry for every byte).
    fn is_total(&self, open: usize) -> bool {
        let before = self.masked.get(..open).unwrap_or_default();
        let after = self.masked.get(open + 1..).unwrap_or_default();
        let of_integer = [&b".to_le_bytes()"[..], b".to_be_bytes()", b".to_ne_bytes()"]
            .iter()
            .any(|call| before.ends_with(call));
        let name_bytes = before.iter().rev().take_while(|b| is_word(**b)).count();
        let name = before.get(open - name_bytes..).unwrap_or_default();
        let is_table =
            name.iter().any(u8::is_ascii_uppercase) && !name.iter().any(u8::is_ascii_lowercase);
        (of_integer && after.first().is_some_and(u8::is_ascii_digit))
            || (is_table && after.starts_with(b"usize::from("))
    }

    /// Byte ranges of constants and statics: their values are computed when the program is compiled.
    fn constant_regions(&self) -> Vec<(usize, usize)> {
        let is_item = |at: usize, word: &str| {
            let rest = self.masked.get(at + word.len()..).unwrap_or_default();
            let mut after = rest
                .iter()
                .skip_while(|b| b.is_ascii_whitespace())
                .skip_while(|b| is_word(**b));
            after.next() == Some(&b':')
        };
        let starts = ["const", "static"]
            .into_iter()
            .flat_map(|word| self.words(word).filter(move |at| is_item(*at, word)));
        starts
            .filter_map(|from| {
                let end = item_end(&self.masked, from)?;
                let is_block = self.masked.get(end) == Some(&b'{');
                Some((
                    from,
                    if is_block {
                        matching_brace(&self.masked, end)
                    } else {
                        end
                    },
                ))
            })
            .collect()
    }

    /// Every function that has a body, in the order of the text; nested ones too.
    pub fn functions(&self) -> Vec<Function> {
        self.words("fn")
            .filter_map(|at| {
                let name_at = at
                    + 2
                    + self
                        .masked
                        .get(at + 2..)?
                        .iter()
                        .position(|b| !b.is_ascii_whitespace())?;
                let name: Vec<u8> = self
                    .masked
                    .get(name_at..)?
                    .iter()
                    .copied()
                    .take_while(|b| is_word(*b))
                    .collect();
                let open = item_end(&self.masked, name_at)
                    .filter(|end| self.masked.get(*end) == Some(&b'{'))?;
                let close = matching_brace(&self.masked, open);
                let line = self.line(at);
                (!name.is_empty()).then(|| Function {
                    name: String::from_utf8_lossy(&name).into_owned(),
                    line,
                    lines: self.line(close) - line + 1,
                })
            })
            .collect()
    }

    /// Names of the modules that exist only for tests and live in a file of their own (`#[cfg(test)] mod name;`).
    pub fn test_modules(&self) -> Vec<String> {
        self.test
            .iter()
            .filter_map(|(from, to)| {
                let item = String::from_utf8_lossy(self.masked.get(*from..*to)?).into_owned();
                let name = item
                    .trim_end()
                    .strip_suffix(';')?
                    .rsplit_once("mod ")?
                    .1
                    .trim()
                    .to_owned();
                Some(name)
            })
            .collect()
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn find_all<'a>(text: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    text.windows(needle.len().max(1))
        .enumerate()
        .filter(move |(_, window)| *window == needle)
        .map(|(at, _)| at)
}

/// Blanks comments and the insides of string and character literals.
fn mask(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let after = match (byte, text.get(at + 1)) {
            (b'/', Some(b'/')) => line_end(text, at),
            (b'/', Some(b'*')) => comment_end(text, at),
            (b'"', _) => string_end(text, at),
            (b'r', Some(b'"' | b'#')) if !word_before(text, at) => raw_string_end(text, at),
            (b'\'', _) => char_end(text, at),
            _ => at,
        };
        if after <= at {
            out.push(byte);
            at += 1;
        } else {
            out.extend(
                text.get(at..after)
                    .unwrap_or_default()
                    .iter()
                    .map(|b| if *b == b'\n' { b'\n' } else { b' ' }),
            );
            at = after;
        }
    }
    out
}

/// Whether the `r` at `at` ends a longer name. `br"…"` and `cr"…"` are raw strings as well.
fn word_before(text: &[u8], at: usize) -> bool {
    let before = |back: usize| {
        at.checked_sub(back)
            .and_then(|i| text.get(i))
            .copied()
            .filter(|b| is_word(*b))
    };
    match before(1) {
        Some(b'b' | b'c') => before(2).is_some(),
        other => other.is_some(),
    }
}

fn line_end(text: &[u8], at: usize) -> usize {
    text.iter()
        .skip(at)
        .position(|b| *b == b'\n')
        .map_or(text.len(), |n| at + n)
}

fn comment_end(text: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < text.len() {
        match (text.get(at), text.get(at + 1)) {
            (Some(b'/'), Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (Some(b'*'), Some(b'/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn string_end(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The end of `r"…"` or `r#"…"#`; `start` itself for a raw identifier such as `r#type`.
fn raw_string_end(text: &[u8], start: usize) -> usize {
    let hashes = text
        .iter()
        .skip(start + 1)
        .take_while(|b| **b == b'#')
        .count();
    if text.get(start + 1 + hashes) != Some(&b'"') {
        return start;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let body = start + 2 + hashes;
    find_all(text.get(body..).unwrap_or_default(), &close)
        .next()
        .map_or(text.len(), |n| body + n + close.len())
}

/// The end of a character literal; `start` itself for a lifetime or a label.
fn char_end(text: &[u8], start: usize) -> usize {
    let rest = text.get(start + 1..).unwrap_or_default();
    if rest.first() == Some(&b'\\') {
        return rest
            .iter()
            .skip(2)
            .position(|b| *b == b'\'')
            .map_or(start, |n| start + 1 + 2 + n + 1);
    }
    let width = match rest.first() {
        Some(0xF0..) => 4,
        Some(0xE0..) => 3,
        Some(0xC0..) => 2,
        Some(_) => 1,
        None => return start,
    };
    if rest.get(width) == Some(&b'\'') {
        start + 1 + width + 1
    } else {
        start
    }
}

/// Where the item that begins at `from` gets its body or ends without one: the first `{` or `;` outside brackets.
fn item_end(masked: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in masked.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' | b';' if depth == 0 => return Some(at),
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

fn matching_brace(masked: &[u8], open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in masked.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at;
        }
    }
    masked.len().saturating_sub(1)
}

/// Byte ranges of the items under `#[cfg(test)]` and of test functions.
fn test_regions(masked: &[u8]) -> Vec<(usize, usize)> {
    if find_all(masked, b"#![cfg(test)]").next().is_some() {
        return vec![(0, masked.len())];
    }
    let mut regions = Vec::new();
    for mark in [
        &b"#[cfg(test)]"[..],
        b"#[cfg(all(test",
        b"#[cfg(any(test",
        b"#[test]",
        b"#[tokio::test",
    ] {
        for from in find_all(masked, mark) {
            let after_attributes = skip_attributes(masked, from);
            let end = match item_end(masked, after_attributes) {
                Some(at) if masked.get(at) == Some(&b'{') => matching_brace(masked, at) + 1,
                Some(at) => at + 1,
                None => continue,
            };
            regions.push((from, end));
        }
    }
    regions
}

fn skip_attributes(masked: &[u8], mut at: usize) -> usize {
    loop {
        let blanks = masked
            .iter()
            .skip(at)
            .take_while(|b| b.is_ascii_whitespace())
            .count();
        if masked.get(at + blanks..at + blanks + 2) != Some(b"#[") {
            return at + blanks;
        }
        let mut depth = 0_i32;
        let open = at + blanks + 1;
        let length = masked.iter().skip(open).position(|b| {
            depth += i32::from(*b == b'[') - i32::from(*b == b']');
            depth == 0
        });
        match length {
            Some(length) => at = open + length + 1,
            None => return masked.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn comments_and_literals_are_not_code() {
        let code = Code::new(
            "a(\"x.unwrap()\", 'u', '\\'', r#\"panic!\"#, b\"[\"); // todo!\n/* /* x */ panic! */ let l: &'a str = y;",
        );
        for word in ["unwrap", "panic!", "todo!"] {
            assert_eq!(code.words(word).count(), 0, "{word}");
        }
        assert_eq!(
            code.words("str").count(),
            1,
            "a lifetime does not open a literal"
        );
    }

    #[test]
    fn a_word_is_whole() {
        let code = Code::new("fs::read(); offs::x; std::fs::write()");
        assert_eq!(code.words("fs::").count(), 2);
    }

    #[test]
    fn indexing_is_told_from_types_attributes_and_macros() {
        let code = Code::new(
            "#[a] fn f(x: &[u8; 4]) -> [u8; 2] { let v = vec![1]; [x[0], v()[1], *m? [2]] }",
        );
        let found: Vec<usize> = code.indexings().collect();
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn indexing_that_cannot_fail_at_run_time_is_none() {
        let code = Code::new(
            "const T: [u8; 2] = { t[0] };\nstatic S: u8 = T[1];\nfn f() { n.to_le_bytes()[0]; T[usize::from(b)]; }",
        );
        assert_eq!(code.indexings().count(), 0);
        let code =
            Code::new("const fn f() { t[0]; table[usize::from(b)]; T[n]; n.to_le_bytes()[n] }");
        assert_eq!(code.indexings().count(), 4);
    }

    #[test]
    fn functions_have_lengths_and_declarations_do_not_count() {
        let code = Code::new(
            "trait T { fn no(&self, x: [u8; 3]); }\nfn long<F: Fn(u8) -> u8>(\n  f: F,\n) -> u8\nwhere F: Copy {\n  f(1)\n}\nlet p: fn(u8) = q;",
        );
        let found: Vec<_> = code
            .functions()
            .into_iter()
            .map(|f| (f.name, f.line, f.lines))
            .collect();
        assert_eq!(found, [("long".to_owned(), 2, 6)]);
    }

    #[test]
    fn test_items_are_marked_up_to_their_end() {
        let code = Code::new(
            "fn a() { x.unwrap() }\n#[cfg(test)]\n#[allow(x)]\nmod tests { fn b() { y.unwrap() } }\nfn c() { z.unwrap() }\n#[cfg(test)]\nmod cases;\n",
        );
        let marks: Vec<bool> = code.words(".unwrap()").map(|at| code.is_test(at)).collect();
        assert_eq!(marks, [false, true, false]);
        assert_eq!(code.test_modules(), ["cases"]);
    }
}
