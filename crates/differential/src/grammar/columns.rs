//! The columns of the tables, as the grammar sees them: what they may be compared with.

use super::Grammar;
use super::condition::NUMBERS;
use crate::draw::Draw;
use crate::rows::{LATIN, TEXTS};

/// Kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Int,
    Year,
    Decimal,
    Float,
    Text,
    Latin,
    Time,
    Day,
    Moment,
    Named,
    Json,
    Bits,
    Bytes,
}

/// A column in reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// With its table's alias.
    pub name: String,
    pub class: Class,
    /// Whether it is a key of shards, of whole numbers.
    pub key: bool,
}

/// Tables in FROM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reach {
    pub columns: Vec<Column>,
    /// Columns that tell every row from the others.
    pub unique: Vec<String>,
    /// Aliases with the table's name.
    pub tables: Vec<(String, &'static str)>,
}

pub(super) const SHARDED: [&str; 4] = ["t_user", "t_order", "t_item", "t_doc"];

/// Columns of a table.
pub(super) fn of_table(table: &str) -> &'static [(&'static str, Class)] {
    match table {
        "t_user" => &[
            ("user_id", Class::Int),
            ("name", Class::Text),
            ("city", Class::Text),
            ("nick", Class::Latin),
            ("code", Class::Text),
            ("age", Class::Int),
            ("born", Class::Day),
            ("seen", Class::Moment),
            ("boss_id", Class::Int),
            ("score", Class::Int),
            ("since", Class::Year),
            ("wake", Class::Time),
        ],
        "t_order" => &[
            ("user_id", Class::Int),
            ("order_id", Class::Int),
            ("amount", Class::Decimal),
            ("qty", Class::Int),
            ("big", Class::Int),
            ("neg", Class::Int),
            ("price", Class::Float),
            ("ratio", Class::Float),
            ("state", Class::Named),
            ("tags", Class::Named),
            ("bits", Class::Bits),
            ("doc", Class::Json),
            ("placed_at", Class::Moment),
            ("note", Class::Text),
            ("raw", Class::Bytes),
            ("cc", Class::Text),
        ],
        "t_item" => &[
            ("user_id", Class::Int),
            ("order_id", Class::Int),
            ("line", Class::Int),
            ("sku", Class::Text),
            ("pieces", Class::Int),
            ("cost", Class::Decimal),
            ("shipped", Class::Day),
        ],
        "t_doc" => &[
            ("doc_key", Class::Text),
            ("cat", Class::Int),
            ("title", Class::Text),
            ("size", Class::Int),
            ("owner", Class::Int),
        ],
        "t_country" => &[
            ("cc", Class::Text),
            ("label", Class::Text),
            ("rate", Class::Decimal),
        ],
        _ => &[("k", Class::Int), ("v", Class::Text), ("num", Class::Int)],
    }
}

/// Columns of a table's primary key.
pub(super) fn primary(table: &str) -> &'static [&'static str] {
    match table {
        "t_user" => &["user_id"],
        "t_order" => &["user_id", "order_id"],
        "t_item" => &["user_id", "order_id", "line"],
        "t_doc" => &["doc_key"],
        "t_country" => &["cc"],
        _ => &["k"],
    }
}

impl Reach {
    pub fn add(&mut self, alias: &str, table: &'static str) {
        for (name, class) in of_table(table) {
            self.columns.push(Column {
                name: format!("{alias}.{name}"),
                class: *class,
                key: *name == "user_id",
            });
        }
        let keys = primary(table).iter();
        self.unique.extend(keys.map(|key| format!("{alias}.{key}")));
        self.tables.push((alias.to_owned(), table));
    }
}

