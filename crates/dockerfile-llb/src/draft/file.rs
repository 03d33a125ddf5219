//! File ops in the draft.

use llb::{Chown, Copy, FileAction, FileActionKind, FileOp, MkDir, MkFile, User};

use super::{Inputs, Port};

/// One action; each works on what the one before has left. Names of users are looked up in the tree that the first
/// action starts from.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    kind: ActionKind,
    owner: Option<Chown>,
}

#[derive(Debug, Clone)]
pub(crate) enum ActionKind {
    /// From scratch when there is no source.
    Copy(Option<Port>, Copy),
    MkDir(MkDir),
    MkFile(MkFile),
}

impl Action {
    /// An action that leaves owners as they come.
    pub fn new(kind: ActionKind) -> Self {
        Action { kind, owner: None }
    }

    /// With the owner `user[:group]`; as it comes where that is empty.
    #[must_use]
    pub fn owned_by(mut self, chown: &str) -> Self {
        if !chown.is_empty() {
            let (name, group) = match chown.split_once(':') {
                Some((name, group)) => (name, Some(user(group))),
                None => (chown, None),
            };
            self.owner = Some(Chown { user: Some(user(name)), group });
        }
        self
    }

    #[must_use]
    pub fn owned_by_ids(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Some(Chown { user: Some(User::Id(uid)), group: Some(User::Id(gid)) });
        self
    }

    pub(super) fn source(&self) -> Option<Port> {
        match &self.kind {
            ActionKind::Copy(source, _) => *source,
            _ => None,
        }
    }
}

pub(super) fn build(base: Option<Port>, actions: Vec<Action>, inputs: &mut Inputs<'_>) -> FileOp {
    let base = inputs.index(base);
    let secondary: Vec<i64> = actions.iter().map(|a| inputs.index(a.source())).collect();
    let count = inputs.list.len() as i64;
    let last = actions.len() - 1;
    let build = |(at, (action, secondary_input)): (usize, (Action, i64))| {
        let owner = action.owner.map(|owner| Chown {
            user: owner.user.map(|u| looked_up_in(u, base)),
            group: owner.group.map(|g| looked_up_in(g, base)),
        });
        let kind = match action.kind {
            ActionKind::Copy(_, copy) => FileActionKind::Copy(Copy { owner, ..copy }),
            ActionKind::MkDir(dir) => FileActionKind::MkDir(MkDir { owner, ..dir }),
            ActionKind::MkFile(file) => FileActionKind::MkFile(MkFile { owner, ..file }),
        };
        FileAction {
            input: if at == 0 { base } else { count + at as i64 - 1 },
            secondary_input,
            output: if at == last { 0 } else { llb::NONE },
            kind,
        }
    };
    FileOp { actions: actions.into_iter().zip(secondary).enumerate().map(build).collect() }
}

/// A number of 32 bits, `root`, or a name. An empty name means root on the wire.
fn user(text: &str) -> User {
    match text.parse::<i32>() {
        Ok(id) => User::Id(id as u32),
        Err(_) if matches!(text, "root" | "") => User::Id(0),
        Err(_) => User::Name { name: text.to_owned(), input: llb::NONE },
    }
}

fn looked_up_in(user: User, input: i64) -> User {
    match user {
        User::Name { name, .. } => User::Name { name, input },
        id => id,
    }
}
