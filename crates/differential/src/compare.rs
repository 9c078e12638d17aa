//! Whether two answers are one.
//!
//! Owns what may differ because MySQL itself leaves it open: the order of rows that no ORDER BY decides, rows that tie at a
//! LIMIT, which of several equal texts stands for a group, and which of several broken constraints is told. Everything else
//! must be equal. Input: the statement's text and
//! the two answers.

use std::fmt;

use dbmesh_testkit::Kind;
use mysql_async::Value;
use mysql_async::consts::ColumnType;

use crate::answer::{Answer, Column, Outcome};
use crate::asked::Asked;
use crate::plans::Way;

/// How errors of the mesh itself begin; those of servers pass through.
const REFUSAL: &str = "dbmesh: ";

/// The SQLSTATE of constraints that are broken.
const CONSTRAINT: &str = "23000";

/// What an UPDATE that finds no row says; nothing, where MariaDB sees that no row can fulfil the condition.
const NOTHING: [&str; 2] = ["", "Rows matched: 0  Changed: 0"];

/// What a comparison says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Equal answers.
    Equal,
    /// The judge and the mesh say the same error.
    SameError {
        /// Its number and text.
        error: String,
    },
    /// The mesh says why it does not answer.
    Refused {
        /// Its words.
        reason: String,
        /// Whether the judge has an answer.
        answerable: bool,
    },
    /// The answers differ, and one server gives the mesh's when it executes the statement in another way.
    OtherPlan {
        /// In what they differ.
        difference: Difference,
        /// In which way.
        way: Way,
    },
    /// The answers differ.
    Different(Difference),
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In what.
    pub kind: DifferenceKind,
    /// What was seen.
    pub detail: String,
}

/// In what two answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// Rows.
    Rows,
    /// The order that was asked for.
    Order,
    /// Names, types, flags of columns.
    Columns,
    /// One has rows, or an error, and the other has not.
    Outcome,
    /// The error's number.
    Error,
    /// Affected rows, or the text with them.
    Affected,
    /// The generated id.
    InsertId,
    /// The number of warnings.
    Warnings,
    /// What tables hold after a change.
    Contents,
    /// The mesh gave no answer.
    Lost,
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

fn different(kind: DifferenceKind, detail: impl Into<String>) -> Verdict {
    Verdict::Different(Difference {
        kind,
        detail: detail.into(),
    })
}

/// Whether the mesh says that it does not answer.
pub fn is_refusal(answer: &Answer) -> bool {
    matches!(&answer.outcome, Outcome::Error { message, .. } if message.starts_with(REFUSAL))
}

/// Compares the answers to a text.
pub fn compare(sql: &str, judge: &Answer, mesh: &Answer) -> Verdict {
    let verdict = outcomes(sql, judge, mesh);
    if verdict == Verdict::Equal && judge.warnings != mesh.warnings && !is_labelled(judge, mesh) {
        let detail = format!("{} warnings, not {}", mesh.warnings, judge.warnings);
        return different(DifferenceKind::Warnings, detail);
    }
    verdict
}

