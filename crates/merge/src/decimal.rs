//! Exact decimals of up to 90 digits.
//!
//! Owns what sums and averages need: reading, adding, dividing by a count with the server's number of digits,
//! writing. It must never round where the server cuts off, nor the other way round. Input: text of DECIMAL
//! values, integers.

/// Digits in one limb.
const LIMB_DIGITS: usize = 9;
const LIMB: u64 = 1_000_000_000;
const LIMBS: usize = 10;
/// Digits of the widest DECIMAL.
pub(crate) const DIGITS_MAX: usize = 65;
/// Digits after the point of the widest DECIMAL of MySQL; MariaDB has 38.
pub(crate) const SCALE_MAX: usize = 30;

/// A number: `±magnitude / 10^scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    scale: usize,
    /// Base 10^9, the least limb first.
    magnitude: [u32; LIMBS],
}

impl Decimal {
    pub(crate) const ZERO: Self = Self {
        negative: false,
        scale: 0,
        magnitude: [0; LIMBS],
    };

    /// Reads digits with an optional sign and point.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (negative, whole, fraction) = parts(text)?;
        if whole.len() + fraction.len() > DIGITS_MAX + 16 {
            return None;
        }
        let mut value = Self::ZERO;
        for digit in whole.iter().chain(fraction) {
            value.magnitude = value
                .times(10)?
                .plus_small(u32::from(digit - b'0'))?
                .magnitude;
        }
        value.scale = fraction.len();
        value.negative = negative;
        Some(value)
    }

    /// An integer.
    pub(crate) fn integer(value: i128) -> Self {
        let mut rest = value.unsigned_abs();
        let mut magnitude = [0; LIMBS];
        for limb in &mut magnitude {
            *limb = (rest % u128::from(LIMB)) as u32;
            rest /= u128::from(LIMB);
        }
        Self {
            negative: value < 0,
            scale: 0,
            magnitude,
        }
    }

    /// The sum; `None` when it has more digits than DECIMAL has.
    pub(crate) fn plus(&self, other: &Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let (a, b) = (self.scaled_to(scale)?, other.scaled_to(scale)?);
        let (negative, magnitude) = if a.negative == b.negative {
            (a.negative, add(&a.magnitude, &b.magnitude)?)
        } else if a.magnitude.iter().rev().ge(b.magnitude.iter().rev()) {
            (a.negative, subtract(&a.magnitude, &b.magnitude))
        } else {
            (b.negative, subtract(&b.magnitude, &a.magnitude))
        };
        let sum = Self {
            negative,
            scale,
            magnitude,
        };
        (sum.digits() <= DIGITS_MAX).then_some(sum)
    }

    /// AVG's division: the quotient has digits after the point in groups of nine, as many as `increment` more
    /// than the dividend's need, is cut off there, and then rounded to `scale` digits.
    pub(crate) fn average(&self, count: u64, increment: u8, scale: u8) -> Option<Self> {
        let (increment, scale) = (usize::from(increment), usize::from(scale));
        let groups = self.scale.div_ceil(LIMB_DIGITS) * LIMB_DIGITS;
        let more = increment.saturating_sub(groups - self.scale);
        let working = (groups + more).div_ceil(LIMB_DIGITS) * LIMB_DIGITS;
        let quotient = self.scaled_to(working)?.divided(count)?;
        Some(quotient.rounded_to(scale))
    }

    /// As text with all digits of the scale.
    pub(crate) fn text(&self) -> String {
        let mut digits: String = self
            .magnitude
            .iter()
            .rev()
            .map(|limb| format!("{limb:09}"))
            .collect();
        let point = digits.len().saturating_sub(self.scale);
        let fraction = digits.split_off(point);
        let whole = digits.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = if self.negative && !self.is_zero() {
            "-"
        } else {
            ""
        };
        if fraction.is_empty() {
            return format!("{sign}{whole}");
        }
        format!("{sign}{whole}.{fraction}")
    }

    fn is_zero(&self) -> bool {
        self.magnitude.iter().all(|limb| *limb == 0)
    }

    fn digits(&self) -> usize {
        let top = self.magnitude.iter().rposition(|limb| *limb != 0);
        let digits = |limb: u32| limb.checked_ilog10().map_or(0, |log| log as usize + 1);
        top.map_or(0, |top| {
            top * LIMB_DIGITS + self.magnitude.get(top).map_or(0, |limb| digits(*limb))
        })
    }

    /// The same number with more digits after the point.
    fn scaled_to(&self, scale: usize) -> Option<Self> {
        let mut value = *self;
        for _ in self.scale..scale {
            value = value.times(10)?;
        }
        value.scale = scale.max(self.scale);
        Some(value)
    }

    fn rounded_to(&self, scale: usize) -> Self {
        let mut value = *self;
        let mut last = 0;
        for _ in scale..self.scale {
            last = value.divide_small(10);
        }
        value.scale = scale.min(self.scale);
        if last >= 5 {
            value = value.plus_small(1).unwrap_or(value);
        }
        value
    }

    fn times(&self, factor: u32) -> Option<Self> {
        let mut product = *self;
        let mut carry = 0_u64;
        for limb in &mut product.magnitude {
            let sum = u64::from(*limb) * u64::from(factor) + carry;
            *limb = (sum % LIMB) as u32;
            carry = sum / LIMB;
        }
        (carry == 0).then_some(product)
    }

    fn plus_small(&self, more: u32) -> Option<Self> {
        let mut one = [0; LIMBS];
        if let Some(first) = one.first_mut() {
            *first = more;
        }
        let magnitude = add(&self.magnitude, &one)?;
        Some(Self { magnitude, ..*self })
    }

    fn divided(&self, divisor: u64) -> Option<Self> {
        if divisor == 0 {
            return None;
        }
        let mut quotient = *self;
        let mut rest = 0_u128;
        for limb in quotient.magnitude.iter_mut().rev() {
            let dividend = rest * u128::from(LIMB) + u128::from(*limb);
            *limb = (dividend / u128::from(divisor)) as u32;
            rest = dividend % u128::from(divisor);
        }
        Some(quotient)
    }

    /// Divides in place; returns the remainder.
    fn divide_small(&mut self, divisor: u32) -> u32 {
        let mut rest = 0_u64;
        for limb in self.magnitude.iter_mut().rev() {
            let dividend = rest * LIMB + u64::from(*limb);
            *limb = (dividend / u64::from(divisor)) as u32;
            rest = dividend % u64::from(divisor);
        }
        rest as u32
    }
}

