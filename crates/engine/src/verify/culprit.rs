//! The way from a result that differs down to the step that made it differ.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use errdefs::{Error, Result};
use frontend::BuildResult;
use llb::Definition;
use ops::{BuildDomain, Value};
use snapshot::{Aspect, Change, Difference, Times, View};
use solver::Edge;
use tokio_util::sync::CancellationToken;

use super::cause::{Finding, Pair, explain};
use super::report::{Cause, File, Found, Source, Step};
use super::second::{self, Second};
use crate::bridge::BuildBridge;
use crate::origins::each_ref;
use crate::promise::places;

/// Files that are listed, at most.
const LISTED: usize = 100;
/// Files of which the cause is looked for.
const EXPLAINED: usize = 1000;

/// Finds the first step of the result that differs. Nothing where all trees are the same: then it is the way in which they
/// are packed.
pub async fn find(
    bridge: &BuildBridge,
    built: &BuildResult,
    second: &Second,
    times: Times,
    cancel: &CancellationToken,
) -> Result<Found> {
    let search = Search { bridge, second, times, cancel };
    for reference in each_ref(built) {
        let Some((definition, edge)) = second::graph(bridge, reference)? else { continue };
        if let Some(differs) = search.differs(&edge).await? {
            let (edge, differs) = search.descend(edge, differs).await?;
            return search.tell(&definition, &edge, differs).await;
        }
    }
    Ok(Found::default())
}

struct Search<'a> {
    bridge: &'a BuildBridge,
    second: &'a Second,
    times: Times,
    cancel: &'a CancellationToken,
}

/// An output of which the two runs made something else.
struct Differs {
    views: [View; 2],
    /// When each was made, in seconds since 1970.
    made_at: [i64; 2],
    differences: Vec<Difference>,
}

impl Search<'_> {
    async fn differs(&self, edge: &Edge<BuildDomain>) -> Result<Option<Differs>> {
        let both: [Value; 2] =
            [self.bridge.job().build(edge.clone()).await?, self.second.job().build(edge.clone()).await?];
        let [Some(first), Some(again)] = &both else { return Ok(None) };
        if first.chain().await? == again.chain().await? {
            return Ok(None);
        }
        let views = [first.view().await?, again.view().await?];
        let made_at = [first, again].map(|value| value.created_at().as_second());
        let (times, cancel, [a, b]) = (self.times, self.cancel.clone(), views.clone());
        let compared = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            a.compare(&b, times, &mut |difference| {
                found.push(difference);
                if cancel.is_cancelled() { Err(Error::canceled()) } else { Ok(()) }
            })?;
            Ok(found)
        });
        let differences =
            compared.await.unwrap_or_else(|e| Err(Error::internal(format!("a comparison ended: {e}"))))?;
        Ok((!differences.is_empty()).then_some(Differs { views, made_at, differences }))
    }

    /// Goes on to inputs as long as one of them differs: to the one whose files are those that differ here.
    async fn descend(
        &self,
        mut edge: Edge<BuildDomain>,
        mut differs: Differs,
    ) -> Result<(Edge<BuildDomain>, Differs)> {
        loop {
            let names: HashSet<Vec<u8>> =
                differs.differences.iter().map(|d| name(&d.path).to_vec()).collect();
            let mut best: Option<(usize, Edge<BuildDomain>, Differs)> = None;
            for input in &edge.vertex.inputs {
                let Some(found) = self.differs(input).await? else { continue };
                let shared = found.differences.iter().filter(|d| names.contains(name(&d.path))).count();
                if best.as_ref().is_none_or(|(most, ..)| shared > *most) {
                    best = Some((shared, input.clone(), found));
                }
            }
            match best {
                Some((_, input, found)) => (edge, differs) = (input, found),
                None => return Ok((edge, differs)),
            }
        }
    }

    async fn tell(
        &self,
        definition: &Arc<Definition>,
        edge: &Edge<BuildDomain>,
        differs: Differs,
    ) -> Result<Found> {
        let vertex = &edge.vertex;
        let source =
            places(&definition.source, edge, &vertex.digest).into_iter().next().map(|place| Source {
                filename: place.info.filename,
                language: place.info.language,
                data: String::from_utf8_lossy(&place.info.data).into_owned(),
                ranges: place.ranges,
            });
        let step = Step { name: vertex.name.clone(), digest: vertex.digest.to_string(), source };
        let is_source = vertex.inputs.is_empty();
        let total = differs.differences.len();
        let explained = tokio::task::spawn_blocking(move || files(differs, is_source)).await;
        let (files, causes) =
            explained.unwrap_or_else(|e| Err(Error::internal(format!("looking for causes ended: {e}"))))?;
        Ok(Found { step: Some(step), files, total, causes })
    }
}

fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

/// The files and why they may differ. That the times of directories do is only told where nothing else is.
fn files(differs: Differs, is_source: bool) -> Result<(Vec<File>, Vec<Cause>)> {
    let Differs { views: [first, second], made_at, mut differences } = differs;
    let is_time_alone =
        |d: &Difference| matches!(&d.change, Change::Other(aspects) if aspects[..] == [Aspect::Mtime]);
    // What tells most comes first.
    differences.sort_by_key(is_time_alone);
    let (mut files, mut counts) = (Vec::new(), BTreeMap::<Finding, usize>::new());
    for difference in differences.iter().take(EXPLAINED) {
        let pair = Pair { views: [&first, &second], made_at, difference, is_source };
        let finding = explain(&pair)?;
        if let Some(finding) = finding {
            *counts.entry(finding).or_default() += 1;
        }
        if files.len() < LISTED {
            files.push(File {
                path: format!("/{}", String::from_utf8_lossy(&difference.path)),
                differs: words(&difference.change),
                cause: finding.map(Finding::text),
            });
        }
    }
    let mut causes: Vec<_> = counts.into_iter().collect();
    causes.sort_by_key(|(finding, count)| (finding.is_vague(), std::cmp::Reverse(*count)));
    let cause =
        |(finding, files): (Finding, usize)| Cause { cause: finding.text(), remedy: finding.remedy(), files };
    Ok((files, causes.into_iter().map(cause).collect()))
}

fn words(change: &Change) -> Vec<&'static str> {
    let word = |aspect: &Aspect| match aspect {
        Aspect::Kind => "kind",
        Aspect::Content => "content",
        Aspect::Target => "target",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Device => "device",
        Aspect::Xattrs => "xattrs",
        Aspect::Mtime => "mtime",
    };
    match change {
        Change::OnlyFirst => vec!["first"],
        Change::OnlySecond => vec!["second"],
        Change::Other(aspects) => aspects.iter().map(word).collect(),
    }
}
