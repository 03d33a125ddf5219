//! Builds that are sent to an engine by this program itself, so that the engine is measured and not its client.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use client::{Address, Client, SolveRequest, new_id};
use llb::{Copy, FileAction, FileActionKind, FileOp, MkFile, Node, Op, OpKind, OpMetadata, Output};
use session::Attachables;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::builder::LIMIT;

/// What an engine is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Load {
    /// So many builds of the context at once, each with another argument `N`.
    Crowd(usize),
    /// One graph: chains of steps that make a file each, and a step that copies the last file of each chain.
    Graph { chains: usize, steps: usize },
}

impl Load {
    pub fn run(self, address: &str, context: &Path) -> Result<()> {
        let address: Address = address.parse()?;
        let requests: Vec<SolveRequest> = match self {
            Load::Crowd(count) => (0..count).map(numbered).collect(),
            Load::Graph { chains, steps } => vec![SolveRequest {
                definition: Some(graph(chains, steps).marshal()),
                ..SolveRequest::default()
            }],
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let client = Client::connect(&address).await?;
            let mut builds = JoinSet::new();
            for request in requests {
                builds.spawn(solve(client.clone(), request, context.to_owned()));
            }
            while let Some(built) = builds.join_next().await {
                built??;
            }
            Ok(())
        })
    }
}

/// One build to its end; one that takes longer than [`LIMIT`] is broken off.
async fn solve(client: Client, request: SolveRequest, context: std::path::PathBuf) -> Result<()> {
    let request = SolveRequest { id: new_id(), ..request };
    let files = Attachables::new().dir("context", &context).dir("dockerfile", &context);
    let (sender, mut status) = mpsc::channel(64);
    tokio::spawn(async move { while status.recv().await.is_some() {} });
    let cancel = CancellationToken::new();
    let build = client.solve(&request, files, sender, &cancel);
    match tokio::time::timeout(LIMIT, build).await {
        Ok(built) => built.map(drop).context("a build failed"),
        Err(_) => Ok(()),
    }
}

fn numbered(number: usize) -> SolveRequest {
    SolveRequest {
        frontend: "dockerfile.v0".into(),
        frontend_attrs: BTreeMap::from([("build-arg:N".into(), number.to_string())]),
        ..SolveRequest::default()
    }
}

fn graph(chains: usize, steps: usize) -> Output {
    let ends: Vec<_> = (0..chains).map(|chain| chain_of(chain, steps)).collect();
    let copies = (0..chains).map(|chain| {
        let copy = Copy { src: format!("/f{}", steps - 1), dest: format!("/to{chain}"), ..Copy::default() };
        FileAction {
            // The first stands on nothing, each other on the one before: outputs are counted on from the inputs.
            input: if chain == 0 { -1 } else { (chains + chain - 1) as i64 },
            secondary_input: chain as i64,
            output: if chain + 1 == chains { 0 } else { -1 },
            kind: FileActionKind::Copy(copy),
        }
    });
    node(copies.collect(), ends)
}

fn chain_of(chain: usize, steps: usize) -> Output {
    let mut last: Option<Output> = None;
    for step in 0..steps {
        let file = MkFile {
            path: format!("/f{step}"),
            mode: 0o644,
            data: format!("{chain} {step}").into_bytes(),
            owner: None,
            timestamp: -1,
        };
        let input = if last.is_some() { 0 } else { -1 };
        let action = FileAction { input, secondary_input: -1, output: 0, kind: FileActionKind::MkFile(file) };
        last = Some(node(vec![action], last.into_iter().collect()));
    }
    last.expect("a chain has steps")
}

fn node(actions: Vec<FileAction>, inputs: Vec<Output>) -> Output {
    let op = Op { kind: OpKind::File(FileOp { actions }), platform: None, constraints: Vec::new() };
    std::sync::Arc::new(Node::new(op, inputs, OpMetadata::default())).output(0)
}
