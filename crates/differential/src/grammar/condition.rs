//! Conditions: on the key, on other columns, with sub-queries.

use super::columns::{Class, Column, Reach};
use super::{DEPTH_MAX, Grammar};

pub(super) const NUMBERS: [Class; 3] = [Class::Int, Class::Decimal, Class::Float];
const COMPARISONS: [&str; 7] = ["=", "<", ">", "<=", ">=", "<>", "<=>"];

impl Grammar {
    /// A condition for WHERE.
    pub(super) fn condition(&mut self, reach: &Reach) -> String {
        self.bounded_condition(reach, 3)
    }

    fn bounded_condition(&mut self, reach: &Reach, size: usize) -> String {
        if size > 0 && self.draw.percent(45) {
            let left = self.bounded_condition(reach, size - 1);
            let right = self.bounded_condition(reach, size - 1);
            return match self.draw.below(10) {
                0..=5 => format!("{left} AND {right}"),
                6..=8 => format!("({left} OR {right})"),
                _ => format!("NOT ({left}) AND {right}"),
            };
        }
        let keys: Vec<&Column> = reach.columns.iter().filter(|column| column.key).collect();
        if !keys.is_empty() && self.draw.percent(40) {
            let key = self.draw.one(&keys).name.clone();
            return self.of_key(&key);
        }
        if self.depth < DEPTH_MAX && self.draw.percent(14) {
            return self.of_subquery(reach);
        }
        self.of_column(reach)
    }

    fn of_key(&mut self, key: &str) -> String {
        let number = |grammar: &mut Self| grammar.literal(Class::Int);
        match self.draw.below(12) {
            0..=3 => format!("{key} = {}", number(self)),
            4..=5 => {
                let count = self.draw.between(1, 5);
                let list: Vec<String> = (0..count).map(|_| number(self)).collect();
                format!("{key} IN ({})", list.join(", "))
            }
            6 => format!("{key} BETWEEN {} AND {}", number(self), number(self)),
            7 => format!("{key} > {}", number(self)),
            8 => format!("{key} <= {}", number(self)),
            9 => format!("({key} = {} OR {key} = {})", number(self), number(self)),
            10 => format!("{} = {key}", number(self)),
            _ => {
                let list: Vec<String> = (0..2).map(|_| number(self)).collect();
                format!("{key} NOT IN ({})", list.join(", "))
            }
        }
    }

    pub(super) fn of_column(&mut self, reach: &Reach) -> String {
        if self.draw.percent(12) {
            return self.of_expression(reach);
        }
        let column = self.column(reach, &[]).clone();
        let name = &column.name;
        match self.draw.below(10) {
            0 => format!("{name} IS NULL"),
            1 => format!("{name} IS NOT NULL"),
            2 if column.class == Class::Text => {
                let pattern = self.draw.one(&["a%", "%e", "_", "%", "str%", "A\\_%"]);
                format!("{name} LIKE {{='{pattern}'}}")
            }
            3 => {
                let list: Vec<String> = (0..3).map(|_| self.literal(column.class)).collect();
                format!("{name} IN ({})", list.join(", "))
            }
            4 => {
                let (low, high) = (self.literal(column.class), self.literal(column.class));
                format!("{name} BETWEEN {low} AND {high}")
            }
            5 => {
                let other = self.column(reach, &[column.class]).name.clone();
                let comparison = self.draw.one(&COMPARISONS);
                format!("{name} {comparison} {other}")
            }
            6 => {
                let value = self.number(reach);
                let (comparison, literal) = (self.draw.one(&COMPARISONS), self.literal(Class::Int));
                format!("{value} {comparison} {literal}")
            }
            _ => {
                let comparison = self.draw.one(&COMPARISONS);
                format!("{name} {comparison} {}", self.literal(column.class))
            }
        }
    }

    fn of_subquery(&mut self, reach: &Reach) -> String {
        self.depth += 1;
        let (from, inner) = self.from();
        let outer = self.column(reach, &NUMBERS).name.clone();
        let own = self.column(&inner, &NUMBERS).name.clone();
        let condition = self.condition(&inner);
        let link = self.link(reach, &inner);
        let text = match self.draw.below(9) {
            0 => format!("{outer} IN (SELECT {own} FROM {from} WHERE {condition})"),
            1 => format!("EXISTS (SELECT 1 FROM {from} WHERE {link} AND {condition})"),
            2 => format!("NOT EXISTS (SELECT * FROM {from} WHERE {link} AND {condition})"),
            3 => format!("{outer} > (SELECT MIN({own}) FROM {from} WHERE {condition})"),
            4 => format!("{outer} >= (SELECT COUNT(*) FROM {from} WHERE {link})"),
            5 => format!(
                "{outer} NOT IN (SELECT {own} FROM {from} WHERE {own} IS NOT NULL AND {condition})"
            ),
            6 => format!("{outer} = ANY (SELECT {own} FROM {from} WHERE {link} AND {condition})"),
            7 => {
                let (second, third) = (
                    self.column(reach, &[Class::Int]).name.clone(),
                    self.column(&inner, &[Class::Int]).name.clone(),
                );
                format!(
                    "({outer}, {second}) IN (SELECT {own}, {third} FROM {from} WHERE {condition})"
                )
            }
            _ => format!("{outer} <= ALL (SELECT {own} FROM {from} WHERE {link} AND {condition})"),
        };
        self.depth -= 1;
        text
    }

    /// A condition between two places, mostly on the key.
    pub(super) fn link(&mut self, outer: &Reach, inner: &Reach) -> String {
        let key = |reach: &Reach| {
            let mut keys = reach.columns.iter().filter(|column| column.key);
            keys.next().map(|column| column.name.clone())
        };
        match (key(outer), key(inner)) {
            (Some(a), Some(b)) if self.draw.percent(75) => format!("{b} = {a}"),
            _ => {
                let a = self.column(outer, &[Class::Int]).name.clone();
                let b = self.column(inner, &[Class::Int]).name.clone();
                format!("{b} = {a}")
            }
        }
    }

    /// A number that is not near the ends of its type: sums and products of those are errors, of which there are enough.
    pub(super) fn small(&mut self, reach: &Reach) -> String {
        loop {
            let name = self.column(reach, &NUMBERS).name.clone();
            if !name.ends_with(".big") && !name.ends_with(".neg") {
                return name;
            }
        }
    }

    /// An expression that is a number, exact or of quarters.
    pub(super) fn number(&mut self, reach: &Reach) -> String {
        let column = self.column(reach, &NUMBERS).name.clone();
        match self.draw.below(12) {
            0 => {
                let (one, other) = (self.small(reach), self.small(reach));
                format!("{one} + {other}")
            }
            1 => format!("{} * 2", self.small(reach)),
            2 => format!("{} % 7", self.small(reach)),
            3 => format!("IFNULL({column}, 0)"),
            4 => format!("ABS({})", self.small(reach)),
            5 => format!("{} DIV 3", self.small(reach)),
            6 => {
                let (one, other) = (self.small(reach), self.small(reach));
                format!("COALESCE({one}, {other}, -1)")
            }
            7 => {
                let condition = self.of_column(reach);
                format!("CASE WHEN {condition} THEN {column} ELSE 1 END")
            }
            _ => column,
        }
    }
}
