//! Numbers as HCL has them: binary floating point of up to 512 bits, printed with as few decimal digits as tell it from
//! its neighbours.
//!
//! A number keeps the precision it was made with, because that decides how it prints: `0.1` of a source file has 512
//! bits, one of an environment variable 53.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer as _;
use num_traits::{One as _, Signed as _, ToPrimitive as _, Zero as _};

/// Bits of a number that is written in a source file.
pub const LITERAL: u32 = 512;
/// Bits of a number that was a machine integer.
const WORD: u32 = 64;
/// Bits of a number that was a machine float.
const FLOAT: u32 = 53;
/// Exponents of ten past this are refused: they would cost memory and mean nothing.
const MAX_EXPONENT: i64 = 20_000;

/// `mantissa * 2^exponent`, or an infinity. The mantissa is odd or zero.
#[derive(Debug, Clone)]
pub struct Number {
    mantissa: BigInt,
    exponent: i64,
    bits: u32,
    infinite: bool,
}

impl Number {
    pub fn zero() -> Self {
        Number::from(0i64)
    }

    pub fn infinity(negative: bool) -> Self {
        let mantissa = if negative { -BigInt::one() } else { BigInt::one() };
        Number { mantissa, exponent: 0, bits: FLOAT, infinite: true }
    }

