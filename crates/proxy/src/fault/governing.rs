//! The words for what rules, firewall, breakers and the guard of memory refuse.

use std::fmt;

use super::Fault;

impl Fault {
    /// Whether a rule refused the statement.
    #[must_use]
    pub fn is_of_rules(&self) -> bool {
        matches!(
            self,
            Self::Denied(_)
                | Self::DeniedUnknown(_)
                | Self::NotListed(_)
                | Self::RateExceeded(_)
                | Self::TooBusy(_)
        )
    }

    /// Which rule refused a statement, or what is spared.
    pub(super) fn of_rules(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(rule) => write!(
                f,
                "dbmesh: statement denied by rule '{rule}'; EXPLAIN MESH says what it matches"
            ),
            Self::DeniedUnknown(rule) => write!(
                f,
                "dbmesh: statement denied by rule '{rule}': what it runs or uses is not known; send it plainly, or give \
                 the rule `unknown: pass`"
            ),
            Self::MemoryShort => f.write_str(
                "Out of memory; dbmesh is near its limit of memory and takes no new work now, try again later",
            ),
            Self::BreakerOpen(endpoint) => write!(
                f,
                "dbmesh: endpoint {endpoint} is spared, because too much failed there or an operator says so; try again later"
            ),
            Self::NotListed(digest) => write!(
                f,
                "dbmesh: the firewall does not list this statement for the user (digest {digest})"
            ),
            Self::RateExceeded(rule) => write!(
                f,
                "dbmesh: the rate of rule '{rule}' is used up; try again later"
            ),
            Self::TooBusy(rule) => write!(
                f,
                "dbmesh: too many statements of rule '{rule}' at a time; try again later"
            ),
            _ => Ok(()),
        }
    }
}
