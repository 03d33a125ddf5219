use client::{PruneRequest, UsageRecord};
use errdefs::Result;
use jiff::Timestamp;

use crate::args::PruneArgs;
use crate::commands::confirm::confirm;
use crate::commands::du::{pretty, table_head, table_row};
use crate::commands::filter::usage_filter;
use crate::console;
use crate::engine::Builder;
use crate::environment::Environment;
use crate::flags::{human_size, parse_size};
use crate::table::Table;

/// Removes build cache, after asking.
pub(crate) async fn prune(args: &PruneArgs, builder: &Builder, env: &Environment) -> Result<()> {
    let request = request(args)?;
    let what = if args.all { "all build cache" } else { "all dangling build cache" };
    if !args.force && !confirm(&format!("This will remove {what}."), env)? {
        return Ok(());
    }
    let now = Timestamp::now();
    let mut removed = Vec::new();
    for client in builder.connect_all().await? {
        client.prune(&request, |record| removed.push(record)).await?;
    }
    console::out(tell(&removed, args.verbose, now))
}

fn request(args: &PruneArgs) -> Result<PruneRequest> {
    let filter = usage_filter(&args.filters)?;
    let size = |text: &Option<String>| text.as_deref().map_or(Ok(0), parse_size);
    Ok(PruneRequest {
        filter: filter.filter,
        all: args.all,
        keep_duration: filter.older_than,
        reserved_space: size(&args.reserved_space)?,
        max_used_space: size(&args.max_used_space)?,
        min_free_space: size(&args.min_free_space)?,
    })
}

/// What went, and how much that was.
fn tell(removed: &[UsageRecord], verbose: bool, now: Timestamp) -> String {
    let total = removed.iter().map(|r| r.size.max(0)).sum();
    let mut out = String::new();
    if verbose {
        removed.iter().for_each(|r| out.push_str(&format!("{}\n", pretty(r, now))));
    } else if !removed.is_empty() {
        let mut table = Table::default();
        table_head(&mut table);
        removed.iter().for_each(|r| table_row(&mut table, r, now));
        out.push_str(&table.to_string());
    }
    out.push_str(&format!("Total:\t{}\n", human_size(total)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::du::tests::{now, records};

    #[test]
    fn what_went_is_told() {
        insta::assert_snapshot!(tell(&records(), false, now()));
        assert_eq!(tell(&[], false, now()), "Total:\t0B\n");
    }

    #[test]
    fn limits_reach_the_request() {
        let args = PruneArgs {
            all: true,
            filters: vec!["until=1h".into()],
            reserved_space: Some("1k".into()),
            max_used_space: Some("2m".into()),
            ..PruneArgs::default()
        };
        let request = request(&args).expect("valid");
        assert_eq!(
            (request.all, request.keep_duration.as_secs(), request.reserved_space, request.max_used_space),
            (true, 3600, 1024, 2 << 20)
        );
    }
}
