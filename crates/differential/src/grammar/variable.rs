//! User variables: assigned now and then, and read where a literal may stand.

use super::columns::{Class, Reach, SHARDED, of_table};
use super::{DEPTH_MAX, Grammar};

impl Grammar {
    /// A statement that assigns some.
    pub(super) fn assignment(&mut self) -> String {
        match self.draw.below(9) {
            0..=1 => format!("SET @i1 = {}", self.literal(Class::Int)),
            2 => format!(
                "SET @i2 = {} + {}",
                self.literal(Class::Int),
                self.literal(Class::Int)
            ),
            3 => format!("SET @d1 = {}", self.literal(Class::Decimal)),
            4 => format!("SET @t1 = {}", self.literal(Class::Text)),
            5 => format!("SET @t2 = CONCAT({}, 'x')", self.literal(Class::Text)),
            6 => {
                let (table, filter) = self.filtered();
                format!("SELECT COUNT(*), MAX(user_id) INTO @i1, @i2 FROM {table}{filter}")
            }
            7 => {
                let (table, filter) = self.filtered();
                format!("SET @i1 = (SELECT MIN(user_id) FROM {table}{filter})")
            }
            _ => {
                let user = self.draw.between(1, 40);
                format!("SELECT name, score INTO @t1, @i2 FROM t_user WHERE user_id = {{={user}}}")
            }
        }
    }

    fn filtered(&mut self) -> (&'static str, String) {
        let table = self.draw.one(&SHARDED[..3]);
        let mut reach = Reach::default();
        reach.add(table, table);
        self.depth += DEPTH_MAX;
        let filter = format!(" WHERE {}", self.condition(&reach));
        self.depth -= DEPTH_MAX;
        (table, filter)
    }

