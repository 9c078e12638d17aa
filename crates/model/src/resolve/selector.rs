//! Which endpoints a label selector matches, as Kubernetes defines it.

use std::collections::BTreeMap;

use super::endpoint::{Candidate, Candidates};
use super::findings::{At, Findings};
use crate::load::Completeness;
use crate::spec::{MatchExpression, MatchOperator, Selector};

/// The candidates of a namespace that the selector matches; nothing after a defect.
pub fn matching<'c, 'a>(
    at: &At<'_>,
    selector: &Selector,
    namespace: &str,
    candidates: &'c Candidates<'a>,
    findings: &mut Findings,
) -> Option<Vec<&'c Candidate<'a>>> {
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    let mut sound = true;
    for (index, expression) in expressions.iter().enumerate() {
        let at = at.field("matchExpressions").item(index).field("values");
        sound &= values_fit(&at, expression, findings);
    }
    if !sound {
        return None;
    }
    let near = candidates
        .all
        .iter()
        .filter(|candidate| candidate.document.namespace == namespace);
    let matched: Vec<_> = near
        .filter(|candidate| matches(selector, &candidate.labels))
        .collect();
    if matched.is_empty() && candidates.completeness == Completeness::Partial {
        return None;
    }
    if matched.is_empty() {
        let reason = format!("the selector matches no DatabaseEndpoint of namespace {namespace}");
        findings.error_with(at, reason, labels_there(namespace, candidates));
        return None;
    }
    Some(matched)
}

fn matches(selector: &Selector, labels: &BTreeMap<&str, &str>) -> bool {
    let equal = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    equal
        .into_iter()
        .all(|(key, value)| labels.get(key.as_str()) == Some(&value.as_str()))
        && expressions
            .into_iter()
            .all(|expression| holds(expression, labels))
}

fn holds(expression: &MatchExpression, labels: &BTreeMap<&str, &str>) -> bool {
    let label = labels.get(expression.key.as_str());
    let listed = |label: &&str| {
        expression
            .values
            .iter()
            .flatten()
            .any(|value| value == label)
    };
    match expression.operator {
        MatchOperator::In => label.is_some_and(listed),
        MatchOperator::NotIn => !label.is_some_and(listed),
        MatchOperator::Exists => label.is_some(),
        MatchOperator::DoesNotExist => label.is_none(),
    }
}

fn values_fit(at: &At<'_>, expression: &MatchExpression, findings: &mut Findings) -> bool {
    let any = expression
        .values
        .as_ref()
        .is_some_and(|values| !values.is_empty());
    match expression.operator {
        MatchOperator::In | MatchOperator::NotIn if !any => {
            findings.error(at, "`In` and `NotIn` need at least one value");
            false
        }
        MatchOperator::Exists | MatchOperator::DoesNotExist if any => {
            findings.error(at, "`Exists` and `DoesNotExist` take no values");
            false
        }
        _ => true,
    }
}

/// The labels that the endpoints of a namespace do have, a few of them.
fn labels_there(namespace: &str, candidates: &Candidates<'_>) -> Option<String> {
    let near = candidates
        .all
        .iter()
        .filter(|candidate| candidate.document.namespace == namespace);
    let mut labels: Vec<String> = near
        .flat_map(|candidate| {
            candidate
                .labels
                .iter()
                .map(|(key, value)| format!("`{key}: {value}`"))
        })
        .collect();
    labels.sort_unstable();
    labels.dedup();
    labels.truncate(6);
    (!labels.is_empty()).then(|| format!("labels there: {}", labels.join(", ")))
}
