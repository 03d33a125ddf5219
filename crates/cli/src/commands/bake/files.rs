//! The bake files of this machine, and what they are evaluated with.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use bake::{Context, File, Given, Remote};
use errdefs::{Error, Result, ResultExt as _};
use jiff::Timestamp;

use crate::args::BakeArgs;
use crate::environment::Environment;
use crate::flags::parse_bool;
use crate::inputs::{is_git, is_http};

/// What the arguments are: the addresses in front of the names of targets.
pub(super) struct Words<'w> {
    /// Where the files lie in the web.
    pub url: Option<&'w str>,
    /// `BAKE_CMD_CONTEXT`.
    pub context: &'w str,
    pub targets: &'w [String],
}

impl<'w> Words<'w> {
    pub(super) fn of(args: &'w BakeArgs) -> Self {
        let is_url = |word: &String| is_git(word) || is_http(word);
        let (context, targets) = ("cwd://", args.targets.as_slice());
        match targets {
            [url, context, targets @ ..] if is_url(url) && is_url(context) => {
                Words { url: Some(url), context, targets }
            }
            [url, targets @ ..] if is_url(url) => Words { url: Some(url), context, targets },
            targets => Words { url: None, context, targets },
        }
    }
}

/// Names of files that somebody gave.
pub(super) fn named(args: &BakeArgs, env: &Environment) -> Vec<String> {
    if !args.files.is_empty() {
        return args.files.clone();
    }
    let separator = env.filled("BUILDX_BAKE_PATH_SEPARATOR").unwrap_or(":");
    let names = env.get("BUILDX_BAKE_FILE").unwrap_or_default().split(separator).map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Files of this machine; without names those that are there of the ones that bake looks for.
pub(super) fn read(names: &[String]) -> Result<Vec<File>> {
    if names.is_empty() {
        return bake::DEFAULT_FILES.iter().filter_map(|name| read_one(name).transpose()).collect();
    }
    let missing = |name: &str| Error::not_found(format!("open {name}: no such file or directory"));
    names.iter().map(|name| read_one(name)?.ok_or_else(|| missing(name))).collect()
}

/// `None` for a file that is not there.
fn read_one(name: &str) -> Result<Option<File>> {
    if name == "-" {
        let mut data = Vec::new();
        std::io::stdin().lock().read_to_end(&mut data).context("failed to read stdin")?;
        return Ok(Some(File::new(name, data)));
    }
    match std::fs::read(name.strip_prefix("cwd://").unwrap_or(name)) {
        Ok(data) => Ok(Some(File::new(name, data))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::from(e).context(format!("failed to read `{name}`"))),
    }
}

/// `remote` for files of the web, which must not read files here.
pub(super) fn given(
    args: &BakeArgs,
    words: &Words<'_>,
    remote: Option<Remote>,
    env: &Environment,
) -> Result<Given> {
    let mut vars = BTreeMap::new();
    for var in &args.vars {
        match var.split_once('=') {
            Some(("", _)) => return Err(Error::user(format!("invalid variable \"{var}\", key is empty"))),
            Some((key, value)) => _ = vars.insert(key.to_owned(), value.to_owned()),
            None if var.is_empty() => {}
            None => return Err(Error::user(format!("invalid variable \"{var}\", expected key=value"))),
        }
    }
    let built_in = [
        ("BAKE_CMD_CONTEXT".to_owned(), words.context.to_owned()),
        ("BAKE_LOCAL_PLATFORM".to_owned(), oci::Platform::host().to_string()),
    ];
    let dotenv = Path::new(".env");
    let is_local = words.url.is_none();
    Ok(Given {
        environment: env.vars().clone(),
        vars,
        built_in: built_in.into(),
        dotenv: dotenv
            .is_file()
            .then(|| std::fs::read(dotenv))
            .transpose()
            .context("failed to read `.env`")?,
        read: Box::new(move |path| match is_local {
            true => std::fs::read(path),
            false => Err(std::io::Error::other("files that come from the web cannot name others here")),
        }),
        file_relative: env.get("BUILDX_BAKE_FILE_RELATIVE_PATHS").and_then(parse_bool) == Some(true),
        remote,
        clock: Context::new(Timestamp::now().as_second(), env.get("HOME").unwrap_or("/"), fill_random),
    })
}

/// Without a source of randomness the bytes stay zero; identifiers are then the same each time.
fn fill_random(bytes: &mut [u8]) {
    if let Ok(mut source) = std::fs::File::open("/dev/urandom") {
        let _ = source.read_exact(bytes);
    }
}
