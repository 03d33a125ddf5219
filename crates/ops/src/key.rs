//! Cache keys of ops, byte for byte BuildKit's.
//!
//! Each key is the sha256 of a JSON text in the form that Go's `encoding/json` writes. What enters which key:
//!
//! | field | exec | file | merge, diff | source |
//! |---|---|---|---|---|
//! | kind of op, as `buildkit.exec.v0` | yes | yes | yes | yes |
//! | args, env, cwd, user, hostname, ulimits, cgroup parent, exit codes | yes | - | - | - |
//! | proxy environment, IPs of extra hosts | no: they change where, not what | - | - | - |
//! | network and security mode, secret names, devices | yes | - | - | - |
//! | a proxy before the network | yes, unlike BuildKit's: what ran without was not judged | - | - | - |
//! | mounts | yes, unless `/` is the only one: old caches were written so | - | - | - |
//! | selector of a mount | no: it enters the key of the dependency | - | - | - |
//! | id and sharing of a cache mount | only where they are the Dockerfile's defaults | - | - | - |
//! | platform | yes | no | no | within the source's own key |
//! | actions | - | yes; the source path of a copy only by its base name | - | - |
//! | content of secrets | never | - | - | - |
//! | names, progress groups, resources | no | no | no | no |

use std::collections::BTreeMap;

use llb::{
    BuildOp, CacheSharing, DiffOp, ExecOp, FileActionKind, FileOp, MergeOp, Mount, MountType, PassthroughOp,
};
use oci::{Digest, Platform};
use serde::Serialize;

/// A key, and what it was made of: name and text of each ingredient.
pub struct Key {
    pub digest: Digest,
    pub ingredients: Vec<(String, String)>,
}

pub fn exec(op: &ExecOp, platform: &Platform) -> Key {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Exec<'a> {
        r#type: &'static str,
        exec: &'a ExecOp,
        #[serde(rename = "OS")]
        os: &'a str,
        arch: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        variant: &'a str,
        #[serde(rename = "OSVersion", skip_serializing_if = "str::is_empty")]
        os_version: &'a str,
        #[serde(rename = "OSFeatures", skip_serializing_if = "<[String]>::is_empty")]
        os_features: &'a [String],
    }
    let mut keyed = op.clone();
    keyed.meta.proxy_env = None;
    for host in &mut keyed.meta.extra_hosts {
        host.ip.clear();
    }
    for mount in &mut keyed.mounts {
        mount.selector.clear();
        forget_cache_options(mount);
    }
    if let [only] = &keyed.mounts[..]
        && is_plain_root(only)
    {
        keyed.mounts.clear();
    }
    let mut json = oci::json::to_vec(&Exec {
        r#type: "buildkit.exec.v0",
        exec: &keyed,
        os: &platform.os,
        arch: &platform.architecture,
        variant: &platform.variant,
        os_version: &platform.os_version,
        os_features: &platform.os_features,
    });
    if op.proxied {
        // With what BuildKit marks the digests of such vertices.
        json.extend_from_slice(b"\0buildkit.proxy-network.v0");
    }
    let meta = &op.meta;
    let mut ingredients =
        vec![("command".into(), meta.args.join(" ")), ("directory".into(), meta.cwd.clone())];
    ingredients.extend(meta.env.iter().map(|e| ("environment".into(), e.clone())));
    ingredients.push(("user".into(), meta.user.clone()));
    ingredients.push(("platform".into(), platform.to_string()));
    ingredients.extend(op.proxied.then(|| ("network".into(), "behind a proxy".into())));
    ingredients.extend(op.mounts.iter().filter(|m| m.dest != "/").map(|m| ("mount".into(), m.dest.clone())));
    Key { digest: Digest::of(&json), ingredients }
}

/// Id and sharing of a cache mount do not decide a result, but those that a Dockerfile gives by default stand in old
/// keys and stay.
fn forget_cache_options(mount: &mut Mount) {
    let Some(cache) = &mut mount.cache else { return };
    let default_id =
        cache.id == mount.dest || cache.id.split_once('/').is_some_and(|(_, id)| id == mount.dest);
    if !(default_id && cache.sharing == CacheSharing::Shared) {
        cache.id.clear();
        cache.sharing = CacheSharing::Shared;
    }
}

fn is_plain_root(m: &Mount) -> bool {
    m.dest == "/"
        && !m.readonly
        && m.mount_type == MountType::Bind
        && m.cache.is_none()
        && m.ssh.is_none()
        && m.secret.is_none()
        && m.result_id.is_empty()
}