/// A value at the end of what a class holds, or of another type than a column of it.
fn edge(draw: &mut Draw, class: Class) -> String {
    let of: &[&str] = match class {
        Class::Int => &[
            "2147483647",
            "-2147483648",
            "18446744073709551615",
            "-9223372036854775808",
            "0.5",
            "1e1",
            "'7'",
            "TRUE",
        ],
        // In one or two digits a literal is another year, and a parameter is that number.
        Class::Year => &["2155", "1901", "'2001'", "1", "5", "70", "99"],
        Class::Decimal => &["999999999.999", "-0.0005", "12.3450", "1e3", "'12.5'", "0"],
        Class::Float => &["0.0", "-0.25", "1e10", "'2.5'", "3"],
        Class::Text => &[
            "''",
            "' '",
            "'ab\u{301}'",
            "'%'",
            "'0'",
            "_utf8mb4'b'",
            "CONCAT('a', 'b')",
        ],
        Class::Latin => &["''", "' '", "'%'", "'0'", "_latin1'b'", "CONCAT('a', 'b')"],
        Class::Time => &[
            "'838:59:59'",
            "'-01:00:00.5'",
            "TIME'00:00:00'",
            "'24:00:00'",
        ],
        Class::Day => &[
            "'9999-12-31'",
            "'1000-01-01'",
            "DATE'2024-02-29'",
            "'2024-03-01 10:00:00'",
            "20240229",
        ],
        Class::Moment => &[
            "'2038-01-19 03:14:07'",
            "'1970-01-02 00:00:01'",
            "TIMESTAMP'2024-02-29 23:59:59.999999'",
            "'2024-02-29'",
            "20240301120000",
        ],
        Class::Named => &["'paid,red'", "1", "'PAID'", "'gift,red'"],
        Class::Json => &["CAST('{\"a\": 1}' AS JSON)", "JSON_ARRAY(1, 2)", "'null'"],
        Class::Bits => &["b'0'", "b'111111111'", "511"],
        Class::Bytes => &["x''", "x'7261'", "'RAW'"],
    };
    draw.one(of).to_owned()
}

impl Grammar {
    /// A column of one of these classes; of a number where numbers are asked for, else of any, where there is none.
    pub(super) fn column<'r>(&mut self, reach: &'r Reach, of: &[Class]) -> &'r Column {
        let all_of = |of: &[Class]| -> Vec<&'r Column> {
            let fits = |column: &&Column| of.is_empty() || of.contains(&column.class);
            reach.columns.iter().filter(fits).collect()
        };
        let mut fitting = all_of(of);
        // Texts that are no numbers are converted as often as a plan wants, with a warning each time.
        if fitting.is_empty() && of.contains(&Class::Int) {
            fitting = all_of(&NUMBERS);
        }
        if fitting.is_empty() {
            fitting = all_of(&[]);
        }
        self.draw.one(&fitting)
    }

    /// A column of one of these classes, if there is one.
    pub(super) fn column_of<'r>(&mut self, reach: &'r Reach, of: &[Class]) -> Option<&'r Column> {
        let fits = |column: &Column| of.contains(&column.class);
        match reach.columns.iter().any(fits) {
            true => Some(self.column(reach, of)),
            false => None,
        }
    }

    /// A literal to compare with.
    pub(super) fn literal(&mut self, class: Class) -> String {
        if let Some(variable) = self.variable(class) {
            return variable.to_owned();
        }
        let draw = &mut self.draw;
        let text = match class {
            _ if draw.percent(3) => "NULL".to_owned(),
            class if draw.percent(6) => edge(draw, class),
            Class::Int => draw.between(-4, 50).to_string(),
            Class::Year => draw.between(1999, 2006).to_string(),
            Class::Decimal => format!("{}.{:02}", draw.between(-10, 2000), draw.below(100)),
            Class::Float => format!("{}", draw.between(-400, 400) as f64 / 4.0),
            Class::Text => format!("'{}'", draw.one(&TEXTS)),
            Class::Latin => format!("'{}'", draw.one(&LATIN)),
            Class::Time => format!("'{:02}:15:00'", draw.below(40)),
            Class::Day => format!(
                "'2024-{:02}-{:02}'",
                draw.between(1, 4),
                draw.between(1, 28)
            ),
            Class::Moment => format!("'2024-{:02}-15 11:00:00'", draw.between(1, 4)),
            Class::Named => draw
                .one(&["'new'", "'paid'", "'red'", "''", "'red,gift'"])
                .to_owned(),
            Class::Json => draw.one(&["'[1, 2]'", "'10'", "'x'"]).to_owned(),
            Class::Bits => draw.below(512).to_string(),
            Class::Bytes => draw.one(&["'x'", "'raw'"]).to_owned(),
        };
        // What a server has to compute is no parameter.
        let constant = !text.contains('(') && !text.starts_with(['_', 'b']);
        match self.draw.percent(80) && constant {
            true => format!("{{={text}}}"),
            false => text,
        }
    }
}
