//! Which trees a scan of the result looks at, beside the result itself.

use std::collections::BTreeMap;

use dockerfile::Environment as _;
use frontend::sbom::Scan;
use llb::Output;

use super::Conversion;
use super::stage::{Progress, StageState};
use crate::draft::Port;

/// ARGs that ask for more to be scanned: a truth value, or names of stages.
const CONTEXT: &str = "BUILDKIT_SBOM_SCAN_CONTEXT";
const STAGE: &str = "BUILDKIT_SBOM_SCAN_STAGE";

/// What is to be scanned, in the draft; nothing is scratch.
#[derive(Debug, Default)]
pub(super) struct ScanPlan {
    core: Option<Port>,
    extras: BTreeMap<String, Option<Port>>,
    ignore_cache: bool,
}

impl ScanPlan {
    pub fn ports(&self) -> Vec<Option<Port>> {
        [self.core].into_iter().chain(self.extras.values().copied()).collect()
    }

    /// With what became of the ports, in their order.
    pub fn with(self, trees: Vec<Option<Output>>, epoch: Option<i64>) -> Scan {
        let mut trees = trees.into_iter();
        let core = trees.next().flatten();
        Scan {
            core,
            extras: self.extras.into_keys().zip(trees).collect(),
            ignore_cache: self.ignore_cache,
            epoch,
        }
    }
}

impl Conversion<'_> {
    pub(super) fn scan_plan(&self, target: usize) -> ScanPlan {
        if self.shared.config.scan.is_none() {
            return ScanPlan::default();
        }
        let stage = &self.stages.list[target];
        let mut plan =
            ScanPlan { core: stage.state.tree, extras: BTreeMap::new(), ignore_cache: stage.ignore_cache };
        if self.is_asked(CONTEXT, stage) {
            plan.extras.insert("context".into(), self.context);
        }
        for (at, _) in self.stages.reachable(target).iter().enumerate().filter(|(_, reachable)| **reachable) {
            let stage = &self.stages.list[at];
            if at != target && stage.progress == Progress::Dispatched && self.is_asked(STAGE, stage) {
                plan.extras.insert(stage.label.clone(), stage.state.tree);
                plan.ignore_cache |= stage.ignore_cache;
            }
        }
        plan
    }

    /// Whether an ARG says so for a stage; one in the stage is heard before one of all.
    fn is_asked(&self, name: &str, stage: &StageState) -> bool {
        let own = stage.args.iter().rev().filter(|arg| arg.key == name).find_map(|arg| arg.value.as_deref());
        let value = own.or_else(|| self.shared.globals.get(name));
        value.is_some_and(|value| holds_for(value, &stage.label))
    }
}

fn holds_for(value: &str, stage: &str) -> bool {
    oci::parse_bool(value).unwrap_or_else(|| value.split(',').any(|name| name == stage))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_values_and_names_of_stages() {
        for (value, expected) in [
            ("true", true),
            ("1", true),
            ("false", false),
            ("a,build", true),
            ("a, build", false),
            ("", false),
        ] {
            assert_eq!(holds_for(value, "build"), expected, "{value}");
        }
    }
}
