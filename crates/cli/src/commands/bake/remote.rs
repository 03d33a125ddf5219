//! Bake files that lie in the web. The engine fetches them, as it fetches all else that a build is made from: it knows
//! proxies and certificates, and has the contexts beside the files then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bake::{File, Remote};
use client::{Client, SolveRequest};
use dockerfile_llb::WebContext;
use errdefs::{Error, Result, ResultExt as _};
use llb::{Copy, Definition, FileAction, FileActionKind, FileOp, Node, Op, OpKind, OpMetadata, Output};
use progress::SolveStatus;
use session::Attachables;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::args::BuildArgs;
use crate::environment::Environment;
use crate::flags::{DEFAULT_SSH, SecretFlag, SshFlag};
use crate::inputs::is_scp;
use crate::secrets::Secrets;
use crate::ssh::Agents;

/// Most bytes of a bake file.
const MAX_FILE: usize = 2 << 20;

/// Reads the files of these names, or those that bake looks for. An archive or a repository is where their contexts are
/// too; a single file has none.
pub(super) async fn read(
    url: &str,
    names: &[String],
    client: &Client,
    env: &Environment,
    sender: mpsc::Sender<SolveStatus>,
    cancel: &CancellationToken,
) -> Result<(Option<Remote>, Vec<File>)> {
    let web = WebContext::at(url)?;
    let source = source(&web);
    let ssh = ssh(url, env)?;
    let offers = || -> Result<Attachables> {
        let secrets = Secrets::new(&secrets(url, env), env)?;
        Ok(ssh.offer(Attachables::new().secrets(Arc::new(secrets))))
    };
    let look = async |graph: &Output, names: &[String], must: bool| {
        look(client, graph.marshal(), names, must, offers()?, sender.clone(), cancel).await
    };
    let checked = |files: Vec<File>| {
        files.iter().try_for_each(|file| check_size(&file.name, &file.data)).map(|()| files)
    };
    let remote = |is_archive| Some(Remote { url: url.to_owned(), is_archive });
    let wanted: Vec<String> = match names {
        [] => bake::DEFAULT_FILES.iter().map(|name| (*name).to_owned()).collect(),
        names => names.to_vec(),
    };
    let must = !names.is_empty();
    if web.is_repository {
        return Ok((remote(false), checked(look(&source, &wanted, must).await?)?));
    }
    // Of an archive this is enough to tell it.
    let page = look(&source, &[WebContext::FILE.to_owned()], true).await?.swap_remove(0).data;
    if WebContext::is_archive(&page) {
        return Ok((remote(true), checked(look(&unpacked(source), &wanted, must).await?)?));
    }
    check_size(url, &page)?;
    Ok((None, vec![File::new(url, page)]))
}

fn check_size(name: &str, data: &[u8]) -> Result<()> {
    match data.len() > MAX_FILE {
        true => {
            Err(Error::user(format!("bake definition {name} is bigger than the maximum allowed size (2MB)")))
        }
        false => Ok(()),
    }
}

/// Puts graphs in the place of folders in an archive, which have no address.
pub(super) fn add_graphs(remote: &Remote, args: &mut BuildArgs) {
    let graph = |folder: &str| {
        let source = WebContext::at(&remote.url).map(|web| source(&web));
        source.map(|source| inside(unpacked(source), folder).marshal())
    };
    let contexts = args.build_contexts.iter().filter_map(|named| named.split_once('='));
    let contexts = contexts.chain([("context", args.context.as_str())]);
    let graphs: BTreeMap<String, Definition> = contexts
        .filter_map(|(name, context)| {
            Some((name.to_owned(), graph(remote.folder_in_archive(context)?).ok()?))
        })
        .collect();
    args.graphs = graphs;
}

/// The files of a context that lies in the web: a repository, or an archive.
pub(crate) fn web_files(address: &str) -> Result<Definition> {
    let web = WebContext::at(address)?;
    let source = source(&web);
    Ok(if web.is_repository { source } else { unpacked(source) }.marshal())
}

