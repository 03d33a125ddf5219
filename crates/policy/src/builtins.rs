//! Functions that Rego has not: what they read comes from the host, and what they find out goes into the [`State`].

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use errdefs::{Error, Result, ResultExt as _};
use regorus::{Engine, Value};

use crate::host::{Host, Signed};
use crate::input::{Http, Image, Input, parse_digest};
use crate::level::Level;
use crate::openpgp::{Keys, Signature};
use crate::source::HttpQuestion;
use crate::trace;

/// Most bytes of files.
const MOST_JSON: usize = 4 << 20;
const MOST_GIT_KEYS: usize = 128 << 10;
const MOST_PGP: usize = 512 << 10;
/// Most numbers of a range: one that is made at once cannot be broken off.
const MOST_NUMBERS: i64 = 1_000_000;

/// What an evaluation is given, and what it finds out.
#[derive(Default)]
pub(crate) struct State {
    input: Input,
    /// Objects of the input some of whose fields are not known.
    nodes: Vec<Node>,
    /// Fields that were read and are not known.
    pub asked: BTreeSet<String>,
    pub pins: BTreeSet<String>,
    /// A digest that is needed to check a signature.
    pub digest: Option<HttpQuestion>,
    /// What the evaluation cannot go on without.
    pub failure: Option<Error>,
}

struct Node {
    value: Value,
    /// As `image.provenance.materials[0].`
    prefix: String,
    /// As `image.labels`.
    fields: Vec<&'static str>,
}

impl State {
    pub fn new(input: &Input) -> Result<Self> {
        let mut state = State { input: input.clone(), ..State::default() };
        state.find_nodes(input, "")?;
        Ok(state)
    }

    fn find_nodes(&mut self, input: &Input, prefix: &str) -> Result<()> {
        let value = to_value(input)?;
        for kind in ["image", "git", "http"] {
            let is_of = |field: &&&str| field.split_once('.').is_some_and(|(first, _)| first == kind);
            let mut fields: Vec<_> = input.unknown.iter().filter(is_of).copied().collect();
            if kind == "image" && input.image.as_ref().is_some_and(|image| image.has_signatures) {
                fields.push("image.signatures");
            }
            if !fields.is_empty() {
                self.nodes.push(Node { value: value[kind].clone(), prefix: prefix.to_owned(), fields });
            }
        }
        for (at, material) in input.materials().iter().enumerate() {
            self.find_nodes(material, &format!("{prefix}image.provenance.materials[{at}]."))?;
        }
        Ok(())
    }

    /// A field of an object was read.
    fn read(&mut self, object: &Value, name: &str) {
        self.ask_for(name, |node| node.value == *object);
    }

    /// A field of any object was read, or of any in a list: these are materials.
    fn read_somewhere(&mut self, name: &str, of_list: bool) {
        self.ask_for(name, |node| !of_list || !node.prefix.is_empty());
    }

    fn ask_for(&mut self, name: &str, is_meant: impl Fn(&Node) -> bool) {
        for node in self.nodes.iter().filter(|node| is_meant(node)) {
            let named = |field: &&&str| field.split_once('.').is_some_and(|(_, last)| last == name);
            self.asked
                .extend(node.fields.iter().filter(named).map(|field| format!("{}{field}", node.prefix)));
        }
    }
}

pub(crate) type Shared = Arc<Mutex<State>>;

pub(crate) fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value of Rego.
pub(crate) fn to_value(json: &impl serde::Serialize) -> Result<Value> {
    let text = serde_json::to_string(json)
        .map_err(|e| Error::internal(format!("failed to write the input of a policy: {e}")))?;
    Value::from_json_str(&text)
        .map_err(|e| Error::internal(format!("failed to read the input of a policy: {e}")))
}

/// One function. Its error is no error of the policy: the call has no value then, as in buildx.
type Function = fn(&Call<'_>, &[Value]) -> Result<Option<Value>>;

struct Call<'c> {
    name: &'static str,
    state: &'c Shared,
    host: &'c dyn Host,
}

const FUNCTIONS: [(&str, u8, Function); 11] = [
    ("load_json", 1, load_json),
    ("verify_git_signature", 2, verify_git_signature),
    ("verify_http_pgp_signature", 3, verify_http_pgp_signature),
    ("pin_image", 2, pin_image),
    ("artifact_attestation", 2, attestation),
    ("github_attestation", 2, attestation),
    ("github_release_attestation", 1, release_attestation),
    ("docker_github_builder", 2, github_builder),
    ("docker_github_builder_tag", 3, github_builder),
    ("docker_github_builder_signature", 2, github_signature),
    ("docker_github_builder_bundle", 3, attestation),
];

