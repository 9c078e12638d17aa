//! What a mesh would do with a statement, for people: the rows of `EXPLAIN MESH` and of `dbmesh explain`.
//!
//! Owns the recognition of `EXPLAIN MESH`, and the words and order of the rows. It must never decide anything itself: it
//! shows what the planner and the balancer said. Input: a statement with its plan, the strategy, what is known of endpoints.

use std::fmt::Write as _;

use dbmesh_model::topology::{
    Action, Consistency, Role, Rule, RuleMode, Splitting, Strategy, Unknown,
};
use dbmesh_sql::parsed::{NotReadOnly, ReadOnly};
use dbmesh_sql::{
    Dialect, Facts, Lexer, ParsedFacts, Parser, Span, Statement, TokenKind, Verb, analyze,
    digest_text_with_hints,
};

use crate::judge::{Judge, Subject};
use crate::prove::{ACTS, Proof, at_first_sight};
use crate::splitting::{Aim, Why};
use crate::{Autocommit, Plan, SessionView};

/// Longest digest text that is shown, in bytes.
const DIGEST_TEXT_BYTES_MAX: usize = 4096;

/// The statement in `EXPLAIN MESH statement`. What follows the two words must begin as a statement does: servers know
/// `EXPLAIN mesh` and `EXPLAIN mesh id` too, as descriptions of a table of that name.
#[must_use]
pub fn subject(sql: &[u8], dialect: &Dialect) -> Option<Span> {
    let mut words = Lexer::new(sql, dialect).filter(|token| token.kind != TokenKind::Comment);
    let mut is_next = |word: &[u8]| {
        words.next().filter(|token| {
            token.kind == TokenKind::Word && token.span.of(sql).eq_ignore_ascii_case(word)
        })
    };
    is_next(b"EXPLAIN")?;
    let mesh = is_next(b"MESH")?;
    let span = Span {
        start: mesh.span.end,
        end: sql.len(),
    };
    let begins = analyze(span.of(sql), dialect).verb;
    (!matches!(begins, Verb::Unknown | Verb::Empty)).then_some(span)
}

/// In which role an endpoint serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// In this one.
    As(Role),
    /// In the one that its server reports, which nobody has asked.
    AsReported,
    /// In none.
    Not,
}

/// Whether an endpoint would take the statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub endpoint: String,
    /// In which role it serves.
    pub serves: Serves,
    /// Why it serves in none, or what else is to be said of it; empty for nothing.
    pub remark: String,
}

/// How far the session's own writes are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownPosition {
    /// It wrote nothing.
    NothingWritten,
    /// A server reported it.
    Known,
    /// It wrote, and no server reports where: only the primary is sure to have it.
    Unknown,
}

/// What a rule says of the statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The rule's name.
    pub rule: String,
    /// What comes of it.
    pub outcome: String,
}

/// A statement, and what is known where it would run.
#[derive(Debug)]
pub struct Case<'a> {
    /// The text.
    pub sql: &'a [u8],
    /// What it says.
    pub statement: &'a Statement,
    /// How it is read.
    pub dialect: &'a Dialect,
    /// The schema of names without one.
    pub schema: Option<&'a [u8]>,
    /// What becomes of it.
    pub plan: &'a Plan,
    /// The session.
    pub view: SessionView<'a>,
    /// How far the session's writes are known.
    pub position: KnownPosition,
    /// The connection that the session keeps, and why; none if it may use any.
    pub kept: Option<String>,
    /// The pins that the statement would add.
    pub pins: Vec<&'static str>,
    /// The service's strategy.
    pub strategy: &'a Strategy,
    /// Its endpoints.
    pub candidates: Vec<Candidate>,
}

/// One row: field and value.
pub type Row = (String, String);

