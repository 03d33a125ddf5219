//! What an image is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use errdefs::{Error, Result};
use gtmpl::Value as Word;
use oci::{Descriptor, Index, media};

use super::load::{Loaded, parse};
use super::location::Location;
use super::tools::Tools;
use super::values;
use crate::args::ImagetoolsInspectArgs;
use crate::console;
use crate::table::line_up;
use crate::template::{compile, indented_json, render, structure};

pub(super) async fn inspect(args: &ImagetoolsInspectArgs, tools: &Tools) -> Result<()> {
    if args.raw && !args.format.is_empty() {
        return Err(Error::user("format and raw cannot be used together"));
    }
    let at = Location::parse(&args.name)?;
    let root = tools.resolve(&at).await?;
    let bytes = tools.manifest(&at, &root).await?;
    if args.raw {
        // As it is, so that it keeps its digest.
        return console::out(bytes);
    }
    let index: Option<Index> = media::is_index(&root.media_type).then(|| parse(&bytes)).transpose()?;
    let inner = args.format.trim().strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
    if args.format.is_empty() || inner.map(str::trim) == Some(".Manifest") {
        return console::out(shown(&at, &root, index.as_ref()));
    }
    let template = compile(&args.format, indented_json)?;
    let mut loaded = Loaded::read(tools, &at, &root).await?;
    let manifest = match &index {
        Some(index) => values::index(&root, index),
        None => values::descriptor(&root),
    };
    let configs = loaded.configs().await?;
    let is_plain = configs.len() <= 1;
    let image = by_platform(configs.iter().map(|(p, c)| (p, values::image(c))), is_plain, || Word::Nil);
    let mut fields = vec![
        ("Name", "name", Word::String(args.name.clone()), true),
        ("Manifest", "manifest", manifest, true),
        ("Image", "image", image, !configs.is_empty()),
    ];
    // They are fetched only where they are asked for.
    if args.format.contains(".SBOM") || args.format.contains(".Provenance") {
        loaded.follow().await?;
    }
    if args.format.contains(".SBOM") {
        let sboms = loaded.sboms().await?;
        let all = sboms.iter().map(|(p, s)| (p, values::sbom(s)));
        fields.push(("SBOM", "", by_platform(all, is_plain, || values::sbom(&[])), false));
    }
    if args.format.contains(".Provenance") {
        let provenance = loaded.provenance().await?;
        let all = provenance.iter().map(|(p, s)| (p, values::provenance(Some(s))));
        fields.push(("Provenance", "", by_platform(all, is_plain, || values::provenance(None)), false));
    }
    console::out(render(&template, structure(fields))?)
}

/// What the only platform has, or else what each of them has.
fn by_platform<'a>(
    all: impl Iterator<Item = (&'a String, Word)>,
    is_plain: bool,
    none: impl Fn() -> Word,
) -> Word {
    let mut all: BTreeMap<_, _> = all.collect();
    match is_plain {
        true => all.pop_first().map_or_else(none, |(_, only)| only),
        false => Word::Map(all.into_iter().map(|(platform, value)| (platform.clone(), value)).collect()),
    }
}

/// For people.
fn shown(at: &Location, root: &Descriptor, index: Option<&Index>) -> String {
    let head = format!("Name:\t{at}\nMediaType:\t{}\nDigest:\t{}\n", root.media_type, root.digest);
    let mut out = line_up(&head, 0, 1);
    let Some(index) = index else { return out };
    out += &line_up("\t\nManifests:\t\n", 0, 1);
    // Cells line up over all manifests, unless annotations stand between them.
    let mut block = String::new();
    for (i, manifest) in index.manifests.iter().enumerate() {
        if i > 0 {
            block += "\t\n";
        }
        let _ = writeln!(block, "  Name:\t{}", at.with_digest(&manifest.digest));
        let _ = writeln!(block, "  MediaType:\t{}", manifest.media_type);
        let Some(platform) = &manifest.platform else { continue };
        let _ = writeln!(block, "  Platform:\t{platform}");
        if !platform.os_version.is_empty() {
            let _ = writeln!(block, "  OSVersion:\t{}", platform.os_version);
        }
        if !platform.os_features.is_empty() {
            let _ = writeln!(block, "  OSFeatures:\t{}", platform.os_features.join(", "));
        }
        if !manifest.urls.is_empty() {
            let _ = writeln!(block, "  URLs:\t{}", manifest.urls.join(", "));
        }
        if !manifest.annotations.is_empty() {
            block += "  Annotations:\t\n";
            out += &line_up(&std::mem::take(&mut block), 0, 1);
            let rows: String =
                manifest.annotations.iter().map(|(key, value)| format!("    {key}:\t{value}\n")).collect();
            out += &line_up(&rows, 0, 1);
        }
    }
    out + &line_up(&block, 0, 1)
}
