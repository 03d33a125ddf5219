//! Judges sources.

use std::sync::{Arc, Mutex, PoisonError};

use errdefs::{Error, Result, ResultExt as _};
use oci::Platform;

use crate::builtins::{State, lock, no_sigstore, to_value};
use crate::decision::{Caps, Decision};
use crate::host::Host;
use crate::input::{Env, Input, parse_digest, parse_reference, to_input};
use crate::level::Level;
use crate::modules::File;
use crate::program::{self, Program};
use crate::question::{Step, resolve, unknowns};
use crate::source::{Answer, HttpQuestion, Question, Request, Source};

/// Steps reach the network through a proxy that asks the policy.
pub const CAP_PROXY: &str = "exec.proxy";
const QUERY: &str = "data.docker.decision";
/// How often materials are asked about for one answer.
const MOST_ROUNDS: usize = 10;

/// A policy of one or more files that decide together. Cheap to clone.
#[derive(Clone)]
pub struct Policy(Arc<Inner>);

struct Inner {
    files: Vec<File>,
    env: Env,
    /// For requests that name none.
    platform: Option<Platform>,
    host: Arc<dyn Host>,
    program: Mutex<Option<Arc<Program>>>,
}

impl Policy {
    pub fn new(files: Vec<File>, env: Env, platform: Option<Platform>, host: Arc<dyn Host>) -> Self {
        Policy(Arc::new(Inner { files, env, platform, host, program: Mutex::default() }))
    }

    /// Reads the files at the first call.
    fn program(&self) -> Result<Arc<Program>> {
        let mut program = self.0.program.lock().unwrap_or_else(PoisonError::into_inner);
        match &*program {
            Some(program) => Ok(Arc::clone(program)),
            None => Ok(Arc::clone(program.insert(program::load(&self.0.files, false, &self.0.host)?))),
        }
    }

    fn log(&self, level: Level, text: impl FnOnce() -> String) {
        if self.0.host.hears(level) {
            self.0.host.log(level, &text());
        }
    }

    /// Judges a source. Blocks for as long as the evaluation takes.
    ///
    /// # Errors
    /// User errors for a policy that is wrong, that takes too long, or that gives no decision.
    pub fn check(&self, request: &Request) -> Result<Answer> {
        let platform = request.platform.as_ref().or(self.0.platform.as_ref());
        let mut input = to_input(&request.known, platform).context("failed to build policy input")?;
        let program = self.program()?;
        self.log(Level::Info, || format!("checking policy for source {}", request.name()));
        for _ in 0..MOST_ROUNDS {
            input.set_env(&self.0.env);
            self.log(Level::Debug, || format!("policy input: {}", go_json(&input)));
            let state = Arc::new(Mutex::new(State::new(&input)?));
            let (value, prints) = program::run(&program, QUERY, Some(to_value(&input)?), &state)?;
            let mut state = std::mem::take(&mut *lock(&state));
            refuse_signatures(&input, &state)?;
            let asked: Vec<String> = state.asked.iter().cloned().collect();
            if let Some(digest) = state.digest.take() {
                self.tell_asked(request, &["http.checksum".to_owned()]);
                return Ok(Answer::Ask(Box::new(digest_question(&input, digest))));
            }
            match resolve(&mut input, &asked, self.0.host.as_ref())? {
                Step::Nothing => {
                    program.tell(&prints);
                    return self.answer(request, Decision::of(&value)?, &state);
                }
                Step::Again => {}
                Step::Ask(question) => {
                    self.tell_asked(request, &asked);
                    return Ok(Answer::Ask(question));
                }
            }
        }
        Err(Error::user("maximum attempts reached for resolving policy metadata"))
    }

    fn tell_asked(&self, request: &Request, fields: &[String]) {
        let name = request.name();
        self.log(Level::Info, || {
            format!(
                "policy decision for source {name}: resolve missing fields [{}]",
                summary(fields).join(" ")
            )
        });
    }

    fn answer(&self, request: &Request, decision: Decision, state: &State) -> Result<Answer> {
        let name = request.name();
        self.log(Level::Debug, || format!("policy response: {}", go_json(&decision)));
        let is_allowed = decision.allow == Some(true);
        if is_allowed && !state.pins.is_empty() {
            let pins: Vec<&str> = state.pins.iter().map(String::as_str).collect();
            let [pin] = pins.as_slice() else {
                return Err(Error::user(format!("multiple image pins set to {name}: {}", pins.join(", "))));
            };
            let source = pinned(&request.known.source, pin).context("failed to add image pin to source")?;
            let identifier = &source.identifier;
            self.log(Level::Info, || format!("policy decision for source {name}: convert to {identifier}"));
            return Ok(Answer::Convert(source));
        }
        let word = if is_allowed { "ALLOW" } else { "DENY" };
        self.log(Level::Info, || format!("policy decision for source {name}: {word}"));
        for message in &decision.messages {
            self.log(Level::Info, || format!(" - {message}"));
        }
        Ok(if is_allowed { Answer::Allow } else { Answer::Deny { messages: decision.messages } })
    }

    /// What the policy wants of the build as a whole.
    ///
    /// # Errors
    /// As [`Policy::check`]; and where it looks at sources to tell.
    pub fn caps(&self) -> Result<Caps> {
        let program = self.program()?;
        let mut input = Input::default();
        input.set_env(&Env { caps_request: true, ..self.0.env.clone() });
        self.log(Level::Debug, || format!("policy input: {}", go_json(&input)));
        let state = Arc::new(Mutex::new(State::new(&input)?));
        let (value, prints) = program::run(&program, QUERY, Some(to_value(&input)?), &state)?;
        program.tell(&prints);
        Ok(Decision::of(&value)?.caps)
    }
}

/// Signatures that nobody checks must not look like none.
fn refuse_signatures(input: &Input, state: &State) -> Result<()> {
    let unknown = unknowns(input);
    let checked = |field: &&String| field.ends_with("image.signatures") && !unknown.contains(field);
    match state.asked.iter().find(checked) {
        Some(field) => {
            Err(no_sigstore(&format!("the policy reads `input.{field}`, and the image is signed")))
        }
        None => Ok(()),
    }
}

fn digest_question(input: &Input, digest: HttpQuestion) -> Question {
    Question {
        source: input.known.source.clone(),
        platform: input.platform.clone(),
        http: Some(digest),
        ..Question::default()
    }
}

/// Fields as people are told them: each part of an image once.
fn summary(fields: &[String]) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for field in fields {
        let whole = ["image.signatures", "image.provenance"].into_iter().find(|part| field.starts_with(part));
        let field = whole.unwrap_or(field);
        if !all.contains(&field) {
            all.push(field);
        }
    }
    all
}

fn pinned(source: &Source, digest: &str) -> Result<Source> {
    let name = source.identifier.strip_prefix("docker-image://");
    let name =
        name.ok_or_else(|| Error::user(format!("cannot pin non-image source: {:?}", source.identifier)))?;
    let reference = parse_reference(name)?;
    let pin = parse_digest(digest)?;
    let mut attrs = source.attrs.clone();
    attrs.insert("image.checksum".into(), digest.to_owned());
    Ok(Source { identifier: format!("docker-image://{}", reference.with_digest(pin)), attrs })
}

/// JSON as Go writes it for people: two spaces, and no `<`, `>`, `&`.
pub fn go_json(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
