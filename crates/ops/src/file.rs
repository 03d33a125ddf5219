//! Edits trees without a process. A chain of actions makes one tree; nothing is mounted.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result, Subject};
use llb::{Chown, FileAction, FileActionKind, User};
use refs::ImmutableRef;
use snapshot::{CopyOptions, FileOptions, MkdirOptions, Mode, Owner, RemoveOptions, Time, TreeBuilder, View};
use solver::{CacheMap, CacheMapPart, ContentKey, Dep, Op, OpContext};

use crate::content::{ContentHash, Selector, dedupe};
use crate::domain::{BuildDomain, Failure, Value};
use crate::key;
use crate::recopy::Task;
use crate::vertex::Ops;

pub struct FileOp {
    ops: Ops,
    op: Arc<llb::FileOp>,
    inputs: usize,
    name: String,
}

impl FileOp {
    pub fn new(ops: Ops, op: llb::FileOp, inputs: usize, name: String) -> Self {
        FileOp { ops, op: Arc::new(op), inputs, name }
    }

    /// What the actions look at of each input; `None` for an input that is built upon, where all of it counts.
    fn selectors(&self) -> Vec<Option<Vec<Selector>>> {
        let mut selectors = vec![Some(Vec::new()); self.inputs];
        for action in &self.op.actions {
            let mut look = |input: i64, selector: Selector| {
                if let Some(Some(list)) = usize::try_from(input).ok().and_then(|i| selectors.get_mut(i)) {
                    list.push(selector);
                }
            };
            for (user, file) in owners(&action.kind) {
                if let User::Name { input, .. } = user {
                    look(*input, Selector::plain(file, true));
                }
            }
            if let FileActionKind::Copy(c) = &action.kind {
                look(
                    action.secondary_input,
                    Selector {
                        path: c.src.clone(),
                        wildcard: c.allow_wildcard && has_wildcard(&c.src),
                        follow_links: c.follow_symlink,
                        include: c.include_patterns.clone(),
                        exclude: c.exclude_patterns.clone(),
                        required: c.required_paths.clone(),
                    },
                );
            }
        }
        for action in &self.op.actions {
            if let Some(base) = usize::try_from(action.input).ok().and_then(|i| selectors.get_mut(i)) {
                *base = None;
            }
        }
        selectors
    }
}

/// The users and groups that an action names, each with the file in which it is looked up.
fn owners(kind: &FileActionKind) -> impl Iterator<Item = (&User, &'static str)> {
    let owner = match kind {
        FileActionKind::Copy(c) => c.owner.as_ref(),
        FileActionKind::MkFile(m) => m.owner.as_ref(),
        FileActionKind::MkDir(m) => m.owner.as_ref(),
        FileActionKind::Symlink(_) | FileActionKind::Rm(_) => None,
    };
    let user = owner.and_then(|o| o.user.as_ref()).map(|u| (u, "/etc/passwd"));
    let group = owner.and_then(|o| o.group.as_ref()).map(|g| (g, "/etc/group"));
    user.into_iter().chain(group)
}

fn has_wildcard(path: &str) -> bool {
    let mut escaped = false;
    path.chars().any(|c| {
        let wild = !escaped && matches!(c, '*' | '?' | '[');
        escaped = c == '\\' && !escaped;
        wild
    })
}

#[async_trait]
impl Op<BuildDomain> for FileOp {
    async fn cache_map(&self, _: &OpContext<BuildDomain>, _: usize) -> Result<CacheMapPart<BuildDomain>> {
        let key = key::file(&self.op, self.inputs);
        let mut map = CacheMap::new(key.digest);
        map.ingredients = key.ingredients;
        map.deps = self
            .selectors()
            .into_iter()
            .enumerate()
            .map(|(input, selectors)| match selectors {
                Some(selectors) if !selectors.is_empty() => {
                    let paths: Vec<_> = selectors.iter().map(|s| s.path.as_str()).collect();
                    let selector = Some(key::file_selector(&paths));
                    let content: Arc<dyn ContentKey<_>> =
                        Arc::new(ContentHash::new(input, dedupe(&selectors)));
                    Dep { selector, content: Some(content) }
                }
                _ => Dep::plain(),
            })
            .collect();
        Ok(CacheMapPart::only(map))
    }

