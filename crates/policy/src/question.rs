//! Fields that are to be known, as questions about sources.

use std::collections::BTreeMap;

use errdefs::{Result, ResultExt as _};

use crate::host::Host;
use crate::input::{Input, STATEMENTS, to_input};
use crate::source::{GitQuestion, ImageQuestion, Question};

const IMAGE: [&str; 9] = [
    "checksum",
    "labels",
    "user",
    "volumes",
    "workingDir",
    "env",
    "hasProvenance",
    "signatures",
    "provenance",
];
const GIT: [&str; 9] =
    ["ref", "checksum", "commitChecksum", "isAnnotatedTag", "isSHA256", "tagName", "branch", "commit", "tag"];
const MATERIAL: &str = "image.provenance.materials[";

/// What is to be done so that fields are known.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// They are, or never will be.
    Nothing,
    /// The input has more now.
    Again,
    Ask(Box<Question>),
}

/// All fields of an input, and of its materials, that are not known: `image.labels`.
pub fn unknowns(input: &Input) -> Vec<String> {
    let mut all: Vec<String> = input.unknown.iter().map(|field| (*field).to_owned()).collect();
    for (at, material) in input.materials().iter().enumerate() {
        all.extend(unknowns(material).into_iter().map(|field| format!("{MATERIAL}{at}].{field}")));
    }
    all
}

/// Whether all of these fields are of those that an engine can be asked for (`AddUnknowns` of buildx).
pub fn is_all_askable(fields: &[String]) -> bool {
    fields.iter().all(|field| match field.split_once('.') {
        None => matches!(field.as_str(), "image" | "git" | "http" | "local"),
        Some((kind, name)) => {
            let names: &[&str] = match kind {
                "image" => &IMAGE,
                "git" => &GIT,
                "http" => &["checksum"],
                _ => &[],
            };
            names.contains(&name) || field.starts_with("image.provenance.")
        }
    })
}

/// Finds fields out. About the source itself the engine that shows it is asked; about what it was made from, the host.
///
/// # Errors
/// What went wrong when the host was asked.
pub fn resolve(input: &mut Input, fields: &[String], host: &dyn Host) -> Result<Step> {
    let (own, materials) = split(fields);
    if let Some(question) = question(input, &own) {
        return Ok(Step::Ask(Box::new(question)));
    }
    for (at, fields) in materials {
        let Some(material) = input.materials_mut().get_mut(at) else { continue };
        match resolve(material, &fields, host)? {
            Step::Nothing => {}
            Step::Again => return Ok(Step::Again),
            Step::Ask(question) => {
                let known = host.ask(&question).context("failed to resolve source metadata for material")?;
                let depth = material.env.depth;
                *material = to_input(&known, material.platform.clone().as_ref())?;
                material.env.depth = depth;
                return Ok(Step::Again);
            }
        }
    }
    Ok(Step::Nothing)
}

/// Fields of the input itself, and those of its materials.
fn split(fields: &[String]) -> (Vec<&str>, BTreeMap<usize, Vec<String>>) {
    let (mut own, mut materials) = (Vec::new(), BTreeMap::<usize, Vec<String>>::new());
    for field in fields {
        let of = field.strip_prefix(MATERIAL).and_then(|rest| rest.split_once("]."));
        match of.and_then(|(at, rest)| Some((at.parse().ok()?, rest))) {
            Some((at, rest)) => materials.entry(at).or_default().push(rest.to_owned()),
            None => own.push(field.as_str()),
        }
    }
    (own, materials)
}

/// The question for fields of one source. What was asked before is asked again: the answer takes the place of what was
/// known.
pub(crate) fn question(input: &Input, fields: &[&str]) -> Option<Question> {
    let known = &input.known;
    let mut question =
        Question { source: known.source.clone(), platform: input.platform.clone(), ..Question::default() };
    let mut image = ImageQuestion::default();
    let mut is_page = false;
    for field in fields {
        match field.split_once('.') {
            Some(("image", "hasProvenance" | "signatures" | "provenance")) => image.chain = true,
            Some(("image", _)) => image.config = true,
            Some(("git", name)) => {
                let objects = matches!(name, "commit" | "tag");
                question.git.get_or_insert(GitQuestion { objects: false }).objects |= objects;
            }
            Some(("http", _)) => is_page = true,
            _ => {}
        }
    }
    if image.chain || image.config {
        if let Some(before) = &known.image {
            image.config |= !before.config.is_empty();
            image.chain |= before.chain.is_some();
        }
        if image.chain {
            image.statements = STATEMENTS.map(str::to_owned).to_vec();
        }
        question.image = Some(image);
    }
    (question.image.is_some() || question.git.is_some() || is_page).then_some(question)
}
