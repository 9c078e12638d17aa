//! Hours of some days.
//!
//! Owns the arithmetic; it reads no clock.

use serde::Serialize;

/// Minutes of some days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeWindow {
    /// Bit n: the n-th day from Monday.
    pub days: u8,
    /// First minute of the day.
    pub from_minute: u16,
    /// The minute after the last; not after `from_minute`: of the next day.
    pub to_minute: u16,
    /// Minutes ahead of UTC.
    pub utc_offset_minutes: i32,
}

impl TimeWindow {
    /// Whether a time, in seconds since 1970 UTC, is in it.
    #[must_use]
    pub fn contains(&self, unix_seconds: u64) -> bool {
        let minutes = i64::try_from(unix_seconds / 60).unwrap_or(i64::MAX / 2);
        let local = minutes + i64::from(self.utc_offset_minutes);
        let (day, minute) = (local.div_euclid(1440), local.rem_euclid(1440));
        // 1970-01-01 was a Thursday.
        let on = |day: i64| self.days >> (day + 3).rem_euclid(7) & 1 == 1;
        let (from, to) = (i64::from(self.from_minute), i64::from(self.to_minute));
        if from < to {
            return on(day) && (from..to).contains(&minute);
        }
        (on(day) && minute >= from) || (on(day - 1) && minute < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_span_midnight() {
        // 2024-01-01 was a Monday, 1704067200.
        let monday = 1_704_067_200;
        let at = |hour: u64| monday + hour * 3600;
        let night = TimeWindow {
            days: 1,
            from_minute: 22 * 60,
            to_minute: 6 * 60,
            utc_offset_minutes: 0,
        };
        for (hour, inside) in [
            (1, false),
            (21, false),
            (22, true),
            (29, true),
            (30, false),
            (46, false),
        ] {
            assert_eq!(night.contains(at(hour)), inside, "{hour}");
        }
        let east = TimeWindow {
            utc_offset_minutes: 120,
            ..night
        };
        assert!(east.contains(at(20)) && !east.contains(at(28)));
        let always = TimeWindow {
            days: 0x7F,
            from_minute: 0,
            to_minute: 1440,
            utc_offset_minutes: 0,
        };
        assert!(always.contains(0) && always.contains(at(23)));
    }
}