    async fn exec(&self, cx: &OpContext<BuildDomain>, inputs: Vec<Value>) -> Result<Vec<Option<Value>>> {
        let (ops, op, name) = (&self.ops, &self.op, self.name.as_str());
        let names = op.actions.iter().flat_map(|action| owners(&action.kind));
        let users: Vec<_> = names.filter_map(|(user, _)| input_of(user)).collect();
        let task = Task::of(op, &inputs, &users);
        let mut run = Run { ops, cx, op, name, inputs, made: BTreeMap::new() };
        if let Some(task) = &task
            && let Some(done) = run.redo(task).await?
        {
            return Ok(vec![Some(Some(done))]);
        }
        for index in 0..self.op.actions.len() {
            if let Err(e) = run.action(index).await {
                if !e.is_canceled() {
                    run.leave(index).await.tell(cx);
                }
                return Err(e);
            }
        }
        let outputs = run.outputs().await?;
        if let (Some(task), [Some(Some(result))]) = (&task, &outputs[..]) {
            ops.copies().remember(task, result).await?;
        }
        Ok(outputs)
    }
}

/// Where a user is looked up.
fn input_of(user: &User) -> Option<i64> {
    match user {
        User::Name { input, .. } => Some(*input),
        User::Id(_) => None,
    }
}

/// What an action left: a tree that the next may go on with, or a ref.
enum Made {
    Open { builder: Box<TreeBuilder>, base: Option<ImmutableRef> },
    Committed(ImmutableRef),
}

/// One run of the actions.
struct Run<'a> {
    ops: &'a Ops,
    cx: &'a OpContext<BuildDomain>,
    op: &'a Arc<llb::FileOp>,
    name: &'a str,
    inputs: Vec<Value>,
    /// By the number of the action.
    made: BTreeMap<usize, Made>,
}