/// Why one server may describe the columns of an equal answer otherwise, if it may.
pub fn described_by_plan(kind: Kind, sql: &str, judge: &Answer, mesh: &Answer) -> Option<Way> {
    const NOT_NULL: u16 = 0x1;
    const LISTED: u16 = 0x100 | 0x800;
    // In bytes: longer texts are kept as BLOBs.
    const LONG_TEXT: u32 = 65_532;
    let equal_if = |alike: &dyn Fn(&mut Column)| {
        let told = |answer: &Answer| {
            let mut answer = answer.clone();
            if let Outcome::Rows { columns, .. } = &mut answer.outcome {
                columns.iter_mut().for_each(alike);
            }
            answer
        };
        outcomes(sql, &told(judge), &told(mesh)) == Verdict::Equal
    };
    // A common table of the text may be one as well.
    let common = sql.starts_with("WITH");
    let widened = |column: &mut Column| {
        if column.table.is_empty() || common {
            column.kind = widest(column.kind);
            column.flags &= !LISTED;
            if column.kind == ColumnType::MYSQL_TYPE_VAR_STRING && column.length >= LONG_TEXT {
                column.kind = ColumnType::MYSQL_TYPE_BLOB;
            }
            match column.kind {
                // The longest GROUP_CONCAT is counted in characters or in bytes.
                ColumnType::MYSQL_TYPE_LONGLONG
                | ColumnType::MYSQL_TYPE_BLOB
                | ColumnType::MYSQL_TYPE_FLOAT
                | ColumnType::MYSQL_TYPE_DOUBLE => column.length = 0,
                // There, it is described as the bytes that it is kept as.
                ColumnType::MYSQL_TYPE_JSON => {
                    (column.charset, column.length, column.decimals) = (0, 0, 0);
                }
                _ => {}
            }
        }
        if kind == Kind::MariaDb {
            column.flags &= !NOT_NULL;
        }
    };
    let outer = sql.contains("LEFT JOIN") || sql.contains("RIGHT JOIN");
    if kind == Kind::MariaDb && outer && equal_if(&|column| column.flags &= !NOT_NULL) {
        return Some(Way::RowsWhilePlanning);
    }
    equal_if(&widened).then_some(Way::OwnTable)
}

/// The type that an expression has out of a temporary table.
fn widest(kind: ColumnType) -> ColumnType {
    match kind {
        ColumnType::MYSQL_TYPE_TINY
        | ColumnType::MYSQL_TYPE_SHORT
        | ColumnType::MYSQL_TYPE_INT24
        | ColumnType::MYSQL_TYPE_LONG
        | ColumnType::MYSQL_TYPE_YEAR => ColumnType::MYSQL_TYPE_LONGLONG,
        ColumnType::MYSQL_TYPE_STRING => ColumnType::MYSQL_TYPE_VAR_STRING,
        other => other,
    }
}

/// A change that several nodes committed by best effort has one warning more, which says that.
fn is_labelled(judge: &Answer, mesh: &Answer) -> bool {
    matches!(mesh.outcome, Outcome::Done { .. })
        && mesh.warnings == judge.warnings.saturating_add(1)
}

fn outcomes(sql: &str, judge: &Answer, mesh: &Answer) -> Verdict {
    match (&judge.outcome, &mesh.outcome) {
        (Outcome::Lost(why), _) => different(DifferenceKind::Lost, format!("the judge: {why}")),
        (_, Outcome::Lost(why)) => different(DifferenceKind::Lost, why.clone()),
        (judged, Outcome::Error { message, .. }) if message.starts_with(REFUSAL) => {
            Verdict::Refused {
                reason: message.trim_start_matches(REFUSAL).to_owned(),
                answerable: !matches!(judged, Outcome::Error { .. }),
            }
        }
        (
            Outcome::Error {
                code,
                state,
                message,
            },
            Outcome::Error {
                code: other,
                state: class,
                message: said,
            },
            // Of several rows that break constraints, one server meets the first, and shards meet each their own.
        ) => match code == other || (state == class && class == CONSTRAINT) {
            true => Verdict::SameError {
                error: format!("{code} {message}"),
            },
            false => different(
                DifferenceKind::Error,
                format!("{other} {said}, not {code} {message}"),
            ),
        },
        (
            Outcome::Done {
                affected,
                insert_id,
                info,
            },
            Outcome::Done {
                affected: mesh_affected,
                insert_id: mesh_id,
                info: mesh_info,
            },
        ) => {
            if affected != mesh_affected || !says_alike(info, mesh_info) {
                let detail = format!("{mesh_affected} {mesh_info:?}, not {affected} {info:?}");
                return different(DifferenceKind::Affected, detail);
            }
            match insert_id == mesh_id {
                true => Verdict::Equal,
                false => different(
                    DifferenceKind::InsertId,
                    format!("{mesh_id}, not {insert_id}"),
                ),
            }
        }
        (
            Outcome::Rows { columns, rows },
            Outcome::Rows {
                columns: mesh_columns,
                rows: mesh_rows,
            },
        ) => results(&Asked::of(sql), (columns, rows), (mesh_columns, mesh_rows)),
        (judged, met) => different(
            DifferenceKind::Outcome,
            format!("{}, not {}", told(met), told(judged)),
        ),
    }
}

