//! Which records a client asks for.

use std::time::Duration;

use errdefs::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use refs::Filter;

use crate::history::BuildRecord;

/// A question for records.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only builds that run.
    pub active_only: bool,
    /// Only this build; empty for all.
    pub id: String,
    /// Does not wait for what comes.
    pub early_exit: bool,
    /// Of which one must match a record of a build that is over; none match all.
    pub filters: Vec<RecordFilter>,
    /// The newest so many of them; 0 for all.
    pub limit: usize,
}

impl Query {
    pub fn is_about(&self, id: &str) -> bool {
        self.id.is_empty() || self.id == id
    }

    /// Those of `records` that are asked for, in their order; the newest first where there is a limit.
    pub fn select(&self, mut records: Vec<BuildRecord>) -> Vec<BuildRecord> {
        let now = Timestamp::now();
        records.retain(|record| {
            self.is_about(&record.id)
                && (self.filters.is_empty() || self.filters.iter().any(|f| f.matches(record, now)))
        });
        if self.limit != 0 {
            records.sort_by_key(|r| std::cmp::Reverse(r.created_at));
            records.truncate(self.limit);
        }
        records
    }
}

/// Conditions that all must hold: those of containerd's language on `ref`, `status` and `repository`, and comparisons of
/// `startedAt`, `completedAt` and `duration`.
#[derive(Debug, Clone)]
pub struct RecordFilter {
    fields: Filter,
    times: Vec<TimeTest>,
}

#[derive(Debug, Clone, Copy)]
struct TimeTest {
    field: TimeField,
    compare: Compare,
    value: TimeValue,
}

#[derive(Debug, Clone, Copy)]
enum TimeField {
    Started,
    Completed,
    Duration,
}

#[derive(Debug, Clone, Copy)]
enum Compare {
    AtLeast,
    AtMost,
    More,
    Less,
}

#[derive(Debug, Clone, Copy)]
enum TimeValue {
    At(Timestamp),
    /// Before now, or of a duration.
    Span(Duration),
}

impl RecordFilter {
    /// Reads conditions between commas, quoted as in a CSV line.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut times, mut fields) = (Vec::new(), Vec::new());
        for part in csv_fields(text) {
            match time_test(&part)? {
                Some(test) => times.push(test),
                None => fields.push(part),
            }
        }
        let fields = Filter::parse(&[fields.join(",")])
            .map_err(|e| e.context(format!("failed to parse history filters {text}")))?;
        Ok(RecordFilter { fields, times })
    }

    fn matches(&self, record: &BuildRecord, now: Timestamp) -> bool {
        self.times.iter().all(|test| test.holds(record, now))
            && self.fields.matches_fields(&|field| value(record, field))
    }
}

fn value(record: &BuildRecord, field: &str) -> Option<String> {
    match field {
        "ref" => Some(record.id.clone()).filter(|id| !id.is_empty()),
        "status" => Some(record.status().to_owned()),
        "repository" => {
            let attr = |name: &str| record.attrs.get(name).map(String::as_str);
            attr("vcs:source").map(str::to_owned).or_else(|| attr("context").and_then(remote))
        }
        _ => None,
    }
}

/// The repository of a git context, without the fragment that names a part of it.
fn remote(context: &str) -> Option<String> {
    let remote = context.split('#').next().unwrap_or_default();
    let scheme = ["git://", "ssh://", "git@"].iter().any(|start| remote.starts_with(start));
    let web = ["http://", "https://"].iter().any(|start| remote.starts_with(start));
    (scheme || (web && remote.ends_with(".git"))).then(|| remote.to_owned())
}

