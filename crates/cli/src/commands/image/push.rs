//! Images on their way to a registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use errdefs::{Error, Result};
use oci::Reference;
use session::Attachables;

use super::holder::holder;
use crate::args::ImagePushArgs;
use crate::display::{Display, Target};
use crate::engine::{Builder, Reached};
use crate::environment::Environment;
use crate::settings::ProgressMode;
use crate::{console, interrupt};

/// Pushes an image, or all of a repository.
pub(super) async fn push(args: &ImagePushArgs, builder: &Builder, env: &Environment) -> Result<()> {
    let mode = ProgressMode::choose(&args.progress, args.quiet, env)?;
    let docker = Arc::new(env.docker_config()?);
    let cancel = interrupt::watch()?;
    let names = match args.all_tags {
        true => of_repository(builder, &args.name).await?,
        false => vec![args.name.clone()],
    };
    let mut images = Vec::new();
    for name in &names {
        images.push((name, holder(builder, std::slice::from_ref(name), &args.platform).await?));
    }
    let (display, sender) = Display::plainly(mode, env, Target::Stderr)?;
    let drawing = display.start();
    let work = async {
        for (name, Reached { client, .. }) in &images {
            let logins = Attachables::new().auth(docker.clone());
            client.push_image(name, &args.platform, logins, sender.clone(), &cancel).await?;
        }
        Ok(())
    };
    let pushed: Result<()> = work.await;
    drop(sender);
    drawing.finish().await?;
    pushed?;
    match mode {
        ProgressMode::Quiet => {
            names.iter().try_for_each(|name| console::out(format!("{}\n", oci::familiar(name))))
        }
        _ => Ok(()),
    }
}

/// All names of a repository.
async fn of_repository(builder: &Builder, repository: &str) -> Result<Vec<String>> {
    let wanted: Reference =
        repository.parse().map_err(|e| Error::user(format!("invalid name {repository:?}: {e}")))?;
    if wanted.tag().is_some() || wanted.digest().is_some() {
        return Err(Error::user("tag can't be used with --all-tags/-a"));
    }
    let is_in =
        |name: &String| name.parse().is_ok_and(|name: Reference| name.repository() == wanted.repository());
    let images = builder.ask(None, async |client| client.images().await).await?;
    let names = images.into_iter().flat_map(|(_, images)| images).map(|image| image.name).filter(is_in);
    let names = Vec::from_iter(names.collect::<BTreeSet<_>>());
    match names.is_empty() {
        true => Err(Error::not_found(format!("no image of `{repository}` in Kiln's store"))
            .hint("`kiln images` lists what is there")),
        false => Ok(names),
    }
}