/// Whether the texts of two OKs say the same, warnings aside.
fn says_alike(judged: &str, met: &str) -> bool {
    let found_none = |info: &str| NOTHING.contains(&words(info));
    words(judged) == words(met) || (found_none(judged) && found_none(met))
}

/// The text of an OK without its number of warnings, which is compared by itself.
fn words(info: &str) -> &str {
    info.split("  Warnings: ").next().unwrap_or(info)
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Rows { rows, .. } => format!("{} rows", rows.len()),
        Outcome::Done { affected, .. } => format!("OK with {affected} rows affected"),
        Outcome::Error { code, message, .. } => format!("error {code} {message}"),
        Outcome::Lost(why) => format!("nothing ({why})"),
    }
}

type Rows = Vec<Vec<Value>>;

fn results(
    asked: &Asked,
    (columns, rows): (&[Column], &Rows),
    (mesh_columns, mesh_rows): (&[Column], &Rows),
) -> Verdict {
    let found = rows_differ(asked, columns, rows, mesh_rows);
    if let Some((kind, detail)) = found {
        return different(kind, detail);
    }
    if columns.len() != mesh_columns.len() {
        let detail = format!("{} columns, not {}", mesh_columns.len(), columns.len());
        return different(DifferenceKind::Columns, detail);
    }
    let unequal = columns.iter().zip(mesh_columns).find(|(a, b)| a != b);
    match unequal {
        Some((judged, met)) => {
            different(DifferenceKind::Columns, format!("{met:?}, not {judged:?}"))
        }
        None => Verdict::Equal,
    }
}

fn rows_differ(
    asked: &Asked,
    columns: &[Column],
    judged: &Rows,
    met: &Rows,
) -> Option<(DifferenceKind, String)> {
    if judged.len() != met.len() {
        let detail = format!("{} rows, not {}", met.len(), judged.len());
        return Some((DifferenceKind::Rows, detail));
    }
    let (places, whole) = asked.places(columns);
    let keys = |row: &Vec<Value>| -> Vec<Value> {
        let key = |place: &usize| row.get(*place).map(folded);
        places.iter().filter_map(key).collect()
    };
    let unequal = judged.iter().zip(met).position(|(a, b)| keys(a) != keys(b));
    let same = |judged: &Rows, met: &Rows| {
        same_multiset(judged, met, Value::clone)
            || (asked.folds && same_multiset(judged, met, folded))
    };
    match (unequal, same(judged, met)) {
        (None, true) => None,
        // Rows that tie at the limit: any of them will do.
        (None, false) if asked.limited && (!whole || asked.keys.is_empty()) => None,
        (None, false)
            if asked.limited && same(&within(asked, judged, &keys), &within(asked, met, &keys)) =>
        {
            None
        }
        (Some(at), true) => {
            let detail = format!(
                "row {at}: {} not {}",
                shown(met.get(at)),
                shown(judged.get(at))
            );
            Some((DifferenceKind::Order, detail))
        }
        _ => Some((DifferenceKind::Rows, first_unequal(judged, met))),
    }
}

/// The rows that the limit cannot have chosen among ties.
fn within(asked: &Asked, rows: &Rows, keys: &impl Fn(&Vec<Value>) -> Vec<Value>) -> Rows {
    let last = rows.last().map(keys);
    let first = rows.first().map(keys).filter(|_| asked.skips);
    let open = |row: &Vec<Value>| {
        let of_row = Some(keys(row));
        of_row == last || of_row == first
    };
    rows.iter().filter(|row| !open(row)).cloned().collect()
}

