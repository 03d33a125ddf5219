//! Files into a folder of the client.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result};
use futures_util::future::try_join_all;

use crate::Exportable;
use crate::attrs::Attrs;
use crate::context::{ExportContext, Exported, Exporter};
use crate::files::{self, Counted, FileOptions, Files, Meter, Part};

/// Files as they are.
pub struct Local {
    files: FileOptions,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// What the folder holds stays, unless it is in the way.
    Copy,
    /// The client removes what was not sent.
    Delete,
}

impl Local {
    pub fn resolve(given: &BTreeMap<String, String>) -> Result<Self> {
        let mut attrs = Attrs::new("local", given);
        let files = FileOptions::take(&mut attrs)?;
        let mode = match attrs.take("mode").unwrap_or_default() {
            mode if matches!(mode.trim().to_lowercase().as_str(), "" | "copy") => Mode::Copy,
            mode if mode.trim().to_lowercase() == "delete" => Mode::Delete,
            mode => return Err(Error::user(format!("invalid local exporter mode {mode:?}"))),
        };
        attrs.finish()?;
        Ok(Local { files, mode })
    }
}

#[async_trait]
impl Exporter for Local {
    fn name(&self) -> &'static str {
        "exporting to client directory"
    }

    async fn export(&self, result: &Exportable, cx: &ExportContext) -> Result<Exported> {
        let parts = files::parts(result, &self.files, cx).await?;
        let split = self.files.is_split(result);
        let multi_platform = self.mode == Mode::Delete;
        let transfers = if multi_platform || !split {
            vec![Transfer { label: "copying files".into(), files: together(parts, split) }]
        } else {
            parts.into_iter().map(Transfer::own).collect()
        };
        let session = cx.session().await?;
        let sent = transfers.into_iter().map(|Transfer { label, files }| {
            let session = session.clone();
            async move {
                // Before anything is written at the client.
                let files = cx.blocking(move |_| files.check().map(|()| files)).await?;
                let meter = Meter::start(&cx.step, label);
                let tree = Arc::new(Counted { files, meter: meter.clone() });
                let sent = session.send_dir(cx.index, tree, multi_platform).await;
                meter.finish();
                sent
            }
        });
        try_join_all(sent).await?;
        Ok(Exported::default())
    }
}

struct Transfer {
    label: String,
    files: Files,
}

impl Transfer {
    /// One platform in its folder.
    fn own(part: Part) -> Self {
        Transfer { label: format!("copying files {}", part.platform), files: Files::split(vec![part]) }
    }
}

fn together(parts: Vec<Part>, split: bool) -> Files {
    if split { Files::split(parts) } else { Files::merged(parts) }
}
