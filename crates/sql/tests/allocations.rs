//! In a steady state the parser does not allocate.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dbmesh_sql::{Dialect, ParsedFacts, Parser};

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
    "SELECT o.id, COUNT(*) FROM orders o JOIN `customers` c ON c.id = o.customer_id WHERE o.a IN (1, 2, 3) AND (b = 1 OR c = ?) GROUP BY o.id ORDER BY o.id LIMIT 5, 10",
    "INSERT INTO t (a, b) VALUES (1, 2), (3, 4) ON DUPLICATE KEY UPDATE a = VALUES(a)",
    "UPDATE t SET a = a + 1 WHERE id = 5",
    "DELETE FROM t WHERE id BETWEEN 1 AND 5",
    "WITH c AS (SELECT 1 AS x) SELECT SUM(x) OVER (ORDER BY x) FROM c",
];

#[test]
fn parsing_again_allocates_nothing() {
    let dialect = Dialect::default();
    let mut parser = Parser::new();
    let mut facts = ParsedFacts::default();
    let mut all = || {
        for sql in STATEMENTS {
            let ast = parser.parse(sql.as_bytes(), &dialect).unwrap();
            facts.fill(ast, sql.as_bytes(), &dialect);
        }
    };
    all();
    let before = ALLOCATIONS.with(Cell::get);
    all();
    assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0);
}
