//! Changes of several joined tables by one statement.
//!
//! Owns which of them come out alike on every server: one that changes the rows of one table while it looks for those of the
//! others computes what they are assigned of other values than one that looks first. Must never serve a value that is read
//! and assigned, other than by itself. Input: an UPDATE or DELETE of several tables.

use dbmesh_sql::Span;
use dbmesh_sql::ast::{Assignment, Body, ColumnName, Name};
use dbmesh_sql::parsed::Access;

use super::super::reason::{GatherReason, RefuseReason};
use super::super::rewrite::{self, Copied, Splice};
use super::super::scope::Scope;
use super::super::write;
use super::{Change, Keyed, NotKeyed, Target, Words, find_with, target, within};

/// A table with what is assigned to it.
type Part<'s, 'a> = (Target<'s, 'a>, Vec<&'s Assignment>);

/// The tables are found in one look at all, and changed one after the other.
pub(super) fn changed(scope: &Scope<'_>, change: &Change) -> Result<Keyed, NotKeyed> {
    let unserved = || NotKeyed::Unserved(GatherReason::ChangeJoin);
    let parts = parts(scope, change)?;
    let (first, _) = parts.first().ok_or_else(unserved)?;
    let mut list = Copied::default();
    let mut spans = Vec::new();
    let mut all = Vec::new();
    for (number, (target, assignments)) in parts.iter().enumerate() {
        let steps = target.steps(assignments)?;
        if number > 0 {
            list.push(b", ");
        }
        let start = list.text.len();
        list.append(target.items(steps.computed.clone()));
        let end = list.text.len();
        spans.push(Span { start, end });
        all.push(steps);
    }
    let length = list.text.len();
    let query = first.query(list);
    // Behind WITH and SELECT.
    let before = change
        .with
        .map_or(0, |with| with.span.end - with.span.start + 1);
    let at = before + b"SELECT ".len();
    for span in &mut spans {
        span.start += at;
        span.end += at;
    }
    let (found, queries) = find_with(scope, &query, Words::Lists(&spans, at + length))?;
    let mut keyed = parts.iter().zip(all).zip(queries);
    let mut keyed = keyed.by_ref().map(|(((target, _), steps), query)| {
        let mut found = found.clone();
        let finish = found.finish.as_mut()?;
        finish.sql = query.text;
        finish.parameters = query.parameters;
        Some(target.keyed(found, steps, false))
    });
    let mut whole = keyed.next().flatten().ok_or_else(unserved)?;
    for part in keyed {
        let mut part = part.ok_or_else(unserved)?;
        part.find.pulls.clear();
        whole.also.push(part);
    }
    Ok(whole)
}

/// A query of each of these parts of a list, with what stands behind all of it.
pub(super) fn queries(
    scope: &Scope<'_>,
    (lists, behind): (&[Span], usize),
    splices: &[Splice],
) -> Vec<Copied> {
    let with = match scope.ast.statement().body {
        Body::Query(query) => scope.ast.node(query).and_then(|query| query.with),
        _ => None,
    };
    let rest = Span {
        start: behind,
        end: scope.input.sql.len(),
    };
    let query = |list: &Span| {
        let mut sql = Copied::default();
        if let Some(with) = with {
            sql.append(rewrite::copy(scope, with.span, splices));
            sql.push(b" ");
        }
        sql.push(b"SELECT ");
        sql.append(rewrite::copy(scope, *list, splices));
        sql.append(rewrite::copy(scope, rest, splices));
        sql
    };
    lists.iter().map(query).collect()
}

/// The tables with what is assigned to each.
fn parts<'s, 'a>(scope: &'s Scope<'a>, change: &'s Change) -> Result<Vec<Part<'s, 'a>>, NotKeyed> {
    let unserved = || NotKeyed::Unserved(GatherReason::ChangeJoin);
    let uses = scope.uses.iter().enumerate();
    let written = uses.filter(|(_, table)| table.access == Access::Write);
    let written: Vec<usize> = written.map(|(place, _)| place).collect();
    if write::reads_target(scope, &written) {
        return Err(NotKeyed::Refused(RefuseReason::TargetRead));
    }
    let mut parts: Vec<Part<'s, 'a>> = Vec::new();
    for place in &written {
        let target = target(scope, change, *place)?;
        // Of a table that is there twice, a row may be changed twice.
        let uses = scope.uses.iter().filter(|u| u.table == target.table.table);
        if uses.count() > 1 {
            return Err(unserved());
        }
        parts.push((target, Vec::new()));
    }
    for assignment in scope.ast.list(change.assignments) {
        let mut owner = None;
        for part in &mut parts {
            if part.0.assigns(assignment.column)? {
                owner = Some(part);
            }
        }
        let (target, assignments) = owner.ok_or_else(unserved)?;
        let column = scope.lower(assignment.column.name);
        let same = |other: &&&Assignment| scope.lower(other.column.name) == column;
        if target.keys.contains(&column) || assignments.iter().any(|other| same(&other)) {
            return Err(unserved());
        }
        assignments.push(assignment);
    }
    let assigns = !change.assignments.is_empty();
    parts.retain(|(_, assignments)| !assigns || !assignments.is_empty());
    let sound = parts.iter().all(|(target, assignments)| {
        let mut assignments = assignments.iter();
        assignments.all(|assignment| reads_only_itself(scope, &parts, (target, assignment)))
    });
    sound.then_some(parts).ok_or_else(unserved)
}

/// Whether a value reads nothing that is assigned, other than the column that it is for.
fn reads_only_itself(
    scope: &Scope<'_>,
    parts: &[Part<'_, '_>],
    (target, assignment): (&Target<'_, '_>, &Assignment),
) -> bool {
    let Some(value) = scope.ast.expr(assignment.value) else {
        return false;
    };
    let own = scope.lower(assignment.column.name);
    let is_assigned = |name: Name| {
        let column = scope.lower(name.name);
        let itself = column == own && target.is_ours(name);
        let elsewhere = scope.column(target.block, name);
        let assigned = parts.iter().any(|(other, assignments)| {
            let mut assignments = assignments.iter();
            let same = assignments.any(|a| scope.lower(a.column.name) == column);
            // Of a name without a table, any may be meant.
            same && elsewhere.is_none_or(|place| place == other.place)
        });
        assigned && !itself
    };
    let mut names = scope.ast.all::<ColumnName>().iter();
    !names.any(|column| within(value.span, column.name.span) && is_assigned(column.name))
}
