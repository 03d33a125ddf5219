//! `kiln bake`.

mod entitlements;
mod files;
mod label;
mod remote;
mod run;
mod shared;
mod target;
mod told;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) use remote::web_files;

use bake::{Definition, File, Flags, Remote, Resolved};
use client::Client;
use errdefs::{Error, Result};
use policy::PolicyFlag;
use tokio_util::sync::CancellationToken;

use crate::args::{BakeArgs, GlobalArgs};
use crate::commands::bake::entitlements::Rights;
use crate::commands::bake::files::Words;
use crate::commands::bake::run::Builds;
use crate::commands::build::print_warnings;
use crate::display::Display;
use crate::engine::Builder;
use crate::environment::Environment;
use crate::inputs::{TARGET, is_git, is_http};
use crate::job::Common;
use crate::nodes::Nodes;
use crate::settings::{BuildSettings, CallSetting, Notice, ProgressMode};
use crate::{console, interrupt, policies};

/// Builds targets, or tells what there is of them.
pub(crate) async fn bake(args: &BakeArgs, global: &GlobalArgs, env: &Environment) -> Result<ExitCode> {
    let list = args.list.as_deref().or(args.list_targets.then_some("targets"));
    let list = list.or(args.list_variables.then_some("variables"));
    if args.print && list.is_some() {
        return Err(Error::user("--print and --list are mutually exclusive"));
    }
    let words = Words::of(args);
    let progress = ProgressMode::choose(&args.progress, false, env)?;
    let rights = Rights::granted(&args.allow, env)?;
    let flags = flags(args)?;
    let names = files::named(args, env);
    let (local, in_web): (Vec<_>, Vec<_>) = match words.url {
        None => (names, Vec::new()),
        Some(_) => names.into_iter().partition(|name| name.starts_with("cwd://")),
    };
    let local = match words.url.is_some() && local.is_empty() {
        true => Vec::new(),
        false => files::read(&local)?,
    };
    let only_tells = args.print || list.is_some() || args.explain.is_some();
    if only_tells && words.url.is_none() {
        let definition = load(args, &words, None, local, env)?;
        return tell(&definition, list, args, &words, &flags);
    }
    let builder = Builder::find(global, env)?;
    builder.touch(env);
    let nodes = Nodes::new(&builder);
    let cancel = interrupt::watch()?;
    let definition = match words.url {
        None => load(args, &words, None, local, env)?,
        Some(url) => {
            let client = nodes.first().await?;
            let (remote, mut files) = fetch(url, &in_web, client, progress, &builder, &cancel, env).await?;
            files.extend(local);
            load(args, &words, remote, files, env)?
        }
    };
    if only_tells {
        return tell(&definition, list, args, &words, &flags);
    }
    let mut resolved = resolve(&definition, &words, &flags)?;
    if flags.policies_are_off {
        let off = ::bake::Policy { disabled: true, ..::bake::Policy::default() };
        resolved.targets.values_mut().for_each(|target| target.policy = Some(vec![off.clone()]));
    }
    let docker = Arc::new(env.docker_config()?);
    let mut settings =
        settings(&resolved, definition.remote.as_ref(), args, &words, &docker.build_proxies("default"), env)?;
    let mut wanted = Rights::default();
    settings.values().try_for_each(|build| rights.miss(build, &mut wanted, env))?;
    wanted.ask(progress, words.url.is_some(), env, &cancel).await?;
    // Who got here may do all that is asked for.
    settings.values_mut().for_each(|build| build.frontend.may_delete = true);
    warn_of_no_output(&settings, &builder, progress);

    let (display, sender) = Display::new(progress, &builder, env)?;
    let common = Common { nodes, docker, env };
    let builds = Builds::prepare(&settings, &common, sender, &cancel).await?;
    for (_, job) in builds.jobs.iter().filter(|(name, _)| settings[**name].call.is_none()) {
        job.local.save(&job.id, env);
    }
    let drawing = display.start();
    let outcome = builds.run(args.keep_going, env, &cancel).await;
    let drawn = drawing.finish().await?;
    print_warnings(&drawn.warnings, progress, global.debug);
    let told = told::Telling { resolved: &resolved, settings: &settings, builder: &builder, progress, args };
    told.tell(outcome, &drawn)
}

/// The flags that stand for `--set`.
struct Overrides {
    set: Vec<String>,
    policies_are_off: bool,
}

fn flags(args: &BakeArgs) -> Result<Overrides> {
    let policies = policies::flags(&args.policies)?;
    if policies.iter().any(|policy| !policy.files.is_empty()) {
        return Err(Error::user(
            "--policy does not accept filename; define policy files in the bake definition",
        ));
    }
    if policies.iter().any(|policy| policy.reset) {
        return Err(Error::user(
            "--policy does not accept reset; define policy composition in the bake definition",
        ));
    }
    let policies_are_off = policies.iter().any(|policy| policy.disabled);
    if policies_are_off && (policies.len() > 1 || policies.iter().any(PolicyFlag::says_more)) {
        return Err(Error::user("disabled policy cannot be combined with other policy flags"));
    }
    let flags = Flags {
        set: args.set.clone(),
        push: args.push,
        load: args.load,
        no_cache: args.no_cache,
        pull: args.pull,
        call: if args.check { Some("check".into()) } else { args.call.clone() },
        sbom: args.sbom.clone(),
        provenance: args.provenance.clone(),
        policy: if policies_are_off { Vec::new() } else { args.policies.clone() },
    };
    Ok(Overrides { set: flags.overrides(), policies_are_off })
}

