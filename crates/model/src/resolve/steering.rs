//! What a TrafficStrategy says of statements that ask for something themselves → the topology's policies.

use super::findings::{At, Findings};
use crate::spec::{HintsModeSpec, HintsSpec};
use crate::topology::HintPolicy;

/// Who may use hints.
pub fn hints(at: &At<'_>, spec: Option<&HintsSpec>, findings: &mut Findings) -> Option<HintPolicy> {
    let Some(spec) = spec else {
        return Some(HintPolicy::Everybody);
    };
    match (spec.mode, &spec.users) {
        (Some(HintsModeSpec::Off), Some(_)) => {
            let at = at.field("hints").field("users");
            findings.error(&at, "`users` does not act with mode `off`");
            None
        }
        (Some(HintsModeSpec::Off), None) => Some(HintPolicy::Off),
        (_, Some(users)) => Some(HintPolicy::Listed(users.iter().cloned().collect())),
        (_, None) => Some(HintPolicy::Everybody),
    }
}
