//! Inline expressions: a name with computed parts, as in `t_order_${order_id % 4}`.
//!
//! It owns their grammar, a small part of Groovy's: whole numbers, texts, columns, `+ - * / %`, parentheses and a few
//! functions. It computes nothing: `plan` does. An expression is bounded in length and depth.

use serde::{Serialize, Serializer};

/// Longest expression.
pub const EXPRESSION_BYTES_MAX: usize = 1_000;
/// Deepest nesting.
const DEPTH_MAX: u32 = 32;

/// A name with computed parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    text: String,
    pieces: Vec<Piece>,
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// A part of a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// Computed.
    Term(Term),
}

/// What is computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
    /// A column, in lower case.
    Column(String),
    /// Two operands.
    Binary(TermOp, Box<Term>, Box<Term>),
    /// A function of its arguments; of a method, the object is the first.
    Call(Function, Vec<Term>),
}

/// Operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermOp {
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`, of numbers that divide.
    Divide,
    /// `%`, with the sign of the left operand, as Java has it.
    Remainder,
}

/// Functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `abs(x)`, `Math.abs(x)`, `x.abs()`.
    Abs,
    /// `hash(x)`, `x.hashCode()`: Java's.
    Hash,
    /// `crc32(x)`.
    Crc32,
    /// `intdiv(x, y)`, `x.intdiv(y)`: towards zero.
    IntDiv,
    /// `x.substring(from)`, `x.substring(from, to)`.
    Substring,
    /// `x.toLong()`, `x.toInteger()`.
    Long,
    /// `pad(x, width)`: with zeros on the left.
    Pad,
}

impl Function {
    fn of(name: &str) -> Option<(Self, std::ops::RangeInclusive<usize>)> {
        Some(match name {
            "abs" => (Self::Abs, 1..=1),
            "hash" | "hashCode" => (Self::Hash, 1..=1),
            "crc32" => (Self::Crc32, 1..=1),
            "intdiv" => (Self::IntDiv, 2..=2),
            "substring" => (Self::Substring, 2..=3),
            "toLong" | "toInteger" | "longValue" | "intValue" => (Self::Long, 1..=1),
            "pad" => (Self::Pad, 2..=2),
            _ => return None,
        })
    }
}

impl Expression {
    /// Reads `t_${a % 4}`, `t_$->{a % 4}` and `t_{a % 4}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(format!("is longer than {EXPRESSION_BYTES_MAX} bytes"));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let before = rest.get(..open).unwrap_or_default();
            let marked = before.strip_suffix("$->");
            let before = marked
                .or_else(|| before.strip_suffix('$'))
                .unwrap_or(before);
            // A name with a sign in it would be that of no target, and every value would have no place.
            if before.contains(['}', '$']) {
                return Err("has a `}` or `$` without `{`".to_owned());
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let inside = rest.get(open + 1..).unwrap_or_default();
            let close = inside.find('}').ok_or("has a `{` without `}`")?;
            let mut reader = Reader {
                rest: inside.get(..close).unwrap_or_default(),
                depth: 0,
            };
            pieces.push(Piece::Term(reader.whole()?));
            rest = inside.get(close + 1..).unwrap_or_default();
        }
        if rest.contains(['}', '$']) {
            return Err("has a `}` or `$` without `{`".to_owned());
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let text = text.to_owned();
        Ok(Self { text, pieces })
    }

    /// The parts.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The columns it reads.
    pub fn columns(&self) -> Vec<&str> {
        let mut found = Vec::new();
        for piece in &self.pieces {
            if let Piece::Term(term) = piece {
                term.columns(&mut found);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Term {
    fn columns<'a>(&'a self, found: &mut Vec<&'a str>) {
        match self {
            Self::Column(name) => found.push(name),
            Self::Binary(_, left, right) => {
                left.columns(found);
                right.columns(found);
            }
            Self::Call(_, arguments) => arguments.iter().for_each(|a| a.columns(found)),
            Self::Integer(_) | Self::Text(_) => {}
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    depth: u32,
}

impl Reader<'_> {
    fn whole(&mut self) -> Result<Term, String> {
        let term = self.sum()?;
        self.skip();
        match self.rest {
            "" => Ok(term),
            rest => Err(format!("cannot be read at `{rest}`")),
        }
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, sign: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn sum(&mut self) -> Result<Term, String> {
        let mut left = self.product()?;
        loop {
            let op = if self.eat('+') {
                TermOp::Add
            } else if self.eat('-') {
                TermOp::Subtract
            } else {
                return Ok(left);
            };
            left = Term::Binary(op, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Term, String> {
        let mut left = self.postfix()?;
        loop {
            let op = if self.eat('*') {
                TermOp::Multiply
            } else if self.eat('/') {
                TermOp::Divide
            } else if self.eat('%') {
                TermOp::Remainder
            } else {
                return Ok(left);
            };
            left = Term::Binary(op, Box::new(left), Box::new(self.postfix()?));
        }
    }

    fn postfix(&mut self) -> Result<Term, String> {
        let mut object = self.primary()?;
        while self.eat('.') {
            let name = self.word();
            object = self.call(&name, vec![object])?;
        }
        Ok(object)
    }

    fn primary(&mut self) -> Result<Term, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("is nested deeper than {DEPTH_MAX}"));
        }
        let term = self.bare();
        self.depth -= 1;
        term
    }

    fn bare(&mut self) -> Result<Term, String> {
        if self.eat('(') {
            let inner = self.sum()?;
            return match self.eat(')') {
                true => Ok(inner),
                false => Err("has a `(` without `)`".to_owned()),
            };
        }
        if self.eat('\'') {
            let end = self.rest.find('\'').ok_or("has an open text")?;
            let text = self.rest.get(..end).unwrap_or_default().to_owned();
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            return Ok(Term::Text(text));
        }
        let word = self.word();
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = word.trim_end_matches(['L', 'l']);
            let number = digits
                .parse()
                .map_err(|_| format!("`{word}` is no number"))?;
            return Ok(Term::Integer(number));
        }
        if word == "Math" && self.eat('.') {
            let name = self.word();
            return self.call(&name, Vec::new());
        }
        self.skip();
        match word.as_str() {
            "" => Err(format!("cannot be read at `{}`", self.rest)),
            _ if self.rest.starts_with('(') => self.call(&word, Vec::new()),
            _ => Ok(Term::Column(word.to_ascii_lowercase())),
        }
    }

    fn word(&mut self) -> String {
        self.skip();
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn call(&mut self, name: &str, mut arguments: Vec<Term>) -> Result<Term, String> {
        let (function, count) =
            Function::of(name).ok_or_else(|| format!("has no function `{name}`"))?;
        if !self.eat('(') {
            return Err(format!("`{name}` needs parentheses"));
        }
        if !self.eat(')') {
            loop {
                arguments.push(self.sum()?);
                if self.eat(')') {
                    break;
                }
                if !self.eat(',') {
                    return Err("has a `(` without `)`".to_owned());
                }
            }
        }
        match count.contains(&arguments.len()) {
            true => Ok(Term::Call(function, arguments)),
            false => Err(format!("`{name}` has the wrong number of arguments")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read() {
        for text in [
            "t_order_${order_id % 4}",
            "t_order_{order_id % 4}",
            "t_order_$->{order_id % 4}",
            "ds_${Math.abs(name.hashCode()) % 2}_x",
            "t_${pad(intdiv(a, 10) % 16, 2)}",
            "t_${a.substring(0, 4).toLong() % (2 + 2) - 1}",
        ] {
            let expression = Expression::parse(text).unwrap();
            assert_eq!(expression.columns().len(), 1, "{expression:?}");
        }
        let arrow = Expression::parse("t_$->{a}_x").unwrap();
        assert_eq!(
            arrow.pieces(),
            Expression::parse("t_${a}_x").unwrap().pieces()
        );
        for text in [
            "t_${",
            "t_$>{a}",
            "t}_${a}",
            "t_}",
            "t_$a",
            "t_${a %}",
            "t_${a b}",
            "t_${f(a)}",
            "t_${(a}",
            "t_${abs(a, b)}",
            "t_${'a}",
            "t_${99999999999999999999}",
        ] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
        assert!(Expression::parse(&format!("t_${{{}a}}", "(".repeat(100))).is_err());
    }
}
