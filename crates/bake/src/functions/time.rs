//! Times: text of RFC 3339, or seconds since 1970.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::{CallError, Called, Context, bad, integer, text_of};
use crate::value::{Fields, Value};

/// A time as the clocks of some place show it.
#[derive(Clone, Copy)]
struct Moment {
    civil: DateTime,
    offset: Offset,
}

impl Moment {
    fn utc(seconds: i64) -> Option<Self> {
        let stamp = Timestamp::from_second(seconds).ok()?;
        Some(Moment { civil: Offset::UTC.to_datetime(stamp), offset: Offset::UTC })
    }

    /// Strictly as RFC 3339 says: `2006-01-02T15:04:05.000+07:00`.
    fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shape = b"0000-00-00T00:00:00";
        let fits =
            |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
        if bytes.len() <= shape.len() || !bytes.iter().zip(shape).all(fits) {
            return None;
        }
        let (civil, mut rest) = text.split_at(shape.len());
        if let Some(fraction) = rest.strip_prefix('.') {
            rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if rest.len() == fraction.len() {
                return None;
            }
        }
        let offset = match rest.as_bytes() {
            b"Z" => Offset::UTC,
            [sign @ (b'+' | b'-'), a, b, b':', c, d] if [a, b, c, d].iter().all(|x| x.is_ascii_digit()) => {
                let two = |x: u8, y: u8| i32::from(x - b'0') * 10 + i32::from(y - b'0');
                let (hours, minutes) = (two(*a, *b), two(*c, *d));
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let seconds = (hours * 60 + minutes) * 60;
                Offset::from_seconds(if *sign == b'-' { -seconds } else { seconds }).ok()?
            }
            _ => return None,
        };
        // A leap second is not told apart from the one after it; Go refuses it.
        if &civil[17..] == "60" {
            return None;
        }
        Some(Moment { civil: civil.parse().ok()?, offset })
    }

    fn stamp(self) -> Option<Timestamp> {
        self.offset.to_timestamp(self.civil).ok()
    }

    fn zone(self, colon: bool) -> String {
        let minutes = self.offset.seconds() / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        let colon = if colon { ":" } else { "" };
        format!("{sign}{hours:02}{colon}{minutes:02}")
    }

    fn rfc3339(self) -> String {
        let c = self.civil;
        let zone = if self.offset == Offset::UTC { "Z".into() } else { self.zone(true) };
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{zone}",
            c.year(),
            c.month(),
            c.day(),
            c.hour(),
            c.minute(),
            c.second()
        )
    }

    /// As `strftime` has it: `%B` is the name of the month, `%a` the short one of the day.
    fn name(self, what: &str) -> String {
        self.civil.strftime(what).to_string()
    }

    /// One run of a letter of a format. `None` if it means nothing.
    fn verb(self, letter: char, count: usize) -> Option<String> {
        let c = self.civil;
        let number = |n: i64| match count {
            1 => Some(n.to_string()),
            2 => Some(format!("{n:02}")),
            _ => None,
        };
        match (letter, count) {
            ('Y', 2) => Some(format!("{:02}", c.year() % 100)),
            ('Y', 4) => Some(format!("{:04}", c.year())),
            ('M', 3) => Some(self.name("%b")),
            ('M', 4) => Some(self.name("%B")),
            ('M', _) => number(c.month().into()),
            ('D', _) => number(c.day().into()),
            ('E', 3) => Some(self.name("%a")),
            ('E', 4) => Some(self.name("%A")),
            ('h', _) => number(c.hour().into()),
            ('H', _) => number(((c.hour() + 11) % 12 + 1).into()),
            ('A', 2) => Some(if c.hour() < 12 { "AM" } else { "PM" }.into()),
            ('a', 2) => Some(if c.hour() < 12 { "am" } else { "pm" }.into()),
            ('m', _) => number(c.minute().into()),
            ('s', _) => number(c.second().into()),
            ('Z', 1 | 3) if self.offset == Offset::UTC => Some(if count == 1 { "Z" } else { "UTC" }.into()),
            ('Z', 1 | 5) => Some(self.zone(true)),
            ('Z', 3 | 4) => Some(self.zone(false)),
            _ => None,
        }
    }

    /// Letters are verbs, text in single quotes is itself.
    fn format(self, format: &str) -> Called {
        let mut out = String::new();
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\'' if chars.next_if_eq(&'\'').is_some() => out.push('\''),
                '\'' => loop {
                    match chars.next() {
                        None => return Err(bad(0, "a quote is not closed")),
                        Some('\'') if chars.next_if_eq(&'\'').is_none() => break,
                        Some(c) => out.push(c),
                    }
                },
                c if c.is_ascii_alphabetic() => {
                    let mut count = 1;
                    while chars.next_if_eq(&c).is_some() {
                        count += 1;
                    }
                    let verb = c.to_string().repeat(count);
                    out.push_str(
                        &self
                            .verb(c, count)
                            .ok_or_else(|| bad(0, format!("`{verb}` is no part of a date")))?,
                    );
                }
                c => out.push(c),
            }
        }
        Ok(Value::string(out))
    }
}

