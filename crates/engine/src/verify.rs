//! Whether a build gives the same again: it runs once more, and what would be exported is compared.
//!
//! The second run has a scheduler and a cache of its own, so that each step runs and nobody else sees what comes of it.
//! It takes the graphs that the first one got from its frontend; sources are asked anew, and blobs that are in the store
//! stay there. Where the two differ, the way leads from the result down to the first step that got the same and made
//! something else.

mod cause;
mod culprit;
mod report;
mod second;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use errdefs::{Error, Result};
use exporter::{ExportContext, Exportable, Exporters, Fingerprint};
use frontend::BuildResult;
use jiff::Timestamp;
use oci::Digest;
use progress::{Sink, Step};
use tokio_util::sync::CancellationToken;

use crate::bridge::BuildBridge;
use crate::request::{Attributed, BuildRequest};
use report::{Report, Run};
use second::Second;

/// The type by which a client asks for it, as the last of its exporters.
const EXPORTER: &str = "verify";
/// What the client is told, as JSON in base64.
pub const ANSWER: &str = "kiln.verify";
/// Between the two, so that times differ which are told in whole seconds, or in two as in zip archives.
const PAUSE: Duration = Duration::from_millis(2100);

/// A check that was asked for.
pub struct Verify {
    fingerprints: Vec<Fingerprint>,
    began: Instant,
}

impl Verify {
    /// Takes it out of a request.
    pub fn take(request: &mut BuildRequest, exporters: &Exporters) -> Result<Option<Self>> {
        let Some(at) = request.exporters.iter().position(|exporter| exporter.kind == EXPORTER) else {
            return Ok(None);
        };
        if at + 1 != request.exporters.len() {
            return Err(Error::user(format!("`{EXPORTER}` must be the last exporter")));
        }
        request.exporters.truncate(at);
        let as_image = [Attributed { kind: "image".into(), ..Attributed::default() }];
        let exports = if request.exporters.is_empty() { &as_image[..] } else { &request.exporters };
        let epoch = exporter::epoch_of_build_args(&request.attrs);
        let fingerprints = exports.iter().map(|export| {
            let mut attrs = export.attrs.clone();
            if let Some((key, value)) = epoch {
                attrs.entry(key.to_owned()).or_insert_with(|| value.to_owned());
            }
            exporters.fingerprint(&export.kind, &attrs)
        });
        Ok(Some(Verify { fingerprints: fingerprints.collect::<Result<_>>()?, began: Instant::now() }))
    }

    /// Builds again and compares; gives [`ANSWER`]. A build that is not the same is no error here.
    pub async fn run(
        self,
        bridge: &BuildBridge,
        built: &BuildResult,
        first: &Exportable,
        started: Timestamp,
        sink: &Arc<dyn Sink>,
        cancel: &CancellationToken,
    ) -> Result<(String, String)> {
        let first_took = self.began.elapsed();
        tokio::time::sleep(PAUSE).await;
        let second_began = Instant::now();
        let second = Second::start(bridge, sink);
        let work = async {
            let again = second.build(bridge, built, first).await?;
            let second_took = second_began.elapsed();
            let step = Step::start(
                Arc::clone(sink),
                &format!("{}:verify", bridge.build_id()),
                "comparing both builds",
            );
            let cx = ExportContext {
                sessions: bridge.context().sessions.clone(),
                session_id: bridge.context().session.clone(),
                index: 0,
                step: step.clone(),
                cancel: cancel.clone(),
                inline_cache: None,
            };
            let compared = self.compare([first, &again], started, &cx).await;
            let report = async {
                let (digests, fingerprint) = compared?;
                let [first_run, second_run] = [(&digests[0], first_took), (&digests[1], second_took)]
                    .map(|(digest, took)| Run::new(digest, took));
                let is_dated = fingerprint.epoch(first)?.is_some();
                let mut report = Report::new(first_run, second_run, is_dated);
                if digests[0] != digests[1] {
                    let times = fingerprint.times(first)?;
                    report.found = culprit::find(bridge, built, &second, times, cancel).await?;
                }
                Ok(report)
            };
            step.finish(report.await)
        };
        let report = work.await;
        second.close().await;
        let json =
            serde_json::to_vec(&report?).map_err(|e| Error::internal(format!("a report is no JSON: {e}")))?;
        Ok((ANSWER.to_owned(), STANDARD.encode(json)))
    }

    /// The digests of the first export that differs, or else of the first of all.
    async fn compare(
        &self,
        both: [&Exportable; 2],
        started: Timestamp,
        cx: &ExportContext,
    ) -> Result<([Digest; 2], &Fingerprint)> {
        let mut told = None;
        for fingerprint in &self.fingerprints {
            let mut digests = Vec::with_capacity(2);
            for exportable in both {
                digests.push(fingerprint.of(exportable, started.as_second(), cx).await?);
            }
            let [a, b] = <[Digest; 2]>::try_from(digests).map_err(|_| Error::internal("two digests"))?;
            let differ = a != b;
            if differ || told.is_none() {
                told = Some(([a, b], fingerprint));
            }
            if differ {
                break;
            }
        }
        told.ok_or_else(|| Error::internal("nothing to compare"))
    }
}
