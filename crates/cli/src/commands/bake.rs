//! `kiln bake`: what bake files say. Builds of them are not started yet.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use bake::{Context, Definition, File, Flags, Given};
use errdefs::{Error, Result, ResultExt as _};
use jiff::Timestamp;

use crate::args::BakeArgs;
use crate::console;
use crate::environment::Environment;
use crate::flags::parse_bool;

/// Prints what was asked for.
pub(crate) fn bake(args: &BakeArgs, env: &Environment) -> Result<()> {
    if args.print && args.list.is_some() {
        return Err(Error::user("--print and --list are mutually exclusive"));
    }
    if !args.print && args.list.is_none() && args.explain.is_none() {
        return Err(Error::unimplemented("bake does not build yet")
            .hint("`--print`, `--list` and `--explain` tell what the files say"));
    }
    let files = read_files(args, env)?;
    bake::require_files(&files)?;
    let definition = Definition::load(files, given(args, env)?)?;
    tell_warnings(&definition);
    if let Some(what) = &args.list {
        return console::out(format!("{}\n", definition.list(what)?));
    }
    let names = match (&args.explain, args.targets.as_slice()) {
        (Some(name), []) => std::slice::from_ref(name),
        (_, []) => &[bake::DEFAULT.to_owned()],
        (_, targets) => targets,
    };
    let resolved = definition.resolve(names, &flags(args).overrides())?;
    match &args.explain {
        Some(name) => console::out(definition.explain(&resolved, name)?),
        None => console::out(format!("{}\n", resolved.print())),
    }
}

fn tell_warnings(definition: &Definition) {
    for warning in &definition.warnings {
        let file = &definition.files[usize::from(warning.span.file)];
        let (line, column) = file.position(warning.span.start);
        console::note(format!("WARNING: {}:{line}:{column}: {}\n", file.name, warning.message));
    }
}

fn flags(args: &BakeArgs) -> Flags {
    Flags {
        set: args.set.clone(),
        push: args.push,
        load: args.load,
        no_cache: args.no_cache,
        pull: args.pull,
        call: if args.check { Some("check".into()) } else { args.call.clone() },
        sbom: args.sbom.clone(),
        provenance: args.provenance.clone(),
        policy: Vec::new(),
    }
}

fn read_files(args: &BakeArgs, env: &Environment) -> Result<Vec<File>> {
    let separator = env.filled("BUILDX_BAKE_PATH_SEPARATOR").unwrap_or(":");
    let from_env = env.get("BUILDX_BAKE_FILE").unwrap_or_default().split(separator).map(str::trim);
    let from_env = from_env.filter(|name| !name.is_empty()).map(str::to_owned);
    let named: Vec<String> = if args.files.is_empty() { from_env.collect() } else { args.files.clone() };
    if named.is_empty() {
        let there = bake::DEFAULT_FILES.iter().filter_map(|name| read(name).transpose());
        return there.collect();
    }
    let missing = |name: &str| Error::not_found(format!("open {name}: no such file or directory"));
    named.iter().map(|name| read(name)?.ok_or_else(|| missing(name))).collect()
}

/// `None` for a file that is not there.
fn read(name: &str) -> Result<Option<File>> {
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

fn given(args: &BakeArgs, env: &Environment) -> Result<Given> {
    let mut vars = BTreeMap::new();
    for var in &args.vars {
        match var.split_once('=') {
            Some(("", _)) => return Err(Error::user(format!("invalid variable \"{var}\", key is empty"))),
            Some((key, value)) => _ = vars.insert(key.to_owned(), value.to_owned()),
            None => return Err(Error::user(format!("invalid variable \"{var}\", expected key=value"))),
        }
    }
    let built_in = [
        ("BAKE_CMD_CONTEXT".to_owned(), "cwd://".to_owned()),
        ("BAKE_LOCAL_PLATFORM".to_owned(), oci::Platform::host().to_string()),
    ];
    let dotenv = Path::new(".env");
    Ok(Given {
        environment: env.vars().clone(),
        vars,
        built_in: built_in.into(),
        dotenv: dotenv
            .is_file()
            .then(|| std::fs::read(dotenv))
            .transpose()
            .context("failed to read `.env`")?,
        read: Box::new(|path| std::fs::read(path)),
        file_relative: env.get("BUILDX_BAKE_FILE_RELATIVE_PATHS").and_then(parse_bool) == Some(true),
        clock: Context::new(Timestamp::now().as_second(), env.get("HOME").unwrap_or("/"), fill_random),
    })
}

/// Without a source of randomness the bytes stay zero; identifiers are then the same each time.
fn fill_random(bytes: &mut [u8]) {
    if let Ok(mut source) = std::fs::File::open("/dev/urandom") {
        let _ = source.read_exact(bytes);
    }
}