fn moment(args: &[Value], i: usize) -> Result<Moment, CallError> {
    let text = text_of(args, i);
    Moment::parse(text)
        .ok_or_else(|| bad(i, format!("`{text}` is no time of RFC 3339 such as 2006-01-02T15:04:05Z")))
}

fn unix(args: &[Value], i: usize) -> Result<Moment, CallError> {
    let seconds = integer(args, i)?;
    Moment::utc(seconds).ok_or_else(|| bad(i, "the time is out of range"))
}

pub(super) fn timestamp(_: &[Value], context: &Context) -> Called {
    match Moment::utc(context.now) {
        Some(now) => Ok(Value::string(now.rfc3339())),
        None => Err("the clock is out of range".into()),
    }
}

pub(super) fn format_date(args: &[Value], _: &Context) -> Called {
    moment(args, 1)?.format(text_of(args, 0))
}

/// As `formatdate`, of text or of seconds; the format `X` gives seconds.
pub(super) fn format_timestamp(args: &[Value], _: &Context) -> Called {
    let moment = match &args[1] {
        Value::String(_) => moment(args, 1)?,
        Value::Number(_) => unix(args, 1)?,
        other => return Err(bad(1, format!("a time is text or a number, not {}", other.kind().name()))),
    };
    match text_of(args, 0) {
        "X" => match moment.stamp() {
            Some(stamp) => Ok(Value::string(stamp.as_second().to_string())),
            None => Err(bad(1, "the time is out of range")),
        },
        format => moment.format(format),
    }
}

pub(super) fn add(args: &[Value], _: &Context) -> Called {
    let moment = moment(args, 0)?;
    let text = text_of(args, 1);
    let duration =
        duration(text).ok_or_else(|| bad(1, format!("\"{text}\" is no duration such as 1h30m")))?;
    let civil = moment.civil.checked_add(duration).map_err(|_| bad(1, "the time is out of range"))?;
    Ok(Value::string(Moment { civil, ..moment }.rfc3339()))
}

/// Go's durations: `-1.5h`, `2m30s`, `300ms`.
fn duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 30 {
            return None;
        }
        let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
        let fraction: String = fraction.chars().take(15).collect();
        nanos = nanos.checked_add(digits(whole)?.checked_mul(unit)?)?;
        nanos += digits(&fraction)? * unit / 10i128.pow(fraction.len() as u32);
        rest = after;
    }
    let nanos = i64::try_from(if negative { -nanos } else { nanos }).ok()?;
    Some(SignedDuration::from_nanos(nanos))
}

pub(super) fn parse_unix(args: &[Value], _: &Context) -> Called {
    let moment = unix(args, 0)?;
    let civil = moment.civil;
    let week = civil.date().iso_week_date();
    let mut fields = Fields::new();
    let numbers: [(&str, i64); 10] = [
        ("year", civil.year().into()),
        ("year_day", civil.date().day_of_year().into()),
        ("day", civil.day().into()),
        ("month", civil.month().into()),
        ("weekday", civil.weekday().to_sunday_zero_offset().into()),
        ("hour", civil.hour().into()),
        ("minute", civil.minute().into()),
        ("second", civil.second().into()),
        ("iso_year", week.year().into()),
        ("iso_week", week.week().into()),
    ];
    fields.extend(numbers.map(|(name, n)| (name.into(), Value::int(n))));
    fields.insert("month_name".into(), Value::string(moment.name("%B")));
    fields.insert("weekday_name".into(), Value::string(moment.name("%A")));
    fields.insert("rfc3339".into(), Value::string(moment.rfc3339()));
    Ok(Value::object(fields))
}
