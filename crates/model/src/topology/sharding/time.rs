//! Days and times as MySQL's DATETIME has them: no time zone, the calendar of today for all years.
//!
//! It owns their canonical texts and the number that stands for them: microseconds since year 0. It reads only the forms
//! in which every server and `sql_mode` agrees; what else MySQL may read as a time, it does not.

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds of a day.
pub const DAY: i64 = 86_400 * SECOND;

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Year, 0 to 9999.
    pub year: i64,
    /// Month, from 1.
    pub month: i64,
    /// Day, from 1.
    pub day: i64,
}

/// Whether a text had a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Only a day.
    Day,
    /// A day and a time.
    Time,
}

impl Date {
    /// Days since 0000-03-01.
    fn days(self) -> i64 {
        let shifted = if self.month > 2 {
            self.year
        } else {
            self.year - 1
        };
        let era = shifted.div_euclid(400);
        let of_era = shifted.rem_euclid(400);
        let month = (self.month + 9) % 12;
        let of_year = (153 * month + 2) / 5 + self.day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year
    }

    /// The day that is so many days after 0000-03-01.
    fn of_days(days: i64) -> Self {
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted = (5 * of_year + 2) / 153;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        Self {
            year: year + era * 400 + i64::from(month <= 2),
            month,
            day: of_year - (153 * shifted + 2) / 5 + 1,
        }
    }

    /// The day that is so many days after 1970-01-01.
    #[must_use]
    pub fn of_unix_day(days: u64) -> Self {
        /// Days from 0000-03-01 to 1970-01-01.
        const EPOCH: i64 = 719_468;
        Self::of_days(EPOCH.saturating_add_unsigned(days))
    }

    fn last_of_month(year: i64, month: i64) -> i64 {
        match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// So many months later; a day that the month does not have becomes its last.
    #[must_use]
    pub fn plus_months(self, months: i64) -> Self {
        let total = self.year * 12 + self.month - 1 + months;
        let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
        Self {
            year,
            month,
            day: self.day.min(Self::last_of_month(year, month)),
        }
    }
}

/// The number of a day and a time of day in microseconds.
pub fn join(date: Date, of_day: i64) -> i64 {
    date.days() * DAY + of_day
}

/// The day and the time of day of a number.
pub fn split(at: i64) -> (Date, i64) {
    (Date::of_days(at.div_euclid(DAY)), at.rem_euclid(DAY))
}

/// `YYYY-MM-DD`, or `YYYY-MM-DD HH:MM:SS` with up to six digits of a second: a day that exists, from year 1.
pub fn parse(text: &str) -> Option<(i64, Precision)> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then_some(())?;
        text.get(from..to)?.parse().ok()
    };
    let sign = |at: usize, sign: u8| (bytes.get(at) == Some(&sign)).then_some(());
    let date = Date {
        year: number(0, 4)?,
        month: number(5, 7)?,
        day: number(8, 10)?,
    };
    sign(4, b'-')?;
    sign(7, b'-')?;
    let exists = date.year >= 1
        && (1..=12).contains(&date.month)
        && (1..=Date::last_of_month(date.year, date.month)).contains(&date.day);
    if !exists {
        return None;
    }
    if bytes.len() == 10 {
        return Some((join(date, 0), Precision::Day));
    }
    sign(10, b' ')?;
    sign(13, b':')?;
    sign(16, b':')?;
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match bytes.get(19..)? {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => {
            let scale = 10_i64.pow(u32::try_from(6 - digits.len()).ok()?);
            number(20, bytes.len())? * scale
        }
        _ => return None,
    };
    let of_day = ((hour * 60 + minute) * 60 + second) * SECOND + micros;
    Some((join(date, of_day), Precision::Time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_there_and_back() {
        let mut last = None;
        for year in [1, 4, 100, 400, 1582, 1970, 2000, 2023, 2024, 9999] {
            for month in 1..=12 {
                for day in 1..=Date::last_of_month(year, month) {
                    let date = Date { year, month, day };
                    assert_eq!(split(join(date, 5)), (date, 5));
                    assert!(last < Some(join(date, 0)));
                    last = Some(join(date, 0));
                }
            }
        }
    }

    #[test]
    fn only_canonical_texts_are_read() {
        let read = |text| parse(text).map(|(at, precision)| (split(at).1, precision));
        assert_eq!(read("2024-02-29"), Some((0, Precision::Day)));
        assert_eq!(
            read("2024-02-29 00:00:01.5"),
            Some((1_500_000, Precision::Time))
        );
        for text in [
            "2023-02-29",
            "24-02-01",
            "2024-2-1",
            "2024-02-01T00:00:00",
            "2024-02-01 ",
            "0000-01-01",
            "2024-02-01 24:00:00",
            "2024-02-01 10:00",
            "2024-02-01 10:00:00.",
            "2024-02-01 10:00:00+01:00",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