    /// Reads decimal text such as `-1.5e3`, at the precision of source files.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (digits, exponent) = match rest.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all: String = [whole, fraction].concat();
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        if exponent.abs() > MAX_EXPONENT || all.len() > MAX_EXPONENT as usize {
            return None;
        }
        let mut value: BigInt = all.parse().ok()?;
        if negative {
            value = -value;
        }
        let power = BigInt::from(10).pow(u32::try_from(exponent.unsigned_abs()).ok()?);
        Some(match exponent < 0 {
            true => Self::ratio(&value, &power, LITERAL),
            false => Self::rounded(value * power, 0, LITERAL, false),
        })
    }

    /// Reads an integer of this base, for any precision.
    pub fn parse_radix(text: &str, base: u32) -> Option<Self> {
        let value = BigInt::parse_bytes(text.as_bytes(), base)?;
        let bits = u32::try_from(value.bits()).ok()?.max(WORD);
        Some(Self::rounded(value, 0, bits, false))
    }

    /// From a machine float; `None` for what is no number.
    pub fn from_f64(value: f64) -> Option<Self> {
        if value.is_nan() {
            return None;
        }
        if value.is_infinite() {
            return Some(Self::infinity(value < 0.0));
        }
        let bits = value.abs().to_bits();
        let (exponent, fraction) = ((bits >> 52) as i64, bits & ((1 << 52) - 1));
        let mantissa = if exponent == 0 { fraction } else { fraction | (1 << 52) };
        let mut mantissa = BigInt::from(mantissa);
        if value < 0.0 {
            mantissa = -mantissa;
        }
        Some(Self::rounded(mantissa, exponent.max(1) - 1075, FLOAT, false))
    }

    pub fn is_infinite(&self) -> bool {
        self.infinite
    }

    pub fn is_zero(&self) -> bool {
        self.mantissa.is_zero()
    }

    pub fn is_negative(&self) -> bool {
        self.mantissa.is_negative()
    }

    pub fn is_integer(&self) -> bool {
        !self.infinite && (self.exponent >= 0 || self.is_zero())
    }

    /// The value, if it is an integer.
    pub fn to_bigint(&self) -> Option<BigInt> {
        self.is_integer().then(|| self.mantissa.clone() << self.exponent.max(0))
    }

    pub fn to_i64(&self) -> Option<i64> {
        self.to_bigint()?.to_i64()
    }

    /// The nearest machine float.
    pub fn to_f64(&self) -> f64 {
        if self.infinite {
            return if self.is_negative() { f64::NEG_INFINITY } else { f64::INFINITY };
        }
        let near = Self::rounded(self.mantissa.clone(), self.exponent, FLOAT, false);
        let scale = near.exponent.clamp(-2000, 2000) as i32;
        let mantissa = near.mantissa.to_f64().unwrap_or(0.0);
        // In two steps, so that no step leaves the range before the last.
        mantissa * 2f64.powi(scale / 2) * 2f64.powi(scale - scale / 2)
    }

    pub fn negated(&self) -> Self {
        Number { mantissa: -self.mantissa.clone(), ..self.clone() }
    }

    pub fn absolute(&self) -> Self {
        Number { mantissa: self.mantissa.abs(), ..self.clone() }
    }

    /// `None` where the sum has no meaning.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let bits = self.bits.max(other.bits);
        match (self.infinite, other.infinite) {
            (true, true) => (self.mantissa == other.mantissa).then(|| self.clone()),
            (true, false) => Some(self.clone()),
            (false, true) => Some(other.clone()),
            (false, false) => {
                let gap = self.exponent.abs_diff(other.exponent);
                let reach = u64::from(bits) * 2 + self.mantissa.bits() + other.mantissa.bits();
                if gap > reach.max(100_000) && !self.is_zero() && !other.is_zero() {
                    let larger = if self.exponent > other.exponent { self } else { other };
                    return Some(Number { bits, ..larger.clone() });
                }
                let low = self.exponent.min(other.exponent);
                let left = self.mantissa.clone() << (self.exponent - low);
                let right = other.mantissa.clone() << (other.exponent - low);
                Some(Self::rounded(left + right, low, bits, false))
            }
        }
    }

    pub fn minus(&self, other: &Self) -> Option<Self> {
        self.plus(&other.negated())
    }

    pub fn times(&self, other: &Self) -> Option<Self> {
        if self.infinite || other.infinite {
            let negative = self.is_negative() != other.is_negative();
            return (!self.is_zero() && !other.is_zero()).then(|| Self::infinity(negative));
        }
        let exponent = self.exponent.checked_add(other.exponent)?;
        let bits = self.bits.max(other.bits);
        Some(Self::rounded(&self.mantissa * &other.mantissa, exponent, bits, false))
    }

    /// `None` for zero by zero and infinity by infinity; something by zero is infinite.
    pub fn divided(&self, other: &Self) -> Option<Self> {
        let negative = self.is_negative() != other.is_negative();
        match (self.infinite, other.infinite) {
            (true, true) => None,
            (true, false) => Some(Self::infinity(negative)),
            (false, true) => Some(Self::zero()),
            (false, false) if other.is_zero() => {
                (!self.is_zero()).then(|| Self::infinity(self.is_negative()))
            }
            (false, false) => {
                let mut out = Self::ratio(&self.mantissa, &other.mantissa, self.bits.max(other.bits));
                out.exponent = out.exponent.checked_add(self.exponent)?.checked_sub(other.exponent)?;
                Some(if out.is_zero() { Self::zero() } else { out })
            }
        }
    }

    /// What is left of a division that rounds towards zero. `None` where the divisor is zero or the quotient is
    /// too large to be worth it.
    pub fn modulo(&self, other: &Self) -> Option<Self> {
        if other.is_zero() || self.infinite || other.infinite {
            return None;
        }
        if self.exponent.abs_diff(other.exponent) > 100_000 {
            return None;
        }
        let quotient = self.divided(other)?.truncated();
        self.minus(&other.times(&quotient)?)
    }

    /// Without its fraction.
    pub fn truncated(&self) -> Self {
        if self.infinite || self.is_integer() {
            return self.clone();
        }
        let shift = self.exponent.unsigned_abs();
        let magnitude = self.mantissa.magnitude() >> shift;
        Self::rounded(BigInt::from_biguint(self.mantissa.sign(), magnitude), 0, self.bits, false)
    }

    pub fn floor(&self) -> Self {
        let whole = self.truncated();
        match self.is_negative() && whole != *self {
            true => whole.minus(&Number::from(1i64)).unwrap_or(whole),
            false => whole,
        }
    }

    pub fn ceiling(&self) -> Self {
        self.negated().floor().negated()
    }

    /// The nearest whole number to the magnitude times this power of ten; half goes to the even one.
    pub fn scaled(&self, power: i64) -> BigUint {
        let (mut numerator, mut denominator) = (self.mantissa.magnitude().clone(), BigUint::one());
        let ten = BigUint::from(10u32).pow(power.unsigned_abs().min(MAX_EXPONENT as u64 * 2) as u32);
        if power >= 0 {
            numerator *= ten;
        } else {
            denominator *= ten;
        }
        if self.exponent >= 0 {
            numerator <<= self.exponent.unsigned_abs();
        } else {
            denominator <<= self.exponent.unsigned_abs();
        }
        let (whole, rest) = numerator.div_rem(&denominator);
        let twice = rest * 2u32;
        let up = twice > denominator || (twice == denominator && whole.is_odd());
        if up { whole + 1u32 } else { whole }
    }

    fn ratio(numerator: &BigInt, denominator: &BigInt, bits: u32) -> Self {
        // Enough bits for the quotient to have two more than asked for; the rest only says "and a little more".
        let lack = i64::from(bits) + 2 + denominator.bits() as i64 - numerator.bits() as i64;
        let shift = lack.max(0);
        let (quotient, rest) = (numerator << shift).div_rem(denominator);
        Self::rounded(quotient, -shift, bits, !rest.is_zero())
    }

    /// Rounds half to even. `sticky`: the true value is a little farther from zero.
    fn rounded(mantissa: BigInt, exponent: i64, bits: u32, sticky: bool) -> Self {
        let (sign, mut magnitude) = mantissa.into_parts();
        let mut exponent = exponent;
        let excess = magnitude.bits().saturating_sub(u64::from(bits));
        if excess > 0 {
            let half = BigUint::one() << (excess - 1);
            let rest = &magnitude & ((BigUint::one() << excess) - 1u32);
            magnitude >>= excess;
            exponent += excess as i64;
            let up = match rest.cmp(&half) {
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal => sticky || magnitude.is_odd(),
            };
            if up {
                magnitude += 1u32;
            }
        }
        match magnitude.trailing_zeros() {
            Some(zeros) => {
                magnitude >>= zeros;
                exponent += zeros as i64;
            }
            None => exponent = 0,
        }
        Number { mantissa: BigInt::from_biguint(sign, magnitude), exponent, bits, infinite: false }
    }

    /// The fewest decimal digits that are nearer to this number than to any other of its precision, and the power of
    /// ten of the place before the first: `0.d1d2... * 10^point`.
    ///
    /// Of a number that is neither zero nor infinite.
    pub fn digits(&self) -> (String, i64) {
        // The number is `value / unit`; its neighbours are half a step to each side.
        let magnitude = self.mantissa.magnitude().clone();
        let width = magnitude.bits();
        let spare = u64::from(self.bits).saturating_sub(width);
        let mantissa = magnitude << spare;
        let exponent = self.exponent - spare as i64;
        let two = BigUint::from(2u32);
        let lower_is_nearer = mantissa == BigUint::one() << u64::from(self.bits.max(1) - 1);
        // Everything times four, so that a quarter of a step is whole.
        let (mut value, mut unit, mut up, mut down);
        if exponent >= 0 {
            let scale = BigUint::one() << exponent.unsigned_abs();
            value = &mantissa * &scale * 4u32;
            unit = BigUint::from(4u32);
            up = &scale * &two;
        } else {
            value = &mantissa * 4u32;
            unit = BigUint::one() << (exponent.unsigned_abs() + 2);
            up = two.clone();
        }
        down = if lower_is_nearer { &up / 2u32 } else { up.clone() };
        let inclusive = mantissa.is_even();
        // An estimate of the decimal point, put right below.
        let mut point = ((width as i64 + self.exponent) as f64 * std::f64::consts::LOG10_2).ceil() as i64;
        let scale = BigUint::from(10u32).pow(point.unsigned_abs() as u32);
        if point >= 0 {
            unit *= &scale;
        } else {
            value *= &scale;
            up *= &scale;
            down *= &scale;
        }
        let ten = BigUint::from(10u32);
        if &value + &up > unit || (inclusive && &value + &up == unit) {
            unit *= &ten;
            point += 1;
        }
        while (&value + &up) * &ten < unit {
            value *= &ten;
            up *= &ten;
            down *= &ten;
            point -= 1;
        }
        let mut digits = String::new();
        loop {
            value *= &ten;
            up *= &ten;
            down *= &ten;
            let (digit, rest) = value.div_rem(&unit);
            value = rest;
            let low = value < down || (inclusive && value == down);
            let high = &value + &up > unit || (inclusive && &value + &up == unit);
            let digit = digit.to_u8().unwrap_or(0);
            if !low && !high {
                digits.push(char::from(b'0' + digit));
                continue;
            }
            let round_up = match (low, high) {
                (true, true) => &value * 2u32 >= unit,
                (_, high) => high,
            };
            digits.push(char::from(b'0' + digit + u8::from(round_up)));
            break;
        }
        (carried(digits, &mut point), point)
    }
}

