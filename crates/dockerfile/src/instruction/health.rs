//! HEALTHCHECK.

use super::flags::{Flags, Takes};
use crate::statement::Statement;
use crate::{Error, Result, go};

/// How to see whether a container works. Times are in nanoseconds; 0 inherits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", args...]` or `["CMD-SHELL", command]`.
    pub test: Vec<String>,
    pub interval: i64,
    pub timeout: i64,
    pub start_period: i64,
    pub start_interval: i64,
    pub retries: i64,
}

const TIMES: [&str; 4] = ["interval", "timeout", "start-period", "start-interval"];
const MILLISECOND: i64 = 1_000_000;

impl Healthcheck {
    pub(super) fn read(s: &Statement) -> Result<Healthcheck> {
        let Some((kind, command)) = s.arguments.words.split_first() else {
            return Err(Error::new("HEALTHCHECK requires at least one argument"));
        };
        let kind = kind.to_uppercase();
        if kind == "NONE" {
            if !command.is_empty() {
                return Err(Error::new("HEALTHCHECK NONE takes no arguments"));
            }
            return Ok(Healthcheck { test: vec![kind], ..Healthcheck::default() });
        }
        let known: Vec<_> = TIMES.into_iter().chain(["retries"]).map(|name| (name, Takes::One)).collect();
        let mut flags = Flags::read(&s.flags, &known)?;
        if kind != "CMD" {
            let message = format!("Unknown type {} in HEALTHCHECK (try CMD)", go::quote(&kind));
            return Err(Error::new(message).about(&s.arguments.words[0]));
        }
        if command.is_empty() {
            return Err(Error::new("Missing command after HEALTHCHECK CMD"));
        }
        let kind = if s.arguments.json { "CMD" } else { "CMD-SHELL" };
        let [interval, timeout, start_period, start_interval] = TIMES.map(|name| time(&mut flags, name));
        Ok(Healthcheck {
            test: std::iter::once(kind.to_owned()).chain(command.iter().cloned()).collect(),
            interval: interval?,
            timeout: timeout?,
            start_period: start_period?,
            start_interval: start_interval?,
            retries: retries(&flags.one("retries"))?,
        })
    }
}

fn time(flags: &mut Flags, name: &str) -> Result<i64> {
    let value = flags.one(name);
    if value.is_empty() {
        return Ok(0);
    }
    let time = go::parse_duration(&value).map_err(|e| e.about(&value))?;
    if time != 0 && time < MILLISECOND {
        let message = format!("Interval {} cannot be less than 1ms", go::quote(name));
        return Err(Error::new(message).about(&value));
    }
    Ok(time)
}

fn retries(value: &str) -> Result<i64> {
    if value.is_empty() {
        return Ok(0);
    }
    let retries: i32 = value.parse().map_err(|e: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why = match e.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Error::new(format!("strconv.ParseInt: parsing {}: {why}", go::quote(value))).about(value)
    })?;
    if retries < 0 {
        return Err(Error::new(format!("--retries cannot be negative ({retries})")).about(value));
    }
    Ok(i64::from(retries))
}
