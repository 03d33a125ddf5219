//! A target is the flags of a build: what a flag means, an attribute means too.

use bake::{Entry, Remote, Target, TextMap};
use errdefs::{Error, Result};

use crate::args::BuildArgs;
use crate::commands::bake::remote;
use crate::environment::Environment;
use crate::inputs::{is_git, is_http};

/// The flags of a resolved target.
///
/// # Errors
/// Its Dockerfile is where it cannot be read.
pub(super) fn flags(target: &Target, remote: Option<&Remote>, env: &Environment) -> Result<BuildArgs> {
    let texts = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let context = target.context.clone().unwrap_or_else(|| ".".into());
    let text = target.dockerfile_inline.clone().filter(|text| !text.is_empty());
    let file = match &text {
        None => {
            Some(dockerfile(target.dockerfile.as_deref().unwrap_or("Dockerfile"), &context, remote, env)?)
        }
        Some(_) => None,
    };
    let mut args = BuildArgs {
        file,
        context,
        dockerfile_text: text,
        target: target.target.clone(),
        build_args: pairs(&target.args),
        build_contexts: target.contexts.iter().flatten().map(|(k, v)| named(k, v, remote)).collect(),
        secrets: lines(&target.secret),
        ssh: lines(&target.ssh),
        platforms: texts(&target.platforms),
        tags: texts(&target.tags),
        outputs: lines(&target.output),
        labels: pairs(&target.labels),
        annotations: texts(&target.annotations),
        attestations: lines(&target.attest),
        no_cache: target.no_cache == Some(true),
        no_cache_filter: texts(&target.no_cache_filter),
        pull: target.pull == Some(true),
        cache_from: lines(&target.cache_from),
        cache_to: lines(&target.cache_to),
        network: target.network.clone().unwrap_or_default(),
        add_hosts: hosts(&target.extra_hosts),
        shm_size: target.shm_size.clone(),
        ulimits: texts(&target.ulimits),
        resources: target.resources.iter().flat_map(bake::Resources::lines).collect(),
        allow: texts(&target.entitlements),
        call: target.call.clone().unwrap_or_default(),
        policies: lines(&target.policy),
        ..BuildArgs::default()
    };
    if args.no_cache {
        // All steps are more than some.
        args.no_cache_filter.clear();
    }
    if let Some(remote) = remote {
        remote::add_graphs(remote, &mut args);
    }
    Ok(args)
}

fn lines<E: Entry>(entries: &Option<Vec<E>>) -> Vec<String> {
    entries.iter().flatten().map(E::line).collect()
}

/// Null is what is not set.
fn pairs(map: &Option<TextMap>) -> Vec<String> {
    let given = map.iter().flatten().filter_map(|(key, value)| Some((key, value.as_ref()?)));
    given.map(|(key, value)| format!("{key}={value}")).collect()
}

/// A host may have several addresses, which makes the flag one field in quotes.
fn hosts(map: &Option<TextMap>) -> Vec<String> {
    pairs(map).into_iter().map(|pair| dockerfile::csv::line([pair])).collect()
}

fn named(name: &str, source: &str, remote: Option<&Remote>) -> String {
    let source = match (remote, source.strip_prefix("cwd://")) {
        (Some(remote), _) => remote.context(source),
        (None, Some(local)) => bake::clean_path(local),
        (None, None) => source.to_owned(),
    };
    format!("{name}={source}")
}

/// The Dockerfile as `-f` names it: of a context that is a folder here, its path from here.
fn dockerfile(file: &str, context: &str, remote: Option<&Remote>, env: &Environment) -> Result<String> {
    if let Some(local) = file.strip_prefix("cwd://") {
        return Ok(env.cwd.join(bake::clean_path(local)).display().to_string());
    }
    if is_http(file) {
        return Ok(file.to_owned());
    }
    let file = bake::clean_path(file);
    if is_git(context) || is_http(context) || file.starts_with('/') {
        return Ok(file);
    }
    let local = bake::clean_path(&format!("{context}/{file}"));
    // A file of the same name here is not the one that is meant.
    if remote.is_some() {
        return Err(Error::user(
            "reading a dockerfile for a remote build invocation is currently not supported",
        )
        .hint(format!("the context is the folder `{context}` here, and `{file}` lies beside the bake file"))
        .hint(format!("write `cwd://{local}` for the one here")));
    }
    Ok(local)
}
