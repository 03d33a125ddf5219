use std::collections::BTreeMap;

use errdefs::{Error, Result};
use oci::Platform;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::provenance::Provenance;
use super::{is_false, parse_reference};
use crate::source::{ImageMeta, Known};

/// An image, as its name, its config and what is said of it tell.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Image {
    #[serde(rename = "ref", skip_serializing_if = "String::is_empty")]
    pub reference: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repo: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub full_repo: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tag: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub arch: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    #[serde(skip_serializing_if = "is_false")]
    pub is_canonical: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub checksum: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_time: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(skip_serializing_if = "is_false")]
    pub has_provenance: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// Only tests of policies have some: nobody checks them here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Value>,
    /// There are some, which nobody checks.
    #[serde(skip)]
    pub has_signatures: bool,
}

/// Fields that come from the config.
const CONFIG: [&str; 5] = ["image.labels", "image.user", "image.volumes", "image.workingDir", "image.env"];
/// Fields that come from what is said of the image.
const CHAIN: [&str; 3] = ["image.hasProvenance", "image.provenance", "image.signatures"];

/// The fields, and those that have to be asked for.
pub(super) fn image(known: &Known, name: &str, platform: &Platform) -> Result<(Image, Vec<&'static str>)> {
    let reference = parse_reference(name)?;
    let mut image = Image {
        reference: reference.to_string(),
        host: reference.host().to_owned(),
        repo: reference.familiar_name(),
        full_repo: reference.repository(),
        tag: reference.tag().unwrap_or_default().to_owned(),
        platform: platform.to_string(),
        os: platform.os.clone(),
        arch: platform.architecture.clone(),
        variant: platform.variant.clone(),
        is_canonical: reference.digest().is_some(),
        checksum: reference.digest().map(ToString::to_string).unwrap_or_default(),
        ..Image::default()
    };
    let mut unknown = Vec::new();
    let Some(ImageMeta { digest, config, chain }) = &known.image else {
        unknown.extend((!image.is_canonical).then_some("image.checksum"));
        unknown.extend(CONFIG.iter().chain(&CHAIN));
        return Ok((image, unknown));
    };
    image.checksum.clone_from(digest);
    match config.is_empty() {
        true => unknown.extend(CONFIG),
        false => image.read_config(config)?,
    }
    match chain {
        None => unknown.extend(CHAIN),
        Some(chain) => {
            image.provenance = Provenance::of(chain);
            image.has_provenance = !chain.attestation_manifest.is_empty() || image.provenance.is_some();
            image.has_signatures = !chain.signature_manifests.is_empty();
        }
    }
    Ok((image, unknown))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    created: Option<String>,
    config: Option<Config>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    labels: Option<BTreeMap<String, String>>,
    env: Option<Vec<String>>,
    user: String,
    volumes: Option<BTreeMap<String, Value>>,
    working_dir: String,
}

impl Image {
    fn read_config(&mut self, json: &[u8]) -> Result<()> {
        let file: File = serde_json::from_slice(json)
            .map_err(|e| Error::user(format!("failed to unmarshal image config: {e}")))?;
        let config = file.config.unwrap_or_default();
        self.created_time = file.created.as_deref().map(whole_seconds).unwrap_or_default();
        self.labels = config.labels.unwrap_or_default();
        self.env = config.env.unwrap_or_default();
        self.user = config.user;
        self.volumes = config.volumes.unwrap_or_default().into_keys().collect();
        self.working_dir = config.working_dir;
        Ok(())
    }
}

/// A time of RFC 3339 without the parts of its second.
fn whole_seconds(time: &str) -> String {
    let Some((begin, rest)) = time.split_once('.') else { return time.to_owned() };
    format!("{begin}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
}
