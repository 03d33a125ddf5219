//! `format` and `formatlist`: text with verbs such as `%s` and `%05.2f`.

use num_bigint::BigInt;
use num_traits::Signed as _;
use unicode_segmentation::UnicodeSegmentation as _;

use super::{CallError, Called, Context, bad, json, text_of};
use crate::convert::convert;
use crate::number::Number;
use crate::types::Type;
use crate::value::Value;

/// Wider and more exact than this nobody prints.
const MAX_WIDTH: usize = 100_000;
const MAX_PRECISION: usize = 5_000;

/// `%[flags][width][.precision][[argument]]letter`
#[derive(Debug, Default)]
struct Verb {
    text: String,
    zero: bool,
    sharp: bool,
    minus: bool,
    plus: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
    /// From 1.
    argument: usize,
    letter: char,
}

pub(super) fn format(args: &[Value], _: &Context) -> Called {
    fill(text_of(args, 0), &args[1..]).map(Value::string)
}

/// Once for each element of the lists among the arguments; others stay the same.
pub(super) fn format_list(args: &[Value], _: &Context) -> Called {
    let mut length = None;
    for (i, arg) in args.iter().enumerate().skip(1) {
        if let Some(items) = arg.sequence()
            && *length.get_or_insert(items.len()) != items.len()
        {
            return Err(bad(i, "all lists must have the same length"));
        }
    }
    let mut out = Vec::new();
    for at in 0..length.unwrap_or(1) {
        let row: Vec<Value> = args[1..]
            .iter()
            .map(|a| a.sequence().map_or_else(|| a.clone(), |items| items[at].clone()))
            .collect();
        out.push(Value::string(fill(text_of(args, 0), &row)?));
    }
    Ok(Value::list(Type::String, out))
}

fn fill(format: &str, args: &[Value]) -> Result<String, CallError> {
    let mut out = String::new();
    let (mut next, mut highest) = (1, 0);
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (verb, after) = Verb::parse(rest, next)?;
        rest = after;
        highest = highest.max(verb.argument);
        next = verb.argument + 1;
        let arg = args.get(verb.argument.wrapping_sub(1)).ok_or_else(|| {
            CallError::from(format!(
                "{} needs argument {}, but there are {}",
                verb.text,
                verb.argument,
                args.len()
            ))
        })?;
        out.push_str(&verb.print(arg)?);
        if out.len() > 1 << 26 {
            return Err("the result is too long".into());
        }
    }
    out.push_str(rest);
    if highest < args.len() {
        return Err(bad(
            highest + 1,
            format!("there are {} arguments, of which {highest} are used", args.len()),
        ));
    }
    Ok(out)
}

impl Verb {
    fn parse(text: &str, next: usize) -> Result<(Verb, &str), CallError> {
        let mut verb = Verb { argument: next, ..Verb::default() };
        let mut rest = text;
        while let Some(c) = rest.chars().next().filter(|c| "0#-+ ".contains(*c)) {
            match c {
                '0' => verb.zero = true,
                '#' => verb.sharp = true,
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                _ => verb.space = true,
            }
            rest = &rest[1..];
        }
        let number = |rest: &mut &str| {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, after) = rest.split_at(end);
            *rest = after;
            match digits {
                "" => Ok(None),
                digits => digits
                    .parse()
                    .ok()
                    .filter(|n| *n <= MAX_WIDTH)
                    .map(Some)
                    .ok_or_else(|| CallError::from(format!("%{text}: the number is too large"))),
            }
        };
        verb.width = number(&mut rest)?;
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            verb.precision = Some(number(&mut rest)?.unwrap_or(0).min(MAX_PRECISION));
        }
        if let Some(after) = rest.strip_prefix('[') {
            rest = after;
            let index = number(&mut rest)?.filter(|i| *i > 0);
            let after = rest.strip_prefix(']');
            let (Some(index), Some(after)) = (index, after) else {
                return Err(format!("%{text}: an argument is written as [1]").into());
            };
            (verb.argument, rest) = (index, after);
        }
        match rest.chars().next() {
            Some(letter) if letter.is_ascii_alphabetic() => {
                verb.letter = letter;
                rest = &rest[1..];
                verb.text = format!("%{}", &text[..text.len() - rest.len()]);
                Ok((verb, rest))
            }
            Some(other) => Err(format!("%{text}: `{other}` is no verb").into()),
            None => Err(format!("%{text}: the verb is missing").into()),
        }
    }

    fn print(&self, arg: &Value) -> Result<String, CallError> {
        let wrong = |why: String| CallError::from(format!("{}: unsupported value: {why}", self.text));
        if self.letter != 'v' && arg.is_null() {
            return Err(wrong("null".into()));
        }
        match self.letter {
            'v' => Ok(self.padded(match arg {
                Value::String(text) if !self.sharp => text.to_string(),
                Value::Number(n) if !self.sharp => general(n, None, 'e'),
                other => json::encode(other),
            })),
            't' => match convert(arg, &Type::Bool).map_err(wrong)? {
                Value::Bool(b) => Ok(b.to_string()),
                _ => Err(wrong("null".into())),
            },
            'b' | 'd' | 'o' | 'x' | 'X' | 'e' | 'E' | 'f' | 'g' | 'G' => {
                match convert(arg, &Type::Number).map_err(wrong)? {
                    Value::Number(n) => self.print_number(&n).ok_or_else(|| wrong("no whole number".into())),
                    _ => Err(wrong("null".into())),
                }
            }
            's' | 'q' => {
                let text = convert(arg, &Type::String).map_err(wrong)?;
                let mut text = text.as_str().unwrap_or_default().to_owned();
                if let Some(length) = self.precision.filter(|p| *p > 0) {
                    text = text.graphemes(true).take(length).collect();
                }
                Ok(self.padded(if self.letter == 's' { text } else { json::encode(&Value::string(text)) }))
            }
            letter => Err(format!("{}: `{letter}` is no verb", self.text).into()),
        }
    }

    fn padded(&self, text: String) -> String {
        let lack = self.width.unwrap_or(0).saturating_sub(text.graphemes(true).count());
        let pad = if self.zero { "0" } else { " " }.repeat(lack);
        if self.minus { text + &pad } else { pad + &text }
    }

    /// `None` where a whole number is needed.
    fn print_number(&self, n: &Number) -> Option<String> {
        let digits = match self.letter {
            'b' | 'd' | 'o' | 'x' | 'X' => self.whole(&n.to_bigint()?),
            letter => float(&n.absolute(), letter, self.precision),
        };
        let sign = match (n.is_negative(), self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let prefix = match self.letter {
            'x' if self.sharp => "0x",
            'X' if self.sharp => "0X",
            'o' if self.sharp => "0",
            'b' if self.sharp => "0b",
            _ => "",
        };
        let whole = "bdoxX".contains(self.letter);
        let lack = self.width.unwrap_or(0).saturating_sub(sign.len() + prefix.len() + digits.len());
        Some(match (self.minus, self.zero && !(whole && self.precision.is_some())) {
            (true, _) => format!("{sign}{prefix}{digits}{}", " ".repeat(lack)),
            (false, true) => format!("{sign}{prefix}{}{digits}", "0".repeat(lack)),
            (false, false) => format!("{}{sign}{prefix}{digits}", " ".repeat(lack)),
        })
    }

    fn whole(&self, n: &BigInt) -> String {
        let base = match self.letter {
            'b' => 2,
            'o' => 8,
            'x' | 'X' => 16,
            _ => 10,
        };
        let mut digits = n.abs().to_str_radix(base);
        if self.letter == 'X' {
            digits = digits.to_uppercase();
        }
        let lack = self.precision.unwrap_or(0).saturating_sub(digits.len());
        "0".repeat(lack) + &digits
    }
}