/// The rows for a statement.
#[must_use]
pub fn explain(case: &Case<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |field: &str, value: String| rows.push((field.to_owned(), value));
    let statement = case.statement;
    row(
        "digest_text",
        digest_text_with_hints(case.sql, case.dialect, DIGEST_TEXT_BYTES_MAX),
    );
    row("digest", statement.digest.to_string());
    row("verb", snake(&format!("{:?}", statement.verb)));
    row("class", snake(&format!("{:?}", statement.class)));
    if statement.statements > 1 {
        row("statements", statement.statements.to_string());
    }
    row("facts", list(statement.facts.names(), "none"));
    row("reads_only", reads_only(case));
    row("pins", list(case.pins.iter().copied(), "none"));
    row("plan", case.plan.to_string());
    if let Plan::Route(route) = case.plan {
        let aim = route.aim;
        row("consistency", consistency(case.view.splitting));
        row("session_position", position(case.position).to_owned());
        row("decided_by", decided_by(aim, case.view.splitting));
        row("target", target(case, aim));
        for candidate in &case.candidates {
            let field = format!("endpoint {}", candidate.endpoint);
            row(&field, candidacy(candidate, aim, case.kept.is_some()));
        }
    }
    let verdicts = verdicts(case);
    if verdicts.is_empty() {
        row("rules", "none matches".to_owned());
    }
    for verdict in verdicts {
        row(&format!("rule {}", verdict.rule), verdict.outcome);
    }
    rows
}

/// What the strategy's rules say of a text, in the order in which they are looked at.
fn verdicts(case: &Case<'_>) -> Vec<Verdict> {
    let book = &case.strategy.rules;
    let subject = Subject {
        statement: case.statement,
        sql: case.sql,
        dialect: case.dialect,
        schema: case.schema,
    };
    let found = Judge::default().find(book, 0, &subject);
    let met = (found.sure | found.unknown).iter();
    let verdict = |place: usize| {
        let rule = book.rules().get(place)?;
        let sure = found.sure.has(place);
        (sure || rule.unknown == Unknown::Match).then(|| Verdict {
            rule: rule.name.clone(),
            outcome: outcome(rule, sure),
        })
    };
    met.filter_map(verdict).collect()
}

/// What a rule does with a statement that it matches.
fn outcome(rule: &Rule, sure: bool) -> String {
    let mut text = match &rule.action {
        Action::Allow => "the statement is let through, past the rules that follow".to_owned(),
        Action::Deny => "the statement is refused".to_owned(),
        Action::Rate(limit) => format!("at most {} begin within {} ms", limit.count, limit.per_ms),
        Action::Concurrency(limit) => format!("at most {} at a time", limit.count),
        Action::Window(limit) => {
            let seconds = limit.window.as_secs();
            format!("at most {} begin within {seconds} s", limit.max)
        }
        Action::Timeout(ms) => format!("it may take {ms} ms"),
        Action::Delay(ms) => format!("it waits {ms} ms"),
        Action::Route(to) => format!("it runs at {to:?}"),
        Action::Tag(_) => "it gets tags".to_owned(),
    };
    let matches = match sure {
        true => "it matches",
        false => "it cannot be told whether it matches",
    };
    text = format!("{matches}: {text}");
    if rule.mode == RuleMode::Warn {
        text.push_str("; mode warn: only counted and told");
    }
    let conditions = &rule.matches;
    let more = [
        (conditions.users.is_empty(), "users"),
        (conditions.networks.is_empty(), "networks"),
        (conditions.tags.is_empty(), "tags"),
        (conditions.times.is_empty(), "times"),
    ];
    let more: Vec<&str> = (more.iter().filter(|(none, _)| !none))
        .map(|(_, name)| *name)
        .collect();
    if !more.is_empty() {
        let _ = write!(text, "; if its {} hold", more.join(", "));
    }
    text
}

/// The endpoints as the configuration alone has them.
#[must_use]
pub fn configured(strategy: &Strategy) -> Vec<Candidate> {
    use dbmesh_model::topology::RoleSource;
    let reported = strategy.splitting.as_ref().map(|s| s.roles) == Some(RoleSource::Reported);
    let candidates = strategy.endpoints.iter().map(|endpoint| {
        let (serves, remark) = match (endpoint.weight, reported) {
            (0, _) if strategy.endpoints.len() > 1 => (Serves::Not, "its weight is 0"),
            (_, true) => (Serves::AsReported, ""),
            (_, false) if endpoint.role == Role::Replica && strategy.splitting.is_some() => {
                (Serves::As(endpoint.role), "if it is fresh enough")
            }
            (_, false) => (Serves::As(endpoint.role), ""),
        };
        Candidate {
            endpoint: endpoint.name.to_string(),
            serves,
            remark: remark.to_owned(),
        }
    });
    candidates.collect()
}

