//! `kiln image` and `kiln images`: Kiln's own store.

mod archive;
mod holder;
mod inspect;
mod ls;
mod push;

use std::collections::BTreeSet;

use errdefs::{Error, Result};

use crate::args::{ImageArgs, ImageCommand, ImageRmArgs, ImageTagArgs, ImagesArgs, ImagesCommand};
use crate::console;
use crate::engine::{Builder, Reached};
use crate::environment::Environment;

/// Looks after images.
pub(crate) async fn image(args: &ImageArgs, builder: &Builder, env: &Environment) -> Result<()> {
    match &args.command {
        ImageCommand::Ls(args) => ls::ls(args, builder).await,
        ImageCommand::Inspect(args) => inspect::inspect(args, builder).await,
        ImageCommand::Rm(args) => rm(args, builder).await,
        ImageCommand::Tag(args) => tag(args, builder).await,
        ImageCommand::Push(args) => push::push(args, builder, env).await,
        ImageCommand::Save(args) => archive::save(args, builder, env).await,
        ImageCommand::Load(args) => archive::load(args, builder.place()?, env).await,
        ImageCommand::Export(args) => archive::export(args, builder, env).await,
    }
}

/// Lists images, or takes their names away.
pub(crate) async fn images(args: &ImagesArgs, builder: &Builder) -> Result<()> {
    match &args.command {
        Some(ImagesCommand::Rm(args)) => rm(args, builder).await,
        None => ls::ls(&args.ls, builder).await,
    }
}

/// The nodes that keep images. Of several, one whose engine is BuildKit is told of and left out.
async fn keepers(builder: &Builder) -> Result<Vec<Reached>> {
    let asked = builder.ask(None, async |client| match builder.nodes.len() {
        1 => Ok(()),
        _ => client.images().await.map(drop),
    });
    Ok(asked.await?.into_iter().map(|(node, ())| node).collect())
}

/// All that can be removed are, on all nodes that have them; the first failure is told at the end.
async fn rm(args: &ImageRmArgs, builder: &Builder) -> Result<()> {
    let nodes = keepers(builder).await?;
    let mut failed = None;
    for name in &args.names {
        let mut removed = Vec::new();
        for node in &nodes {
            removed.push(node.client.remove_image(name, args.force).await);
        }
        match everywhere(removed) {
            Ok(names) => {
                let names: BTreeSet<String> = names.into_iter().flatten().collect();
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

async fn tag(args: &ImageTagArgs, builder: &Builder) -> Result<()> {
    let mut tagged = Vec::new();
    for node in keepers(builder).await? {
        tagged.push(node.client.tag_image(&args.image, &args.name).await);
    }
    everywhere(tagged).map(drop)
}

/// What became of something on all nodes. That some do not have the image is no error, unless none has.
fn everywhere<T>(done: Vec<Result<T>>) -> Result<Vec<T>> {
    let is_somewhere = done.iter().any(Result::is_ok);
    let counts = |one: &Result<T>| !is_somewhere || !one.as_ref().is_err_and(Error::is_not_found);
    done.into_iter().filter(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_need_not_be_on_all_nodes() {
        let (none, broken) = (|| Err(Error::not_found("none")), || Err(Error::environment("broken")));
        let check = |done: Vec<Result<u8>>, expected: std::result::Result<Vec<u8>, &str>| {
            assert_eq!(everywhere(done).map_err(|e| e.to_string()), expected.map_err(str::to_owned));
        };
        check(vec![none(), Ok(1), none()], Ok(vec![1]));
        check(vec![none(), none()], Err("none"));
        check(vec![none(), Ok(1), broken()], Err("broken"));
        check(vec![none(), broken()], Err("none"));
    }
}
