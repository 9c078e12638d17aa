//! Windows, and queries inside of FROM: derived tables and common table expressions.

use super::columns::{Class, Reach};
use super::select::COMPARABLE;
use super::{DEPTH_MAX, Grammar};

impl Grammar {
    /// A query with a window function.
    pub(super) fn windowed(&mut self) -> String {
        if self.draw.percent(15) {
            return self.windowed_groups();
        }
        let (from, reach) = self.from();
        let mut partition = self.column(&reach, &COMPARABLE).name.clone();
        if self.draw.percent(50) {
            partition = link_key(&reach).unwrap_or(partition);
        }
        let unique = reach.unique.join(", ");
        let (function, frame) = self.window_function(&reach);
        let by = match self.draw.percent(80) {
            true => format!("PARTITION BY {partition} "),
            false => String::new(),
        };
        let filter = self.filter(&reach);
        let name = self.name();
        let window = format!("{by}ORDER BY {unique}{frame}");
        match self.draw.below(10) {
            0..=1 => format!(
                "SELECT {unique}, {function} OVER w AS {name} FROM {from}{filter} WINDOW w AS ({window})"
            ),
            2..=3 => {
                let own = reach.unique.first().cloned().unwrap_or_default();
                format!(
                    "SELECT * FROM (SELECT {own} AS x, ROW_NUMBER() OVER ({by}ORDER BY {unique}) AS r FROM {from}{filter}) \
                     {name} WHERE r <= {{=2}}"
                )
            }
            4 => format!(
                "SELECT {unique}, {function} OVER ({window}) AS {name} FROM {from}{filter} ORDER BY {unique} LIMIT {{=7}}"
            ),
            _ => {
                format!("SELECT {unique}, {function} OVER ({window}) AS {name} FROM {from}{filter}")
            }
        }
    }