impl Run<'_> {
    async fn action(&mut self, index: usize) -> Result<()> {
        let action = &self.op.actions[index];
        let (mut builder, base) = self.base(action, index).await?;
        let source = self.view(action.secondary_input).await?;
        let users = self.users(action).await?;
        let op = Arc::clone(self.op);
        let done = tokio::task::spawn_blocking(move || {
            let applied = apply(&mut builder, &op.actions[index], &source, &users);
            (builder, applied)
        });
        let (builder, applied) = done.await.map_err(|e| Error::internal(format!("file action: {e}")))?;
        self.made.insert(index, Made::Open { builder, base });
        applied
    }

    /// What there is after the action at `failed` did not do its work.
    async fn leave(mut self, failed: usize) -> Failure {
        let mut mounts = vec![None; self.op.actions.len()];
        for (index, left) in mounts.iter_mut().enumerate() {
            if self.made.contains_key(&index) {
                *left = self.commit(index).await.ok();
            }
        }
        Failure { inputs: self.inputs, mounts, subject: Some(Subject::Action(failed as i64)) }
    }

    /// Does the work by what an earlier run left, where that helps.
    async fn redo(&mut self, task: &Task) -> Result<Option<ImmutableRef>> {
        let FileActionKind::Copy(copy) = &self.op.actions[0].kind else { return Ok(None) };
        let options = copy_options(copy, &self.users(&self.op.actions[0]).await?)?;
        let (copies, refs) = (self.ops.copies(), &self.ops.parts().refs);
        let done = match self.cx.while_wanted(copies.redo(refs, task, options, self.name)).await {
            Ok(Some(done)) => done,
            Ok(None) => return Ok(None),
            Err(e) => {
                tracing::debug!("all of a source is copied: {e}");
                return Ok(None);
            }
        };
        copies.remember(task, &done).await?;
        Ok(Some(done))
    }

    /// The views in which an action looks users up, by input.
    async fn users(&mut self, action: &FileAction) -> Result<BTreeMap<i64, View>> {
        let mut users = BTreeMap::new();
        for input in owners(&action.kind).filter_map(|(user, _)| input_of(user)) {
            users.insert(input, self.view(input).await?);
        }
        Ok(users)
    }

    /// The tree that an action edits: the open one of the action before, where nobody else looks at it, else a new one.
    async fn base(
        &mut self,
        action: &FileAction,
        index: usize,
    ) -> Result<(Box<TreeBuilder>, Option<ImmutableRef>)> {
        let base = match usize::try_from(action.input) {
            Err(_) => None,
            Ok(input) if input < self.inputs.len() => self.inputs[input].clone(),
            Ok(input) => {
                let earlier = input - self.inputs.len();
                if earlier >= index {
                    return Err(Error::user(format!(
                        "invalid file op: action {index} builds on a later one"
                    )));
                }
                if self.users_of(earlier) == 1
                    && self.op.actions[earlier].output == llb::NONE
                    && let Some(Made::Open { .. }) = self.made.get(&earlier)
                    && let Some(Made::Open { builder, base }) = self.made.remove(&earlier)
                {
                    return Ok((builder, base));
                }
                Some(self.commit(earlier).await?)
            }
        };
        let view = self.view_of(base.as_ref()).await?;
        let tree = self.ops.parts().refs.new_tree()?;
        Ok((Box::new(tree.builder(view)), base))
    }

    /// How often the result of an action is used.
    fn users_of(&self, action: usize) -> usize {
        let wanted = (self.inputs.len() + action) as i64;
        let named = |a: &FileAction| {
            owners(&a.kind).filter(|(u, _)| matches!(u, User::Name { input, .. } if *input == wanted)).count()
        };
        let uses = |a: &FileAction| {
            usize::from(a.input == wanted) + usize::from(a.secondary_input == wanted) + named(a)
        };
        self.op.actions.iter().map(uses).sum()
    }

    async fn commit(&mut self, action: usize) -> Result<ImmutableRef> {
        let made = self.made.remove(&action);
        let made = made
            .ok_or_else(|| Error::user(format!("invalid file op: result of action {action} is not there")))?;
        let committed = match made {
            Made::Committed(r) => r,
            Made::Open { builder, base } => {
                self.ops.parts().refs.from_tree(base.as_ref(), builder.finish()?, self.name).await?
            }
        };
        self.made.insert(action, Made::Committed(committed.clone()));
        Ok(committed)
    }

    async fn view(&mut self, input: i64) -> Result<View> {
        let input = match usize::try_from(input) {
            Err(_) => None,
            Ok(i) if i < self.inputs.len() => self.inputs[i].clone(),
            Ok(i) => Some(self.commit(i - self.inputs.len()).await?),
        };
        self.view_of(input.as_ref()).await
    }

    /// The files of an input, which may have to be fetched.
    async fn view_of(&self, input: Option<&ImmutableRef>) -> Result<View> {
        match input {
            Some(input) => self.cx.while_wanted(input.view()).await,
            None => Ok(View::empty()),
        }
    }

    async fn outputs(mut self) -> Result<Vec<Option<Value>>> {
        let actions = self.op.actions.iter().enumerate();
        let wanted: BTreeMap<i64, usize> =
            actions.filter(|(_, a)| a.output != llb::NONE).map(|(i, a)| (a.output, i)).collect();
        if wanted.is_empty() {
            return Err(Error::user("no outputs specified"));
        }
        let mut outputs = Vec::with_capacity(wanted.len());
        for (expected, (output, action)) in (0..).zip(wanted) {
            if output != expected {
                return Err(Error::user(format!("missing output index {expected}")));
            }
            outputs.push(Some(Some(self.commit(action).await?)));
        }
        Ok(outputs)
    }
}

