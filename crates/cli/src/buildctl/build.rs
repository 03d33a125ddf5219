use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Instant;

use client::{Exporter, SolveRequest, SolveResponse};
use errdefs::{Error, Result, ResultExt as _};
use jiff::Timestamp;
use llb::{Definition, Graph};
use progress::{RawJson, Renderer as _, Sink, SolveStatus};
use registry::OwnTokens;
use session::Attachables;
use tokio::sync::mpsc;

use crate::buildctl::args::{BuildArgs, Global};
use crate::buildctl::build::flags::{cache_export, cache_import, opts, outputs, pairs};
use crate::buildctl::build::metrics::Metrics;
use crate::buildctl::build::tls::tls_contexts;
use crate::buildctl::place::connect;
use crate::caches::Caches;
use crate::display::{Display, LocalSink, Target};
use crate::environment::Environment;
use crate::flags::{CacheFlag, SecretFlag, SshFlag};
use crate::outputs::{Layout, Outputs};
use crate::result_files::{plain_metadata, write_atomic};
use crate::secrets::Secrets;
use crate::settings::{CacheSettings, ProgressMode};
use crate::ssh::Agents;
use crate::{console, interrupt, source_policy};

mod flags;
mod metrics;
mod tls;

/// Status messages on their way to the display.
const BACKLOG: usize = 256;

/// Builds.
pub(super) async fn build(args: &BuildArgs, global: &Global, env: &Environment) -> Result<()> {
    let began = Instant::now();
    let metrics = args.debug_json_cache_metrics.as_deref().map(|to| Metrics::open(to, began)).transpose()?;
    let (display, drawn) =
        Display::plainly(ProgressMode::choose(&args.progress, false, env)?, env, Target::Stderr)?;
    let (sender, messages) = mpsc::channel(BACKLOG);
    let cancel = interrupt::watch()?;
    let trace = args.trace.as_ref().map(|path| {
        let file = std::fs::File::options().append(true).create(true).open(path);
        file.with_context(|| format!("failed to open `{}`", path.display()))
    });
    let watching = Watching { messages, drawn, trace: trace.transpose()?, metrics };
    let ssh = args.ssh.iter().map(|text| SshFlag::parse(text)).collect::<Result<Vec<_>>>()?;
    // They end with the build.
    let agents = Agents::open(&ssh, env)?;
    let (request, attachables, folders) = prepare(args, env, &sender).await?;
    let attachables = agents.offer(attachables);
    if let Some(path) = &args.ref_file {
        write_atomic(path, &request.id)?;
    }
    let client = connect(global).await?;
    let drawing = display.start();
    let watching = tokio::spawn(watching.run());
    let built = client.solve(&request, attachables, sender, &cancel).await;
    let watched = watching.await.map_err(|e| Error::internal(e.to_string()))?;
    drawing.finish().await?;
    let built = built?;
    folders.caches.finish(&built.exporter_response)?;
    folders.layout.map_or(Ok(()), |layout| layout.finish(&built.exporter_response))?;
    if let Some(path) = &args.metadata_file {
        write_atomic(path, &plain_metadata(&built.exporter_response))?;
    }
    print_answer(&built)?;
    watched?.map_or(Ok(()), Metrics::write)
}

/// Folders of which an index is written once the build is over.
struct Folders {
    caches: Caches,
    layout: Option<Layout>,
}

async fn prepare(
    args: &BuildArgs,
    env: &Environment,
    sender: &mpsc::Sender<SolveStatus>,
) -> Result<(SolveRequest, Attachables, Folders)> {
    let secrets = args.secret.iter().map(|text| SecretFlag::parse(text)).collect::<Result<Vec<_>>>()?;
    let auth = OwnTokens::new(
        env.docker_config()?,
        tls_contexts(&args.registry_auth_tlscontext, env)?,
        &env.proxies(),
    );
    let mut attachables = Attachables::new().auth(Arc::new(auth));
    if !secrets.is_empty() {
        attachables = attachables.secrets(Arc::new(Secrets::new(&secrets, env)?));
    }
    for (name, dir) in pairs(&args.local).context("invalid local")? {
        let path = env.cwd.join(&dir);
        if !path.is_dir() {
            return Err(Error::not_found(format!("invalid local: `{dir}` is not a folder")));
        }
        attachables = attachables.dir(name, path);
    }
    for (name, dir) in pairs(&args.oci_layout).context("invalid oci-layout")? {
        attachables = attachables.oci_layout(format!("oci:{name}"), env.cwd.join(dir));
    }
    let settings = outputs(&args.output, env)?;
    let sink: Arc<dyn Sink> = Arc::new(LocalSink(sender.clone()));
    let (Outputs { exporters, layout, .. }, attachables) =
        Outputs::open(&settings, true, env, &sink, attachables).await?;
    let specs = |specs: &[String], read: fn(&str) -> Result<CacheFlag>| {
        specs.iter().map(|spec| read(spec)).collect::<Result<Vec<_>>>()
    };
    let settings = CacheSettings {
        from: specs(&args.import_cache, cache_import)?,
        to: specs(&args.export_cache, cache_export)?,
    };
    let (caches, attachables) = Caches::open(&settings, env, attachables)?;
    for warning in &caches.warnings {
        console::note(format_args!("WARNING: {warning}\n"));
    }
    let request = request(args, exporters, &caches, env)?;
    Ok((request, attachables, Folders { caches, layout }))
}

