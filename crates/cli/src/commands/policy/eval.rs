use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use errdefs::{Error, Result, ResultExt as _};
use oci::{Platform, Reference};
use policy::{Answer, Env, File, Input, Known, Policy, Request, Source, Step};

use super::{blocking, engine, host};
use crate::args::{GlobalArgs, PolicyEvalArgs};
use crate::console;
use crate::environment::Environment;
use crate::inputs::{is_git, is_http};

/// How often the engine is asked about one source.
const MOST_ROUNDS: usize = 5;

pub(super) async fn eval(args: &PolicyEvalArgs, global: &GlobalArgs, env: &Environment) -> Result<ExitCode> {
    let source = source(&args.source, env)?;
    let engine = Arc::new(engine(global, env).await?);
    let platform = match &args.platform {
        Some(text) => platform(text)?,
        None => engine.platform().await?,
    };
    let host = host(&engine, env);
    let mut known = Known { source, ..Known::default() };
    if args.print {
        let fields = args.fields.clone();
        let shown = blocking(move || Shown::find_out(&known, &platform, &fields, host.as_ref())).await?;
        return shown.print();
    }
    let (name, file) = file(&args.file, env)?;
    let env = Env { filename: name, ..Env::default() };
    let policy = Policy::new(vec![file], env, Some(platform.clone()), host);
    for _ in 1..MOST_ROUNDS {
        let request = Request { known: known.clone(), platform: Some(platform.clone()) };
        let asked = policy.clone();
        match blocking(move || asked.check(&request)).await? {
            Answer::Ask(question) => known = engine.inquiry().await?.ask(&question).await?,
            Answer::Allow | Answer::Convert(_) => return Ok(ExitCode::SUCCESS),
            Answer::Deny { messages } => {
                let messages: Vec<_> = messages.into_iter().filter(|message| !message.is_empty()).collect();
                return Err(Error::user(match messages.as_slice() {
                    [] => "policy denied".to_owned(),
                    messages => format!("policy denied: {}", messages.join("; ")),
                }));
            }
        }
    }
    Err(Error::user("maximum attempts reached for resolving policy metadata"))
}

fn platform(text: &str) -> Result<Platform> {
    let parsed = text.parse::<Platform>();
    parsed.map(|p| p.normalize()).map_err(|e| Error::user(format!("invalid platform {text:?}: {e}")))
}

/// The policy of a Dockerfile, and the name of that.
fn file(dockerfile: &str, env: &Environment) -> Result<(String, File)> {
    let base = |path: &str| {
        Path::new(path)
            .file_name()
            .map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
    };
    if dockerfile.is_empty() {
        return Err(Error::user("filename is required"));
    }
    if dockerfile == "-" {
        let mut data = Vec::new();
        std::io::stdin().lock().read_to_end(&mut data).context("failed to read policy file -")?;
        return Ok(("stdin".into(), File { name: "-".into(), data }));
    }
    let path = format!("{dockerfile}.rego");
    let data =
        std::fs::read(env.cwd.join(&path)).with_context(|| format!("failed to read policy file {path}"))?;
    Ok((base(dockerfile), File { name: base(&path), data }))
}

/// A source as people write it.
fn source(text: &str, env: &Environment) -> Result<Source> {
    let plain = |identifier: String| Ok(Source { identifier, ..Source::default() });
    if let Some(name) = text.strip_prefix("docker-image://") {
        let reference = name.parse::<Reference>();
        let reference =
            reference.map_err(|e| Error::user(format!("failed to parse image source reference: {e}")))?;
        return plain(format!("docker-image://{}", reference.with_default_tag()));
    }
    if text.starts_with("git://") {
        return plain(text.to_owned());
    }
    if is_http(text) {
        return match is_git(text) {
            true => Ok(Source {
                identifier: format!("git://{text}"),
                attrs: [("git.fullurl".to_owned(), text.to_owned())].into(),
            }),
            false => plain(text.to_owned()),
        };
    }
    match env.cwd.join(text).exists() {
        true => plain("local://context".into()),
        false => Err(Error::not_found(format!("invalid local path {text}"))
            .hint("sources are docker-image://NAME, a URL, a repository, or a folder that is there")),
    }
}

/// What a policy sees of a source.
struct Shown {
    input: Input,
    invalid: Vec<String>,
    unresolved: BTreeSet<String>,
}

impl Shown {
    /// Finds out `fields` beside what the name says.
    fn find_out(
        known: &Known,
        platform: &Platform,
        fields: &[String],
        host: &dyn policy::Host,
    ) -> Result<Self> {
        let mut input = policy::to_input(known, Some(platform))?;
        let mut found = BTreeSet::new();
        let mut before = None;
        for _ in 1..MOST_ROUNDS {
            let unknown = policy::unknowns(&input);
            let wanted: Vec<String> = fields.iter().filter_map(|field| open(field, &unknown)).collect();
            if before.as_ref() == Some(&unknown) || wanted.is_empty() {
                let invalid = |field: &&String| open(field, &unknown).is_none() && !found.contains(*field);
                let invalid = fields.iter().filter(invalid).cloned().collect();
                return Ok(Shown { input, invalid, unresolved: unresolved(&unknown, fields) });
            }
            found.extend(fields.iter().filter(|field| open(field, &unknown).is_some()).cloned());
            before = Some(unknown);
            match policy::resolve(&mut input, &wanted, host)? {
                Step::Nothing | Step::Again => {}
                Step::Ask(question) => input = policy::to_input(&host.ask(&question)?, Some(platform))?,
            }
        }
        Err(Error::user("maximum attempts reached for resolving source metadata"))
    }

    fn print(mut self) -> Result<ExitCode> {
        if !self.invalid.is_empty() {
            console::note(format_args!("WARNING: invalid fields: {}\n", self.invalid.join(", ")));
        }
        if !self.unresolved.is_empty() {
            let fields: Vec<_> = self.unresolved.into_iter().collect();
            console::note(format_args!("unresolved fields: {}\n", fields.join(", ")));
        }
        self.input.without_depth();
        console::out(format!("{}\n", policy::go_json(&self.input)))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The field, or that in which it lies, as far as it is not known.
fn open(field: &str, unknown: &[String]) -> Option<String> {
    let is_in = |open: &&String| {
        field.strip_prefix(open.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    unknown.iter().filter(is_in).max_by_key(|open| open.len()).cloned()
}

/// What is still not known: of the fields that were wanted, or of all, each group once.
fn unresolved(unknown: &[String], wanted: &[String]) -> BTreeSet<String> {
    if !wanted.is_empty() {
        return wanted.iter().filter_map(|field| open(field, unknown)).collect();
    }
    let group = |field: &String| match field.split_once(".materials[") {
        Some((before, _)) => format!("{before}.materials"),
        None => field.split('.').take(2).collect::<Vec<_>>().join("."),
    };
    unknown.iter().map(group).collect()
}
