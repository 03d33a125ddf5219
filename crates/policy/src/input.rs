//! The input of a policy: what is known of a source, in the fields of buildx (`policy/types.go`), in their order.

mod env;
mod git;
mod image;
mod materials;
mod object;
mod provenance;
mod signature;
mod url;

use std::collections::BTreeMap;

use errdefs::{Error, Result};
use oci::{Digest, Platform, Reference};
use serde::{Deserialize, Serialize};

use crate::source::{HttpMeta, Known};

pub use env::Env;
pub(crate) use git::Git;
pub(crate) use image::Image;
pub(crate) use provenance::STATEMENTS;

/// Materials of materials are looked at to this depth.
const MOST_DEPTH: usize = 24;

/// One source. Empty fields are left out of the JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Input {
    #[serde(skip_serializing_if = "Env::is_empty")]
    pub env: Env,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) local: Option<Local>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<Image>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<Http>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) git: Option<Git>,
    /// Fields that have to be asked for, as `image.labels`.
    #[serde(skip)]
    pub(crate) unknown: Vec<&'static str>,
    /// What all of it comes from.
    #[serde(skip)]
    pub(crate) known: Known,
    #[serde(skip)]
    pub(crate) platform: Option<Platform>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Local {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Http {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub schema: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "is_false")]
    pub has_auth: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub checksum: String,
    /// As [`HttpMeta::with_suffix`].
    #[serde(skip)]
    pub with_suffix: Option<(String, Vec<u8>)>,
}

/// The fields of a source, and of what it was made from as far as that is known.
///
/// # Errors
/// User errors for sources of other kinds, and for what is no name of a source.
pub fn to_input(known: &Known, platform: Option<&Platform>) -> Result<Input> {
    of(known, platform, 0, &mut Vec::new())
}

fn of(known: &Known, platform: Option<&Platform>, depth: usize, seen: &mut Vec<String>) -> Result<Input> {
    if depth > MOST_DEPTH {
        return Err(Error::user(format!("provenance materials depth exceeds limit {MOST_DEPTH}")));
    }
    let mut input = single(known, platform)?;
    input.env.depth = depth;
    (input.known, input.platform) = (known.clone(), platform.cloned());
    let materials = match &input.image {
        Some(Image { provenance: Some(provenance), .. }) => provenance.raw.clone(),
        _ => return Ok(input),
    };
    let key =
        format!("{}|{}", known.source.identifier, platform.map(Platform::to_string).unwrap_or_default());
    if materials.is_empty() || seen.contains(&key) {
        return Ok(if materials.is_empty() { input } else { Input::default() });
    }
    seen.push(key);
    let mut inputs = Vec::new();
    for material in &materials {
        // What is no source keeps its place.
        let Some((source, own)) = materials::source(material) else {
            inputs.push(Input::default());
            continue;
        };
        let known = Known { source, ..Known::default() };
        inputs.push(of(&known, own.as_ref().or(platform), depth + 1, seen)?);
    }
    seen.pop();
    if let Some(provenance) = input.image.as_mut().and_then(|image| image.provenance.as_mut()) {
        provenance.materials = inputs;
    }
    Ok(input)
}

fn single(known: &Known, platform: Option<&Platform>) -> Result<Input> {
    let identifier = &known.source.identifier;
    let (scheme, name) = identifier
        .split_once("://")
        .ok_or_else(|| Error::user(format!("invalid source identifier: {identifier}")))?;
    let mut input = Input::default();
    match scheme {
        "http" | "https" => {
            let http = http(known, scheme)?;
            input.unknown = if http.checksum.is_empty() { vec!["http.checksum"] } else { Vec::new() };
            input.http = Some(http);
        }
        "git" => {
            let (git, unknown) = git::git(known, name)?;
            (input.git, input.unknown) = (Some(git), unknown);
        }
        "docker-image" => {
            let platform = platform.ok_or_else(|| Error::user("platform required for image source"))?;
            let (image, unknown) = image::image(known, name, platform)?;
            (input.image, input.unknown) = (Some(image), unknown);
        }
        "local" => input.local = Some(Local { name: name.to_owned() }),
        _ => return Err(Error::user(format!("unsupported source scheme: {scheme}"))),
    }
    Ok(input)
}

fn http(known: &Known, scheme: &str) -> Result<Http> {
    let identifier = &known.source.identifier;
    let parts = url::parts(identifier);
    let HttpMeta { checksum, with_suffix } = known.http.clone().unwrap_or_default();
    Ok(Http {
        url: identifier.clone(),
        schema: scheme.to_owned(),
        host: parts.host.to_owned(),
        path: parts.decoded_path(),
        query: parts.queries(),
        has_auth: known.source.attrs.contains_key("http.authheadersecret"),
        checksum,
        with_suffix,
    })
}

/// The name of an image.
pub(crate) fn parse_reference(name: &str) -> Result<Reference> {
    name.parse().map_err(|e| Error::user(format!("failed to parse image source reference: {e}")))
}

pub(crate) fn parse_digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|e| Error::user(format!("invalid digest {text:?}: {e}")))
}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}

impl Input {
    /// Says the same of the build in this input and those of its materials.
    pub(crate) fn set_env(&mut self, env: &Env) {
        self.set_env_at(env, 0);
    }

    fn set_env_at(&mut self, env: &Env, depth: usize) {
        self.env = Env { depth, ..env.clone() };
        for material in self.materials_mut() {
            material.set_env_at(env, depth + 1);
        }
    }

    /// Forgets how deep each input lies, so that the place shows only what is said of the source.
    pub fn without_depth(&mut self) {
        self.env.depth = 0;
        self.materials_mut().iter_mut().for_each(Input::without_depth);
    }

    pub(crate) fn materials(&self) -> &[Input] {
        let provenance = self.image.as_ref().and_then(|image| image.provenance.as_ref());
        provenance.map_or(&[], |provenance| &provenance.materials)
    }

    pub(crate) fn materials_mut(&mut self) -> &mut [Input] {
        let provenance = self.image.as_mut().and_then(|image| image.provenance.as_mut());
        provenance.map_or(&mut [], |provenance| &mut provenance.materials)
    }
}