/// A number that is not negative.
fn float(n: &Number, letter: char, precision: Option<usize>) -> String {
    if n.is_infinite() {
        return "Inf".into();
    }
    match letter {
        'f' => {
            let precision = precision.unwrap_or(6);
            let digits = n.scaled(precision as i64).to_string();
            let digits = format!("{digits:0>width$}", width = precision + 1);
            let (whole, fraction) = digits.split_at(digits.len() - precision);
            if precision == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") }
        }
        'e' | 'E' => {
            let (digits, exponent) = significant(n, precision.unwrap_or(6) + 1);
            scientific(&digits, exponent, letter)
        }
        'G' => general(n, precision, 'E'),
        _ => general(n, precision, 'e'),
    }
}

/// So many digits, and the exponent of the first.
fn significant(n: &Number, count: usize) -> (String, i64) {
    if n.is_zero() {
        return ("0".repeat(count), 0);
    }
    let mut exponent = n.digits().1 - 1;
    let mut digits = n.scaled(count as i64 - 1 - exponent).to_string();
    if digits.len() > count {
        exponent += 1;
        digits.truncate(count);
    }
    (digits, exponent)
}

fn scientific(digits: &str, exponent: i64, letter: char) -> String {
    let (first, rest) = digits.split_at(1);
    let dot = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{dot}{rest}{letter}{sign}{:02}", exponent.abs())
}

/// As few digits as tell the number, with an exponent only where it is far from one.
fn general(n: &Number, precision: Option<usize>, letter: char) -> String {
    let sign = if n.is_negative() { "-" } else { "" };
    if n.is_infinite() || n.is_zero() {
        return n.to_string();
    }
    let (digits, exponent, limit) = match precision {
        None => {
            let (digits, point) = n.digits();
            (digits, point - 1, 6)
        }
        Some(precision) => {
            let (digits, exponent) = significant(&n.absolute(), precision.max(1));
            let trimmed = digits.trim_end_matches('0');
            let digits = if trimmed.is_empty() { "0" } else { trimmed }.to_owned();
            let limit = if precision.max(1) > digits.len() && digits.len() as i64 > exponent {
                digits.len() as i64
            } else {
                precision.max(1) as i64
            };
            (digits, exponent, limit)
        }
    };
    let digits = digits.trim_end_matches('0');
    if exponent < -4 || exponent >= limit {
        return format!("{sign}{}", scientific(digits, exponent, letter));
    }
    let count = digits.len() as i64;
    let point = exponent + 1;
    if point <= 0 {
        format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
    } else if point >= count {
        format!("{sign}{digits}{}", "0".repeat((point - count) as usize))
    } else {
        let (whole, fraction) = digits.split_at(point as usize);
        format!("{sign}{whole}.{fraction}")
    }
}