fn apply(
    builder: &mut TreeBuilder,
    action: &FileAction,
    source: &View,
    users: &BTreeMap<i64, View>,
) -> Result<()> {
    match &action.kind {
        FileActionKind::MkDir(m) => builder.mkdir(
            m.path.as_bytes(),
            &MkdirOptions {
                mode: m.mode as u32,
                parents: m.make_parents,
                owner: owner(m.owner.as_ref(), users)?,
                timestamp: timestamp(m.timestamp),
            },
        ),
        FileActionKind::MkFile(m) => builder.mkfile(
            m.path.as_bytes(),
            &m.data,
            &FileOptions {
                mode: m.mode as u32,
                owner: owner(m.owner.as_ref(), users)?,
                timestamp: timestamp(m.timestamp),
            },
        ),
        FileActionKind::Symlink(s) => {
            let owner = owner(s.owner.as_ref(), users)?;
            let options = FileOptions { owner, timestamp: timestamp(s.timestamp), ..FileOptions::default() };
            builder.symlink(s.oldpath.as_bytes(), s.newpath.as_bytes(), &options)
        }
        FileActionKind::Rm(r) => builder.remove(
            r.path.as_bytes(),
            &RemoveOptions { allow_not_found: r.allow_not_found, wildcard: r.allow_wildcard },
        ),
        FileActionKind::Copy(c) => {
            let options = copy_options(c, users)?;
            builder.copy(source, c.src.as_bytes(), c.dest.as_bytes(), &options)
        }
    }
}

fn copy_options(c: &llb::Copy, users: &BTreeMap<i64, View>) -> Result<CopyOptions> {
    Ok(CopyOptions {
        owner: owner(c.owner.as_ref(), users)?,
        mode: match (c.mode_str.as_str(), c.mode) {
            ("", -1) => None,
            ("", bits) => Some(Mode::Absolute(bits as u32)),
            (symbolic, _) => Some(Mode::Symbolic(symbolic.to_owned())),
        },
        timestamp: timestamp(c.timestamp),
        follow_symlinks: c.follow_symlink,
        dir_contents: c.dir_copy_contents,
        attempt_unpack: c.attempt_unpack,
        create_dest_path: c.create_dest_path,
        allow_wildcard: c.allow_wildcard,
        allow_empty_wildcard: c.allow_empty_wildcard,
        include: c.include_patterns.clone(),
        exclude: c.exclude_patterns.clone(),
        always_replace_existing: c.always_replace_existing,
    })
}

fn timestamp(nanos: i64) -> Option<Time> {
    (nanos != -1).then(|| Time::from_nanos(nanos))
}

/// The owner as numbers. A name that is not in the file is root, as BuildKit has it.
fn owner(chown: Option<&Chown>, users: &BTreeMap<i64, View>) -> Result<Option<Owner>> {
    let Some(chown) = chown else { return Ok(None) };
    let mut owner = Owner { uid: 0, gid: 0 };
    match &chown.user {
        Some(User::Id(id)) => owner = Owner { uid: *id, gid: *id },
        Some(User::Name { name, input }) => {
            let text = read(users, *input, "/etc/passwd")?;
            if let Some(user) = fsutil::passwd::users(&text).find(|u| u.name == name.as_bytes()) {
                owner = Owner { uid: user.uid, gid: user.gid };
            }
        }
        None => {}
    }
    match &chown.group {
        Some(User::Id(id)) => owner.gid = *id,
        Some(User::Name { name, input }) => {
            let text = read(users, *input, "/etc/group")?;
            if let Some(group) = fsutil::passwd::groups(&text).find(|g| g.name == name.as_bytes()) {
                owner.gid = group.gid;
            }
        }
        None => {}
    }
    Ok(Some(owner))
}

/// A user file; empty where it is not there.
fn read(users: &BTreeMap<i64, View>, input: i64, path: &str) -> Result<Vec<u8>> {
    const LIMIT: u64 = 10 << 20;
    let view = users.get(&input).ok_or_else(|| Error::user("invalid missing user mount"))?;
    Ok(view.read(path.as_bytes(), LIMIT)?.unwrap_or_default())
}
