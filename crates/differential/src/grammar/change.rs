//! Changes of rows.

use super::columns::{Class, Reach, SHARDED, of_table, primary};
use super::{DEPTH_MAX, Grammar};

impl Grammar {
    /// A change.
    pub(super) fn change(&mut self) -> (&'static str, String) {
        match self.draw.below(18) {
            0..=2 => ("random.change", self.insert()),
            3..=6 => ("random.change", self.update()),
            7..=9 => ("random.change", self.delete()),
            10..=11 => ("random.insert_select", self.insert_select()),
            12..=13 => ("random.joined", self.joined_change()),
            14..=15 => self.transaction(),
            _ => ("random.load", self.load()),
        }
    }

    fn changed(&mut self) -> &'static str {
        match self.draw.below(12) {
            0 => "t_country",
            1 => "t_conf",
            _ => SHARDED[self.draw.place(SHARDED.len())], // tidy-allow: below the length
        }
    }

    /// A column that is no key, for a value of its class.
    pub(super) fn target(&mut self, table: &'static str) -> (&'static str, Class) {
        let free: Vec<(&str, Class)> = of_table(table)
            .iter()
            .filter(|(name, class)| !primary(table).contains(name) && *class != Class::Json)
            .copied()
            .collect();
        free[self.draw.place(free.len())] // tidy-allow: every table has such columns
    }

    fn insert(&mut self) -> String {
        let table = self.changed();
        let keys = primary(table);
        let mut columns: Vec<&str> = keys.to_vec();
        // NOT NULL without a default.
        if table == "t_user" {
            columns.push("city");
        }
        let (extra, class) = self.target(table);
        if !columns.contains(&extra) {
            columns.push(extra);
        }
        let class_of = |column: &str| {
            let mut all = of_table(table).iter();
            all.find(|(name, _)| *name == column)
                .map_or(class, |(_, class)| *class)
        };
        let mut rows = Vec::new();
        for _ in 0..self.draw.between(1, 4) {
            let mut values = Vec::new();
            for column in &columns {
                values.push(match (keys.contains(column), class_of(column)) {
                    (true, Class::Int) => format!("{{={}}}", self.draw.between(-3, 90)),
                    (true, _) if table == "t_country" => {
                        format!("{{='{}'}}", self.draw.one(&["DE", "IT", "ES", "AT"]))
                    }
                    (true, _) => format!("{{='key{}'}}", self.draw.below(30)),
                    (false, class) => self.literal(class),
                });
            }
            rows.push(format!("({})", values.join(", ")));
        }
        let verb = self
            .draw
            .one(&["INSERT", "INSERT", "INSERT IGNORE", "REPLACE"]);
        let duplicate = match verb == "INSERT" && self.draw.percent(30) {
            true => format!(" ON DUPLICATE KEY UPDATE {extra} = VALUES({extra})"),
            false => String::new(),
        };
        format!(
            "{verb} INTO {table} ({}) VALUES {}{duplicate}",
            columns.join(", "),
            rows.join(", ")
        )
    }

    fn where_of(&mut self, table: &'static str) -> String {
        let mut reach = Reach::default();
        reach.add(table, table);
        let plain = format!("{table}.");
        // Sub-queries on the table that is changed are errors of MySQL's; there are enough others.
        if self.draw.percent(85) {
            self.depth += DEPTH_MAX;
            let condition = self.condition(&reach).replace(&plain, "");
            self.depth -= DEPTH_MAX;
            return format!(" WHERE {condition}");
        }
        format!(" WHERE {}", self.condition(&reach))
    }

    fn update(&mut self) -> String {
        let table = self.changed();
        let (column, class) = self.target(table);
        let mut reach = Reach::default();
        reach.add(table, table);
        let value = match class {
            Class::Int if self.draw.percent(40) => format!("{column} + 1"),
            Class::Int | Class::Decimal if self.draw.percent(20) => self.number(&reach),
            Class::Text if self.draw.percent(20) => format!("CONCAT(LEFT({column}, 1), {{='!'}})"),
            Class::Moment | Class::Day if self.draw.percent(30) => {
                format!("{column} + INTERVAL {{=1}} DAY")
            }
            class => self.literal(class),
        };
        let value = value.replace(&format!("{table}."), "");
        let mut sets = format!("{column} = {value}");
        let (second, class) = self.target(table);
        if self.draw.percent(20) && second != column {
            sets = format!("{sets}, {second} = {}", self.literal(class));
        }
        let filter = self.where_of(table);
        let tail = match self.draw.percent(8) {
            true => format!(" ORDER BY {} LIMIT {{=2}}", primary(table).join(", ")),
            false => String::new(),
        };
        let verb = self
            .draw
            .one(&["UPDATE", "UPDATE", "UPDATE", "UPDATE IGNORE"]);
        format!("{verb} {table} SET {sets}{filter}{tail}")
    }

    fn delete(&mut self) -> String {
        let table = self.changed();
        let filter = self.where_of(table);
        let tail = match self.draw.percent(8) {
            true => format!(" ORDER BY {} LIMIT {{=2}}", primary(table).join(", ")),
            false => String::new(),
        };
        format!("DELETE FROM {table}{filter}{tail}")
    }
}
