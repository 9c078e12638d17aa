//! Numbers, dates and times in the two protocols' forms.
//!
//! Owns their decoding into plain numbers, and the server's text of a double. It must never accept what the
//! server does not write: a value that is none of its type is an error of the shard. Input: bytes of values.

use dbmesh_wire::result_set::RowFormat;

/// An integer, wide enough for signed and unsigned ones.
pub(crate) fn integer(format: RowFormat, unsigned: bool, bytes: &[u8]) -> Option<i128> {
    match format {
        RowFormat::Text => integer_text(bytes),
        RowFormat::Binary => {
            let mut wide = [0; 8];
            wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
            let bits = u64::from_le_bytes(wide);
            if unsigned {
                return Some(i128::from(bits));
            }
            let unused = 64_u32.checked_sub(u32::try_from(bytes.len()).ok()? * 8)?;
            (unused < 64).then(|| i128::from((bits << unused).cast_signed() >> unused))
        }
    }
}

fn integer_text(bytes: &[u8]) -> Option<i128> {
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, bytes),
    };
    let value = unsigned_text(digits)?;
    let value = i128::from(value);
    Some(if negative { -value } else { value })
}

fn unsigned_text(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_u64;
    if digits.len() <= 19 {
        // Nineteen digits always fit.
        for digit in digits {
            let digit = digit.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + u64::from(digit);
        }
        return Some(value);
    }
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// A double: text in the text protocol, eight bytes in the binary one.
pub(crate) fn double(format: RowFormat, bytes: &[u8]) -> Option<f64> {
    let value = match format {
        RowFormat::Text => std::str::from_utf8(bytes).ok()?.parse().ok()?,
        RowFormat::Binary => f64::from_le_bytes(*bytes.as_array()?),
    };
    f64::is_finite(value).then_some(value)
}

/// A float, likewise.
pub(crate) fn float(format: RowFormat, bytes: &[u8]) -> Option<f64> {
    let value: f32 = match format {
        RowFormat::Text => std::str::from_utf8(bytes).ok()?.parse().ok()?,
        RowFormat::Binary => f32::from_le_bytes(*bytes.as_array()?),
    };
    value.is_finite().then_some(f64::from(value))
}

/// BIT: up to eight bytes, high byte first.
pub(crate) fn bit(bytes: &[u8]) -> Option<u64> {
    let mut wide = [0; 8];
    let start = wide.len().checked_sub(bytes.len())?;
    wide.get_mut(start..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(wide))
}

/// DATE, DATETIME and TIMESTAMP as a number with their order.
pub(crate) fn date_time(format: RowFormat, bytes: &[u8]) -> Option<u64> {
    let [year, month, day, hour, minute, second, micro] = match format {
        RowFormat::Text => date_time_text(bytes)?,
        RowFormat::Binary => date_time_binary(bytes)?,
    };
    if year > 9999 || month > 12 || day > 31 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = (year * 13 + month) * 32 + day;
    let seconds = (hour * 60 + minute) * 60 + second;
    Some((days * 86_400 + seconds) * 1_000_000 + micro)
}

/// Year, month, day, hour, minute, second, microsecond.
type DateTimeParts = [u64; 7];

fn date_time_text(bytes: &[u8]) -> Option<DateTimeParts> {
    let (date, time) = bytes.split_at_checked(10)?;
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date.as_array::<10>()? else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let (month, day) = (number(&[m1, m2])?, number(&[d1, d2])?);
    let (clock, micro) = match time.split_first() {
        None => ([0; 3], 0),
        Some((b' ', time)) => clock_text(time)?,
        Some(_) => return None,
    };
    let [hour, minute, second] = clock;
    Some([year, month, day, hour, minute, second, micro])
}

fn date_time_binary(bytes: &[u8]) -> Option<DateTimeParts> {
    let mut parts = [0; 11];
    if !matches!(bytes.len(), 0 | 4 | 7 | 11) {
        return None;
    }
    parts.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let [y1, y2, month, day, hour, minute, second, u1, u2, u3, u4] = parts;
    let year = u64::from(u16::from_le_bytes([y1, y2]));
    let micro = u64::from(u32::from_le_bytes([u1, u2, u3, u4]));
    let [month, day, hour, minute, second] = [month, day, hour, minute, second].map(u64::from);
    (micro < 1_000_000).then_some([year, month, day, hour, minute, second, micro])
}

/// TIME in microseconds.
pub(crate) fn time(format: RowFormat, bytes: &[u8]) -> Option<i64> {
    let (negative, hours, minute, second, micro) = match format {
        RowFormat::Text => {
            let (negative, rest) = match bytes.split_first() {
                Some((b'-', rest)) => (true, rest),
                _ => (false, bytes),
            };
            let ([hours, minute, second], micro) = clock_text(rest)?;
            (negative, hours, minute, second, micro)
        }
        RowFormat::Binary => {
            let mut parts = [0; 12];
            if !matches!(bytes.len(), 0 | 8 | 12) {
                return None;
            }
            parts.get_mut(..bytes.len())?.copy_from_slice(bytes);
            let [
                negative,
                d1,
                d2,
                d3,
                d4,
                hour,
                minute,
                second,
                u1,
                u2,
                u3,
                u4,
            ] = parts;
            let days = u64::from(u32::from_le_bytes([d1, d2, d3, d4]));
            let micro = u64::from(u32::from_le_bytes([u1, u2, u3, u4]));
            let [hour, minute, second] = [hour, minute, second].map(u64::from);
            (negative != 0, days * 24 + hour, minute, second, micro)
        }
    };
    if hours > 838 || minute > 59 || second > 59 || micro > 999_999 {
        return None;
    }
    let micros = ((hours * 60 + minute) * 60 + second) * 1_000_000 + micro;
    let micros = i64::try_from(micros).ok()?;
    Some(if negative { -micros } else { micros })
}

/// `HH:MM:SS` with more digits of hours and a fraction if there are any.
fn clock_text(bytes: &[u8]) -> Option<([u64; 3], u64)> {
    let (clock, fraction) = match bytes.iter().position(|byte| *byte == b'.') {
        Some(point) => (bytes.get(..point)?, bytes.get(point + 1..)?),
        None => (bytes, Default::default()),
    };
    let (hours, rest) = clock.split_at_checked(clock.len().checked_sub(6)?)?;
    let &[b':', m1, m2, b':', s1, s2] = rest.as_array::<6>()? else {
        return None;
    };
    let mut micro = if fraction.is_empty() {
        0
    } else {
        number(fraction)?
    };
    for _ in fraction.len()..6 {
        micro *= 10;
    }
    let clock = [number(hours)?, number(&[m1, m2])?, number(&[s1, s2])?];
    Some((clock, micro))
}

/// A few digits.
fn number(digits: &[u8]) -> Option<u64> {
    (digits.len() <= 6).then(|| unsigned_text(digits)).flatten()
}

/// The text that the server writes for a double whose digits after the point are not fixed: the shortest that
/// reads back as the same, without an exponent while the point is within 15 places of the first digit or there are
/// digits behind it (`my_gcvt` of the server).
pub(crate) fn double_text(value: f64) -> String {
    const PLACES_MAX: i32 = 15;
    let shortest = shortest(value);
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return shortest;
    };
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let has_fraction = i32::try_from(digits).is_ok_and(|digits| digits > point);
    if point > -PLACES_MAX && (point <= PLACES_MAX || has_fraction) {
        return without_exponent(mantissa, point);
    }
    format!("{mantissa}e{exponent}")
}

