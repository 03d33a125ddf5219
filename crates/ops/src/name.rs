//! What a vertex is called when its frontend gave it no name.

use llb::{FileActionKind, FileOp, Op, OpKind};

/// `inputs` are the names of the op's inputs.
pub fn of(op: &Op, inputs: &[&str]) -> String {
    match &op.kind {
        OpKind::Source(s) => s.identifier.clone(),
        OpKind::Exec(e) => e.meta.args.join(" "),
        OpKind::File(f) => file(f),
        OpKind::Build(_) => "build".into(),
        OpKind::Merge(_) => format!("merge ({})", inputs.join(", ")),
        OpKind::Diff(d) => {
            let side = |input: i64| match usize::try_from(input).ok().and_then(|i| inputs.get(i)) {
                Some(name) => format!("({name})"),
                None => "scratch".into(),
            };
            format!("diff {} -> {}", side(d.lower), side(d.upper))
        }
        OpKind::Passthrough(p) => format!("passthrough {}", p.id),
    }
}

fn file(op: &FileOp) -> String {
    let names = op.actions.iter().map(|action| match &action.kind {
        FileActionKind::Copy(c) => format!("copy {} {}", c.src, c.dest),
        FileActionKind::MkFile(m) => format!("mkfile {}", m.path),
        FileActionKind::MkDir(m) => format!("mkdir {}", m.path),
        FileActionKind::Rm(r) => format!("rm {}", r.path),
        FileActionKind::Symlink(s) => format!("symlink {} -> {}", s.newpath, s.oldpath),
    });
    names.collect::<Vec<_>>().join(", ")
}
