//! Queries: their tables, what they select, group, order and limit.

use super::columns::{Class, Reach, SHARDED};
use super::{DEPTH_MAX, Grammar};

/// What MIN, MAX, DISTINCT and groups are drawn over.
pub(super) const COMPARABLE: [Class; 11] = [
    Class::Int,
    Class::Year,
    Class::Decimal,
    Class::Float,
    Class::Text,
    Class::Latin,
    Class::Time,
    Class::Day,
    Class::Moment,
    Class::Named,
    Class::Bits,
];
const EXACT: [Class; 3] = [Class::Int, Class::Decimal, Class::Float];

impl Grammar {
    /// A query with the name of its shape.
    pub(super) fn query(&mut self) -> (&'static str, String) {
        match self.draw.below(100) {
            0..=24 => ("random.plain", self.plain(1)),
            25..=39 => ("random.join", self.plain(3)),
            40..=64 => ("random.group", self.grouped()),
            65..=73 => ("random.distinct", self.distinct()),
            74..=80 => ("random.window", self.windowed()),
            81..=87 => ("random.set", self.set()),
            88..=95 => ("random.derived", self.derived()),
            _ => ("random.aggregate", self.aggregated()),
        }
    }

    /// FROM with one table, or several.
    pub(super) fn from(&mut self) -> (String, Reach) {
        let tables = match self.draw.below(10) {
            0..=6 => 1,
            7..=8 => 2,
            _ => 3,
        };
        self.tables(tables)
    }

