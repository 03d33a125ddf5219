use client::{PruneRequest, UsageRecord};
use errdefs::Result;
use serde_json::{Value, json};

use crate::buildctl::args::{DuArgs, Global, PruneArgs};
use crate::buildctl::format::size;
use crate::buildctl::place::connect;
use crate::console;
use crate::flags::parse_duration;
use crate::table::Table;
use crate::template::Template;

/// What a record is made of, in JSON.
const FIELDS: &[&str] = &[
    "id",
    "mutable",
    "inUse",
    "size",
    "createdAt",
    "lastUsedAt",
    "usageCount",
    "parents",
    "description",
    "recordType",
    "shared",
];

/// Shows what takes up disk.
pub(super) async fn du(args: &DuArgs, global: &Global) -> Result<()> {
    let template = args.format.format.as_deref().map(|t| Template::parse(t, FIELDS)).transpose()?;
    let records = connect(global).await?.disk_usage(&args.filter).await?;
    if let Some(template) = template {
        let all = Value::Array(records.iter().map(usage_json).collect());
        return console::out(template.fill(&all)? + "\n");
    }
    let mut out = if args.verbose { records.iter().map(verbose).collect() } else { table(&records) };
    if args.filter.is_empty() {
        out.push_str(&summary(&records));
    }
    console::out(out)
}

/// Removes what is not in use.
pub(super) async fn prune(args: &PruneArgs, global: &Global) -> Result<()> {
    let template = args.format.format.as_deref().map(|t| Template::parse(t, FIELDS)).transpose()?;
    let megabytes = |n: f64| (n * 1e6) as i64;
    let request = PruneRequest {
        filter: args.filter.clone(),
        all: args.all,
        keep_duration: parse_duration(&args.keep_duration)?,
        reserved_space: megabytes(args.keep_storage_min),
        max_used_space: megabytes(args.keep_storage),
        min_free_space: megabytes(args.free_storage),
    };
    let client = connect(global).await?;
    let (mut total, mut told, mut is_first) = (0, Ok(()), true);
    let tell = |record: UsageRecord| {
        total += record.size.max(0);
        let text = match &template {
            Some(template) => template.fill(&usage_json(&record)).map(|text| text + "\n"),
            None if args.verbose => Ok(verbose(&record)),
            None => Ok(row(&record, std::mem::take(&mut is_first))),
        };
        if told.is_ok() {
            told = text.and_then(console::out);
        }
    };
    client.prune(&request, tell).await?;
    told?;
    match template {
        Some(_) => Ok(()),
        None => console::out(format!("Total:\t{}\n", size(total))),
    }
}

fn row(record: &UsageRecord, with_head: bool) -> String {
    let head = if with_head { "ID\t\t\t\t\t\t\t\t\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n" } else { "" };
    format!("{head}{}", line(record))
}

fn line(r: &UsageRecord) -> String {
    let id = format!("{}{}", r.id, if r.mutable { "*" } else { "" });
    let size = format!("{}{}", size(r.size), if r.shared { "*" } else { "" });
    format!("{id:71}\t{:11}\t{size}\t\n", !r.in_use)
}

fn table(records: &[UsageRecord]) -> String {
    let mut out = String::from("ID\t\t\t\t\t\t\t\t\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n");
    records.iter().for_each(|r| out.push_str(&line(r)));
    out
}

fn verbose(r: &UsageRecord) -> String {
    let mut out = String::new();
    let mut put = |name: &str, value: String| {
        if !value.is_empty() {
            out.push_str(&format!("{:16}{value}\n", format!("{name}:")));
        }
    };
    put("ID", r.id.clone());
    put("Parents", r.parents.join(";"));
    put("Created at", r.created_at.map(|t| t.to_string()).unwrap_or_default());
    put("Mutable", r.mutable.to_string());
    put("Reclaimable", (!r.in_use).to_string());
    put("Shared", r.shared.to_string());
    put("Size", size(r.size));
    put("Description", r.description.clone());
    put("Usage count", r.usage_count.to_string());
    put("Last used", r.last_used_at.map(|t| t.to_string()).unwrap_or_default());
    put("Type", r.record_type.clone());
    out.push('\n');
    out
}

fn summary(records: &[UsageRecord]) -> String {
    let sum = |which: &dyn Fn(&&UsageRecord) -> bool| -> i64 {
        records.iter().filter(which).map(|r| r.size.max(0)).sum()
    };
    let (total, shared) = (sum(&|_| true), sum(&|r| r.shared));
    let mut table = Table::default();
    if shared > 0 {
        table.row(["Shared:".to_owned(), size(shared)]);
        table.row(["Private:".to_owned(), size(total - shared)]);
    }
    table.row(["Reclaimable:".to_owned(), size(sum(&|r| !r.in_use))]);
    table.row(["Total:".to_owned(), size(total)]);
    table.to_string()
}

fn usage_json(r: &UsageRecord) -> Value {
    json!({
        "id": r.id,
        "mutable": r.mutable,
        "inUse": r.in_use,
        "size": r.size,
        "createdAt": r.created_at.map(|t| t.to_string()),
        "lastUsedAt": r.last_used_at.map(|t| t.to_string()),
        "usageCount": r.usage_count,
        "parents": r.parents,
        "description": r.description,
        "recordType": r.record_type,
        "shared": r.shared,
    })
}
