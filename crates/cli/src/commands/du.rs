use std::fmt::Write as _;

use client::{Room, UsageRecord};
use errdefs::{Error, Result};
use jiff::Timestamp;
use serde_json::json;

use crate::args::DuArgs;
use crate::commands::filter::usage_filter;
use crate::engine::Builder;
use crate::flags::{human_duration, human_size};
use crate::table::Table;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Pretty,
    Json,
}

/// Shows what takes up disk.
pub(crate) async fn du(args: &DuArgs, builder: &Builder) -> Result<String> {
    let form = form(args)?;
    let filter = usage_filter(&args.filters)?;
    let now = Timestamp::now();
    let (mut records, mut room) = (Vec::new(), None);
    for client in builder.connect_all().await? {
        records.extend(client.disk_usage(&filter.filter).await?);
        if args.verbose
            && args.filters.is_empty()
            && let Some(own) = client.room().await?
        {
            room = Some(sum(room.unwrap_or_default(), own));
        }
    }
    records.retain(|r| is_older(r, filter.older_than, now));
    let mut out = draw(&records, form, args.filters.is_empty(), now);
    if let Some(room) = room {
        out.push_str(&on_disk(&records, room));
    }
    Ok(out)
}

fn sum(a: Room, b: Room) -> Room {
    Room { blobs: a.blobs + b.blobs, database: a.database + b.database, other: a.other + b.other }
}

fn form(args: &DuArgs) -> Result<Form> {
    match (args.format.as_deref(), args.verbose) {
        (Some(_), true) => Err(Error::user("--format and --verbose cannot be used together")),
        (None, true) | (Some("pretty"), _) => Ok(Form::Pretty),
        (None | Some("" | "table"), _) => Ok(Form::Table),
        (Some("json"), _) => Ok(Form::Json),
        (Some(other), _) => Err(Error::unimplemented(format!("`--format {other}` is not supported yet"))
            .hint("choose one of table, pretty and json")),
    }
}

fn is_older(record: &UsageRecord, than: std::time::Duration, now: Timestamp) -> bool {
    let used = record.last_used_at.or(record.created_at);
    than.is_zero() || used.is_none_or(|t| now.duration_since(t).as_secs_f64() >= than.as_secs_f64())
}

fn draw(records: &[UsageRecord], form: Form, with_sums: bool, now: Timestamp) -> String {
    let mut out = match form {
        Form::Json => records.iter().map(|r| format!("{}\n", to_json(r, now))).collect(),
        Form::Pretty => records.iter().map(|r| pretty(r, now)).collect::<Vec<_>>().join("\n"),
        Form::Table => table(records, now),
    };
    if with_sums && form != Form::Json {
        if form == Form::Pretty && !records.is_empty() {
            out.push('\n');
        }
        out.push_str(&sums(records));
    }
    out
}

/// The head of the table that `du` and `prune` print.
pub(super) fn table_head(table: &mut Table) {
    table.row(["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED"].map(str::to_owned));
}

pub(super) fn table_row(table: &mut Table, r: &UsageRecord, now: Timestamp) {
    let id = format!("{}{}", r.id, if r.mutable { "*" } else { "" });
    let size = format!("{}{}", human_size(r.size), if r.shared { "*" } else { "" });
    table.row([id, (!r.in_use).to_string(), size, last_used(r, now)]);
}

fn table(records: &[UsageRecord], now: Timestamp) -> String {
    let mut table = Table::default();
    table_head(&mut table);
    records.iter().for_each(|r| table_row(&mut table, r, now));
    table.to_string()
}

fn last_used(r: &UsageRecord, now: Timestamp) -> String {
    match r.last_used_at {
        Some(t) => format!("{} ago", human_duration(now.duration_since(t).as_secs())),
        None => String::new(),
    }
}

