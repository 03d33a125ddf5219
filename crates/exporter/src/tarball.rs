//! Files as an archive for the client.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use archive::copy;
use async_trait::async_trait;
use errdefs::{Result, ResultExt};
use fsutil::tar::{Entry, EntryKind, Writer};
use session::files::{Kind, Stat};
use snapshot::View;
use tokio_util::sync::CancellationToken;

use crate::attrs::Attrs;
use crate::context::{ExportContext, Exported, Exporter};
use crate::files::{self, FileOptions, Files, Part};
use crate::{Exportable, Response};

/// The files of a result in one archive.
pub struct Tarball {
    files: FileOptions,
}

impl Tarball {
    pub fn resolve(given: &BTreeMap<String, String>) -> Result<Self> {
        let mut attrs = Attrs::new("tar", given);
        let files = FileOptions::take(&mut attrs)?;
        attrs.finish()?;
        Ok(Tarball { files })
    }
}

#[async_trait]
impl Exporter for Tarball {
    fn name(&self) -> &'static str {
        "exporting to client tarball"
    }

    async fn export(&self, result: &Exportable, cx: &ExportContext) -> Result<Exported> {
        let parts = files::parts(result, &self.files, cx).await?;
        // As in BuildKit, an archive is split whenever there are several platforms, whatever the attributes say.
        let files = if result.is_map() { Files::split(parts) } else { Files::merged(parts) };
        let session = cx.session().await?;
        let sent = async {
            let mut out = session.send_file(cx.index, &Response::new()).await?.into_blocking();
            cx.blocking(move |cancel| {
                write(&files, &mut out, cancel)?;
                out.finish()
            })
            .await
        };
        cx.step.part("sending tarball", sent).await?;
        Ok(Exported::default())
    }
}

/// Writes files as an archive, as the exporter does.
pub fn write_view(view: View, out: &mut dyn Write, cancel: &CancellationToken) -> Result<()> {
    write(&Files::merged(vec![Part::plain(view)]), out, cancel)
}

/// Writes all files, in wire order. Sockets are left out: an archive has no place for them.
pub(crate) fn write(files: &Files, out: &mut dyn Write, cancel: &CancellationToken) -> Result<()> {
    let mut archive = Writer::new(out);
    files.each(&mut |stat| {
        let Some(entry) = entry(&stat) else { return Ok(()) };
        let shown = stat.path.escape_ascii();
        archive.ustar_header(&entry).with_context(|| format!("failed to write `{shown}`"))?;
        if entry.kind == EntryKind::File && entry.size > 0 {
            let file = files.open_file(&stat.path)?;
            copy(&mut file.take(entry.size), &mut archive, cancel)
                .with_context(|| format!("failed to write `{shown}`"))?;
        }
        Ok(())
    })?;
    archive.finish().context("failed to write archive")?;
    Ok(())
}

fn entry(stat: &Stat) -> Option<Entry> {
    let kind = match stat.kind() {
        Kind::Socket => return None,
        Kind::File if stat.is_hardlink() => EntryKind::Hardlink,
        Kind::File => EntryKind::File,
        Kind::Dir => EntryKind::Dir,
        Kind::Symlink => EntryKind::Symlink,
        Kind::Char => EntryKind::Char,
        Kind::Block => EntryKind::Block,
        Kind::Fifo => EntryKind::Fifo,
    };
    let mut path = stat.path.clone();
    if kind == EntryKind::Dir {
        path.push(b'/');
    }
    let (seconds, nanos) = (stat.mtime_ns.div_euclid(1_000_000_000), stat.mtime_ns.rem_euclid(1_000_000_000));
    Some(Entry {
        path,
        kind,
        mode: stat.mode & 0o7777,
        uid: stat.uid,
        gid: stat.gid,
        size: if kind == EntryKind::File { stat.size } else { 0 },
        mtime: (seconds, nanos as u32),
        link: stat.linkname.clone(),
        dev: (stat.dev_major, stat.dev_minor),
        xattrs: stat.xattrs.clone(),
        ..Entry::default()
    })
}
