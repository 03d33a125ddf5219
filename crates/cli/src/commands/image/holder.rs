//! Which node has an image.

use errdefs::{Error, Result};

use super::keepers;
use crate::engine::{Builder, Reached};

/// The node that has all of these images; the first, where several have the same.
///
/// # Errors
/// None has them all, or nodes have different ones under one name: each what it built of an image for several platforms.
pub(super) async fn holder(builder: &Builder, images: &[String], platform: &str) -> Result<Reached> {
    let mut nodes = keepers(builder).await?;
    // A single one has more to say of what it does not have.
    if builder.nodes.len() == 1 {
        return Ok(nodes.swap_remove(0));
    }
    let (mut holders, mut missing): (Vec<(Reached, Vec<String>)>, Option<Error>) = (Vec::new(), None);
    for node in nodes {
        match digests(&node, images, platform).await {
            Ok(digests) => holders.push((node, digests)),
            Err(e) if e.is_not_found() => missing = missing.or(Some(e)),
            Err(e) => return Err(e.context(format!("node {}", node.node))),
        }
    }
    if let Some((_, first)) = holders.first()
        && holders.iter().any(|(_, digests)| digests != first)
    {
        let names: Vec<_> = holders.iter().map(|(node, _)| node.node.as_str()).collect();
        let message = format!("nodes {} have different images of this name", names.join(", "));
        return Err(Error::user(message).hint(
            "name a platform that one of them has with `--platform`, or build with `--push`, which puts one \
             image together",
        ));
    }
    let found = holders.into_iter().next().map(|(node, _)| node);
    found.ok_or_else(|| missing.unwrap_or_else(|| Error::not_found("no node has the image")))
}

/// What a node has under these names.
async fn digests(node: &Reached, images: &[String], platform: &str) -> Result<Vec<String>> {
    let mut digests = Vec::new();
    for image in images {
        let details = node.client.inspect_image(image, platform).await?;
        digests.extend(details.blobs.first().map(|root| root.digest.clone()));
    }
    Ok(digests)
}