fn same_multiset(judged: &Rows, met: &Rows, of: impl Fn(&Value) -> Value) -> bool {
    let sorted = |rows: &Rows| {
        let row = |row: &Vec<Value>| format!("{:?}", row.iter().map(&of).collect::<Vec<_>>());
        let mut texts: Vec<String> = rows.iter().map(row).collect();
        texts.sort_unstable();
        texts
    };
    sorted(judged) == sorted(met)
}

fn first_unequal(judged: &Rows, met: &Rows) -> String {
    let mut left: Vec<String> = judged.iter().map(|row| shown(Some(row))).collect();
    let mut more = Vec::new();
    for row in met {
        let text = shown(Some(row));
        match left.iter().position(|known| *known == text) {
            Some(at) => drop(left.swap_remove(at)),
            None => more.push(text),
        }
    }
    format!(
        "{} rows too many, as {}; {} rows missing, as {}",
        more.len(),
        more.first().map_or("-", String::as_str),
        left.len(),
        left.first().map_or("-", String::as_str)
    )
}

fn shown(row: Option<&Vec<Value>>) -> String {
    let Some(row) = row else {
        return "-".to_owned();
    };
    let values: Vec<String> = row.iter().map(|value| value.as_sql(true)).collect();
    format!("({})", values.join(", "))
}

