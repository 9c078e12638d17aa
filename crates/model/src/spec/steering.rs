//! What a TrafficStrategy says of statements that ask for something themselves: hints.

use schemars::JsonSchema;
use serde::Deserialize;

/// Who may ask for what in comments and query attributes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HintsSpec {
    /// Whether hints are followed; `on` if absent.
    pub mode: Option<HintsModeSpec>,
    /// Users whose hints are followed, all hints included. If absent, those of every user, except for hints that choose
    /// a server (`endpoint`, `shadow`), which nobody may use.
    #[schemars(length(min = 1))]
    pub users: Option<Vec<String>>,
}

/// Whether hints are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HintsModeSpec {
    /// They are, and what cannot be followed is an error.
    On,
    /// Comments are comments, and attributes the server's.
    Off,
}
