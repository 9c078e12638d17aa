//! Long and deep texts take time in proportion to their length.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use dbmesh_sql::{Dialect, SessionFunctionValues, analyze, replace_session_functions};

#[test]
fn megabytes_of_nesting_and_quotes_are_read_in_time() {
    let dialect = Dialect::default();
    let values = SessionFunctionValues {
        row_count: Some(1),
        ..SessionFunctionValues::default()
    };
    for piece in [
        "(",
        "IN (",
        "((1,",
        "VALUES (",
        "'",
        "`",
        "/*",
        "/*!99999 ",
        "$a",
        "$a$",
        "@",
        "--",
        "SELECT ROW_COUNT(),",
        "WITH a AS (",
        "IN (1,",
        "BEGIN ",
        ";",
        "/*!",
        "x'",
    ] {
        let sql = piece.repeat(1_000_000 / piece.len());
        let start = Instant::now();
        analyze(sql.as_bytes(), &dialect);
        replace_session_functions(sql.as_bytes(), &dialect, &values);
        // An unoptimised build on a busy machine reads this in well under a second; quadratic work takes hours.
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{piece}: {:?}",
            start.elapsed()
        );
    }
}
