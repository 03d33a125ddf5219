//! Images of the store that go to registries.

use std::sync::Arc;

use errdefs::Result;
use exporter::ExportContext;
use oci::Platform;
use progress::{Sink, Step};
use tokio_util::sync::CancellationToken;

use super::archives::{hold, root};
use super::{blocking, by_name, complete, unknown};
use crate::Engine;
use crate::log::{BuildLog, Reader};

/// A push under way. Dropping it cancels.
pub struct Push {
    pub log: Reader,
    pub end: tokio::task::JoinHandle<Result<()>>,
}

impl Engine {
    /// Pushes an image under its own name, with the logins of a session: all of it, or the manifest of one platform.
    pub fn push_image(
        &self,
        name: String,
        platform: Option<Platform>,
        session: String,
        cancel: CancellationToken,
    ) -> Push {
        let log = BuildLog::new();
        let (reader, engine) = (log.reader(), self.clone());
        let end = tokio::spawn(async move {
            let sink: Arc<dyn Sink> = Arc::clone(&log) as _;
            let step = Step::start(sink, &format!("push {name}"), format!("pushing {name}"));
            let work = engine.push(&name, platform, session, &step, &cancel);
            let pushed = cancel.run_until_cancelled(work).await;
            let pushed = step.finish(pushed.unwrap_or_else(|| Err(errdefs::Error::canceled())));
            log.close();
            pushed
        });
        Push { log: reader, end }
    }

    async fn push(
        &self,
        text: &str,
        platform: Option<Platform>,
        session_id: String,
        step: &Step,
        cancel: &CancellationToken,
    ) -> Result<()> {
        let refs = self.refs().clone();
        let name = complete(text)?;
        let (image, held) = blocking({
            let text = text.to_owned();
            move || {
                let image = by_name(&refs.images().list()?, &text).ok_or_else(|| unknown(&text))?;
                let image = root(&refs, &image.target, platform.as_ref(), &text)?;
                let held = hold(&refs, std::iter::once(&image))?;
                Ok((image, held))
            }
        })
        .await?;
        let cx = ExportContext {
            index: 0,
            sessions: self.sessions().clone(),
            session_id,
            step: step.clone(),
            cancel: cancel.clone(),
            inline_cache: None,
        };
        self.parts().exporters.push(&image, held, &name, &cx).await
    }
}