fn source(web: &WebContext) -> Output {
    node(OpKind::Source(web.source.clone()), Vec::new(), web.metadata.clone())
}

fn unpacked(archive: Output) -> Output {
    copy(archive, format!("/{}", WebContext::FILE), "unpack bake definitions", |copy| {
        copy.attempt_unpack = true;
    })
}

fn inside(tree: Output, folder: &str) -> Output {
    copy(tree, format!("/{folder}"), &format!("set context to {folder}"), |copy| {
        copy.dir_copy_contents = true;
    })
}

fn copy(from: Output, src: String, title: &str, set: impl FnOnce(&mut Copy)) -> Output {
    let mut copy = Copy { src, dest: "/".into(), ..Copy::default() };
    set(&mut copy);
    let action =
        FileAction { input: llb::NONE, secondary_input: 0, output: 0, kind: FileActionKind::Copy(copy) };
    node(OpKind::File(FileOp { actions: vec![action] }), vec![from], OpMetadata::named(title))
}

fn node(kind: OpKind, inputs: Vec<Output>, metadata: OpMetadata) -> Output {
    Arc::new(Node::new(Op { kind, platform: None, constraints: Vec::new() }, inputs, metadata)).output(0)
}

/// Has the engine make a tree, and reads files of it. Files that need not be there are left out.
async fn look(
    client: &Client,
    graph: Definition,
    names: &[String],
    must: bool,
    offers: Attachables,
    sender: mpsc::Sender<SolveStatus>,
    cancel: &CancellationToken,
) -> Result<Vec<File>> {
    let request = SolveRequest {
        id: client::new_id(),
        definition: Some(graph),
        ask_frontend: true,
        internal: true,
        ..SolveRequest::default()
    };
    let found = Arc::new(Mutex::new(Vec::new()));
    let (put, names) = (Arc::clone(&found), names.to_vec());
    let between = move |made: Arc<client::Made>| async move {
        for name in names {
            match made.read_file(&name, MAX_FILE + 1).await? {
                Some(data) => put.lock().unwrap_or_else(PoisonError::into_inner).push(File::new(&name, data)),
                None if must => {
                    return Err(Error::not_found(format!("open {name}: no such file or directory")));
                }
                None => {}
            }
        }
        Ok(())
    };
    let looked = client.solve_between(&request, offers, sender, cancel, between).await;
    looked.context("failed to read bake definitions")?;
    let files = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(files)
}

/// The agent for a repository that is reached over ssh: that of BUILDX_BAKE_GIT_SSH, or the user's.
fn ssh(url: &str, env: &Environment) -> Result<Agents> {
    let paths = env.filled("BUILDX_BAKE_GIT_SSH").map(|paths| paths.split(',').map(str::to_owned).collect());
    match paths {
        Some(paths) => Agents::open(&[SshFlag { id: DEFAULT_SSH.to_owned(), paths }], env),
        None => Agents::for_context(&[], url, env),
    }
}

/// Secrets by which the engine reaches a private repository, and contexts on the same host.
pub(super) fn secrets(url: &str, env: &Environment) -> Vec<SecretFlag> {
    let Some(host) = host(url) else { return Vec::new() };
    let secret = |what: &str| {
        let variable = format!("BUILDX_BAKE_{what}");
        let is_set = env.get(&variable).is_some();
        is_set.then(|| SecretFlag { id: format!("{what}.{host}"), path: None, env: Some(variable) })
    };
    ["GIT_AUTH_TOKEN", "GIT_AUTH_HEADER"].into_iter().filter_map(secret).collect()
}

/// The host of an address, with its port.
pub(super) fn host(url: &str) -> Option<String> {
    if is_scp(url) {
        return Some(url.split_once('@')?.1.split_once(':')?.0.to_owned());
    }
    let url = url::Url::parse(url).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}
