//! Transactions: changes, reads that see them, savepoints, and an end.

use super::{Grammar, TRANSACTION};
use crate::statement::NEXT;

/// Most statements between the beginning and the end.
const STEPS_MAX: i64 = 6;

impl Grammar {
    /// The statements of a transaction.
    pub(super) fn transaction(&mut self) -> (&'static str, String) {
        let begin = self.draw.one(&[
            "START TRANSACTION",
            "BEGIN",
            "START TRANSACTION READ WRITE",
            "SET autocommit = 0",
        ]);
        let mut steps = vec![begin.to_owned()];
        let mut saved = 0;
        for _ in 0..self.draw.between(2, STEPS_MAX) {
            steps.push(match self.draw.below(12) {
                0 => {
                    saved += 1;
                    format!("SAVEPOINT s{saved}")
                }
                1 if saved > 0 => format!("ROLLBACK TO SAVEPOINT s{}", self.draw.between(1, saved)),
                2 if saved > 0 => format!("RELEASE SAVEPOINT s{}", self.draw.between(1, saved)),
                3..=5 => self.query().1,
                _ => self.change_of_rows(),
            });
        }
        steps.push(
            self.draw
                .one(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"])
                .to_owned(),
        );
        (TRANSACTION, steps.join(NEXT))
    }

    fn change_of_rows(&mut self) -> String {
        loop {
            let (family, text) = self.change();
            if family != "random.load" && family != TRANSACTION {
                return text;
            }
        }
    }
}
