//! Where the parts of a table are: lists and expressions of nodes.
//!
//! It owns `ds_{0..3}.t_order_{0..15}`: braces, with or without `$`, hold a range or a list with commas; every combination
//! is a node, the rightmost brace counting fastest.

use super::super::findings::{At, Findings};
use super::Places;
use crate::spec::{DatanodeSpec, ReadWriteSplittingGroup, ShardingRule, Target};
use crate::topology::Role;

/// Most parts of one table.
pub const SHARDS_MAX: usize = 100_000;

/// A source, and the table there where it was said.
pub type Node = (usize, Option<String>);

/// The nodes of a rule, in order.
pub fn nodes(
    at: &At<'_>,
    rule: &ShardingRule,
    places: &mut Places<'_>,
    findings: &mut Findings,
) -> Option<Vec<Node>> {
    let groups = rule
        .read_write_splitting_group
        .as_deref()
        .unwrap_or_default();
    let at_groups = at.field("readWriteSplittingGroup");
    let mut sound = true;
    for (index, group) in groups.iter().enumerate() {
        sound &= self::group(
            &at_groups.item(index),
            group,
            groups.len(),
            places,
            findings,
        );
    }
    let at = at.field("actualDatanodes").field("valueSource");
    let source = &rule.actual_datanodes.value_source;
    let mut found = Vec::new();
    match (&source.nodes, &source.expression) {
        (Some(listed), None) => {
            for (index, node) in listed.iter().enumerate() {
                let at = at.field("nodes").item(index);
                sound &= listed_node(&at, node, groups, places, &mut found, findings);
            }
        }
        (None, Some(expression)) => {
            sound &= add(
                &at.field("expression"),
                expression,
                places,
                &mut found,
                findings,
            );
        }
        _ => {
            findings.error(&at, "needs exactly one of `nodes` and `expression`");
            return None;
        }
    }
    if sound && found.is_empty() {
        findings.error(&at, "names no node");
        return None;
    }
    sound.then_some(found)
}

/// Adds one node of the list.
fn listed_node(
    at: &At<'_>,
    node: &DatanodeSpec,
    groups: &[ReadWriteSplittingGroup],
    places: &mut Places<'_>,
    into: &mut Vec<Node>,
    findings: &mut Findings,
) -> bool {
    match (&node.value, &node.value_from_read_write_splitting) {
        (Some(value), None) => add(&at.field("value"), value, places, into, findings),
        (None, Some(reference)) => {
            let name = &reference.name;
            if groups.iter().all(|group| group.name != *name) {
                let reason = format!("the rule has no readWriteSplittingGroup `{name}`");
                let at = at.field("valueFromReadWriteSplitting").field("name");
                findings.error(&at, reason);
                return false;
            }
            // A group that is wrong is reported where it is.
            let place = places.sources.iter().position(|s| s.name == *name);
            into.extend(place.map(|place| (place, None)));
            place.is_some()
        }
        _ => {
            let reason = "needs exactly one of `value` and `valueFromReadWriteSplitting`";
            findings.error(at, reason);
            false
        }
    }
}

fn group(
    at: &At<'_>,
    group: &ReadWriteSplittingGroup,
    groups: usize,
    places: &mut Places<'_>,
    findings: &mut Findings,
) -> bool {
    if places
        .sources
        .iter()
        .any(|source| source.name == group.name)
    {
        // Rules repeat the groups they use.
        return true;
    }
    let endpoints = match (&group.endpoints, places.endpoints) {
        (Some(names), _) => match places.members(&at.field("endpoints"), names, findings) {
            Some(endpoints) => endpoints,
            None => return false,
        },
        (None, _) if groups > 1 => {
            let reason = "of several groups, each needs `endpoints`";
            findings.error(at, reason);
            return false;
        }
        (None, Some(all)) => {
            let targets: Option<Vec<Role>> = group.rules.as_ref().map(|rules| {
                let role = |target: Target| match target {
                    Target::Read => Role::Replica,
                    Target::ReadWrite => Role::Primary,
                };
                rules.iter().filter_map(|r| r.target.map(role)).collect()
            });
            let takes = |role: Role| {
                targets
                    .as_ref()
                    .is_none_or(|roles| roles.is_empty() || roles.contains(&role))
            };
            all.iter().filter(|e| takes(e.role)).cloned().collect()
        }
        (None, None) => Vec::new(),
    };
    if places.endpoints.is_some() && endpoints.iter().all(|e| e.role != Role::Primary) {
        findings.error(at, "the group has no readwrite endpoint");
        return false;
    }
    places.add(&group.name, endpoints);
    true
}