    /// A variable of that class, now and then.
    pub(super) fn variable(&mut self, class: Class) -> Option<&'static str> {
        let names: &[&str] = match class {
            Class::Int => &["@i1", "@i2"],
            Class::Decimal => &["@d1", "@i1"],
            Class::Text => &["@t1", "@t2"],
            _ => return None,
        };
        self.draw.percent(4).then(|| self.draw.one(names))
    }

    /// Rows of a query that go to a table.
    pub(super) fn insert_select(&mut self) -> String {
        if self.draw.percent(25) {
            return self.lending();
        }
        let more = self.draw.between(1, 60);
        let verb = self.draw.one(&["INSERT", "INSERT IGNORE", "REPLACE"]);
        let (into, select) = match self.draw.below(5) {
            0 => (
                "t_user (user_id, city, score)",
                format!("SELECT user_id + {more}, city, score FROM t_user"),
            ),
            1 => (
                "t_order (user_id, order_id, qty, note)",
                format!("SELECT user_id, order_id + {more}, qty, note FROM t_order"),
            ),
            2 => (
                "t_order (user_id, order_id, qty)",
                format!("SELECT age, user_id + {more}, score FROM t_user"),
            ),
            3 => (
                "t_item (user_id, order_id, line, pieces)",
                format!("SELECT order_id, user_id, {more}, qty FROM t_order"),
            ),
            _ => (
                "t_conf (k, num)",
                format!("SELECT user_id + {more}, age FROM t_user"),
            ),
        };
        let table = select.rsplit(' ').next().unwrap_or_default().to_owned();
        let table = SHARDED.iter().find(|name| **name == table);
        let mut reach = Reach::default();
        if let Some(table) = table {
            reach.add(table, table);
        }
        self.depth += DEPTH_MAX;
        let filter = self.condition(&reach);
        self.depth -= DEPTH_MAX;
        format!("{verb} INTO {into} {select} WHERE {filter}")
    }

    /// Rows that change others by columns of the query that gives them.
    fn lending(&mut self) -> String {
        let (more, order) = (self.draw.between(1, 60), self.draw.between(1, 5));
        let (column, class) = self.target("t_user");
        let lent = of_table("t_order").iter().filter(|(_, of)| *of == class);
        let lent: Vec<&str> = lent.map(|(name, _)| *name).collect();
        let value = match lent.is_empty() {
            true => self.literal(class),
            false => format!("o.{}", self.draw.one(&lent)),
        };
        let value = match self.draw.percent(30) {
            true => format!("COALESCE({value}, t_user.{column})"),
            false => value,
        };
        let from = self.draw.one(&[
            "t_order o",
            "(SELECT * FROM t_order) o",
            "t_order o JOIN t_user u ON u.boss_id = o.user_id",
        ]);
        format!(
            "INSERT INTO t_user (user_id, city) SELECT o.user_id + {more}, 'lent' FROM {from} WHERE o.order_id = {order} \
             ORDER BY o.user_id ON DUPLICATE KEY UPDATE {column} = {value}"
        )
    }

    /// A change of tables that are joined.
    pub(super) fn joined_change(&mut self) -> String {
        const JOINS: [(&str, &str, &str); 5] = [
            ("t_user", "t_order", "a.user_id = b.user_id"),
            (
                "t_order",
                "t_item",
                "a.user_id = b.user_id AND a.order_id = b.order_id",
            ),
            ("t_order", "t_item", "a.order_id = b.order_id"),
            ("t_user", "t_user", "a.boss_id = b.user_id"),
            ("t_order", "t_user", "a.qty = b.age"),
        ];
        let (one, other, on) = JOINS[self.draw.place(JOINS.len())]; // tidy-allow: below the length
        let mut reach = Reach::default();
        reach.add("a", one);
        reach.add("b", other);
        self.depth += DEPTH_MAX;
        let filter = self.condition(&reach);
        self.depth -= DEPTH_MAX;
        let join = self.draw.one(&["JOIN", "JOIN", "LEFT JOIN"]);
        let (column, class) = self.target(one);
        let (other_column, other_class) = self.target(other);
        match self.draw.below(8) {
            0..=1 => format!("DELETE a FROM {one} a {join} {other} b ON {on} WHERE {filter}"),
            2 => format!("DELETE FROM a USING {one} a {join} {other} b ON {on} WHERE {filter}"),
            3 if one != other => {
                format!("DELETE a, b FROM {one} a {join} {other} b ON {on} WHERE {filter}")
            }
            4 if one != other => {
                let (value, other_value) = (self.literal(class), self.literal(other_class));
                format!(
                    "UPDATE {one} a {join} {other} b ON {on} SET a.{column} = {value}, b.{other_column} = {other_value} \
                     WHERE {filter}"
                )
            }
            _ => {
                let value = self.literal(class);
                format!(
                    "UPDATE {one} a {join} {other} b ON {on} SET a.{column} = {value} WHERE {filter}"
                )
            }
        }
    }

    /// A file that is loaded: what stands in quotes is what stands in it.
    pub(super) fn load(&mut self) -> String {
        const FILES: [(&str, &[&str]); 3] = [
            ("t_user", &["user_id", "city", "age"]),
            ("t_order", &["user_id", "order_id", "qty", "note"]),
            ("t_item", &["user_id", "order_id", "line", "pieces"]),
        ];
        let (table, columns) = FILES[self.draw.place(FILES.len())]; // tidy-allow: below the length
        let mut rows = String::new();
        for _ in 0..self.draw.between(0, 6) {
            let mut fields: Vec<String> = Vec::new();
            for column in columns {
                let text = of_table(table)
                    .iter()
                    .any(|(name, class)| name == column && *class == Class::Text);
                fields.push(match text {
                    true => self
                        .draw
                        .one(&["x", "\"a, b\"", "", "café", "\"q\"\"q\""])
                        .to_owned(),
                    false => self.draw.between(-3, 90).to_string(),
                });
            }
            rows += &fields.join(",");
            rows += "\\n";
        }
        let verb = self.draw.one(&["", "IGNORE ", "REPLACE "]);
        format!(
            "LOAD DATA LOCAL INFILE '{rows}' {verb}INTO TABLE {table} FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ({})",
            columns.join(", ")
        )
    }
}
