//! All about an image, in the words of `docker image inspect`, and what Docker does not tell: the manifests of all
//! platforms, and what is said of them.

use std::collections::BTreeMap;

use client::ImageDetails;
use errdefs::{Error, Result};
use oci::{Descriptor, ImageConfig, Index, Manifest, Platform, Reference, media};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{everywhere, keepers};
use crate::args::ImageInspectArgs;
use crate::console;
use crate::engine::Builder;
use crate::template::Template;

/// Annotations of what is said of a manifest.
const ABOUT: &str = "vnd.docker.reference.digest";

/// Tells about images, of each node that has them. One that is not there does not keep others.
pub(super) async fn inspect(args: &ImageInspectArgs, builder: &Builder) -> Result<()> {
    let template = match args.format.as_str() {
        "" => None,
        text => Some(Template::parse(text, &[])?),
    };
    let nodes = keepers(builder).await?;
    let (mut told, mut failed) = (Vec::new(), None);
    for image in &args.images {
        let mut documents = Vec::new();
        for node in &nodes {
            let image = node.client.inspect_image(image, &args.platform).await;
            let told = image.and_then(|image| document(&image));
            documents.push(told.map(|told| if builder.nodes.len() > 1 { told.of(&node.node) } else { told }));
        }
        match everywhere(documents) {
            Ok(documents) => told.extend(documents),
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    match &template {
        None => console::out(format!("{}\n", pretty(&told)))?,
        Some(template) => {
            for document in &told {
                let value = serde_json::to_value(document).map_err(|e| Error::internal(e.to_string()))?;
                console::out(template.fill(&value)? + "\n")?;
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Four spaces, as Docker indents it.
fn pretty(documents: &[Document]) -> String {
    let mut out = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, indent);
    documents.serialize(&mut serializer).expect("only strings as keys");
    String::from_utf8_lossy(&out).into_owned()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    comment: String,
    created: Option<String>,
    author: String,
    architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
    os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    os_version: String,
    /// Bytes of the chosen image, as it is packed.
    size: u64,
    config: Value,
    #[serde(rename = "RootFS")]
    root_fs: Value,
    metadata: Value,
    descriptor: Value,
    manifests: Vec<Value>,
}

impl Document {
    /// Told by one of several nodes.
    fn of(mut self, node: &str) -> Self {
        self.metadata["Node"] = node.into();
        self
    }
}

fn document(image: &ImageDetails) -> Result<Document> {
    let parts = Parts(image.blobs.iter().map(|blob| (blob.digest.as_str(), &blob.data[..])).collect());
    let root = image.blobs.first().ok_or_else(|| damaged("it has no manifest"))?;
    let manifest: Manifest = parts.read(&image.manifest)?;
    let config: ImageConfig = parts.read(manifest.config.digest.as_str())?;
    let plain: Value = parts.read(manifest.config.digest.as_str())?;
    let names: Vec<Reference> = image.names.iter().filter_map(|name| name.parse().ok()).collect();
    let mut digests: Vec<String> =
        names.iter().map(|name| format!("{}@{}", name.familiar_name(), root.digest)).collect();
    digests.dedup();
    let comment = config.history.last().map(|last| last.comment.clone()).unwrap_or_default();
    Ok(Document {
        id: manifest.config.digest.to_string(),
        repo_tags: image.names.iter().map(|name| oci::familiar(name)).collect(),
        repo_digests: digests,
        comment,
        created: config.created,
        author: config.author,
        architecture: config.architecture,
        variant: config.variant,
        os: config.os,
        os_version: config.os_version,
        size: size(&image.manifest, &manifest, &parts),
        config: plain["config"].clone(),
        root_fs: json!({"Type": config.rootfs.kind, "Layers": config.rootfs.diff_ids}),
        metadata: json!({"LastTagTime": image.updated_at.to_string()}),
        descriptor: json!({"mediaType": root.media_type, "digest": root.digest, "size": root.data.len()}),
        manifests: match media::is_index(&root.media_type) {
            true => parts.manifests(&root.digest)?,
            false => Vec::new(),
        },
    })
}

fn size(digest: &str, manifest: &Manifest, parts: &Parts<'_>) -> u64 {
    let own = parts.0.get(digest).map_or(0, |bytes| bytes.len() as u64);
    own + manifest.config.size + manifest.layers.iter().map(|layer| layer.size).sum::<u64>()
}

fn damaged(why: &str) -> Error {
    Error::environment(format!("the image is damaged: {why}"))
}

/// Manifests and configs by their digests.
struct Parts<'a>(BTreeMap<&'a str, &'a [u8]>);

impl Parts<'_> {
    fn read<T: DeserializeOwned>(&self, digest: &str) -> Result<T> {
        let bytes = self.0.get(digest).ok_or_else(|| damaged(&format!("{digest} is missing")))?;
        serde_json::from_slice(bytes).map_err(|e| damaged(&format!("{digest}: {e}")))
    }

    /// What an index names, and the indexes below it.
    fn manifests(&self, index: &str) -> Result<Vec<Value>> {
        let mut told = Vec::new();
        for entry in self.read::<Index>(index)?.manifests {
            match media::is_index(&entry.media_type) {
                true => told.extend(self.manifests(entry.digest.as_str())?),
                false => told.push(self.manifest(&entry)?),
            }
        }
        Ok(told)
    }

    /// In the words of Docker's API, which tells of manifests too.
    fn manifest(&self, entry: &Descriptor) -> Result<Value> {
        let manifest: Manifest = self.read(entry.digest.as_str())?;
        let content = size(entry.digest.as_str(), &manifest, self);
        let mut told = json!({
            "ID": entry.digest,
            "Descriptor": entry,
            "Available": true,
            "Size": {"Content": content, "Total": content},
        });
        match entry.annotations.get(ABOUT) {
            Some(about) => {
                let layers = manifest.layers.iter();
                let predicates = layers.filter_map(|layer| layer.annotations.get(media::PREDICATE_TYPE));
                told["Kind"] = "attestation".into();
                told["AttestationData"] = json!({"For": about, "PredicateTypes": Vec::from_iter(predicates)});
            }
            None => {
                told["Kind"] = "image".into();
                let platform = entry.platform.as_ref().map(Platform::normalize);
                told["ImageData"] = json!({"Platform": platform});
            }
        }
        Ok(told)
    }
}