/// Adds the nodes of one text, which may hold braces and commas.
fn add(
    at: &At<'_>,
    text: &str,
    places: &mut Places<'_>,
    into: &mut Vec<Node>,
    findings: &mut Findings,
) -> bool {
    let expanded = match expand(text) {
        Ok(expanded) => expanded,
        Err(reason) => {
            let example = "as in `ds_{0..3}.t_order_{0..15}`".to_owned();
            findings.error_with(at, format!("the expression {reason}"), example);
            return false;
        }
    };
    let mut sound = true;
    for node in expanded {
        let (name, table) = match node.rsplit_once('.') {
            Some((name, table)) if !places.is_endpoint(&node) => (name, Some(table.to_owned())),
            _ => (node.as_str(), None),
        };
        match places.source(at, name, findings) {
            Some(source) => into.push((source, table)),
            None => sound = false,
        }
    }
    if into.len() > SHARDS_MAX {
        findings.error(at, format!("the table has more than {SHARDS_MAX} parts"));
        return false;
    }
    sound
}

/// Every text that an expression stands for.
fn expand(text: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for part in split(text) {
        let mut texts = vec![String::new()];
        let mut rest = part.trim();
        while let Some(open) = rest.find('{') {
            let before = rest.get(..open).unwrap_or_default();
            let before = before.strip_suffix('$').unwrap_or(before);
            let before = before.strip_suffix("$->").unwrap_or(before);
            let inside = rest.get(open + 1..).unwrap_or_default();
            let close = inside.find('}').ok_or("has a `{` without `}`")?;
            let choices = choices(inside.get(..close).unwrap_or_default())?;
            if texts.len().saturating_mul(choices.len()) > SHARDS_MAX {
                return Err(format!("stands for more than {SHARDS_MAX} nodes"));
            }
            let next = texts.iter().flat_map(|text| {
                choices
                    .iter()
                    .map(move |choice| format!("{text}{before}{choice}"))
            });
            texts = next.collect();
            rest = inside.get(close + 1..).unwrap_or_default();
        }
        if rest.contains(['}', '$']) {
            return Err("has a `}` or `$` without `{`".to_owned());
        }
        all.extend(texts.into_iter().map(|text| text + rest));
        if all.len() > SHARDS_MAX {
            return Err(format!("stands for more than {SHARDS_MAX} nodes"));
        }
    }
    match all.iter().any(String::is_empty) {
        true => Err("has an empty node".to_owned()),
        false => Ok(all),
    }
}

/// The parts between commas that are outside of braces.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// `0..3`, `00..15` with leading zeros kept, `[a, b]` or `a, b`.
fn choices(inside: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("has {{{inside}}}, which is neither a range nor a list");
    if let Some((from, to)) = inside.split_once("..") {
        let (from, to) = (from.trim(), to.trim());
        let width = match from.starts_with('0') && from.len() == to.len() {
            true => from.len(),
            false => 0,
        };
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let (first, last) = (number(from)?, number(to)?);
        if first > last {
            return Err(format!(
                "has {{{inside}}}, whose end is before its beginning"
            ));
        }
        if (last - first) as usize >= SHARDS_MAX {
            return Err(format!("has {{{inside}}}, which is more than {SHARDS_MAX}"));
        }
        return Ok((first..=last).map(|n| format!("{n:0width$}")).collect());
    }
    let list = inside
        .trim()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .split(',');
    let list: Vec<String> = list
        .map(|item| item.trim().trim_matches('\'').to_owned())
        .collect();
    match list.iter().any(String::is_empty) {
        true => Err(wrong()),
        false => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_stand_for_nodes() {
        let expanded = |text| expand(text).unwrap().join(" ");
        assert_eq!(
            expanded("ds_{0..1}.t_{0..1}"),
            "ds_0.t_0 ds_0.t_1 ds_1.t_0 ds_1.t_1"
        );
        assert_eq!(
            expanded("ds.t_${08..11}"),
            "ds.t_08 ds.t_09 ds.t_10 ds.t_11"
        );
        assert_eq!(
            expanded("a.t_$->{0..1}, b.t_{[2, 3]}"),
            "a.t_0 a.t_1 b.t_2 b.t_3"
        );
        for text in [
            "a_{",
            "a_}",
            "a_{1..}",
            "a_{3..1}",
            "a_{}",
            "",
            "a,,b",
            "a_{0..99999}_{0..99}",
        ] {
            assert!(expand(text).is_err(), "{text}");
        }
    }
}
