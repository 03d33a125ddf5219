//! File ops.

use errdefs::{Error, Result};
use proto::pb;
use proto::pb::file_action::Action;
use proto::pb::user_opt;

use crate::file::{Chown, Copy, FileAction, FileActionKind, FileOp, MkDir, MkFile, Rm, Symlink, User};

pub(super) fn to_wire(f: &FileOp) -> pb::FileOp {
    let action = |a: &FileAction| pb::FileAction {
        input: a.input,
        secondary_input: a.secondary_input,
        output: a.output,
        action: Some(match &a.kind {
            FileActionKind::Copy(c) => Action::Copy(copy_to_wire(c)),
            FileActionKind::MkFile(m) => Action::Mkfile(pb::FileActionMkFile {
                path: m.path.clone(),
                mode: m.mode,
                data: m.data.clone(),
                owner: m.owner.as_ref().map(chown_to_wire),
                timestamp: m.timestamp,
            }),
            FileActionKind::MkDir(m) => Action::Mkdir(pb::FileActionMkDir {
                path: m.path.clone(),
                mode: m.mode,
                make_parents: m.make_parents,
                owner: m.owner.as_ref().map(chown_to_wire),
                timestamp: m.timestamp,
            }),
            FileActionKind::Rm(r) => Action::Rm(pb::FileActionRm {
                path: r.path.clone(),
                allow_not_found: r.allow_not_found,
                allow_wildcard: r.allow_wildcard,
            }),
            FileActionKind::Symlink(s) => Action::Symlink(pb::FileActionSymlink {
                oldpath: s.oldpath.clone(),
                newpath: s.newpath.clone(),
                owner: s.owner.as_ref().map(chown_to_wire),
                timestamp: s.timestamp,
            }),
        }),
    };
    pb::FileOp { actions: f.actions.iter().map(action).collect() }
}

pub(super) fn from_wire(f: pb::FileOp) -> Result<FileOp> {
    if f.actions.is_empty() {
        return Err(Error::user("invalid file op with no actions"));
    }
    let action = |a: pb::FileAction| -> Result<FileAction> {
        let kind = match a.action.ok_or_else(|| Error::user("invalid file op: unknown action"))? {
            Action::Copy(c) => FileActionKind::Copy(copy_from_wire(c)?),
            Action::Mkfile(m) => FileActionKind::MkFile(MkFile {
                path: m.path,
                mode: m.mode,
                data: m.data,
                owner: m.owner.map(chown_from_wire).transpose()?,
                timestamp: m.timestamp,
            }),
            Action::Mkdir(m) => FileActionKind::MkDir(MkDir {
                path: m.path,
                mode: m.mode,
                make_parents: m.make_parents,
                owner: m.owner.map(chown_from_wire).transpose()?,
                timestamp: m.timestamp,
            }),
            Action::Rm(r) => FileActionKind::Rm(Rm {
                path: r.path,
                allow_not_found: r.allow_not_found,
                allow_wildcard: r.allow_wildcard,
            }),
            Action::Symlink(s) => FileActionKind::Symlink(Symlink {
                oldpath: s.oldpath,
                newpath: s.newpath,
                owner: s.owner.map(chown_from_wire).transpose()?,
                timestamp: s.timestamp,
            }),
        };
        Ok(FileAction { input: a.input, secondary_input: a.secondary_input, output: a.output, kind })
    };
    Ok(FileOp { actions: f.actions.into_iter().map(action).collect::<Result<_>>()? })
}

fn copy_to_wire(c: &Copy) -> pb::FileActionCopy {
    pb::FileActionCopy {
        src: c.src.clone(),
        dest: c.dest.clone(),
        owner: c.owner.as_ref().map(chown_to_wire),
        mode: c.mode,
        follow_symlink: c.follow_symlink,
        dir_copy_contents: c.dir_copy_contents,
        attempt_unpack_docker_compatibility: c.attempt_unpack,
        create_dest_path: c.create_dest_path,
        allow_wildcard: c.allow_wildcard,
        allow_empty_wildcard: c.allow_empty_wildcard,
        timestamp: c.timestamp,
        include_patterns: c.include_patterns.clone(),
        exclude_patterns: c.exclude_patterns.clone(),
        always_replace_existing_dest_paths: c.always_replace_existing,
        mode_str: c.mode_str.clone(),
        required_paths: c.required_paths.clone(),
    }
}

fn copy_from_wire(c: pb::FileActionCopy) -> Result<Copy> {
    Ok(Copy {
        src: c.src,
        dest: c.dest,
        owner: c.owner.map(chown_from_wire).transpose()?,
        mode: c.mode,
        follow_symlink: c.follow_symlink,
        dir_copy_contents: c.dir_copy_contents,
        attempt_unpack: c.attempt_unpack_docker_compatibility,
        create_dest_path: c.create_dest_path,
        allow_wildcard: c.allow_wildcard,
        allow_empty_wildcard: c.allow_empty_wildcard,
        timestamp: c.timestamp,
        include_patterns: c.include_patterns,
        exclude_patterns: c.exclude_patterns,
        always_replace_existing: c.always_replace_existing_dest_paths,
        mode_str: c.mode_str,
        required_paths: c.required_paths,
    })
}

fn chown_to_wire(c: &Chown) -> pb::ChownOpt {
    let user = |u: &User| pb::UserOpt {
        user: Some(match u {
            User::Name { name, input } => {
                user_opt::User::ByName(pb::NamedUserOpt { name: name.clone(), input: *input })
            }
            User::Id(id) => user_opt::User::ById(*id),
        }),
    };
    pb::ChownOpt { user: c.user.as_ref().map(user), group: c.group.as_ref().map(user) }
}

fn chown_from_wire(c: pb::ChownOpt) -> Result<Chown> {
    let user = |u: pb::UserOpt| -> Result<User> {
        match u.user.ok_or_else(|| Error::user("invalid file op: empty user"))? {
            user_opt::User::ByName(n) if n.input < 0 => {
                Err(Error::user(format!("invalid user index: {}", n.input)))
            }
            user_opt::User::ByName(n) => Ok(User::Name { name: n.name, input: n.input }),
            user_opt::User::ById(id) => Ok(User::Id(id)),
        }
    };
    Ok(Chown { user: c.user.map(user).transpose()?, group: c.group.map(user).transpose()? })
}
