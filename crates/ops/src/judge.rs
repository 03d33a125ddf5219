//! What a step may fetch that is wanted by several builds.

use async_trait::async_trait;
use network::{Judge, Judgement};
use solver::Jobs;

use crate::domain::BuildDomain;

/// What all builds allow that want a step now.
pub struct AllBuilds(pub Jobs<BuildDomain>);

#[async_trait]
impl Judge for AllBuilds {
    async fn judge(&self, url: &str) -> Judgement {
        let (builds, mut other) = (self.0.contexts(), None);
        if builds.is_empty() {
            return Judgement::Denied("no build wants the step any more".into());
        }
        for judge in builds.iter().filter_map(|build| build.judge.get()) {
            match judge.judge(other.as_deref().unwrap_or(url)).await {
                Judgement::Allowed => {}
                Judgement::Replaced(url) => other = Some(url),
                denied => return denied,
            }
        }
        other.map_or(Judgement::Allowed, Judgement::Replaced)
    }
}