impl TimeTest {
    fn holds(&self, record: &BuildRecord, now: Timestamp) -> bool {
        let end = record.end.as_ref().map(|end| end.at);
        let order = match (self.field, self.value) {
            (TimeField::Duration, TimeValue::Span(wanted)) => {
                let took = end.map_or(SignedDuration::ZERO, |end| end.duration_since(record.created_at));
                took.cmp(&SignedDuration::try_from(wanted).unwrap_or(SignedDuration::MAX))
            }
            (field, value) => {
                let at = match field {
                    TimeField::Started => Some(record.created_at),
                    TimeField::Completed | TimeField::Duration => end,
                };
                let wanted = match value {
                    TimeValue::At(at) => at,
                    TimeValue::Span(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
                };
                at.map_or(0, Timestamp::as_second).cmp(&wanted.as_second())
            }
        };
        match self.compare {
            Compare::AtLeast => order.is_ge(),
            Compare::AtMost => order.is_le(),
            Compare::More => order.is_gt(),
            Compare::Less => order.is_lt(),
        }
    }
}

/// A comparison of times; nothing for another condition.
fn time_test(text: &str) -> Result<Option<TimeTest>> {
    let operators =
        [(">=", Compare::AtLeast), ("<=", Compare::AtMost), (">", Compare::More), ("<", Compare::Less)];
    let split = operators.into_iter().find_map(|(sign, compare)| {
        let (key, value) = text.split_once(sign)?;
        Some((key, compare, value))
    });
    let Some((key, compare, value)) = split else { return Ok(None) };
    let field = match key {
        "startedAt" => TimeField::Started,
        "completedAt" => TimeField::Completed,
        "duration" => TimeField::Duration,
        _ => return Ok(None),
    };
    let span = value.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    let value = match (field, span) {
        (_, Some(span)) => TimeValue::Span(span),
        (TimeField::Duration, None) => return Err(Error::user(format!("invalid duration {value}"))),
        (_, None) => {
            let at = value.parse().map_err(|_| Error::user(format!("invalid time {value}")))?;
            TimeValue::At(at)
        }
    };
    Ok(Some(TimeTest { field, compare, value }))
}

/// The fields of one line: those that begin with a quote may hold commas, and quotes written twice.
fn csv_fields(line: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, more) = rest.split_once(',').map_or((rest, None), |(f, more)| (f, Some(more)));
            fields.push(field.to_owned());
            match more {
                Some(more) => rest = more,
                None => return fields,
            }
            continue;
        };
        let (mut field, mut at) = (String::new(), quoted);
        loop {
            let (part, more) = at.split_once('"').unwrap_or((at, ""));
            field.push_str(part);
            match more.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    at = more;
                }
                None => {
                    at = more;
                    break;
                }
            }
        }
        fields.push(field);
        match at.strip_prefix(',') {
            Some(more) => rest = more,
            None => return fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::{ended, record};
    use crate::history::{End, Failure};

    const NOW: &str = "2026-01-02T00:00:00Z";

    fn records() -> Vec<BuildRecord> {
        let failed = |message: &str| {
            let failure = Some(Failure { code: 2, message: message.into(), whole: None });
            End { failure, ..ended("2026-01-01T23:59:00Z") }
        };
        let mut git = record("git");
        git.attrs.insert("context".into(), "https://example.com/x.git#main".into());
        vec![
            record("running"),
            BuildRecord { end: Some(ended("2026-01-01T22:00:03Z")), ..record("old") },
            BuildRecord { end: Some(failed("boom")), ..record("bad") },
            BuildRecord { end: Some(failed("x: context canceled")), ..record("stopped") },
            git,
        ]
    }

    fn check(filter: &str, expect: &str) {
        let now = NOW.parse().expect("a time");
        let filter = match RecordFilter::parse(filter) {
            Ok(filter) => filter,
            Err(e) => return assert_eq!(e.to_string(), expect, "{filter}"),
        };
        let ids: Vec<_> = records().into_iter().filter(|r| filter.matches(r, now)).map(|r| r.id).collect();
        assert_eq!(ids.join(" "), expect);
    }

    #[test]
    fn filters() {
        check("", "running old bad stopped git");
        check("ref==bad", "bad");
        check("status==running", "running git");
        check("status==completed", "old");
        check("status==error", "bad");
        check("status==canceled", "stopped");
        check("status!=running,ref!=old", "bad stopped");
        check("repository==https://example.com/x.git", "git");
        check("\"repository~=\"\"x,?.git\"\"\",status==running", "git");
        check("completedAt>1h", "bad stopped");
        check("completedAt<2026-01-01T23:00:00Z,status!=running", "old");
        check("duration>1m", "bad stopped");
        check("duration<=3s,status!=running", "old");
        check("duration>x", "invalid duration x");
        check("startedAt>x", "invalid time x");
    }

    #[test]
    fn a_limit_takes_the_newest() {
        let mut records = records();
        records[3].created_at = NOW.parse().expect("a time");
        let query = Query { limit: 1, ..Query::default() };
        let ids: Vec<_> = query.select(records).into_iter().map(|r| r.id).collect();
        assert_eq!(ids, ["stopped"]);
    }

    #[test]
    fn fields_of_a_line() {
        let check = |line: &str, expect: &[&str]| assert_eq!(csv_fields(line), expect, "{line}");
        check("", &[""]);
        check("a,b", &["a", "b"]);
        check("\"a,b\",c", &["a,b", "c"]);
        check("\"a\"\"b\"", &["a\"b"]);
        check("\"open", &["open"]);
    }
}