/// Files of the web, with the progress of it.
async fn fetch(
    url: &str,
    names: &[String],
    client: &Client,
    progress: ProgressMode,
    builder: &Builder,
    cancel: &CancellationToken,
    env: &Environment,
) -> Result<(Option<Remote>, Vec<File>)> {
    let (display, sender) = Display::new(progress, builder, env)?;
    let drawing = display.start();
    let read = remote::read(url, names, client, env, sender, cancel).await;
    drawing.finish().await?;
    read
}

fn load(
    args: &BakeArgs,
    words: &Words<'_>,
    remote: Option<Remote>,
    files: Vec<File>,
    env: &Environment,
) -> Result<Definition> {
    bake::require_files(&files)?;
    let definition = Definition::load(files, files::given(args, words, remote, env)?)?;
    for warning in &definition.warnings {
        let file = &definition.files[usize::from(warning.span.file)];
        let (line, column) = file.position(warning.span.start);
        console::note(format!("WARNING: {}:{line}:{column}: {}\n", file.name, warning.message));
    }
    Ok(definition)
}

fn resolve(definition: &Definition, words: &Words<'_>, flags: &Overrides) -> Result<Resolved> {
    let default = [bake::DEFAULT.to_owned()];
    let names = if words.targets.is_empty() { &default } else { words.targets };
    definition.resolve(names, &flags.set)
}

/// `--list`, `--print` and `--explain`.
fn tell(
    definition: &Definition,
    list: Option<&str>,
    args: &BakeArgs,
    words: &Words<'_>,
    flags: &Overrides,
) -> Result<ExitCode> {
    let text = match (list, &args.explain) {
        (Some(what), _) => format!("{}\n", definition.list(what)?),
        (None, Some(name)) if words.targets.is_empty() => {
            let resolved = definition.resolve(std::slice::from_ref(name), &flags.set)?;
            definition.explain(&resolved, name)?
        }
        (None, Some(name)) => definition.explain(&resolve(definition, words, flags)?, name)?,
        (None, None) => format!("{}\n", resolve(definition, words, flags)?.print()),
    };
    console::out(text)?;
    Ok(ExitCode::SUCCESS)
}

/// What is asked for, by target.
fn settings(
    resolved: &Resolved,
    remote: Option<&Remote>,
    args: &BakeArgs,
    words: &Words<'_>,
    proxies: &BTreeMap<String, String>,
    env: &Environment,
) -> Result<BTreeMap<String, BuildSettings>> {
    let asked = CallSetting::parse(args.call.as_deref().unwrap_or_default())?;
    let mut out = BTreeMap::new();
    for (name, target) in &resolved.targets {
        let told =
            |e: Error| if resolved.targets.len() > 1 { e.context(format!("target {name}")) } else { e };
        let mut flags = target::flags(target, remote, env).map_err(told)?;
        flags.progress.clone_from(&args.progress);
        flags.metadata_file.clone_from(&args.metadata_file);
        let mut build = BuildSettings::new(&flags, env, proxies).map_err(told)?;
        if let (Some(call), Some(asked)) = (&mut build.call, &asked) {
            (call.json, call.ignore_status) = (asked.json, asked.ignore_status);
        }
        if build.call.is_some() {
            // What is asked for is in the Dockerfile: its bases are not built for that.
            let targets = build.contexts.values_mut().filter(|source| source.starts_with(TARGET));
            targets.for_each(|source| "docker-image://scratch".clone_into(source));
        }
        let is_remote = is_git(&build.context) || is_http(&build.context);
        let same_host = |url: &&str| is_remote && remote::host(url) == remote::host(&build.context);
        if let Some(url) = words.url.filter(same_host) {
            build.secrets.extend(remote::secrets(url, env));
        }
        out.insert(name.clone(), build);
    }
    Ok(out)
}

fn warn_of_no_output(settings: &BTreeMap<String, BuildSettings>, builder: &Builder, progress: ProgressMode) {
    let nowhere = settings.iter().filter(|(_, build)| build.notice == Notice::Nowhere);
    let names: Vec<_> = nowhere.map(|(name, _)| name.as_str()).collect();
    if !names.is_empty() && progress.is_for_people() {
        console::note(format_args!(
            "WARNING: No output specified for {} target(s) with {} driver. Build result will only remain in the build \
             cache. To keep images name them with `tags`, to push them into a registry use --push, to load them into \
             Docker use --load\n",
            names.join(", "),
            builder.driver
        ));
    }
}