/// Digits where the last may have become ten.
fn carried(digits: String, point: &mut i64) -> String {
    let mut bytes = digits.into_bytes();
    while bytes.last() == Some(&(b'9' + 1)) {
        bytes.pop();
        match bytes.last_mut() {
            Some(last) => *last += 1,
            None => {
                bytes.push(b'1');
                *point += 1;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

impl fmt::Display for Number {
    /// Without an exponent, as HCL turns a number into text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative() { "-" } else { "" };
        if self.infinite {
            return f.write_str(if self.is_negative() { "-Inf" } else { "+Inf" });
        }
        if self.is_zero() {
            return f.write_str("0");
        }
        if let Some(whole) = self.to_bigint().filter(|w| w.bits() <= u64::from(self.bits)) {
            return write!(f, "{whole}");
        }
        let (digits, point) = self.digits();
        let count = digits.len() as i64;
        if point <= 0 {
            let zeros = "0".repeat(point.unsigned_abs() as usize);
            write!(f, "{sign}0.{zeros}{digits}")
        } else if point >= count {
            let zeros = "0".repeat((point - count) as usize);
            write!(f, "{sign}{digits}{zeros}")
        } else {
            let (whole, fraction) = digits.split_at(point as usize);
            write!(f, "{sign}{whole}.{fraction}")
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::rounded(BigInt::from(value), 0, WORD, false)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::rounded(BigInt::from(value), 0, WORD, false)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.infinite || other.infinite {
            let side = |n: &Number| match (n.infinite, n.is_negative()) {
                (false, _) => 0,
                (true, negative) => 1 - 2 * i32::from(negative),
            };
            return side(self).cmp(&side(other));
        }
        let (left, right) = (self.mantissa.sign(), other.mantissa.sign());
        if left != right {
            return left.cmp(&right);
        }
        if left == Sign::NoSign {
            return Ordering::Equal;
        }
        let top = |n: &Number| n.exponent + n.mantissa.bits() as i64;
        let by_size = top(self).cmp(&top(other)).then_with(|| {
            let low = self.exponent.min(other.exponent);
            let left = self.mantissa.magnitude() << (self.exponent - low) as u64;
            left.cmp(&(other.mantissa.magnitude() << (other.exponent - low) as u64))
        });
        if left == Sign::Minus { by_size.reverse() } else { by_size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn decimals_print_as_they_were_written() {
        for text in ["0", "1", "-1", "0.1", "1.5", "123.456", "1000000000000000000000000", "0.00001", "-2.25"]
        {
            assert_eq!(n(text).to_string(), text);
        }
        assert_eq!(n("1.50e3").to_string(), "1500");
        assert_eq!(n("9e-3").to_string(), "0.009");
    }

    #[test]
    fn floats_print_as_floats() {
        for value in [0.1, 1.0 / 3.0, 1e21, 5e-300, 2f64.powi(60), 123.456] {
            let text = Number::from_f64(value).unwrap().to_string();
            assert_eq!(text.parse::<f64>().unwrap(), value);
            assert_eq!(text, format!("{value}"));
        }
    }

    #[test]
    fn arithmetic_has_the_precision_of_literals() {
        assert_eq!(n("0.1").plus(&n("0.2")).unwrap().to_string(), "0.3");
        assert_eq!(n("7").modulo(&n("3")).unwrap().to_string(), "1");
        assert_eq!(n("-7").modulo(&n("3")).unwrap().to_string(), "-1");
        assert_eq!(n("1").divided(&n("4")).unwrap().to_string(), "0.25");
        assert_eq!(n("1").divided(&n("0")).unwrap().to_string(), "+Inf");
        assert_eq!(n("-1.5").floor().to_string(), "-2");
        assert_eq!(n("-1.5").ceiling().to_string(), "-1");
        assert!(n("1") < n("1.5") && n("-3") < n("-2") && n("100") > n("99.9"));
    }

    #[test]
    fn absurd_exponents_are_refused() {
        assert!(Number::parse("1e999999999").is_none());
        assert!(Number::parse("1e99999999999999999999").is_none());
    }
}