/// Gives an evaluator the functions.
pub(crate) fn add(engine: &mut Engine, state: &Shared, host: &Arc<dyn Host>) -> Result<()> {
    let failed = |e: anyhow::Error| Error::internal(format!("failed to add a function: {e}"));
    for (name, count, function) in FUNCTIONS {
        let (state, host) = (Arc::clone(state), Arc::clone(host));
        let call = move |params: Vec<Value>| {
            let call = Call { name, state: &state, host: host.as_ref() };
            Ok(match function(&call, &params) {
                Ok(value) => value.unwrap_or(Value::Undefined),
                Err(e) => {
                    host.log(Level::Debug, &format!("{name}: {e}"));
                    Value::Undefined
                }
            })
        };
        engine.add_extension(name.into(), count, Box::new(call)).map_err(failed)?;
    }
    let seen = Arc::clone(state);
    let field = move |params: Vec<Value>| {
        let [object, name] = params.as_slice() else { return Ok(Value::Undefined) };
        lock(&seen).read(object, trace::name(name));
        Ok(name.clone())
    };
    engine.add_extension(trace::FIELD.into(), 2, Box::new(field)).map_err(failed)?;
    let seen = Arc::clone(state);
    let name = move |params: Vec<Value>| {
        let [name, of_list] = params.as_slice() else { return Ok(Value::Undefined) };
        lock(&seen).read_somewhere(trace::name(name), *of_list == Value::from(true));
        Ok(name.clone())
    };
    engine.add_extension(trace::NAME.into(), 2, Box::new(name)).map_err(failed)?;
    engine.add_extension("numbers.range".into(), 2, Box::new(range)).map_err(failed)
}

/// As the evaluator's own, within bounds.
fn range(params: Vec<Value>) -> anyhow::Result<Value> {
    let (Some(Ok(from)), Some(Ok(to))) =
        (params.first().map(Value::as_i64), params.get(1).map(Value::as_i64))
    else {
        return Ok(Value::Undefined);
    };
    if from.abs_diff(to) >= MOST_NUMBERS.unsigned_abs() {
        anyhow::bail!("numbers.range: more than {MOST_NUMBERS} numbers");
    }
    let numbers: Vec<Value> = match from <= to {
        true => (from..=to).map(Value::from).collect(),
        false => (to..=from).rev().map(Value::from).collect(),
    };
    Ok(Value::from(numbers))
}

impl Call<'_> {
    fn text<'v>(&self, value: &'v Value) -> Result<&'v str> {
        let text = value.as_string().map(AsRef::as_ref);
        text.map_err(|_| Error::user(format!("{}: expected a string", self.name)))
    }

    fn file(&self, path: &Value, most: usize) -> Result<Vec<u8>> {
        let path = self.text(path)?;
        let missing = || Error::not_found(format!("failed opening file {path:?}"));
        self.host.read(path, most)?.ok_or_else(missing)
    }

    /// The page of the input; nothing where that is another source.
    fn http(&self, value: &Value) -> Result<Option<Http>> {
        let Some(http) = lock(self.state).input.http.clone() else { return Ok(None) };
        self.is(value, &http, "input http")?;
        Ok(Some(http))
    }

    fn is(&self, value: &Value, wanted: &impl serde::Serialize, name: &str) -> Result<()> {
        match to_value(wanted)? == *value {
            true => Ok(()),
            false => Err(Error::user(format!("{}: first argument is not the same as {name}", self.name))),
        }
    }
}

fn load_json(call: &Call<'_>, params: &[Value]) -> Result<Option<Value>> {
    let data = call.file(&params[0], MOST_JSON)?;
    let text = String::from_utf8_lossy(&data);
    let value = Value::from_json_str(&text).map_err(|e| Error::user(format!("invalid JSON: {e}")))?;
    Ok(Some(value))
}

fn verify_git_signature(call: &Call<'_>, params: &[Value]) -> Result<Option<Value>> {
    let Some(git) = lock(call.state).input.git.clone() else { return Ok(Some(Value::from(false))) };
    let Some(commit) = git.commit else {
        lock(call.state).asked.insert("git.commit".into());
        return Ok(Some(Value::from(false)));
    };
    let signed: Signed = match git.tag {
        _ if to_value(&commit)? == params[0] => commit.signed,
        Some(tag) if to_value(&tag)? == params[0] => tag.signed,
        _ => return Err(Error::user("object is neither commit nor tag")),
    };
    if signed.signature.is_empty() {
        return Err(Error::user("git object is not signed"));
    }
    let keys = call.file(&params[1], MOST_GIT_KEYS)?;
    call.host.verify(&signed, &keys)?;
    Ok(Some(Value::from(true)))
}

