//! Moments as literals, and as texts, that say their time zone.
//!
//! Owns the way from seconds since 1970 to a date and a time in UTC. Input: what UNIX_TIMESTAMP prints; a column's name.

use dbmesh_model::topology::sharding::time::Date;

const DAY_SECONDS: u64 = 86_400;

/// `TIMESTAMP'2024-10-27 00:30:00.5+00:00'`; none if it is no such number.
pub(super) fn of_unix_time(value: &[u8]) -> Option<Vec<u8>> {
    let value = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, ""));
    let seconds: u64 = seconds.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (days, within) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let Date { year, month, day } = Date::of_unix_day(days);
    let (hour, minute, second) = (within / 3600, within / 60 % 60, within % 60);
    let point = if fraction.is_empty() { "" } else { "." };
    let text = format!(
        "TIMESTAMP'{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{point}{fraction}+00:00'"
    );
    Some(text.into_bytes())
}

/// The moment of a column as a text that says its offset, for its server.
pub(super) fn in_utc(name: &[u8]) -> Vec<u8> {
    let seconds = [b"UNIX_TIMESTAMP(", name, b")"].concat();
    [
        b"IF(",
        seconds.as_slice(),
        b" = 0, '0000-00-00 00:00:00', CONCAT(TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ",
        &seconds,
        b" SECOND, '+00:00'))",
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        let of =
            |value: &str| of_unix_time(value.as_bytes()).map(|t| String::from_utf8(t).unwrap());
        let is = |value: &str, text: &str| {
            assert_eq!(
                of(value),
                Some(format!("TIMESTAMP'{text}+00:00'")),
                "{value}"
            );
        };
        is("1", "1970-01-01 00:00:01");
        is("951782400", "2000-02-29 00:00:00");
        is("1729989000.500", "2024-10-27 00:30:00.500");
        is("2147483647.999999", "2038-01-19 03:14:07.999999");
        is("4107542399", "2100-02-28 23:59:59");
        is("4107542400", "2100-03-01 00:00:00");
        assert_eq!(of("x"), None);
        assert_eq!(of("1.x"), None);
        assert_eq!(of("-1"), None);
    }
}
