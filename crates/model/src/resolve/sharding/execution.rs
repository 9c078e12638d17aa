//! How statements over several shards run.
//!
//! It owns the limits and their defaults.

use std::path::PathBuf;

use super::super::findings::{At, Findings};
use crate::host::Host;
use crate::spec::{AcrossNodesSpec, AnswersSpec, ShardExecutionSpec, ShardTransactionsSpec};
use crate::topology::sharding::{AcrossSources, Answers, Execution};

/// Coordinators may decide for half of it.
const RETENTION_HOURS_MIN: u32 = 24;
/// A year.
const RETENTION_HOURS_MAX: u32 = 8_784;

/// What becomes of work that touches several sources.
pub fn across(spec: Option<&ShardTransactionsSpec>) -> AcrossSources {
    match spec.and_then(|spec| spec.across_nodes) {
        Some(AcrossNodesSpec::Atomic) => AcrossSources::Atomic,
        Some(AcrossNodesSpec::BestEffort) => AcrossSources::BestEffort,
        Some(AcrossNodesSpec::Refuse) | None => AcrossSources::Refuse,
    }
}

/// When an atomic COMMIT is answered.
pub fn answers(
    at: &At<'_>,
    spec: Option<&ShardTransactionsSpec>,
    findings: &mut Findings,
) -> Option<Answers> {
    let Some(wanted) = spec.and_then(|spec| spec.answers) else {
        return Some(Answers::default());
    };
    if across(spec) != AcrossSources::Atomic {
        let at = at.field("transactions").field("answers");
        findings.error(
            &at,
            "says when an atomic COMMIT is answered, and `acrossNodes` is not `atomic`",
        );
        return None;
    }
    Some(match wanted {
        AnswersSpec::AfterNodes => Answers::AfterNodes,
        AnswersSpec::AfterDecision => Answers::AfterDecision,
    })
}

/// Hours for which decisions are kept.
pub fn retention_hours(
    at: &At<'_>,
    spec: Option<&ShardTransactionsSpec>,
    findings: &mut Findings,
) -> Option<u32> {
    let Some(wanted) = spec.and_then(|spec| spec.retention_hours) else {
        return Some(RETENTION_HOURS_MIN);
    };
    let at = at.field("transactions").field("retentionHours");
    if across(spec) != AcrossSources::Atomic {
        findings.error(
            &at,
            "says how long decisions are kept, and `acrossNodes` is not `atomic`: there are none",
        );
        return None;
    }
    if !(RETENTION_HOURS_MIN..=RETENTION_HOURS_MAX).contains(&wanted) {
        let why = format!(
            "{wanted} is not between {RETENTION_HOURS_MIN} and {RETENTION_HOURS_MAX}: a decision must outlive every coordinator that may come back"
        );
        findings.error(&at, &why);
        return None;
    }
    Some(wanted)
}

/// What a statement may use.
pub fn execution(
    at: &At<'_>,
    spec: Option<&ShardExecutionSpec>,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<Execution> {
    let usual = Execution::default();
    let Some(spec) = spec else {
        return Some(usual);
    };
    let at = at.field("execution");
    let spill_directory = match &spec.spill_directory {
        Some(folder) => Some(spill_directory(&at, folder, host, findings)?),
        None => None,
    };
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let connections = spec.max_connections_per_node.map(|n| n as usize);
    Some(Execution {
        connections_per_source_max: connections.unwrap_or(usual.connections_per_source_max),
        memory_bytes_max: spec.memory_bytes.map_or(usual.memory_bytes_max, size),
        spill_bytes_max: spec.spill_bytes.unwrap_or(usual.spill_bytes_max),
        spill_directory,
        gather_bytes_max: spec.gather_bytes.unwrap_or(usual.gather_bytes_max),
    })
}

/// The folder of rows that memory has no room for.
fn spill_directory(
    at: &At<'_>,
    folder: &str,
    host: &dyn Host,
    findings: &mut Findings,
) -> Option<PathBuf> {
    let path = PathBuf::from(folder);
    let (reason, suggestion) = if !path.is_absolute() {
        (
            format!("{folder:?} is not the absolute path of a folder"),
            None,
        )
    } else if let Err(error) = host.keeps_files(&path) {
        (
            format!("{folder:?} cannot hold files: {error}"),
            Some("make the folder, with the right to write for dbmesh's user".to_owned()),
        )
    } else {
        return Some(path);
    };
    findings.error_with(&at.field("spillDirectory"), reason, suggestion);
    None
}
