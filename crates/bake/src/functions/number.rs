//! Numbers and truth.

use std::cmp::Ordering;

use super::{CallError, Called, Context, bad, integer, number_of, text_of};
use crate::number::Number;
use crate::value::Value;

type Computed = Result<Number, &'static str>;

pub(crate) fn add(a: &Number, b: &Number) -> Computed {
    a.plus(b).ok_or("opposing infinities have no sum")
}

pub(crate) fn subtract(a: &Number, b: &Number) -> Computed {
    a.minus(b).ok_or("infinity less infinity is no number")
}

pub(crate) fn multiply(a: &Number, b: &Number) -> Computed {
    a.times(b).ok_or("zero times infinity is no number")
}

pub(crate) fn divide(a: &Number, b: &Number) -> Computed {
    a.divided(b).ok_or("zero by zero and infinity by infinity are no numbers")
}

/// A division by zero or infinity leaves the number as it is.
pub(crate) fn modulo(a: &Number, b: &Number) -> Computed {
    match b.is_zero() || b.is_infinite() {
        true => Ok(a.clone()),
        false => a.modulo(b).ok_or("the numbers are too far apart for a remainder"),
    }
}

pub(super) fn binary(args: &[Value], f: fn(&Number, &Number) -> Computed) -> Called {
    Ok(Value::number(f(&number_of(args, 0), &number_of(args, 1))?))
}

pub(super) fn compare(args: &[Value], f: fn(Ordering) -> bool) -> Called {
    Ok(Value::Bool(f(number_of(args, 0).cmp(&number_of(args, 1)))))
}

pub(super) fn logic(args: &[Value], f: fn(bool, bool) -> bool) -> Called {
    Ok(Value::Bool(f(args[0] == Value::Bool(true), args[1] == Value::Bool(true))))
}

pub(super) fn absolute(args: &[Value], _: &Context) -> Called {
    Ok(Value::number(number_of(args, 0).absolute()))
}

pub(super) fn negate(args: &[Value], _: &Context) -> Called {
    Ok(Value::number(number_of(args, 0).negated()))
}

pub(super) fn ceil(args: &[Value], _: &Context) -> Called {
    Ok(Value::number(number_of(args, 0).ceiling()))
}

pub(super) fn floor(args: &[Value], _: &Context) -> Called {
    Ok(Value::number(number_of(args, 0).floor()))
}

pub(super) fn int(args: &[Value], _: &Context) -> Called {
    Ok(Value::number(number_of(args, 0).truncated()))
}

pub(super) fn max(args: &[Value], _: &Context) -> Called {
    extreme(args, Ordering::Greater)
}

pub(super) fn min(args: &[Value], _: &Context) -> Called {
    extreme(args, Ordering::Less)
}

fn extreme(args: &[Value], wanted: Ordering) -> Called {
    let numbers = (0..args.len()).map(|i| number_of(args, i));
    let best = numbers.reduce(|best, n| if n.cmp(&best) == wanted { n } else { best });
    best.map(Value::number).ok_or_else(|| "at least one number is required".into())
}

pub(super) fn log(args: &[Value], _: &Context) -> Called {
    let (n, base) = (number_of(args, 0).to_f64(), number_of(args, 1).to_f64());
    float(n.ln() / base.ln())
}

pub(super) fn pow(args: &[Value], _: &Context) -> Called {
    float(number_of(args, 0).to_f64().powf(number_of(args, 1).to_f64()))
}

fn float(value: f64) -> Called {
    Number::from_f64(value).map(Value::number).ok_or_else(|| "the result is no number".into())
}

pub(super) fn signum(args: &[Value], _: &Context) -> Called {
    let n = integer(args, 0)?;
    Ok(Value::int(n.signum()))
}

pub(super) fn parse_int(args: &[Value], _: &Context) -> Called {
    let Value::String(text) = &args[0] else {
        return Err(bad(0, format!("the first argument must be a string, not {}", args[0].kind().name())));
    };
    let base = integer(args, 1)?;
    let base = u32::try_from(base).ok().filter(|b| (2..=62).contains(b));
    let base = base.ok_or_else(|| bad(1, "the base must be a whole number from 2 to 62"))?;
    parse(text, base)
        .ok_or_else(|| CallError::from(format!("\"{}\" is no integer of base {base}", text_of(args, 0))))
}

/// Up to base 36 the case of letters does not matter; above it, capitals are digits of their own.
fn parse(text: &str, base: u32) -> Option<Value> {
    if text.len() > 10_000 {
        return None;
    }
    if base <= 36 {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_alphanumeric());
        return plain.then(|| Number::parse_radix(text, base)).flatten().map(Value::number);
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = num_bigint::BigInt::from(0);
    for byte in digits.bytes() {
        let digit = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'a'..=b'z' => u32::from(byte - b'a') + 10,
            b'A'..=b'Z' => u32::from(byte - b'A') + 36,
            _ => return None,
        };
        if digit >= base {
            return None;
        }
        value = value * base + digit;
    }
    let text = if negative { -value } else { value }.to_string();
    Number::parse_radix(&text, 10).map(Value::number)
}
