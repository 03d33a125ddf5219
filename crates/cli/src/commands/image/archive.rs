//! Images as archives.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use errdefs::{Error, Result, ResultExt as _};
use tokio::sync::mpsc;

use super::holder::holder;
use crate::args::{ImageExportArgs, ImageLoadArgs, ImageSaveArgs};
use crate::artifact::Artifact;
use crate::console;
use crate::engine::{Builder, Place, connect};
use crate::environment::Environment;
use crate::layout::Folder;

/// Bytes of a message.
const PIECE: usize = 1 << 20;
/// Pieces on their way to the engine.
const QUEUE: usize = 4;

/// Writes images as one archive.
pub(super) async fn save(args: &ImageSaveArgs, builder: &Builder, env: &Environment) -> Result<()> {
    let mut artifact = Artifact::open(args.output.as_deref(), env)?;
    let client = holder(builder, &args.images, &args.platform).await?.client;
    client.save_images(&args.images, &args.platform, args.format == "oci", artifact.writer()).await?;
    artifact.finish()
}

/// Writes the files of an image.
pub(super) async fn export(args: &ImageExportArgs, builder: &Builder, env: &Environment) -> Result<()> {
    let mut artifact = Artifact::open(args.output.as_deref(), env)?;
    let client = holder(builder, std::slice::from_ref(&args.image), &args.platform).await?.client;
    client.export_image(&args.image, &args.platform, artifact.writer()).await?;
    artifact.finish()
}

/// Takes the images of an archive or a folder, to the first of several nodes.
pub(super) async fn load(args: &ImageLoadArgs, place: &Place, env: &Environment) -> Result<()> {
    let input = args.input.as_deref().filter(|path| *path != Path::new("-")).map(|path| env.cwd.join(path));
    if input.is_none() && env.stdin_is_terminal {
        return Err(Error::user("there is no archive on a terminal")
            .hint("name a file or a folder with `-i`, or send the archive to stdin"));
    }
    let client = connect(place).await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let reading = tokio::task::spawn_blocking(move || {
        let told = input.clone();
        let sent = match input {
            Some(path) if path.is_dir() => {
                let mut out = Pieces { sender, current: BytesMut::new(), are_unwanted: false };
                let sent = Folder::new(path).archive(&mut out);
                if out.are_unwanted { Ok(()) } else { sent }
            }
            Some(path) => File::open(path).map_err(Error::from).and_then(|file| send(file, &sender)),
            None => send(io::stdin().lock(), &sender),
        };
        let name = told.map_or_else(|| "standard input".to_owned(), |path| format!("`{}`", path.display()));
        sent.with_context(|| format!("failed to read {name}"))
    });
    let loaded = client.load_images(&args.platform, &args.tag, receiver).await;
    let images = match loaded {
        Ok(images) => images,
        // The archive that broke off here is why the engine did not like it.
        Err(e) => match reading.await {
            Ok(Err(own)) => return Err(own),
            _ => return Err(e),
        },
    };
    for name in images.iter().flat_map(|image| &image.names).filter(|_| !args.quiet) {
        console::out(format!("Loaded image: {}\n", oci::familiar(name)))?;
    }
    Ok(())
}

/// Sends all that there is, as long as the engine takes it.
fn send(mut from: impl Read, to: &mpsc::Sender<Bytes>) -> Result<()> {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        from.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() || to.blocking_send(piece.into()).is_err() {
            return Ok(());
        }
    }
}

/// Cuts what is written into messages.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    current: BytesMut,
    /// The engine takes no more.
    are_unwanted: bool,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.current.extend_from_slice(bytes);
        if self.current.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = self.current.split().freeze();
        self.are_unwanted = !piece.is_empty() && self.sender.blocking_send(piece).is_err();
        if self.are_unwanted { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}
