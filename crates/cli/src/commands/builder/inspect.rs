//! `kiln builder inspect`, laid out as `docker buildx inspect`.

use std::fmt::Write as _;

use ::builder::platform_list;
use errdefs::Result;

use super::seen::{Seen, look};
use super::{boot, one};
use crate::args::{GlobalArgs, InspectBuilderArgs};
use crate::console;
use crate::engine::{Builder, Member};
use crate::environment::Environment;
use crate::flags::{binary_size, go_duration, parse_duration};
use crate::table::line_up;

/// Prints all that is known of a builder.
pub(super) async fn inspect(args: &InspectBuilderArgs, global: &GlobalArgs, env: &Environment) -> Result<()> {
    let builder = one(args.name.as_deref(), global, env)?;
    let timeout = parse_duration(&args.timeout)?;
    if args.bootstrap {
        boot::boot(&builder, env).await?;
    }
    let seen = look(&builder, timeout).await;
    console::out(line_up(&text(&builder, &seen), 0, 1))
}

/// Cells that tabs end.
fn text(builder: &Builder, seen: &[Seen]) -> String {
    let mut out = format!("Name:\t{}\nDriver:\t{}\n", builder.name, builder.driver);
    if let Some(at) = builder.last_activity {
        out.push_str(&at.strftime("Last Activity:\t%Y-%m-%d %H:%M:%S +0000 UTC\n").to_string());
    }
    out.push_str("\nNodes:\n");
    let nodes = builder.nodes.iter().zip(seen).map(|(member, seen)| node(member, seen));
    out + &nodes.collect::<Vec<_>>().join("\n")
}

fn node(Member { node, .. }: &Member, seen: &Seen) -> String {
    let mut out = String::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "{name}:\t{value}");
        }
    };
    put("Name", &node.name);
    put("Endpoint", &node.endpoint);
    let options = node.driver_opts.iter().map(|(name, value)| format!("{name}={value:?}"));
    put("Driver Options", &options.collect::<Vec<_>>().join(" "));
    let Some(status) = seen.status else {
        put("Error", &seen.error.as_ref().map_or_else(String::new, ToString::to_string));
        return out;
    };
    put("Status", &status.to_string());
    put("BuildKit daemon flags", &node.flags.join(" "));
    put("BuildKit version", &seen.version);
    put("Platforms", &platform_list(&node.platforms, &seen.platforms).join(", "));
    out + &labels(seen) + &devices(seen) + &policies(seen) + &files(node)
}

fn labels(seen: &Seen) -> String {
    if seen.labels.is_empty() {
        return String::new();
    }
    let line = |(name, value): (&String, &String)| format!("\t{name}:\t{value}\n");
    format!("Labels:\n{}", seen.labels.iter().map(line).collect::<String>())
}

fn devices(seen: &Seen) -> String {
    if seen.devices.is_empty() {
        return String::new();
    }
    let mut out = String::from("Devices:\n");
    for device in &seen.devices {
        let _ = writeln!(out, "\tName:\t{}", device.name);
        let _ = match device.on_demand {
            true => writeln!(out, "\tOn-Demand:\ttrue"),
            false => writeln!(out, "\tAutomatically allowed:\t{}", device.auto_allow),
        };
        if !device.annotations.is_empty() {
            out.push_str("\tAnnotations:\n");
        }
        for (name, value) in &device.annotations {
            let _ = writeln!(out, "\t\t{name}:\t{value}");
        }
    }
    out
}

fn policies(seen: &Seen) -> String {
    let mut out = String::new();
    for (number, rule) in seen.gc_policy.iter().enumerate() {
        let _ = writeln!(out, "GC Policy rule#{number}:\n\tAll:\t{}", rule.all);
        if !rule.filter.is_empty() {
            let _ = writeln!(out, "\tFilters:\t{}", rule.filter.join(" "));
        }
        if !rule.keep_duration.is_zero() {
            let _ = writeln!(out, "\tKeep Duration:\t{}", go_duration(rule.keep_duration));
        }
        let sizes = [
            ("Reserved Space", rule.reserved_space),
            ("Max Used Space", rule.max_used_space),
            ("Min Free Space", rule.min_free_space),
        ];
        for (name, bytes) in sizes.into_iter().filter(|(_, bytes)| *bytes > 0) {
            let _ = writeln!(out, "\t{name}:\t{}", binary_size(bytes));
        }
    }
    out
}

fn files(node: &::builder::Node) -> String {
    let mut out = String::new();
    for (name, file) in &node.files {
        let _ = writeln!(out, "File#{name}:");
        for line in String::from_utf8_lossy(&file.0).split('\n') {
            let _ = writeln!(out, "\t> {line}");
        }
    }
    out
}
