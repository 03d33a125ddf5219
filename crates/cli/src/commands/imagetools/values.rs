//! What templates see of an image: the structures of the OCI specification (image-spec, specs-go), by their names in Go
//! and in JSON.

use std::collections::BTreeMap;

use gtmpl::Value as Word;
use oci::manifest::Annotations;
use oci::{Descriptor, ImageConfig, Index, Platform};
use serde_json::Value;

use crate::template::{structure, word};

fn text(text: &str) -> Word {
    Word::String(text.to_owned())
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Word {
    Word::Array(texts.into_iter().map(|t| text(t)).collect())
}

fn number(n: u64) -> Word {
    word(&Value::from(n), &[])
}

fn map(map: &BTreeMap<String, String>) -> Word {
    Word::Map(map.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

/// A map of JSON's own; nothing where there is none.
fn object(map: Option<&BTreeMap<String, Value>>) -> Word {
    map.map_or(Word::Nil, |map| Word::Map(map.iter().map(|(k, v)| (k.clone(), word(v, &[]))).collect()))
}

pub(super) fn descriptor(d: &Descriptor) -> Word {
    structure(vec![
        ("MediaType", "mediaType", text(&d.media_type), true),
        ("Digest", "digest", text(d.digest.as_str()), true),
        ("Size", "size", number(d.size), true),
        ("URLs", "urls", texts(&d.urls), !d.urls.is_empty()),
        ("Annotations", "annotations", map(&d.annotations), !d.annotations.is_empty()),
        ("Data", "data", text(&d.data), !d.data.is_empty()),
        ("Platform", "platform", d.platform.as_ref().map_or(Word::Nil, platform), d.platform.is_some()),
        ("ArtifactType", "artifactType", text(&d.artifact_type), !d.artifact_type.is_empty()),
    ])
}

fn platform(p: &Platform) -> Word {
    structure(vec![
        ("Architecture", "architecture", text(&p.architecture), true),
        ("OS", "os", text(&p.os), true),
        ("OSVersion", "os.version", text(&p.os_version), !p.os_version.is_empty()),
        ("OSFeatures", "os.features", texts(&p.os_features), !p.os_features.is_empty()),
        ("Variant", "variant", text(&p.variant), !p.variant.is_empty()),
    ])
}

/// An index with its own digest and size.
pub(super) fn index(own: &Descriptor, index: &Index) -> Word {
    let annotations: &Annotations = &index.annotations;
    structure(vec![
        ("SchemaVersion", "schemaVersion", number(index.schema_version.into()), true),
        ("MediaType", "mediaType", text(&index.media_type), !index.media_type.is_empty()),
        ("Digest", "digest", text(own.digest.as_str()), true),
        ("Size", "size", number(own.size), true),
        ("Manifests", "manifests", Word::Array(index.manifests.iter().map(descriptor).collect()), true),
        ("Annotations", "annotations", map(annotations), !annotations.is_empty()),
    ])
}

pub(super) fn image(c: &ImageConfig) -> Word {
    let created = c.created.as_deref();
    structure(vec![
        ("Created", "created", created.map_or(Word::Nil, text), created.is_some()),
        ("Author", "author", text(&c.author), !c.author.is_empty()),
        ("Architecture", "architecture", text(&c.architecture), true),
        ("OS", "os", text(&c.os), true),
        ("OSVersion", "os.version", text(&c.os_version), !c.os_version.is_empty()),
        ("OSFeatures", "os.features", texts(&c.os_features), !c.os_features.is_empty()),
        ("Variant", "variant", text(&c.variant), !c.variant.is_empty()),
        ("Config", "config", config(c), true),
        ("RootFS", "rootfs", root_fs(c), true),
        ("History", "history", history(c), !c.history.is_empty()),
    ])
}

fn config(c: &ImageConfig) -> Word {
    let c = &c.config;
    let filled = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let any = |map: &Option<BTreeMap<String, Value>>| map.as_ref().is_some_and(|map| !map.is_empty());
    let labels = c.labels.as_ref();
    structure(vec![
        ("User", "User", text(&c.user), !c.user.is_empty()),
        ("ExposedPorts", "ExposedPorts", object(c.exposed_ports.as_ref()), any(&c.exposed_ports)),
        ("Env", "Env", texts(&c.env), !c.env.is_empty()),
        ("Entrypoint", "Entrypoint", texts(c.entrypoint.iter().flatten()), filled(&c.entrypoint)),
        ("Cmd", "Cmd", texts(c.cmd.iter().flatten()), filled(&c.cmd)),
        ("Volumes", "Volumes", object(c.volumes.as_ref()), any(&c.volumes)),
        ("WorkingDir", "WorkingDir", text(&c.working_dir), !c.working_dir.is_empty()),
        ("Labels", "Labels", labels.map_or(Word::Nil, map), labels.is_some_and(|labels| !labels.is_empty())),
        ("StopSignal", "StopSignal", text(&c.stop_signal), !c.stop_signal.is_empty()),
        ("ArgsEscaped", "ArgsEscaped", Word::Bool(c.args_escaped), c.args_escaped),
    ])
}

fn root_fs(c: &ImageConfig) -> Word {
    let ids = c.rootfs.diff_ids.iter().map(|id| text(id.0.as_str())).collect();
    structure(vec![
        ("Type", "type", text(&c.rootfs.kind), true),
        ("DiffIDs", "diff_ids", Word::Array(ids), true),
    ])
}

fn history(c: &ImageConfig) -> Word {
    let entry = |h: &oci::History| {
        let created = h.created.as_deref();
        structure(vec![
            ("Created", "created", created.map_or(Word::Nil, text), created.is_some()),
            ("CreatedBy", "created_by", text(&h.created_by), !h.created_by.is_empty()),
            ("Author", "author", text(&h.author), !h.author.is_empty()),
            ("Comment", "comment", text(&h.comment), !h.comment.is_empty()),
            ("EmptyLayer", "empty_layer", Word::Bool(h.empty_layer), h.empty_layer),
        ])
    };
    Word::Array(c.history.iter().map(entry).collect())
}

/// The SBOMs of an image, in the order in which they stand there.
pub(super) fn sbom(predicates: &[Value]) -> Word {
    let (first, more) = match predicates {
        [] => (Word::Nil, &[][..]),
        [first, more @ ..] => (word(first, &[]), more),
    };
    let additional = more.iter().map(|predicate| word(predicate, &[])).collect();
    structure(vec![
        ("SPDX", "SPDX", first, !predicates.is_empty()),
        ("AdditionalSPDXs", "AdditionalSPDXs", Word::Array(additional), !more.is_empty()),
    ])
}

pub(super) fn provenance(predicate: Option<&Value>) -> Word {
    structure(vec![("SLSA", "SLSA", predicate.map_or(Word::Nil, |p| word(p, &[])), predicate.is_some())])
}
