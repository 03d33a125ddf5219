use std::process::Command;

use client::{BuildRecord, HistoryQuery};
use errdefs::{Error, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Local;
use super::find::{Found, Histories, newest};
use super::name::build_name;
use super::show::{duration, status, took};
use crate::args::HistoryLsArgs;
use crate::console;
use crate::environment::Environment;
use crate::flags::human_duration;
use crate::table::Table;
use crate::template::Template;

/// A name of the table has at most so many letters; its end tells most.
const WIDTH: usize = 36;

/// Lists builds: those that run first, then the newest.
pub(super) async fn ls(args: &HistoryLsArgs, all: &Histories<'_>) -> Result<()> {
    let env = all.env;
    let mut conditions = args.filters.iter().map(|f| condition(f)).collect::<Result<Vec<_>>>()?;
    if args.local {
        conditions.push(condition(&format!("repository={}", repository()?))?);
    }
    let filter = if conditions.is_empty() { Vec::new() } else { vec![conditions.join(",")] };
    let mut found = newest(all.builder, None, &HistoryQuery { filter, ..HistoryQuery::default() }).await?;
    found.sort_by_key(|found| found.record.completed_at.is_some());
    let now = Timestamp::now();
    if args.format != "table" {
        let template = Template::parse(&args.format, &[])?;
        return found.iter().try_for_each(|found| {
            let value = match &template {
                Template::Json => to_json(found, env),
                Template::Go { .. } => words(found, env, now),
            };
            console::out(template.fill(&value)? + "\n")
        });
    }
    let mut table = Table::default();
    table.row(["BUILD ID", "NAME", "STATUS", "CREATED AT", "DURATION"].map(str::to_owned));
    for Found { record: r, .. } in &found {
        let name = build_name(&r.frontend_attrs, &Local::load(&r.id, env));
        let name = if args.no_trunc { name } else { end_of(&name) };
        table.row([r.id.clone(), name, status(r).to_owned(), ago(r, now), lasted(r, now)]);
    }
    console::out(table.to_string())
}

fn end_of(name: &str) -> String {
    let count = name.chars().count();
    match count > WIDTH {
        true => format!("..{}", name.chars().skip(count - WIDTH + 2).collect::<String>()),
        false => name.to_owned(),
    }
}

fn ago(r: &BuildRecord, now: Timestamp) -> String {
    r.created_at
        .map_or_else(String::new, |at| format!("{} ago", human_duration(now.duration_since(at).as_secs())))
}

fn lasted(r: &BuildRecord, now: Timestamp) -> String {
    format!("{}{}", duration(took(r, now)), if r.completed_at.is_none() { "+" } else { "" })
}

fn to_json(found: &Found, env: &Environment) -> Value {
    let r = &found.record;
    let mut value = json!({
        "ref": found.full_ref(),
        "name": build_name(&r.frontend_attrs, &Local::load(&r.id, env)),
        "status": status(r),
        "created_at": r.created_at.map(|t| t.to_string()),
        "total_steps": r.steps.total,
        "completed_steps": r.steps.completed,
        "cached_steps": r.steps.cached,
    });
    if let Some(at) = r.completed_at {
        value["completed_at"] = Value::String(at.to_string());
    }
    value
}

/// For templates.
fn words(found: &Found, env: &Environment, now: Timestamp) -> Value {
    let r = &found.record;
    json!({
        "Ref": r.id,
        "FullRef": found.full_ref(),
        "Name": build_name(&r.frontend_attrs, &Local::load(&r.id, env)),
        "Status": status(r),
        "CreatedAt": ago(r, now),
        "Duration": lasted(r, now),
    })
}

/// A filter as buildx takes it, in the words of the engine.
fn condition(text: &str) -> Result<String> {
    let bad = |what: &str| {
        Err(Error::user(format!("{what} {text:?}")).hint("as `status=error` or `startedAt>24h`"))
    };
    let Some(at) = text.find(['=', '!', '<', '>']) else { return bad("invalid filter") };
    let (key, rest) = text.split_at(at);
    let sign = ["!=", "<=", ">=", "=", "<", ">"].into_iter().find(|sign| rest.starts_with(sign));
    let Some(sign) = sign else { return bad("invalid filter") };
    let value = &rest[sign.len()..];
    let quoted = format!("{:?}", value);
    let condition = match (key, sign) {
        ("status", "=") => format!("status=={quoted}"),
        ("ref" | "repository", "=") => format!("{key}~={:?}", regex_of(value)),
        ("ref" | "repository" | "status", "!=") => format!("{key}!={quoted}"),
        ("ref" | "repository" | "status", _) => return bad("the sign has to be = or != in"),
        ("startedAt" | "completedAt" | "duration", "=" | "!=") => {
            return bad("the sign has to be <, <=, > or >= in");
        }
        ("startedAt" | "completedAt" | "duration", sign) => format!("{key}{sign}{value}"),
        _ => return bad("unsupported filter"),
    };
    // As a field of a CSV line.
    Ok(match condition.contains(['"', ',']) {
        true => format!("\"{}\"", condition.replace('"', "\"\"")),
        false => condition,
    })
}

/// A text as a pattern that finds it.
fn regex_of(text: &str) -> String {
    let escaped = text.chars().flat_map(|c| {
        let special = r"\.+*?()|[]{}^$".contains(c);
        special.then_some('\\').into_iter().chain([c])
    });
    escaped.collect()
}

/// The remote of the Git repository here.
fn repository() -> Result<String> {
    let none = || Error::not_found("there is no Git repository with a remote here");
    let asked = Command::new("git").args(["remote", "get-url", "origin"]).output().map_err(|_| none())?;
    let url = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    if asked.status.success() && !url.is_empty() { Ok(url) } else { Err(none()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let check = |text: &str, expect: &str| {
            assert_eq!(condition(text).unwrap_or_else(|e| e.to_string()), expect, "{text}");
        };
        check("status=error", r#""status==""error""""#);
        check("status!=error", r#""status!=""error""""#);
        check("ref=a.b", r#""ref~=""a\\.b""""#);
        check("startedAt>24h", "startedAt>24h");
        check("duration<=3s", "duration<=3s");
        check("duration=3s", "the sign has to be <, <=, > or >= in \"duration=3s\"");
        check("ref>3", "the sign has to be = or != in \"ref>3\"");
        check("other=1", "unsupported filter \"other=1\"");
        check("status", "invalid filter \"status\"");
    }

    #[test]
    fn long_names_lose_their_beginning() {
        assert_eq!(end_of("short"), "short");
        assert_eq!(end_of(&"x".repeat(40)), format!("..{}", "x".repeat(34)));
    }
}
