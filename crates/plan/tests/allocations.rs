//! A statement whose digest is known costs no allocation on its way to a plan.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dbmesh_plan::{Plan, Prover, SessionView, plan};
use dbmesh_sql::{Dialect, Hints, analyze};

#[path = "support/strategy.rs"]
mod strategy;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const STATEMENTS: &[&str] = &[
    "SELECT id, name FROM users WHERE id = 42 LIMIT 1",
    "SELECT o.id, COUNT(*) FROM orders o JOIN `customers` c ON c.id = o.customer_id WHERE o.a IN (1, 2, 3) GROUP BY o.id",
    // A rule matches.
    "SELECT * FROM report_of_may WHERE day > '2026-05-01'",
    // Beyond ASCII. (Where an expression has a `\b`, the automaton leaves such texts to another one, which allocates once.)
    "SELECT 'gr\u{fc}n' FROM t",
    "INSERT INTO t (a, b) VALUES (1, 2), (3, 4)",
    "UPDATE t SET a = a + 1 WHERE id = 5",
    "SELECT a FROM t WHERE id = 7 FOR UPDATE",
    "COMMIT",
    "/* mesh: replica, timeout_ms=200 */ SELECT id FROM users WHERE id = 42",
    "SELECT id FROM users WHERE id = 42 /* mesh: endpoint=server-1, tenant=acme */",
];

#[test]
fn a_known_statement_is_planned_without_allocation() {
    let strategy = strategy::splitting();
    let splitting = strategy.splitting.as_ref();
    let dialect = Dialect::default();
    let mut prover = Prover::default();
    let mut all = || -> u32 {
        let mut routed = 0;
        for sql in STATEMENTS {
            let text = sql.as_bytes();
            let before = ALLOCATIONS.with(Cell::get);
            let statement = analyze(text, &dialect);
            let hints = Hints::of_comments(text, &statement.hints).unwrap();
            let proof = prover.prove(&statement, text, &dialect);
            let view = SessionView {
                splitting,
                proof,
                hint: hints.role,
                ..strategy::free_session()
            };
            routed += u32::from(matches!(plan(&statement, text, view), Plan::Route(_)));
            let allocated = ALLOCATIONS.with(Cell::get) - before;
            COUNTED.with(|counted| counted.set(counted.get() + allocated));
            if allocated > 0 && CHECKS.with(Cell::get) {
                panic!("{allocated} allocations: {sql}");
            }
        }
        routed
    };
    all();
    assert!(
        COUNTED.with(Cell::get) > 0,
        "the first time, it is parsed: somebody counts"
    );
    CHECKS.with(|checks| checks.set(true));
    assert_eq!(
        all(),
        u32::try_from(STATEMENTS.len()).unwrap() - 1,
        "COMMIT is answered here"
    );
}

thread_local! {
    static COUNTED: Cell<u64> = const { Cell::new(0) };
    static CHECKS: Cell<bool> = const { Cell::new(false) };
}
