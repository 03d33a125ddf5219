//! How much disk the build cache may take: the keys of the configuration, and BuildKit's defaults.

use std::path::Path;
use std::time::Duration;

use errdefs::{Error, Result, ResultExt as _};
use refs::{Filter, PruneOptions};
use serde::Deserialize;

use crate::units::{Size, Span};

const GB: u64 = 1_000_000_000;

/// What is said of collection under `[worker.oci]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GcConfig {
    pub gc: Option<bool>,
    /// The older name of `reservedSpace`.
    pub gckeepstorage: Size,
    #[serde(rename = "reservedSpace")]
    pub reserved_space: Size,
    #[serde(rename = "maxUsedSpace")]
    pub max_used_space: Size,
    #[serde(rename = "minFreeSpace")]
    pub min_free_space: Size,
    pub gcpolicy: Vec<Rule>,
}

/// One policy; they are applied in order.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Rule {
    pub all: bool,
    pub filters: Vec<String>,
    #[serde(rename = "keepDuration")]
    pub keep_duration: Span,
    /// The older name of `reservedSpace`.
    #[serde(rename = "keepBytes")]
    pub keep_bytes: Size,
    #[serde(rename = "reservedSpace")]
    pub reserved_space: Size,
    #[serde(rename = "maxUsedSpace")]
    pub max_used_space: Size,
    #[serde(rename = "minFreeSpace")]
    pub min_free_space: Size,
}

/// The policies of a store in `root`; none where nothing is to be collected.
pub fn policies(config: &GcConfig, root: &Path) -> Result<Vec<PruneOptions>> {
    if config.gc == Some(false) {
        return Ok(Vec::new());
    }
    let stat = rustix::fs::statvfs(root).map_err(std::io::Error::from);
    let stat = stat.with_context(|| format!("failed to look at the disk of `{}`", root.display()))?;
    let disk = stat.f_frsize * stat.f_blocks;
    let rules = if config.gcpolicy.is_empty() { defaults(config, disk) } else { config.gcpolicy.clone() };
    rules.iter().map(|rule| policy(rule, disk)).collect()
}

fn policy(rule: &Rule, disk: u64) -> Result<PruneOptions> {
    let filter = Filter::parse(&rule.filters);
    let reserved = if rule.reserved_space.is_unset() { rule.keep_bytes } else { rule.reserved_space };
    Ok(PruneOptions {
        filter: filter.map_err(|e| Error::user(format!("{e} under [[worker.oci.gcpolicy]]")))?,
        all: rule.all,
        keep_duration: rule.keep_duration.0,
        reserved_space: reserved.bytes(disk),
        max_used_space: rule.max_used_space.bytes(disk),
        min_free_space: rule.min_free_space.bytes(disk),
    })
}

/// What BuildKit does when no policy is given, for a disk of so many bytes.
fn defaults(config: &GcConfig, disk: u64) -> Vec<Rule> {
    let mut limits = [config.reserved_space, config.max_used_space, config.min_free_space];
    if limits.iter().all(Size::is_unset) {
        limits[0] = config.gckeepstorage;
    }
    if limits.iter().all(Size::is_unset) {
        let at_most = |percent, bytes| match Size::Percent(percent) {
            share if share.bytes(disk) > bytes => Size::Bytes(bytes),
            share => share,
        };
        limits = [at_most(10, 10 * GB), at_most(80, 100 * GB), Size::Percent(20)];
    }
    let [reserved_space, max_used_space, min_free_space] = limits;
    let capped = Rule { reserved_space, max_used_space, min_free_space, ..Rule::default() };
    let day = Duration::from_secs(24 * 3600);
    let easily_made_again = ["source.local", "exec.cachemount", "source.git.checkout"];
    vec![
        Rule {
            filters: easily_made_again.map(|kind| format!("type=={kind}")).to_vec(),
            keep_duration: Span(2 * day),
            max_used_space: Size::Bytes(512_000_000),
            ..Rule::default()
        },
        Rule { keep_duration: Span(60 * day), ..capped.clone() },
        capped.clone(),
        Rule { all: true, ..capped },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// One policy a line: filters, keep duration in hours, and the three limits.
    fn check(worker: &str, disk: u64, expect: &[&str]) {
        let config = Config::parse(&format!("[worker.oci]\n{worker}")).expect("valid").worker.oci.gc;
        let rules =
            if config.gcpolicy.is_empty() { defaults(&config, disk) } else { config.gcpolicy.clone() };
        let told: Vec<_> = rules
            .iter()
            .map(|rule| {
                let o = policy(rule, disk).expect("valid");
                let filters = o.filter.texts();
                let hours = o.keep_duration.as_secs() / 3600;
                let limits = [o.reserved_space, o.max_used_space, o.min_free_space];
                format!("{} {} {hours}h {limits:?}", filters.len(), if o.all { "all" } else { "-" })
            })
            .collect();
        assert_eq!(told, expect, "{worker}");
    }

    #[test]
    fn the_defaults_are_buildkits() {
        let first = "3 - 48h [0, 512000000, 0]";
        let four =
            |limits: &str| ["0 - 1440h ", "0 - 0h ", "0 all 0h "].map(|rule| format!("{rule}{limits}"));
        let check = |worker: &str, disk, limits: &str| {
            let rest = four(limits);
            check(worker, disk, &[first, &rest[0], &rest[1], &rest[2]]);
        };
        // A large disk, a small one, and one whose size is not known.
        check("", 1_000 * GB, "[10000000000, 100000000000, 187000000000]");
        check("", 50 * GB, "[5000000000, 38000000000, 10000000000]");
        check("", 0, "[2000000000, 2000000000, 2000000000]");
        check("gckeepstorage = 9000", 50 * GB, "[9000, 0, 0]");
        check("gckeepstorage = 9000\nmaxUsedSpace = \"1GB\"", 50 * GB, "[0, 1073741824, 0]");
        check("reservedSpace = \"512MB\"\nminFreeSpace = \"10%\"", 50 * GB, "[536870912, 0, 5000000000]");
    }

    #[test]
    fn policies_replace_the_defaults() {
        let rules = r#"
            maxUsedSpace = "1GB"
            [[worker.oci.gcpolicy]]
              filters = ["type==source.local"]
              keepDuration = "48h"
              keepBytes = 1024
            [[worker.oci.gcpolicy]]
              all = true
              keepDuration = 7200
              keepBytes = 1
              reservedSpace = "2kb"
              maxUsedSpace = "20%"
        "#;
        check(rules, 50 * GB, &["1 - 48h [1024, 0, 0]", "0 all 2h [2048, 10000000000, 0]"]);
    }

    #[test]
    fn a_filter_that_is_none_is_told() {
        let config = Config::parse("[[worker.oci.gcpolicy]]\nfilters = [\"type=\"]").expect("valid");
        let e = policies(&config.worker.oci.gc, Path::new("/")).expect_err("no filter");
        assert!(e.to_string().contains("[[worker.oci.gcpolicy]]"), "{e}");
        let off = Config::parse("[worker.oci]\ngc = false").expect("valid");
        assert!(policies(&off.worker.oci.gc, Path::new("/")).expect("none").is_empty());
    }
}