    pub(super) fn table(&mut self) -> &'static str {
        match self.draw.below(20) {
            0..=17 => SHARDED[self.draw.place(SHARDED.len())], // tidy-allow: below the length
            18 => "t_country",
            _ => "t_conf",
        }
    }

    fn tables(&mut self, count: usize) -> (String, Reach) {
        let mut reach = Reach::default();
        let mut text = String::new();
        for place in 0..count {
            let table = self.table();
            let alias = self.name();
            let mut added = Reach::default();
            added.add(&alias, table);
            if place == 0 {
                text = format!("{table} {alias}");
            } else {
                let join =
                    self.draw
                        .one(&["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "STRAIGHT_JOIN"]);
                let mut on = self.link(&reach, &added);
                if self.draw.percent(20) {
                    let mut both = reach.clone();
                    both.columns.extend(added.columns.clone());
                    self.depth += DEPTH_MAX;
                    on = format!("{on} AND {}", self.condition(&both));
                    self.depth -= DEPTH_MAX;
                }
                text = format!("{text} {join} {table} {alias} ON {on}");
            }
            reach.add(&alias, table);
        }
        (text, reach)
    }

    pub(super) fn filter(&mut self, reach: &Reach) -> String {
        match self.draw.percent(75) {
            true => format!(" WHERE {}", self.condition(reach)),
            false => String::new(),
        }
    }

    pub(super) fn limit(&mut self) -> String {
        let count = self.draw.below(8);
        match self.draw.below(10) {
            0..=1 => format!(" LIMIT {{={count}}}"),
            2 => format!(" LIMIT {{={count}}} OFFSET {{={}}}", self.draw.below(6)),
            3 => format!(" LIMIT {}, {count}", self.draw.below(4)),
            _ => String::new(),
        }
    }

    pub(super) fn direction(&mut self) -> &'static str {
        self.draw.one(&["", "", " DESC", " ASC"])
    }

    /// ORDER BY drawn keys, then whatever tells rows apart.
    fn total_order(&mut self, reach: &Reach) -> String {
        let mut keys = Vec::new();
        for _ in 0..self.draw.below(3) {
            let column = self.column(reach, &COMPARABLE).name.clone();
            keys.push(format!("{column}{}", self.direction()));
        }
        for unique in &reach.unique {
            keys.push(format!("{unique}{}", self.direction()));
        }
        format!(" ORDER BY {}", keys.join(", "))
    }

    fn items(&mut self, reach: &Reach) -> String {
        if self.draw.percent(10) {
            return "*".to_owned();
        }
        let count = self.draw.between(1, 4);
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(match self.draw.below(14) {
                10..=13 => {
                    let expression = self.expression(reach);
                    format!("{expression} AS {}", self.name())
                }
                0 => {
                    let number = self.number(reach);
                    format!("{number} AS {}", self.name())
                }
                1 => {
                    let text = self.column(reach, &[Class::Text]).name.clone();
                    format!("CONCAT({text}, '-') AS {}", self.name())
                }
                2 => self.number(reach),
                _ => self.column(reach, &[]).name.clone(),
            });
        }
        items.extend(reach.unique.clone());
        items.join(", ")
    }

    fn plain(&mut self, tables: usize) -> String {
        let count = self.draw.between(1, tables as i64);
        let (from, reach) = self.tables(count as usize);
        let items = self.items(&reach);
        let filter = self.filter(&reach);
        let order = match self.draw.percent(55) {
            true => self.total_order(&reach),
            false => String::new(),
        };
        let limit = self.limit();
        format!("SELECT {items} FROM {from}{filter}{order}{limit}")
    }

    /// What MIN and MAX are drawn over: of BIT, MariaDB gives bytes or a number, depending on its temporary table.
    fn extreme(&mut self, reach: &Reach) -> String {
        self.column(reach, &COMPARABLE[..10]).name.clone() // tidy-allow: the last is BIT
    }

    pub(super) fn aggregate(&mut self, reach: &Reach) -> String {
        let number = self.number(reach);
        let any = self.column(reach, &COMPARABLE).name.clone();
        let exact = self.column(reach, &EXACT).name.clone();
        match self.draw.below(22) {
            0..=2 => "COUNT(*)".to_owned(),
            3 => format!("COUNT({any})"),
            4 => format!("SUM({number})"),
            5 => format!("AVG({number})"),
            6 => format!("MIN({})", self.extreme(reach)),
            7 => format!("MAX({})", self.extreme(reach)),
            8 => format!("COUNT(DISTINCT {any})"),
            9 => format!("SUM(DISTINCT {exact})"),
            10 => format!("SUM({exact})"),
            11 => format!("BIT_OR({})", self.column(reach, &[Class::Int]).name),
            12 => format!("BIT_AND({})", self.column(reach, &[Class::Int]).name),
            13 => format!("BIT_XOR({})", self.column(reach, &[Class::Int]).name),
            14 => format!("COUNT(DISTINCT {any}, {exact})"),
            15 => format!("AVG(DISTINCT {exact})"),
            // The last digits of floating point depend on the order of the rows.
            16 => format!("ROUND(STDDEV_POP({}), 3)", self.small(reach)),
            17 => format!("SUM({exact}) / COUNT(*)"),
            18 => {
                let any = self.extreme(reach);
                format!("MAX({any}) = MIN({any})")
            }
            19 => {
                let text = self.column(reach, &[Class::Text]).name.clone();
                let unique = reach.unique.join(", ");
                format!("GROUP_CONCAT({text} ORDER BY {text} DESC, {unique} SEPARATOR '|')")
            }
            20 => format!("SUM({exact} > {{={}}})", self.draw.between(0, 20)),
            21 => {
                let int = self.column(reach, &[Class::Int]).name.clone();
                format!("GROUP_CONCAT(DISTINCT {int} ORDER BY {int} DESC)")
            }
            _ => {
                let int = self.column(reach, &[Class::Int]).name.clone();
                format!("GROUP_CONCAT({int} ORDER BY {int})")
            }
        }
    }

    fn aggregated(&mut self) -> String {
        let (from, reach) = self.from();
        let count = self.draw.between(1, 4);
        let items: Vec<String> = (0..count).map(|_| self.aggregate(&reach)).collect();
        let filter = self.filter(&reach);
        format!("SELECT {} FROM {from}{filter}", items.join(", "))
    }

    fn grouped(&mut self) -> String {
        let (from, reach) = self.from();
        let mut groups: Vec<String> = Vec::new();
        for _ in 0..self.draw.between(1, 2) {
            groups.push(match self.draw.percent(20) {
                true => self.group_key(&reach),
                false => self.column(&reach, &COMPARABLE).name.clone(),
            });
        }
        groups.dedup();
        let mut items = groups.clone();
        let mut names = Vec::new();
        for _ in 0..self.draw.between(1, 3) {
            let aggregate = self.aggregate(&reach);
            let name = self.name();
            items.push(format!("{aggregate} AS {name}"));
            names.push(name);
        }
        let filter = self.filter(&reach);
        let having = match self.draw.below(12) {
            2 => format!(
                " HAVING SUM({}) > {{={}}}",
                self.small(&reach),
                self.draw.between(-9, 60)
            ),
            3 => " HAVING COUNT(*) > 1 AND MAX(1) IS NOT NULL".to_owned(),
            0 => format!(" HAVING COUNT(*) > {{={}}}", self.draw.below(4)),
            1 => match names.first() {
                Some(name) => format!(" HAVING {name} IS NOT NULL"),
                None => String::new(),
            },
            _ => String::new(),
        };
        let order = match self.draw.below(10) {
            0..=4 => {
                let mut keys: Vec<String> = Vec::new();
                if self.draw.percent(30) {
                    keys.extend(names.first().map(|name| format!("{name} DESC")));
                }
                for group in &groups {
                    keys.push(format!("{group}{}", self.direction()));
                }
                format!(" ORDER BY {}", keys.join(", "))
            }
            _ => String::new(),
        };
        let limit = self.limit();
        let rollup = match self.draw.percent(15) && order.is_empty() {
            true => " WITH ROLLUP",
            false => "",
        };
        format!(
            "SELECT {} FROM {from}{filter} GROUP BY {}{rollup}{having}{order}{limit}",
            items.join(", "),
            groups.join(", ")
        )
    }

    fn distinct(&mut self) -> String {
        let (from, reach) = self.from();
        let mut items: Vec<String> = Vec::new();
        for _ in 0..self.draw.between(1, 3) {
            items.push(self.column(&reach, &COMPARABLE).name.clone());
        }
        let filter = self.filter(&reach);
        let order = match self.draw.percent(50) {
            true => format!(" ORDER BY {}", items.join(", ")),
            false => String::new(),
        };
        let limit = self.limit();
        format!(
            "SELECT DISTINCT {} FROM {from}{filter}{order}{limit}",
            items.join(", ")
        )
    }

    fn set(&mut self) -> String {
        let class = COMPARABLE[self.draw.place(4)]; // tidy-allow: there are eleven
        let arms = self.draw.between(2, 3);
        let mut text = String::new();
        for arm in 0..arms {
            let (from, reach) = self.tables(1);
            let column = self.column(&reach, &[class]).name.clone();
            let key = self.column(&reach, &[Class::Int]).name.clone();
            let filter = self.filter(&reach);
            if arm > 0 {
                let op = self
                    .draw
                    .one(&["UNION", "UNION ALL", "UNION ALL", "INTERSECT", "EXCEPT"]);
                text.push_str(&format!(" {op} "));
            }
            text.push_str(&format!(
                "SELECT {column} AS x, {key} AS y FROM {from}{filter}"
            ));
        }
        let order = match self.draw.percent(50) {
            true => " ORDER BY y, x",
            false => "",
        };
        let limit = match order.is_empty() {
            true => String::new(),
            false => self.limit(),
        };
        format!("{text}{order}{limit}")
    }
}
