//! The savepoints of a transaction, for shards that it reaches later.
//!
//! Owns their order and which are alive. A shard that joins gets all of them first, so that each name means the same moment
//! everywhere: what it did after joining is undone by ROLLBACK TO a savepoint from before. Input: statements of the client.

/// Savepoints that one transaction may have alive.
const SAVEPOINTS_MAX: usize = 256;

/// More savepoints than a transaction may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// Those alive, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Savepoints {
    names: Vec<String>,
}

impl Savepoints {
    /// SAVEPOINT: an older one of that name is gone.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn set(&mut self, name: &str) -> Result<(), TooMany> {
        self.names.retain(|known| !same(known, name));
        if self.names.len() >= SAVEPOINTS_MAX {
            return Err(TooMany);
        }
        self.names.push(name.to_owned());
        Ok(())
    }

    /// ROLLBACK TO: the later ones are gone. False: there is none of that name, and nothing changed.
    pub fn roll_back_to(&mut self, name: &str) -> bool {
        let Some(at) = self.position(name) else {
            return false;
        };
        self.names.truncate(at.saturating_add(1));
        true
    }

    /// RELEASE SAVEPOINT: it and the later ones are gone. False: there is none of that name.
    pub fn release(&mut self, name: &str) -> bool {
        let Some(at) = self.position(name) else {
            return false;
        };
        self.names.truncate(at);
        true
    }

    /// The end of the transaction.
    pub fn clear(&mut self) {
        self.names.clear();
    }

    /// Those alive, oldest first: what a shard that joins is sent.
    pub fn alive(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| same(known, name))
    }
}

/// MySQL compares names of savepoints in its system character set, which ignores case.
fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(savepoints: &Savepoints) -> Vec<&str> {
        savepoints.alive().collect()
    }

    #[test]
    fn they_nest_as_servers_nest_them() {
        let mut s = Savepoints::default();
        for name in ["a", "b", "c", "A"] {
            s.set(name).expect("few");
        }
        assert_eq!(alive(&s), ["b", "c", "A"]);
        assert!(s.roll_back_to("B"));
        assert_eq!(alive(&s), ["b"]);
        assert!(!s.roll_back_to("c") && !s.release("a"));
        assert!(s.roll_back_to("b"), "it stays after a rollback to it");
        assert!(s.release("b"));
        assert!(alive(&s).is_empty());
    }

    #[test]
    fn they_are_bounded() {
        let mut s = Savepoints::default();
        for i in 0..SAVEPOINTS_MAX {
            s.set(&format!("s{i}")).expect("within the bound");
        }
        assert_eq!(s.set("more"), Err(TooMany));
        s.set("s3").expect("replaces one");
    }
}