fn request(
    args: &BuildArgs,
    exporters: Vec<Exporter>,
    caches: &Caches,
    env: &Environment,
) -> Result<SolveRequest> {
    let mut frontend_attrs = opts(&args.opt, env).context("invalid opt")?;
    frontend_attrs.extend(caches.frontend_option().filter(|_| !args.frontend.is_empty()));
    let definition = match args.frontend.as_str() {
        "" => Some(definition(args.no_cache, env)?),
        _ => None,
    };
    if definition.is_none() && args.no_cache {
        frontend_attrs.insert("no-cache".into(), String::new());
    }
    // What is asked instead of built comes in the answer of the frontend.
    let is_question = frontend_attrs.contains_key("requestid");
    if is_question {
        let caps = || "moby.buildkit.frontend.subrequests".to_owned();
        frontend_attrs.entry("frontend.caps".into()).or_insert_with(caps);
    }
    let source_policy =
        args.source_policy_file.as_deref().map(|file| source_policy::read(&env.cwd.join(file)));
    Ok(SolveRequest {
        id: client::new_id(),
        definition,
        frontend: args.frontend.clone(),
        frontend_attrs,
        exporters,
        cache_imports: caches.imports.clone(),
        cache_exports: caches.exports.clone(),
        entitlements: args.allow.clone(),
        source_policy: source_policy.transpose()?,
        ask_frontend: is_question,
        proxy_network: args.proxy_network,
        ..SolveRequest::default()
    })
}

/// The graph on standard input.
fn definition(no_cache: bool, env: &Environment) -> Result<Definition> {
    if env.stdin_is_terminal {
        return Err(Error::user("please specify --frontend or pipe LLB definition to stdin"));
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).context("failed to read standard input")?;
    let mut definition = Definition::decode(&bytes)?;
    if definition.is_empty() {
        return Err(Error::user("empty definition sent to build. Specify --frontend instead?"));
    }
    if no_cache {
        for digest in Graph::load(&definition)?.order {
            definition.metadata.entry(digest).or_default().ignore_cache = true;
        }
    }
    Ok(definition)
}

fn print_answer(built: &SolveResponse) -> Result<()> {
    if let Some(text) = built.metadata.get("result.txt") {
        return console::out(text);
    }
    for (key, value) in built.metadata.iter().filter(|(key, _)| key.starts_with("result.")) {
        console::out(format!("{key}\n"))?;
        console::out(value)?;
        console::out("\n")?;
    }
    Ok(())
}

/// Passes status messages on to the display, and to all who want them too.
struct Watching {
    messages: mpsc::Receiver<SolveStatus>,
    drawn: mpsc::Sender<SolveStatus>,
    trace: Option<std::fs::File>,
    metrics: Option<Metrics>,
}

impl Watching {
    async fn run(mut self) -> Result<Option<Metrics>> {
        let mut failed = Ok(());
        while let Some(message) = self.messages.recv().await {
            if let Some(file) = &mut self.trace
                && failed.is_ok()
            {
                let mut line = Vec::new();
                RawJson.update(&message, Timestamp::now(), &mut line);
                failed = file.write_all(&line).context("failed to write the trace");
            }
            if let Some(metrics) = &mut self.metrics {
                metrics.add(&message);
            }
            // A display that is gone ends with the build.
            let _ = self.drawn.send(message).await;
        }
        failed.map(|()| self.metrics)
    }
}
