//! `kiln image` and `kiln images`: Kiln's own store.

mod archive;
mod inspect;
mod ls;
mod push;

use errdefs::Result;

use crate::args::{ImageArgs, ImageCommand, ImageRmArgs, ImageTagArgs, ImagesArgs, ImagesCommand};
use crate::console;
use crate::engine::{Place, connect};
use crate::environment::Environment;

/// Looks after images.
pub(crate) async fn image(args: &ImageArgs, place: &Place, env: &Environment) -> Result<()> {
    match &args.command {
        ImageCommand::Ls(args) => ls::ls(args, place).await,
        ImageCommand::Inspect(args) => inspect::inspect(args, place).await,
        ImageCommand::Rm(args) => rm(args, place).await,
        ImageCommand::Tag(args) => tag(args, place).await,
        ImageCommand::Push(args) => push::push(args, place, env).await,
        ImageCommand::Save(args) => archive::save(args, place, env).await,
        ImageCommand::Load(args) => archive::load(args, place, env).await,
        ImageCommand::Export(args) => archive::export(args, place, env).await,
    }
}

/// Lists images, or takes their names away.
pub(crate) async fn images(args: &ImagesArgs, place: &Place) -> Result<()> {
    match &args.command {
        Some(ImagesCommand::Rm(args)) => rm(args, place).await,
        None => ls::ls(&args.ls, place).await,
    }
}

/// All that can be removed are; the first failure is told at the end.
async fn rm(args: &ImageRmArgs, place: &Place) -> Result<()> {
    let client = connect(place).await?;
    let mut failed = None;
    for name in &args.names {
        match client.remove_image(name, args.force).await {
            Ok(names) => {
                names
                    .iter()
                    .try_for_each(|name| console::out(format!("Untagged: {}\n", oci::familiar(name))))?;
            }
            Err(e) if args.force && e.is_not_found() => {}
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn tag(args: &ImageTagArgs, place: &Place) -> Result<()> {
    connect(place).await?.tag_image(&args.image, &args.name).await.map(drop)
}