/// A value with texts that may be equal in some collation made alike: case, accents, trailing blanks, ß, characters beyond
/// the basic plane.
pub fn folded(value: &Value) -> Value {
    let bytes = match value {
        // Zero and negative zero are one group.
        Value::Double(number) => return Value::Double(number + 0.0),
        Value::Float(number) => return Value::Float(number + 0.0),
        Value::Bytes(bytes) if bytes == b"-0" => return Value::Bytes(b"0".to_vec()),
        Value::Bytes(bytes) => bytes,
        other => return other.clone(),
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return value.clone();
    };
    let mut folded = String::new();
    for char in text
        .trim_end_matches(' ')
        .chars()
        .flat_map(char::to_lowercase)
    {
        let plain = match char {
            'á' | 'à' | 'ä' | 'â' | 'å' => 'a',
            'é' | 'è' | 'ê' => 'e',
            'ö' | 'ó' | 'ø' => 'o',
            'ü' | 'ú' => 'u',
            'ß' => 's',
            '\u{10000}'.. => '\u{fffd}',
            other => other,
        };
        if plain != 's' || !folded.ends_with('s') {
            folded.push(plain);
        }
    }
    Value::Bytes(folded.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rows: &[&[&str]]) -> Answer {
        let column = |name: &str| Column {
            name: name.to_owned(),
            table: "t".to_owned(),
            kind: ColumnType::MYSQL_TYPE_VAR_STRING,
            flags: 0,
            charset: 45,
            length: 10,
            decimals: 0,
        };
        let cells = |row: &&[&str]| row.iter().map(|cell| Value::from(*cell)).collect();
        Answer {
            outcome: Outcome::Rows {
                columns: vec![column("a"), column("b")],
                rows: rows.iter().map(cells).collect(),
            },
            warnings: 0,
        }
    }

    fn kind(sql: &str, judge: &[&[&str]], mesh: &[&[&str]]) -> Option<DifferenceKind> {
        match compare(sql, &answer(judge), &answer(mesh)) {
            Verdict::Equal => None,
            Verdict::Different(difference) => Some(difference.kind),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn order_counts_where_it_is_asked_for() {
        let (one, two): (&[&str], &[&str]) = (&["1", "x"], &["2", "y"]);
        assert_eq!(kind("SELECT a, b FROM t", &[one, two], &[two, one]), None);
        let ordered = "SELECT a, b FROM t ORDER BY a";
        assert_eq!(
            kind(ordered, &[one, two], &[two, one]),
            Some(DifferenceKind::Order)
        );
        let tie: &[&str] = &["1", "y"];
        assert_eq!(kind(ordered, &[one, tie], &[tie, one]), None);
        assert_eq!(
            kind(ordered, &[one, tie], &[one, one]),
            Some(DifferenceKind::Rows)
        );
        assert_eq!(
            kind(ordered, &[one, two], &[one]),
            Some(DifferenceKind::Rows)
        );
    }

    #[test]
    fn ties_at_a_limit_are_open_and_nothing_else() {
        let limited = "SELECT a, b FROM t ORDER BY a LIMIT 2";
        let (x, y, z): (&[&str], &[&str], &[&str]) = (&["1", "x"], &["1", "y"], &["1", "z"]);
        assert_eq!(kind(limited, &[x, y], &[x, z]), None);
        let other: &[&str] = &["2", "x"];
        assert_eq!(
            kind(limited, &[x, y], &[x, other]),
            Some(DifferenceKind::Rows)
        );
    }

    #[test]
    fn equal_texts_may_stand_for_each_other_in_groups_only() {
        let (lower, upper): (&[&str], &[&str]) = (&["a", "1"], &["A ", "1"]);
        assert_eq!(
            kind("SELECT a, b FROM t GROUP BY a, b", &[lower], &[upper]),
            None
        );
        assert_eq!(
            kind("SELECT a, b FROM t", &[lower], &[upper]),
            Some(DifferenceKind::Rows)
        );
    }

    #[test]
    fn a_plan_may_describe_columns_otherwise_but_gives_no_other_rows() {
        let told = |row: &[&str], table: &str, kind, flags| {
            let mut answer = answer(&[row]);
            if let Outcome::Rows { columns, .. } = &mut answer.outcome {
                for column in columns {
                    table.clone_into(&mut column.table);
                    column.kind = kind;
                    column.flags = flags;
                }
            }
            answer
        };
        let (short, long) = (
            ColumnType::MYSQL_TYPE_SHORT,
            ColumnType::MYSQL_TYPE_LONGLONG,
        );
        let row: &[&str] = &["1", "2"];
        let judge = told(row, "", long, 0);
        let way = |kind, sql, judge, mesh| described_by_plan(kind, sql, judge, mesh);
        let plain = "SELECT MIN(a) OVER () AS a, b FROM t";
        let mesh = told(row, "", short, 0);
        assert_eq!(way(Kind::MySql, plain, &judge, &mesh), Some(Way::OwnTable));
        let other_rows = told(&["1", "3"], "", short, 0);
        assert_eq!(way(Kind::MySql, plain, &judge, &other_rows), None);
        // A column of a table is what the table says.
        let of_table = [told(row, "t", long, 0), told(row, "t", short, 0)];
        assert_eq!(way(Kind::MySql, plain, &of_table[0], &of_table[1]), None);
        let outer = "SELECT a, b FROM s LEFT JOIN t ON s.a = t.a";
        let nulls = [told(row, "t", long, 1), told(row, "t", long, 0)];
        assert_eq!(
            way(Kind::MariaDb, outer, &nulls[0], &nulls[1]),
            Some(Way::RowsWhilePlanning)
        );
        assert_eq!(way(Kind::MySql, outer, &nulls[0], &nulls[1]), None);
        assert_eq!(
            way(Kind::MariaDb, plain, &nulls[0], &nulls[1]),
            Some(Way::OwnTable)
        );
    }

    #[test]
    fn an_update_that_finds_no_row_may_say_so_or_nothing() {
        let done = |affected, info: &str| Answer {
            outcome: Outcome::Done {
                affected,
                insert_id: 0,
                info: info.to_owned(),
            },
            warnings: 0,
        };
        let (none, silent) = (
            done(0, "Rows matched: 0  Changed: 0  Warnings: 0"),
            done(0, ""),
        );
        assert_eq!(compare("UPDATE", &silent, &none), Verdict::Equal);
        let one = done(0, "Rows matched: 1  Changed: 0  Warnings: 0");
        assert!(matches!(
            compare("UPDATE", &silent, &one),
            Verdict::Different(_)
        ));
    }
}
