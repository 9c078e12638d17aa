//! Other ways in which one server may execute a statement.
//!
//! Owns the settings under which the judge is asked again when an answer differs in something that may come of the plan: a
//! description of a column out of a temporary table, how often a value is converted, whether a value that cannot be computed
//! is computed at all. The mesh's answer is accepted only if one server gives this very answer under one of them. Order, counts
//! of changed rows and what tables hold never come of a plan, and are never asked for again; rows of a query do where a
//! server's plans contradict each other (an index finds -1 for 18446744073709551615, a sort takes NULL for the least number).

use dbmesh_testkit::Kind;

use crate::compare::DifferenceKind;
use crate::shrink::tokens;

/// A way: a setting and how it is taken back, or a word behind the first SELECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Once more: statistics of tables change.
    Again,
    /// `SET optimizer_switch`.
    Switch(&'static str),
    /// A variable with a value.
    Variable(&'static str, &'static str),
    /// A word that SELECT takes.
    Word(&'static str),
    /// Without primary keys: rows that were brought to one place have none.
    Scan,
    /// Without any index: a shard of few rows needs none, and looks at all of them.
    ScanAll,
    /// This part of the outermost WHERE's AND before the others: a server looks at them in the order that it likes, and which
    /// of them it computes of a row says whether one fails. For errors only.
    PartFirst(usize),
    /// An INSERT … SELECT whose query has no order, with rows by this column, ascending or not: which of two rows ends it is
    /// a question of which comes first. For errors only.
    RowsBy(usize, &'static str),
    /// MariaDB reads rows of unique keys while it plans, and says that columns of an outer join are never NULL where it found
    /// one. This way cannot be asked for: of two answers all else is equal.
    RowsWhilePlanning,
    /// An expression that comes out of the server's own temporary table has a wider type, and is not said to be of ENUM or
    /// SET (in MariaDB, nothing there is said to be never NULL); whether there is one depends on how many rows the server
    /// expects. All else is equal.
    OwnTable,
}

impl Way {
    /// What to say before the statement.
    pub fn begin(self) -> Option<String> {
        match self {
            Self::Switch(switch) => Some(format!("SET SESSION optimizer_switch = '{switch}'")),
            Self::Variable(name, value) => Some(format!("SET SESSION {name} = {value}")),
            _ => None,
        }
    }

    /// What to say after it.
    pub fn end(self) -> Option<String> {
        match self {
            Self::Switch(_) => Some("SET SESSION optimizer_switch = 'default'".to_owned()),
            Self::Variable(name, _) => Some(format!("SET SESSION {name} = DEFAULT")),
            _ => None,
        }
    }

    /// The statement's marked text.
    pub fn text(self, marked: &str) -> Option<String> {
        match self {
            Self::Again | Self::Switch(_) | Self::Variable(..) => Some(marked.to_owned()),
            Self::Word(word) => {
                let at = marked.find("SELECT ")?;
                let (before, after) = marked.split_at_checked(at + "SELECT ".len())?;
                Some(format!("{before}{word} {after}"))
            }
            Self::Scan => without_keys(marked, "IGNORE INDEX (PRIMARY)"),
            Self::ScanAll => without_keys(marked, "USE INDEX ()"),
            Self::PartFirst(part) => with_part_first(marked, part),
            Self::RowsBy(column, way) => {
                let inserts = marked.starts_with("INSERT") || marked.starts_with("REPLACE");
                let open = inserts && marked.contains(" SELECT ") && !marked.contains(" ORDER BY ");
                let (query, rest) = match marked.find(" ON DUPLICATE KEY") {
                    Some(at) => marked.split_at_checked(at)?,
                    None => (marked, ""),
                };
                open.then(|| format!("{query} ORDER BY {column} {way}{rest}"))
            }
            Self::RowsWhilePlanning | Self::OwnTable => None,
        }
    }
}

const MYSQL: [Way; 17] = [
    Way::Again,
    Way::Word("SQL_BUFFER_RESULT"),
    Way::Word("SQL_BIG_RESULT"),
    Way::Word("SQL_SMALL_RESULT"),
    Way::Scan,
    Way::ScanAll,
    Way::Switch("semijoin=off"),
    Way::Switch("materialization=off"),
    Way::Switch("semijoin=off,materialization=off"),
    Way::Switch("block_nested_loop=off"),
    Way::Switch("derived_merge=off"),
    Way::Switch("derived_condition_pushdown=off"),
    Way::Switch("subquery_to_derived=on"),
    Way::Switch("condition_fanout_filter=off"),
    Way::Variable("optimizer_search_depth", "1"),
    Way::Variable("optimizer_prune_level", "0"),
    Way::Variable("max_seeks_for_key", "1"),
];

const MARIADB: [Way; 17] = [
    Way::Again,
    Way::Word("SQL_BUFFER_RESULT"),
    Way::Word("SQL_BIG_RESULT"),
    Way::Word("SQL_SMALL_RESULT"),
    Way::Scan,
    Way::ScanAll,
    Way::Switch("semijoin=off"),
    Way::Switch("materialization=off"),
    Way::Switch("in_to_exists=off"),
    Way::Switch("exists_to_in=off"),
    Way::Switch("derived_merge=off"),
    Way::Switch("condition_pushdown_for_derived=off,split_materialized=off"),
    Way::Switch("subquery_cache=off"),
    Way::Variable("join_cache_level", "0"),
    Way::Variable("join_cache_level", "8"),
    Way::Variable("optimizer_use_condition_selectivity", "1"),
    Way::Variable("optimizer_search_depth", "1"),
];

/// In which order parts and rows may come.
const ORDERS: [Way; 11] = [
    Way::PartFirst(1),
    Way::PartFirst(2),
    Way::PartFirst(3),
    Way::PartFirst(4),
    Way::PartFirst(5),
    Way::RowsBy(1, "ASC"),
    Way::RowsBy(1, "DESC"),
    Way::RowsBy(2, "ASC"),
    Way::RowsBy(2, "DESC"),
    Way::RowsBy(3, "ASC"),
    Way::RowsBy(3, "DESC"),
];

/// The ways of a server to such an answer.
pub fn of(kind: Kind, difference: DifferenceKind) -> Vec<Way> {
    let own = match kind {
        Kind::MySql => &MYSQL,
        Kind::MariaDb => &MARIADB,
    };
    let failed = matches!(difference, DifferenceKind::Outcome | DifferenceKind::Error);
    let orders = ORDERS.iter().filter(|_| failed);
    own.iter().chain(orders).copied().collect()
}

/// Whether a difference of that kind may come of the plan of a query.
pub fn may_cause_of_query(kind: DifferenceKind) -> bool {
    kind == DifferenceKind::Rows || may_cause(kind)
}

/// Whether a difference of that kind may come of the plan.
pub fn may_cause(kind: DifferenceKind) -> bool {
    match kind {
        DifferenceKind::Columns
        | DifferenceKind::Outcome
        | DifferenceKind::Error
        | DifferenceKind::Warnings => true,
        DifferenceKind::Rows
        | DifferenceKind::Order
        | DifferenceKind::Affected
        | DifferenceKind::InsertId
        | DifferenceKind::Contents
        | DifferenceKind::Lost => false,
    }
}

/// The text with that part of its last outer WHERE before the other parts.
fn with_part_first(marked: &str, part: usize) -> Option<String> {
    const ENDS: [&str; 6] = ["GROUP", "HAVING", "ORDER", "LIMIT", "WINDOW", "UNION"];
    let tokens = tokens(marked);
    let (mut depth, mut begin, mut between) = (0_usize, None, false);
    // Where AND stands between two parts, and where the last one ends.
    let (mut ands, mut end) = (Vec::new(), tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        match token.trim() {
            "(" => depth += 1,
            ")" => depth = depth.checked_sub(1)?,
            _ if depth > 0 => {}
            "WHERE" => {
                (begin, end) = (Some(at + 1), tokens.len());
                ands.clear();
            }
            "OR" | "XOR" if begin.is_some() && end == tokens.len() => return None,
            "BETWEEN" => between = true,
            "AND" if std::mem::take(&mut between) => {}
            "AND" if begin.is_some() && end == tokens.len() => ands.push(at),
            word if begin.is_some() && ENDS.contains(&word) => end = end.min(at),
            _ => {}
        }
    }
    let begin = begin?;
    let start = ands.get(part.checked_sub(1)?)? + 1;
    let stop = ands.get(part).copied().unwrap_or(end);
    let of = |from: usize, to: usize| tokens.get(from..to).map(<[String]>::concat);
    Some(format!(
        "{}{} AND{}{}",
        of(0, begin)?,
        of(start, stop)?,
        of(begin, start - 1)?,
        of(stop, tokens.len())?
    ))
}

/// Every table of FROM that has an alias, with these words behind it; none if there is none.
fn without_keys(marked: &str, hint: &str) -> Option<String> {
    let words: Vec<&str> = marked.split(' ').collect();
    let mut text = String::new();
    for (at, word) in words.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).and_then(|at| words.get(at)).copied();
        let after_table = before(1).is_some_and(|table| table.starts_with("t_"))
            && before(2).is_some_and(|word| word.ends_with("FROM") || word.ends_with("JOIN"));
        let digits = word.get(1..).unwrap_or_default();
        let name = digits.trim_end_matches(')');
        let is_alias = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        if at > 0 {
            text.push(' ');
        }
        match after_table && is_alias {
            true => {
                let (alias, rest) = word.split_at(1 + name.len());
                text.push_str(&format!("{alias} {hint}{rest}"));
            }
            false => text.push_str(word),
        }
    }
    (text != marked).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_said_and_taken_back() {
        let word = Way::Word("SQL_BIG_RESULT").text("WITH a AS (SELECT 1) SELECT 2");
        assert_eq!(
            word.as_deref(),
            Some("WITH a AS (SELECT SQL_BIG_RESULT 1) SELECT 2")
        );
        assert_eq!(Way::Word("SQL_BIG_RESULT").text("DELETE FROM t"), None);
        assert_eq!(
            Way::Scan
                .text("DELETE FROM t_a WHERE x IN (SELECT y FROM t_b c2) AND z = (SELECT 1 FROM t_c d13 WHERE d13.a)")
                .as_deref(),
            Some(
                "DELETE FROM t_a WHERE x IN (SELECT y FROM t_b c2 IGNORE INDEX (PRIMARY)) AND z = (SELECT 1 FROM t_c d13 \
                 IGNORE INDEX (PRIMARY) WHERE d13.a)"
            )
        );
        let text =
            "SELECT 1 FROM t WHERE a BETWEEN 1 AND 2 AND (b OR c AND d) AND e IN (1, 2) GROUP BY f";
        let first = |part| Way::PartFirst(part).text(text);
        assert_eq!(
            first(1).as_deref(),
            Some(
                "SELECT 1 FROM t WHERE (b OR c AND d) AND a BETWEEN 1 AND 2 AND e IN (1, 2) GROUP BY f"
            )
        );
        assert_eq!(
            first(2).as_deref(),
            Some(
                "SELECT 1 FROM t WHERE e IN (1, 2) AND a BETWEEN 1 AND 2 AND (b OR c AND d) GROUP BY f"
            )
        );
        assert_eq!(first(3), None);
        let either = Way::PartFirst(1).text("SELECT 1 FROM t WHERE a AND b OR c");
        assert_eq!(either, None);
        let rows = Way::RowsBy(2, "DESC");
        assert_eq!(
            rows.text("INSERT INTO t SELECT a, b FROM u ON DUPLICATE KEY UPDATE a = 1")
                .as_deref(),
            Some("INSERT INTO t SELECT a, b FROM u ORDER BY 2 DESC ON DUPLICATE KEY UPDATE a = 1")
        );
        assert_eq!(rows.text("SELECT a, b FROM u"), None);
        let all = Way::ScanAll.text("SELECT 1 FROM t_b c2 WHERE c2.y");
        assert_eq!(
            all.as_deref(),
            Some("SELECT 1 FROM t_b c2 USE INDEX () WHERE c2.y")
        );
        assert_eq!(Way::ScanAll.text("SELECT 1"), None);
        let way = Way::Variable("join_cache_level", "0");
        assert_eq!(
            way.begin().as_deref(),
            Some("SET SESSION join_cache_level = 0")
        );
        assert_eq!(
            way.end().as_deref(),
            Some("SET SESSION join_cache_level = DEFAULT")
        );
    }
}