/// All that is known of one record.
pub(super) fn pretty(r: &UsageRecord, now: Timestamp) -> String {
    let mut out = String::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "{:14}{value}", format!("{name}:"));
        }
    };
    put("ID", &r.id);
    put("Parents", &r.parents.join(", "));
    put("Created at", &r.created_at.map_or(String::new(), |t| t.to_string()));
    put("Mutable", &r.mutable.to_string());
    put("Reclaimable", &(!r.in_use).to_string());
    put("Shared", &r.shared.to_string());
    put("Size", &human_size(r.size));
    put("Description", &r.description);
    put("Usage count", &r.usage_count.to_string());
    put("Last used", &last_used(r, now));
    put("Type", &r.record_type);
    out
}

fn to_json(r: &UsageRecord, now: Timestamp) -> String {
    json!({
        "ID": r.id,
        "Parents": r.parents,
        "CreatedAt": r.created_at.map(|t| t.to_string()),
        "Mutable": r.mutable,
        "Reclaimable": !r.in_use,
        "Shared": r.shared,
        "Size": human_size(r.size),
        "Description": r.description,
        "UsageCount": r.usage_count,
        "LastUsedAt": last_used(r, now),
        "Type": r.record_type,
    })
    .to_string()
}

fn sums(records: &[UsageRecord]) -> String {
    let sum = |which: &dyn Fn(&&UsageRecord) -> bool| -> i64 {
        records.iter().filter(which).map(|r| r.size.max(0)).sum()
    };
    let total = sum(&|_| true);
    let shared = sum(&|r| r.shared);
    let mut table = Table::default();
    if shared > 0 {
        table.row(["Shared:".to_owned(), human_size(shared)]);
        table.row(["Private:".to_owned(), human_size(total - shared)]);
    }
    table.row(["Reclaimable:".to_owned(), human_size(sum(&|r| !r.in_use))]);
    table.row(["Total:".to_owned(), human_size(total)]);
    table.to_string()
}

/// What the whole store takes, beside the records too.
fn on_disk(records: &[UsageRecord], room: Room) -> String {
    let total: i64 = records.iter().map(|r| r.size.max(0)).sum();
    let mut table = Table::default();
    let all = total + room.blobs + room.database + room.other;
    for (name, bytes) in
        [("Images:", room.blobs), ("Database:", room.database), ("Other:", room.other), ("On disk:", all)]
    {
        table.row([name.to_owned(), human_size(bytes)]);
    }
    table.to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("in range")
    }

    pub(crate) fn records() -> Vec<UsageRecord> {
        let at = |ago: i64| Timestamp::from_second(1_800_000_000 - ago).ok();
        let record = |id: &str, size| UsageRecord {
            id: id.into(),
            mutable: false,
            in_use: false,
            shared: false,
            size,
            parents: Vec::new(),
            created_at: at(7200),
            last_used_at: at(3600),
            usage_count: 2,
            description: "mount / from exec /bin/sh -c make".into(),
            record_type: "regular".into(),
        };
        let mut shared = record("q28vv4yje6d2t4b8k074oo3h7", 1_234_567);
        (shared.shared, shared.in_use) = (true, true);
        let mut mutable = record("z1", 4096);
        (mutable.mutable, mutable.last_used_at) = (true, None);
        vec![shared, mutable]
    }

    #[test]
    fn as_table() {
        insta::assert_snapshot!(draw(&records(), Form::Table, true, now()));
    }

    #[test]
    fn as_pretty() {
        insta::assert_snapshot!(draw(&records(), Form::Pretty, true, now()));
    }

    #[test]
    fn the_rest_of_the_store() {
        let room = Room { blobs: 3_000_000, database: 1000, other: 500 };
        insta::assert_snapshot!(on_disk(&records(), room), @r"
        Images:         3MB
        Database:       1kB
        Other:          500B
        On disk:        4.24MB
        ");
    }

    #[test]
    fn as_json() {
        insta::assert_snapshot!(draw(&records(), Form::Json, true, now()));
    }
}
