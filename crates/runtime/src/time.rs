//! The time of day as logs and traces write it.
//!
//! It owns the form, RFC 3339 in UTC with microseconds. It knows no other calendar or zone. Its input is the system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use dbmesh_model::topology::sharding::time::Date;

/// Nanoseconds since 1970.
pub fn now_unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// Now, as text.
pub fn now_text() -> String {
    text(now_unix_ns())
}

/// A time as `2026-11-26T00:10:00.123456Z`.
pub fn text(unix_ns: u64) -> String {
    let (seconds, micros) = (unix_ns / 1_000_000_000, unix_ns % 1_000_000_000 / 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let Date { year, month, day } = Date::of_unix_day(days);
    let (hour, minute, second) = (second / 3_600, second % 3_600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (4_102_444_800, "2100-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(text(seconds * 1_000_000_000), expected);
        }
        assert_eq!(text(1_500), "1970-01-01T00:00:00.000001Z");
        assert!(now_text().starts_with("20"));
    }
}