/// Whether the statement is proved to read only, or why not.
fn reads_only(case: &Case<'_>) -> String {
    let proof = at_first_sight(case.statement);
    if proof != Proof::NotProved && case.view.autocommit == Autocommit::Off {
        return "no: autocommit is off, so it begins a transaction".to_owned();
    }
    match proof {
        Proof::Reads | Proof::ReadsServer => match parsed(case.sql, case.dialect) {
            None => "proved".to_owned(),
            Some(why) => format!("no: {why}"),
        },
        Proof::ReadOnlyTransaction => "proved: the server holds the transaction to it".to_owned(),
        Proof::NotProved => format!("no: {}", unproved(case.statement)),
    }
}

/// Why the parser does not confirm that a statement reads only.
fn parsed(sql: &[u8], dialect: &Dialect) -> Option<String> {
    let mut parser = Parser::default();
    let ast = match parser.parse(sql, dialect) {
        Ok(ast) => ast,
        Err(error) => return Some(format!("it cannot be parsed: {error}")),
    };
    let facts = ParsedFacts::of(ast, sql, dialect);
    let why = match facts.read_only {
        ReadOnly::Proved if !facts.server_local => return None,
        ReadOnly::Proved => "what it answers differs from server to server",
        ReadOnly::No(NotReadOnly::Kind) => "a statement of this kind is no query of rows",
        ReadOnly::No(NotReadOnly::Into) => "INTO",
        ReadOnly::No(NotReadOnly::Locking) => "it locks rows",
        ReadOnly::No(NotReadOnly::Assignment) => "it assigns a variable",
        ReadOnly::No(NotReadOnly::CalcFoundRows) => "SQL_CALC_FOUND_ROWS",
        ReadOnly::No(NotReadOnly::UnknownFunction) => "it calls a function that is not built in",
        ReadOnly::No(NotReadOnly::AdvisoryLock) => "it takes or releases a lock",
        ReadOnly::No(NotReadOnly::SetsLastInsertId) => "LAST_INSERT_ID(x)",
        ReadOnly::No(NotReadOnly::Sequence) => "it uses a sequence",
        ReadOnly::No(NotReadOnly::Runs) => "it runs the statement that it explains",
    };
    Some(why.to_owned())
}

/// Why the scanner does not take a statement for a read.
fn unproved(statement: &Statement) -> String {
    if statement.statements != 1 {
        return format!("{} statements in one text", statement.statements);
    }
    if statement.unterminated {
        return "a quote or comment is not closed".to_owned();
    }
    let acts: Vec<Facts> = ACTS
        .into_iter()
        .filter(|fact| statement.facts.has(*fact))
        .collect();
    if !acts.is_empty() {
        return list(acts.iter().flat_map(|fact| fact.names()), "");
    }
    if statement.verb == Verb::Select && !statement.effects.is_empty() {
        return "it changes the session".to_owned();
    }
    format!(
        "{} is no query of rows",
        snake(&format!("{:?}", statement.verb))
    )
}

fn consistency(splitting: Option<&Splitting>) -> String {
    match splitting.map(|s| s.consistency) {
        None => "none: every statement goes to a primary",
        Some(Consistency::Eventual) => "eventual",
        Some(Consistency::Session) => "session",
        Some(Consistency::Global) => "global",
        Some(Consistency::Primary) => "primary",
    }
    .to_owned()
}

fn position(position: KnownPosition) -> &'static str {
    match position {
        KnownPosition::NothingWritten => "nothing written",
        KnownPosition::Known => "known",
        KnownPosition::Unknown => "unknown: what it wrote is sure to be at the primary only",
    }
}

fn decided_by(aim: Aim, splitting: Option<&Splitting>) -> String {
    let why = aim.why.describe(splitting);
    match (aim.why, splitting) {
        (Why::Default, Some(s)) if s.rules.is_empty() => format!("{why}: there are no rules"),
        (Why::Default, Some(_)) => format!("{why}: no rule matches"),
        _ => why,
    }
}