/// The shortest digits that read back as the same, with an exponent. Of two equally near the server takes the even
/// one, the standard library the greater one.
fn shortest(value: f64) -> String {
    /// A double has ties only where its digits nearly suffice.
    const TIE_BYTES_MIN: usize = 16;
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    if mantissa.len() < TIE_BYTES_MIN {
        return text;
    }
    let exact = format!("{value:.40e}");
    let exact = exact.split_once('e').map_or("", |(digits, _)| digits);
    let exact = exact.trim_end_matches('0');
    let Some(lesser) = exact.strip_suffix('5') else {
        return text;
    };
    let is_even = lesser.bytes().last().is_some_and(|digit| digit % 2 == 0);
    let even = format!("{lesser}e{exponent}");
    let reads_back = even
        .parse::<f64>()
        .is_ok_and(|read| read.to_bits() == value.to_bits());
    if lesser.len() == mantissa.len() && is_even && reads_back {
        return even;
    }
    text
}

/// Digits with their point in this place.
fn without_exponent(mantissa: &str, point: i32) -> String {
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    let Ok(whole) = usize::try_from(point) else {
        let zeros = "0".repeat(point.unsigned_abs() as usize);
        return format!("{sign}0.{zeros}{digits}");
    };
    match digits.split_at_checked(whole) {
        Some(("", "0")) => format!("{sign}0"),
        Some(("", fraction)) => format!("{sign}0.{fraction}"),
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits}{}", "0".repeat(whole - digits.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_both_protocols() {
        assert_eq!(integer(RowFormat::Text, false, b"-00042"), Some(-42));
        assert_eq!(
            integer(RowFormat::Text, true, b"18446744073709551615"),
            Some(i128::from(u64::MAX))
        );
        assert_eq!(
            integer(RowFormat::Text, true, b"18446744073709551616"),
            None
        );
        assert_eq!(integer(RowFormat::Text, false, b""), None);
        assert_eq!(integer(RowFormat::Text, false, b"1x"), None);
        assert_eq!(integer(RowFormat::Binary, false, &[0xFE]), Some(-2));
        assert_eq!(integer(RowFormat::Binary, true, &[0xFE]), Some(254));
        assert_eq!(integer(RowFormat::Binary, false, &[]), None);
        assert_eq!(integer(RowFormat::Binary, false, &[0; 9]), None);
    }

    #[test]
    fn dates_and_times_have_their_order() {
        let text = |s: &str| date_time(RowFormat::Text, s.as_bytes());
        assert!(text("0000-00-00") < text("0000-00-00 00:00:00.000001"));
        assert!(text("2020-00-10 23:59:59") < text("2020-01-00"));
        assert_eq!(text("2020-1-10"), None);
        assert_eq!(text("2020-13-10"), None);
        assert_eq!(
            text("2020-02-03 04:05:06.5"),
            date_time(
                RowFormat::Binary,
                &[0xE4, 7, 2, 3, 4, 5, 6, 0x20, 0xA1, 7, 0]
            )
        );
        let clock = |s: &str| time(RowFormat::Text, s.as_bytes());
        assert!(clock("-838:59:59") < clock("-00:00:00.5"));
        assert!(clock("-00:00:00.5") < clock("00:00:00"));
        assert_eq!(
            clock("25:00:00"),
            time(RowFormat::Binary, &[0, 1, 0, 0, 0, 1, 0, 0])
        );
        assert_eq!(clock("1:2:3"), None);
    }

    #[test]
    fn doubles_are_written_as_the_server_writes_them() {
        for (value, text) in [
            (0.1, "0.1"),
            (1e14, "100000000000000"),
            (1e15, "1e15"),
            (-1.5e20, "-1.5e20"),
            (0.00001, "0.00001"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (-1012282785496355.2, "-1012282785496355.2"),
            (123_456_789.125, "123456789.125"),
        ] {
            assert_eq!(double_text(value), text);
        }
    }
}