fn verify_http_pgp_signature(call: &Call<'_>, params: &[Value]) -> Result<Option<Value>> {
    let Some(http) = call.http(&params[0])? else { return Ok(Some(Value::from(false))) };
    let signature = call.file(&params[1], MOST_PGP)?;
    let keys = call.file(&params[2], MOST_PGP)?;
    let signature = Signature::parse(&signature).context("failed to parse detached signature")?;
    let keys = Keys::parse(&keys).context("failed to read armored keyring")?;
    let wanted = HttpQuestion { algorithm: signature.algorithm, suffix: signature.suffix() };
    let digest = http.with_suffix.filter(|(_, suffix)| *suffix == wanted.suffix);
    match digest.and_then(|(digest, _)| signature.raw_digest(&digest)) {
        Some(digest) => Ok(Some(Value::from(keys.have_signed(&signature, &digest)))),
        None => {
            lock(call.state).digest = Some(wanted);
            Ok(Some(Value::from(false)))
        }
    }
}

fn pin_image(call: &Call<'_>, params: &[Value]) -> Result<Option<Value>> {
    let Some(image) = lock(call.state).input.image.clone() else { return Ok(Some(Value::from(false))) };
    call.is(&params[0], &image, "input image")?;
    let digest = parse_digest(call.text(&params[1])?)?;
    let Image { checksum, .. } = image;
    if checksum != digest.as_str() {
        lock(call.state).pins.insert(digest.to_string());
    }
    Ok(Some(Value::from(true)))
}

fn attestation(call: &Call<'_>, params: &[Value]) -> Result<Option<Value>> {
    if call.http(&params[0])?.is_some() {
        lock(call.state).failure = Some(no_sigstore(call.name));
    }
    Ok(None)
}

/// The same for a file of a release at GitHub.
fn release_attestation(call: &Call<'_>, params: &[Value]) -> Result<Option<Value>> {
    let field = |name: &str| params[0][name].as_string().map(|text| text.to_string()).unwrap_or_default();
    let is_there = field("schema") == "https" && field("host").eq_ignore_ascii_case("github.com");
    match field("path").split('/').collect::<Vec<_>>()[..] {
        ["", owner, name, "releases", "download", tag, ref file @ ..]
            if is_there && ![owner, name, tag, &file.concat()].contains(&"") =>
        {
            attestation(call, params)
        }
        _ => Ok(None),
    }
}

/// Whether Docker's workflow at GitHub has built an image from a repository; from a tag, where there is a third value.
fn github_builder(call: &Call<'_>, params: &[Value]) -> Result<Option<Value>> {
    let image = &params[0];
    lock(call.state).read(image, "hasProvenance");
    if image["hasProvenance"] != Value::from(true) {
        return Ok(None);
    }
    lock(call.state).read(image, "signatures");
    let Ok(signatures) = image["signatures"].as_array() else { return Ok(None) };
    let tag = params.get(2).map(|tag| call.text(tag)).transpose()?.map(|tag| format!("refs/tags/{tag}"));
    let is_of_tag = |tag: String| {
        let reference = Value::from(tag);
        signatures.iter().any(|signature| signature["signer"]["sourceRepositoryRef"] == reference)
    };
    let repository = call.text(&params[1])?;
    let built = signatures.iter().any(|signature| is_github_builder(signature, repository));
    Ok((built && tag.is_none_or(is_of_tag)).then(|| Value::from(true)))
}

fn github_signature(call: &Call<'_>, params: &[Value]) -> Result<Option<Value>> {
    let repository = call.text(&params[1])?;
    Ok(is_github_builder(&params[0], repository).then(|| Value::from(true)))
}

/// What the signatures of that workflow say; somebody else has checked them.
fn is_github_builder(signature: &Value, repository: &str) -> bool {
    let signer = &signature["signer"];
    let wanted = [
        (&signature["kind"], "docker-github-builder".to_owned()),
        (&signature["type"], "bundle-v0.3".into()),
        (&signer["issuer"], "https://token.actions.githubusercontent.com".into()),
        (&signer["certificateIssuer"], "CN=sigstore-intermediate,O=sigstore.dev".into()),
        (&signer["runnerEnvironment"], "github-hosted".into()),
        (&signer["sourceRepositoryURI"], format!("https://github.com/{repository}")),
    ];
    let has_time = signature["timestamps"].as_array().is_ok_and(|times| !times.is_empty());
    has_time && wanted.into_iter().all(|(value, text)| *value == Value::from(text))
}

/// The error for what needs signatures of Sigstore.
pub(crate) fn no_sigstore(what: &str) -> Error {
    Error::unimplemented(format!("{what}: Kiln cannot verify signatures of Sigstore"))
        .hint("a policy without it, or `docker buildx` with this engine, can decide")
}