fn target(case: &Case<'_>, aim: Aim) -> String {
    if let Some(kept) = &case.kept {
        return kept.clone();
    }
    let mut target = match aim.role {
        Role::Primary | Role::Shadow => "primary".to_owned(),
        Role::Replica => format!("replica, {}", promise(aim, case.position)),
    };
    let balance = aim.balance.unwrap_or(case.strategy.balance);
    let _ = write!(target, "; chosen by {}", snake(&format!("{balance:?}")));
    target
}

/// What a replica must have, or else the primary answers.
fn promise(aim: Aim, position: KnownPosition) -> &'static str {
    match (aim.consistency, position) {
        (Consistency::Eventual | Consistency::Primary, _) => {
            "as stale as maxReplicationLag lets it be"
        }
        (Consistency::Session, KnownPosition::NothingWritten) => "any: the session wrote nothing",
        (Consistency::Session, KnownPosition::Known) => "if it has what the session wrote",
        (Consistency::Session, KnownPosition::Unknown) => {
            "but the session's position is not known: the primary"
        }
        (Consistency::Global, _) => "if it has all that was written through this proxy",
    }
}

fn candidacy(candidate: &Candidate, aim: Aim, kept: bool) -> String {
    let with = |text: &str| match candidate.remark.as_str() {
        "" => text.to_owned(),
        remark => format!("{text}: {remark}"),
    };
    match (candidate.serves, aim.role) {
        (Serves::Not, _) => with("no"),
        (Serves::As(Role::Shadow), _) | (_, Role::Shadow) => with("no: it is a shadow"),
        (_, _) if kept => with("no: the session keeps its connection"),
        (Serves::As(Role::Primary), Role::Primary) | (Serves::As(Role::Replica), Role::Replica) => {
            with("yes")
        }
        (Serves::As(Role::Primary), Role::Replica) => with("if no replica may answer"),
        (Serves::As(Role::Replica), Role::Primary) => "no: it is a replica".to_owned(),
        (Serves::AsReported, Role::Primary) => "if its server reports to be the primary".to_owned(),
        (Serves::AsReported, Role::Replica) => {
            "if its server reports to be a replica, and is fresh enough".to_owned()
        }
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>, none: &str) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        none.to_owned()
    } else {
        names.join(", ")
    }
}

/// `LoadData` as `load_data`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sql: &str) -> Option<&str> {
        let span = subject(sql.as_bytes(), &Dialect::default())?;
        sql.get(span.start..span.end)
    }

    #[test]
    fn explain_mesh_takes_what_begins_as_a_statement() {
        for (sql, inner) in [
            ("EXPLAIN MESH SELECT 1", " SELECT 1"),
            ("explain mesh\nselect 1", "\nselect 1"),
            (
                "/* a */ EXPLAIN -- b\n MESH /* c */ DROP TABLE t",
                " /* c */ DROP TABLE t",
            ),
            ("EXPLAIN MESH (SELECT 1)", " (SELECT 1)"),
            ("EXPLAIN MESH COMMIT;", " COMMIT;"),
            ("EXPLAIN MESH SELECT 1; SELECT 2", " SELECT 1; SELECT 2"),
            (
                "EXPLAIN MESH EXPLAIN MESH SELECT 1",
                " EXPLAIN MESH SELECT 1",
            ),
        ] {
            assert_eq!(shown(sql), Some(inner), "{sql}");
        }
    }

    #[test]
    fn tables_of_that_name_are_the_servers() {
        for sql in [
            "EXPLAIN MESH",
            "EXPLAIN mesh;",
            "EXPLAIN mesh id",
            "EXPLAIN mesh 'i%'",
            "EXPLAIN `MESH` SELECT 1",
            "EXPLAIN FORMAT=JSON SELECT 1",
            "EXPLAIN SELECT 1",
            "/*! EXPLAIN MESH */ SELECT 1",
            "MESH SELECT 1",
            "",
        ] {
            assert_eq!(shown(sql), None, "{sql}");
        }
    }
}