/// Sign, digits before and behind the point, of a DECIMAL's text.
pub(crate) fn parts(text: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
        Some(point) => (digits.get(..point)?, digits.get(point + 1..)?),
        None => (digits, Default::default()),
    };
    let all_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    let some = !whole.is_empty() || !fraction.is_empty();
    (all_digits && some).then_some((negative, whole, fraction))
}

fn add(a: &[u32; LIMBS], b: &[u32; LIMBS]) -> Option<[u32; LIMBS]> {
    let mut sum = [0; LIMBS];
    let mut carry = 0;
    for ((out, a), b) in sum.iter_mut().zip(a).zip(b) {
        let limb = u64::from(*a) + u64::from(*b) + carry;
        *out = (limb % LIMB) as u32;
        carry = limb / LIMB;
    }
    (carry == 0).then_some(sum)
}

/// `a - b` where `a` is not less.
fn subtract(a: &[u32; LIMBS], b: &[u32; LIMBS]) -> [u32; LIMBS] {
    let mut difference = [0; LIMBS];
    let mut borrow = 0;
    for ((out, a), b) in difference.iter_mut().zip(a).zip(b) {
        let take = u64::from(*b) + borrow;
        borrow = u64::from(u64::from(*a) < take);
        *out = (u64::from(*a) + borrow * LIMB - take) as u32;
    }
    difference
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let [a, b] = [a, b].map(|text| Decimal::parse(text.as_bytes()).unwrap());
        a.plus(&b).map(|sum| sum.text())
    }

    fn average(sum: &str, count: u64) -> String {
        let sum = Decimal::parse(sum.as_bytes()).unwrap();
        let scale = sum.scale as u8 + 4;
        sum.average(count, 4, scale).unwrap().text()
    }

    #[test]
    fn sums_are_exact() {
        assert_eq!(sum("0.1", "-0.10").unwrap(), "0.00");
        assert_eq!(sum("-1", "0.001").unwrap(), "-0.999");
        assert_eq!(sum("1", "-3").unwrap(), "-2");
        let nines = "9".repeat(65);
        assert_eq!(sum(&nines, "1"), None);
        assert_eq!(sum(&nines, "-1").unwrap(), format!("{}8", "9".repeat(64)));
    }

    #[test]
    fn averages_round_or_are_cut_off_as_the_server_does() {
        assert_eq!(average("2", 3), "0.6667");
        assert_eq!(average("-2", 3), "-0.6667");
        // Nine digits after the point fill a group: cut off.
        assert_eq!(average("2.00000", 3), "0.666666666");
        assert_eq!(average("2.0000", 3), "0.66666667");
        assert_eq!(Decimal::integer(-7).text(), "-7");
        assert_eq!(
            Decimal::integer(i128::from(u64::MAX)).text(),
            "18446744073709551615"
        );
    }

    #[test]
    fn what_is_no_decimal_is_none() {
        for text in ["", "-", ".", "1.2.3", "1e5", "+1", " 1"] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
    }
}
