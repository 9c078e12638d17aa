//! Statements drawn from a grammar: mostly what MySQL accepts, of every shape that a sharded database has to answer.
//!
//! Owns the shapes and their frequencies. Must never draw what MySQL itself answers differently from one time to the next:
//! clocks, random values, LIMIT inside of a statement without a total order, floating point sums that depend on their order.

mod change;
mod columns;
mod condition;
mod expression;
mod nested;
mod select;
mod transaction;
mod variable;

use crate::draw::Draw;
use crate::statement::{Form, Statement};

/// Draws statements, without an end.
#[derive(Debug)]
pub struct Grammar {
    draw: Draw,
    /// Names given so far in this statement.
    names: usize,
    /// Queries inside of each other at this place.
    depth: usize,
}

/// The family of statements that assign user variables: both sides must run them, or neither.
pub const ASSIGNS: &str = "random.variable";
/// The family of transactions: several statements, one after the other.
pub const TRANSACTION: &str = "random.transaction";
/// Most queries inside of each other.
const DEPTH_MAX: usize = 2;

impl Grammar {
    /// The statements of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            draw: Draw::new(seed),
            names: 0,
            depth: 0,
        }
    }

    /// A statement.
    pub fn statement(&mut self) -> Statement {
        self.names = 0;
        let changes = self.draw.percent(12);
        let (family, marked) = match changes {
            true => self.change(),
            false if self.draw.percent(4) => (ASSIGNS, self.assignment()),
            false => self.query(),
        };
        let form = match self.draw.percent(35) && family != "random.load" {
            true => Form::Prepared,
            false => Form::Text,
        };
        Statement {
            family: family.to_owned(),
            marked,
            form,
            changes,
        }
    }

    /// A name that is not used yet.
    fn name(&mut self) -> String {
        self.names += 1;
        let letter = char::from(b'a' + (self.names % 26) as u8);
        format!("{letter}{}", self.names)
    }
}

impl Iterator for Grammar {
    type Item = Statement;

    fn next(&mut self) -> Option<Statement> {
        Some(self.statement())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dbmesh_sql::{Dialect, Parser};

    #[test]
    fn a_seed_draws_the_same_statements_and_they_parse() {
        let draw = |seed| Grammar::new(seed).take(2_000).collect::<Vec<_>>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let mut parser = Parser::new();
        for step in draw(7).iter().flat_map(Statement::steps) {
            let sql = step.sql();
            let parsed = parser.parse(sql.as_bytes(), &Dialect::default());
            assert!(parsed.is_ok(), "{sql}: {:?}", parsed.err());
        }
    }
}
