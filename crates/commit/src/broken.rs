//! Rules of the protocol that a test breaks on purpose, to see that the simulation's checker finds it.
//!
//! Outside of this crate's own tests nothing can be broken: the type holds nothing there.

/// One rule, broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code))]
pub enum Rule {
    /// A resolver that finds no decision rolls back without a fence.
    FenceBeforeAbort,
    /// A resolver believes that a row that is there means commit.
    ReadTheDecision,
    /// A home whose COMMIT got no answer is taken as rolled back.
    AskAfterLostCommit,
    /// The home commits although a branch did not promise.
    AllPromiseFirst,
    /// Branches are committed before the home.
    DecideFirst,
    /// The decision is written although the home's transaction is gone.
    HomeInTransaction,
    /// A decision that came too late is taken as made.
    LateIsRefused,
    /// The home's server commits although the row failed.
    CommitBehindRow,
    /// The client hears "committed" when all have promised.
    AnswerAfterDecision,
    /// A fence that came too late (no row) is taken as made.
    FenceInTime,
    /// A duplicate decision is taken as one's own.
    DuplicateIsFence,
}

/// Which rule is broken, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Broken(#[cfg(test)] pub Option<Rule>);

impl Broken {
    /// Whether this one is.
    #[cfg(test)]
    pub fn is(self, rule: Rule) -> bool {
        self.0 == Some(rule)
    }

    /// Whether this one is: never.
    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    pub const fn is(self, _: Rule) -> bool {
        false
    }
}
