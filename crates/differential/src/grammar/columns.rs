//! The columns of the tables, as the grammar sees them: what they may be compared with.

use super::Grammar;
use crate::rows::{LATIN, TEXTS};

/// Kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Int,
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
            ("since", Class::Int),
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

impl Grammar {
    /// A column of one of these classes; of any, where there is none.
    pub(super) fn column<'r>(&mut self, reach: &'r Reach, of: &[Class]) -> &'r Column {
        let fitting: Vec<&Column> = reach
            .columns
            .iter()
            .filter(|column| of.is_empty() || of.contains(&column.class))
            .collect();
        let all: Vec<&Column> = match fitting.is_empty() {
            true => reach.columns.iter().collect(),
            false => fitting,
        };
        self.draw.one(&all)
    }

    /// A literal to compare with.
    pub(super) fn literal(&mut self, class: Class) -> String {
        if let Some(variable) = self.variable(class) {
            return variable.to_owned();
        }
        let draw = &mut self.draw;
        let text = match class {
            _ if draw.percent(3) => "NULL".to_owned(),
            Class::Int => draw.between(-4, 50).to_string(),
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
        match self.draw.percent(80) {
            true => format!("{{={text}}}"),
            false => text,
        }
    }
}
