use std::io::Read as _;
use std::path::Path;

use errdefs::{Error, Result, ResultExt as _};
use llb::{Definition, FileAction, FileActionKind, Graph, LoadedOp, OpKind};
use serde_json::{Value, json};

use crate::buildctl::args::DumpLlbArgs;
use crate::console;

/// Prints the vertices of a definition.
pub(super) fn llb(args: &DumpLlbArgs) -> Result<()> {
    let bytes = match args.file.as_deref() {
        None => stdin()?,
        Some(path) if path == Path::new("-") => stdin()?,
        Some(path) => std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))?,
    };
    let graph = Graph::load(&Definition::decode(&bytes)?)?;
    let ops = graph.order.iter().filter_map(|digest| Some((digest, graph.ops.get(digest)?)));
    let ops: Vec<_> = ops.collect();
    match args.dot {
        true => console::out(dot(&ops)),
        false => ops.iter().try_for_each(|(digest, op)| {
            let op = to_json(digest, op)?;
            console::out(format!("{op}\n"))
        }),
    }
}

fn stdin() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).context("failed to read standard input")?;
    Ok(bytes)
}

/// For Graphviz.
fn dot(ops: &[(&oci::Digest, &LoadedOp)]) -> String {
    let mut out = String::from("digraph {\n");
    for (digest, op) in ops {
        let (label, shape) = face(op);
        out.push_str(&format!("  {:?} [label={label:?} shape={shape:?}];\n", digest.to_string()));
    }
    for (digest, op) in ops {
        for (index, input) in op.inputs.iter().enumerate() {
            let (from, to) = (input.digest.to_string(), digest.to_string());
            out.push_str(&format!("  {from:?} -> {to:?} [label={:?}];\n", edge(op, index)));
        }
    }
    out + "}\n"
}

/// Where a step mounts its input, but for its root.
fn edge(op: &LoadedOp, input: usize) -> &str {
    let OpKind::Exec(exec) = &op.op.kind else { return "" };
    let mut mounts = exec.mounts.iter().filter(|m| usize::try_from(m.input) == Ok(input) && m.dest != "/");
    mounts.next_back().map_or("", |m| &m.dest)
}

fn face(op: &LoadedOp) -> (String, &'static str) {
    match &op.op.kind {
        OpKind::Source(source) => (source.identifier.clone(), "ellipse"),
        OpKind::Exec(exec) => (exec.meta.args.join(" "), "box"),
        OpKind::Build(_) => ("build".into(), "box3d"),
        OpKind::Merge(_) => ("merge".into(), "invtriangle"),
        OpKind::Diff(_) => ("diff".into(), "doublecircle"),
        OpKind::Passthrough(it) => (it.id.clone(), "plaintext"),
        OpKind::File(file) => {
            let names = file.actions.iter().map(|action| match &action.kind {
                FileActionKind::Copy(it) => format!("copy{{src={}, dest={}}}", it.src, it.dest),
                FileActionKind::MkFile(it) => format!("mkfile{{path={}}}", it.path),
                FileActionKind::MkDir(it) => format!("mkdir{{path={}}}", it.path),
                FileActionKind::Rm(it) => format!("rm{{path={}}}", it.path),
                FileActionKind::Symlink(it) => {
                    format!("symlink{{oldpath={}, newpath={}}}", it.oldpath, it.newpath)
                }
            });
            (names.collect::<Vec<_>>().join(","), "note")
        }
    }
}

fn action_json(action: &FileAction) -> Result<Value, serde_json::Error> {
    let kind = match &action.kind {
        FileActionKind::Copy(it) => json!({"Copy": serde_json::to_value(it)?}),
        FileActionKind::MkFile(it) => json!({"Mkfile": serde_json::to_value(it)?}),
        FileActionKind::MkDir(it) => json!({"Mkdir": serde_json::to_value(it)?}),
        FileActionKind::Rm(it) => json!({"Rm": serde_json::to_value(it)?}),
        FileActionKind::Symlink(it) => json!({"Symlink": serde_json::to_value(it)?}),
    };
    Ok(json!({
        "input": action.input,
        "secondaryInput": action.secondary_input,
        "output": action.output,
        "Action": kind,
    }))
}

fn to_json(digest: &oci::Digest, op: &LoadedOp) -> Result<Value> {
    let unfit = |e: serde_json::Error| Error::internal(format!("a vertex is not written: {e}"));
    let kind = match &op.op.kind {
        OpKind::Exec(it) => json!({"Exec": serde_json::to_value(it).map_err(unfit)?}),
        OpKind::Source(it) => json!({"Source": serde_json::to_value(it).map_err(unfit)?}),
        OpKind::File(it) => {
            let actions = it.actions.iter().map(action_json).collect::<Result<Vec<_>, _>>();
            json!({"File": {"actions": actions.map_err(unfit)?}})
        }
        OpKind::Build(it) => {
            json!({"Build": {"builder": it.builder, "inputs": it.inputs, "attrs": it.attrs}})
        }
        OpKind::Merge(it) => {
            let inputs: Vec<_> = it.inputs.iter().map(|input| json!({"input": input})).collect();
            json!({"Merge": {"inputs": inputs}})
        }
        OpKind::Diff(it) => json!({"Diff": {"lower": {"input": it.lower}, "upper": {"input": it.upper}}}),
        OpKind::Passthrough(it) => json!({"Passthrough": {"id": it.id, "outputs": it.outputs}}),
    };
    let inputs: Vec<_> =
        op.inputs.iter().map(|i| json!({"digest": i.digest.to_string(), "index": i.index})).collect();
    let mut told = json!({"inputs": inputs, "Op": kind, "constraints": {"filter": op.op.constraints}});
    if let Some(platform) = &op.op.platform {
        told["platform"] = json!({
            "Architecture": platform.architecture,
            "OS": platform.os,
            "Variant": platform.variant,
        });
    }
    let metadata = json!({
        "ignore_cache": op.metadata.ignore_cache,
        "description": op.metadata.description,
        "caps": op.metadata.caps,
    });
    Ok(json!({"Op": told, "Digest": digest.to_string(), "OpMetadata": metadata}))
}