/// `inputs` is the number of the op's inputs.
pub fn file(op: &FileOp, inputs: usize) -> Key {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct File {
        r#type: &'static str,
        /// The JSON of each action, in base64 as Go writes bytes.
        actions: Vec<String>,
        #[serde(rename = "indexes", skip_serializing_if = "Vec::is_empty")]
        indexes: Vec<[i64; 3]>,
    }
    let mut actions = Vec::with_capacity(op.actions.len());
    let mut ingredients = Vec::with_capacity(op.actions.len());
    for action in &op.actions {
        let json = match &action.kind {
            FileActionKind::Copy(copy) => {
                let mut copy = copy.clone();
                if (0..inputs as i64).contains(&action.secondary_input) {
                    copy.src = base_name(&copy.src).to_owned();
                }
                oci::json::to_vec(&copy)
            }
            FileActionKind::MkFile(m) => oci::json::to_vec(m),
            FileActionKind::MkDir(m) => oci::json::to_vec(m),
            FileActionKind::Rm(r) => oci::json::to_vec(r),
            FileActionKind::Symlink(s) => oci::json::to_vec(s),
        };
        ingredients.push(("action".into(), String::from_utf8_lossy(&json).into_owned()));
        actions.push(base64(&json));
    }
    let mut indexes: Vec<_> = op.actions.iter().map(|a| [a.input, a.secondary_input, a.output]).collect();
    if are_default(&indexes) {
        indexes.clear();
    }
    let json = oci::json::to_vec(&File { r#type: "buildkit.file.v0", actions, indexes });
    Key { digest: Digest::of(&json), ingredients }
}

/// Whether the indexes are those of a plain chain of actions on input 0, which old keys left out.
fn are_default(indexes: &[[i64; 3]]) -> bool {
    let count = indexes.len() as i64;
    count > 0
        && indexes.iter().zip(0..).all(|(&[input, secondary, output], i)| {
            input == if i == 0 { 0 } else { count + i - 1 }
                && (secondary == llb::NONE || secondary == 1)
                && output == if i == count - 1 { 0 } else { llb::NONE }
        })
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The last element of a path, as Go's `path.Base`.
fn base_name(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed.rsplit('/').next().unwrap_or(trimmed),
    }
}

pub fn merge(op: &MergeOp) -> Key {
    #[derive(Serialize)]
    struct Inputs {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        inputs: Vec<Index>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Merge {
        r#type: &'static str,
        merge: Inputs,
    }
    let merge = Inputs { inputs: op.inputs.iter().map(|&input| Index { input }).collect() };
    let json = oci::json::to_vec(&Merge { r#type: "buildkit.merge.v0", merge });
    Key { digest: Digest::of(&json), ingredients: vec![("inputs".into(), op.inputs.len().to_string())] }
}

pub fn diff(op: &DiffOp) -> Key {
    #[derive(Serialize)]
    struct Sides {
        lower: Index,
        upper: Index,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Diff {
        r#type: &'static str,
        diff: Sides,
    }
    let diff = Sides { lower: Index { input: op.lower }, upper: Index { input: op.upper } };
    let json = oci::json::to_vec(&Diff { r#type: "buildkit.diff.v0", diff });
    Key { digest: Digest::of(&json), ingredients: Vec::new() }
}

pub fn build(op: &BuildOp) -> Key {
    #[derive(Serialize)]
    struct Build<'a> {
        builder: i64,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        inputs: BTreeMap<&'a str, Index>,
        /// Clients leave it out: the definition comes from a file.
        #[serde(skip_serializing_if = "Option::is_none")]
        def: Option<String>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        attrs: &'a BTreeMap<String, String>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Keyed<'a> {
        r#type: &'static str,
        exec: Build<'a>,
    }
    let inputs = op.inputs.iter().map(|(name, &input)| (name.as_str(), Index { input })).collect();
    let def = op.definition.as_ref().map(|d| base64(&d.encode()));
    let exec = Build { builder: op.builder, inputs, def, attrs: &op.attrs };
    let json = oci::json::to_vec(&Keyed { r#type: "buildkit.build.v0", exec });
    let file = op.attrs.get("llbbuild.filename").cloned().unwrap_or_default();
    Key { digest: Digest::of(&json), ingredients: vec![("definition".into(), file)] }
}

pub fn passthrough(op: &PassthroughOp) -> Key {
    #[derive(Serialize)]
    struct Passthrough<'a> {
        #[serde(skip_serializing_if = "str::is_empty")]
        id: &'a str,
        #[serde(skip_serializing_if = "<[i64]>::is_empty")]
        outputs: &'a [i64],
    }
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Keyed<'a> {
        r#type: &'static str,
        passthrough: Passthrough<'a>,
    }
    let passthrough = Passthrough { id: &op.id, outputs: &op.outputs };
    let json = oci::json::to_vec(&Keyed { r#type: "buildkit.passthrough.v0", passthrough });
    Key { digest: Digest::of(&json), ingredients: vec![("id".into(), op.id.clone())] }
}

/// The index of an input; 0 is left out.
#[derive(Serialize)]
struct Index {
    #[serde(skip_serializing_if = "is_zero")]
    input: i64,
}

fn is_zero(v: &i64) -> bool {
    *v == 0
}

/// The key of a source, from the source's own text.
pub fn source(key: &str) -> Key {
    Key {
        digest: Digest::of(format!("buildkit.source.v0:{key}")),
        ingredients: vec![("source".into(), key.to_owned())],
    }
}

/// The selector of a dependency whose content is looked at through these paths.
pub fn exec_selector(paths: &[String]) -> Option<Digest> {
    (!paths.is_empty()).then(|| Digest::of(paths.join("\0")))
}

/// The same for a file op, which sorts its paths downward.
pub fn file_selector(paths: &[&str]) -> Digest {
    let mut paths = paths.to_vec();
    paths.sort_unstable();
    paths.reverse();
    Digest::of(paths.join("\0"))
}

#[cfg(test)]
mod tests;