    /// A function, and the frame that it looks at.
    fn window_function(&mut self, reach: &Reach) -> (String, &'static str) {
        let number = self.number(reach);
        let any = self.column(reach, &COMPARABLE).name.clone();
        let function = match self.draw.below(16) {
            0 => "ROW_NUMBER()".to_owned(),
            1 => "RANK()".to_owned(),
            2 => "DENSE_RANK()".to_owned(),
            3 => "PERCENT_RANK()".to_owned(),
            4 => "CUME_DIST()".to_owned(),
            5 => "NTILE(3)".to_owned(),
            6 => format!("LAG({number})"),
            7 => format!("LEAD({number}, 2)"),
            8 => "COUNT(*)".to_owned(),
            9 => format!("SUM({number})"),
            10 => format!("AVG({number})"),
            11 => format!("MIN({number})"),
            12 => format!("MAX({number})"),
            13 => format!("FIRST_VALUE({any})"),
            14 => format!("LAST_VALUE({any})"),
            _ => format!("NTH_VALUE({any}, 2)"),
        };
        let framed = ["COUNT", "SUM", "AVG", "MIN", "MAX", "FIRST", "LAST", "NTH"];
        let frame = match framed.iter().any(|name| function.starts_with(name)) {
            true => self.draw.one(&[
                "",
                " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
                " ROWS UNBOUNDED PRECEDING",
                " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
                " RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            ]),
            false => "",
        };
        (function, frame)
    }

    /// A window over groups.
    fn windowed_groups(&mut self) -> String {
        let (from, reach) = self.from();
        let group = self.column(&reach, &[Class::Int]).name.clone();
        let aggregate = self.aggregate(&reach);
        let filter = self.filter(&reach);
        let name = self.name();
        let over = self
            .draw
            .one(&["RANK()", "ROW_NUMBER()", "SUM(COUNT(*))", "COUNT(*)"]);
        format!(
            "SELECT {group}, {aggregate}, {over} OVER (ORDER BY {group}) AS {name} FROM {from}{filter} GROUP BY {group}"
        )
    }

    /// A query of a derived table or of common table expressions.
    pub(super) fn derived(&mut self) -> String {
        match self.draw.below(10) {
            0 => return self.recursive(),
            1..=2 => return self.joined_derived(),
            3 => return self.read_twice(),
            _ => {}
        }
        let body = self.body();
        let name = self.name();
        let literal = self.literal(Class::Int);
        let outer = match self.draw.below(6) {
            0 => format!("SELECT x, y, z FROM {name} WHERE y > {literal} ORDER BY y, x, z"),
            1 => format!("SELECT COUNT(*), SUM(z), MAX(y) FROM {name}"),
            2 => format!("SELECT y, COUNT(*) FROM {name} GROUP BY y ORDER BY y"),
            3 => format!("SELECT DISTINCT y FROM {name} ORDER BY y DESC LIMIT {{=5}}"),
            4 => format!("SELECT y, z, RANK() OVER (ORDER BY y) FROM {name} WHERE z IS NOT NULL"),
            _ => format!("SELECT * FROM {name} WHERE y = {literal}"),
        };
        match self.draw.percent(50) {
            true => format!("WITH {name} AS ({body}) {outer}"),
            false => outer.replacen(
                &format!("FROM {name}"),
                &format!("FROM ({body}) AS {name}"),
                1,
            ),
        }
    }

    /// A query with columns x, y (a whole number) and z (a number).
    fn body(&mut self) -> String {
        self.depth += 1;
        let (from, inner) = self.from();
        let column = self.column(&inner, &COMPARABLE).name.clone();
        let (key, number) = (
            self.column(&inner, &[Class::Int]).name.clone(),
            self.number(&inner),
        );
        let filter = self.filter(&inner);
        let kind = self.draw.below(10);
        self.depth -= 1;
        match kind {
            0..=3 => format!(
                "SELECT {column} AS x, {key} AS y, SUM({number}) AS z FROM {from}{filter} GROUP BY {column}, {key}"
            ),
            4 => format!(
                "SELECT DISTINCT {column} AS x, {key} AS y, {number} AS z FROM {from}{filter}"
            ),
            5 => {
                let order = inner.unique.join(", ");
                format!(
                    "SELECT {column} AS x, {key} AS y, {number} AS z FROM {from}{filter} ORDER BY {order} LIMIT {{=6}}"
                )
            }
            _ => format!("SELECT {column} AS x, {key} AS y, {number} AS z FROM {from}{filter}"),
        }
    }

    /// A derived table beside a table.
    fn joined_derived(&mut self) -> String {
        let body = self.body();
        let name = self.name();
        let alias = self.name();
        let mut reach = Reach::default();
        let table = self.table();
        reach.add(&alias, table);
        let unique = reach.unique.join(", ");
        let own = self.column(&reach, &[Class::Int]).name.clone();
        self.depth += DEPTH_MAX;
        let condition = self.condition(&reach);
        self.depth -= DEPTH_MAX;
        let join = self.draw.one(&["JOIN", "LEFT JOIN"]);
        match self.draw.percent(50) {
            true => format!(
                "SELECT {unique}, {name}.* FROM {table} {alias} {join} ({body}) {name} ON {name}.y = {own} WHERE {condition}"
            ),
            false => format!(
                "WITH {name} AS ({body}) SELECT COUNT(*), SUM({name}.z), MIN({own}) FROM {table} {alias} \
                 {join} {name} ON {name}.y = {own} WHERE {condition}"
            ),
        }
    }

    /// A common table expression that is read twice, or by another one.
    fn read_twice(&mut self) -> String {
        let body = self.body();
        let (one, other) = (self.name(), self.name());
        match self.draw.below(3) {
            0 => format!(
                "WITH {one} AS ({body}) SELECT y, z FROM {one} WHERE z = (SELECT MAX(z) FROM {one}) ORDER BY y, z"
            ),
            1 => format!(
                "WITH {one} AS ({body}), {other} AS (SELECT y, COUNT(*) AS n FROM {one} GROUP BY y) \
                 SELECT * FROM {other} WHERE n > {{=1}} ORDER BY y"
            ),
            _ => format!(
                "WITH {one} AS ({body}) SELECT a.y, COUNT(*) FROM {one} a JOIN {one} b ON a.y = b.y GROUP BY a.y"
            ),
        }
    }

    fn recursive(&mut self) -> String {
        let filter = {
            let mut reach = Reach::default();
            reach.add("u", "t_user");
            self.depth += DEPTH_MAX;
            let condition = self.condition(&reach);
            self.depth -= DEPTH_MAX;
            condition
        };
        let start = self.draw.between(-3, 47);
        match self.draw.below(2) {
            0 => format!(
                "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 6) \
                 SELECT n.i, COUNT(u.user_id) FROM n LEFT JOIN t_user u ON u.user_id = n.i AND {filter} GROUP BY n.i ORDER BY n.i"
            ),
            _ => format!(
                "WITH RECURSIVE up AS (SELECT u.user_id, u.boss_id, 0 AS d FROM t_user u WHERE u.user_id = {{={start}}} \
                 UNION ALL SELECT u.user_id, u.boss_id, d + 1 FROM up JOIN t_user u ON u.user_id = up.boss_id WHERE d < 4) \
                 SELECT * FROM up ORDER BY d"
            ),
        }
    }
}

fn link_key(reach: &Reach) -> Option<String> {
    let mut keys = reach.columns.iter().filter(|column| column.key);
    keys.next().map(|column| column.name.clone())
}
