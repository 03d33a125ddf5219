//! Folders that several targets read: one session serves them, so that the engine sees one source and reads it once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use client::Client;
use errdefs::Result;
use session::Attachables;
use tokio_util::task::AbortOnDropHandle;

use crate::job::{Job, Part};

/// The sessions; they end with this value.
pub(super) struct SharedFolders(#[expect(dead_code, reason = "held")] Vec<AbortOnDropHandle<Result<()>>>);

/// A folder by the name of its node, its own name in a session, and its path.
type Folder = (String, String, PathBuf);

/// A session to be opened. A name stands for one folder in it.
struct Session {
    id: String,
    node: String,
    shared_key: String,
    folders: BTreeMap<String, PathBuf>,
    client: Client,
}

impl SharedFolders {
    /// Finds the folders that several of the jobs offer under the same name to the same node, and has them asked for in
    /// sessions of their own.
    pub(super) fn of<'j>(jobs: impl Iterator<Item = &'j mut Job>) -> Self {
        let mut parts: Vec<&mut Part> = jobs.flat_map(|job| &mut job.parts).collect();
        let mut users: BTreeMap<Folder, usize> = BTreeMap::new();
        for folder in parts.iter().flat_map(|part| folders(part)) {
            *users.entry(folder).or_default() += 1;
        }
        let mut sessions: Vec<Session> = Vec::new();
        for part in &mut parts {
            for folder in folders(part).into_iter().filter(|folder| users[folder] > 1) {
                let key = format!("local-sessionid:{}", folder.1);
                let session = session_of(folder, part, &mut sessions);
                part.request.frontend_attrs.insert(key, session.id.clone());
            }
        }
        SharedFolders(sessions.into_iter().map(Session::serve).collect())
    }
}

fn folders(part: &Part) -> Vec<Folder> {
    let folder = |(name, path): (&str, &std::path::Path)| {
        (part.node.name.clone(), name.to_owned(), path.canonicalize().unwrap_or_else(|_| path.to_owned()))
    };
    part.attachables.folders().map(folder).collect()
}

/// The session that serves the folder; it may serve others that have other names.
fn session_of<'s>(folder: Folder, part: &Part, sessions: &'s mut Vec<Session>) -> &'s Session {
    let (node, name, path) = folder;
    let takes = |s: &Session| {
        s.node == node
            && s.shared_key == part.request.shared_key
            && s.folders.get(&name).is_none_or(|p| *p == path)
    };
    let serves = |s: &Session| s.node == node && s.folders.get(&name) == Some(&path);
    let place = sessions.iter().position(serves).or_else(|| sessions.iter().position(takes));
    let place = place.unwrap_or_else(|| {
        let (client, shared_key) = (part.node.client.clone(), part.request.shared_key.clone());
        sessions.push(Session {
            id: client::new_id(),
            node: node.clone(),
            shared_key,
            folders: BTreeMap::new(),
            client,
        });
        sessions.len() - 1
    });
    sessions[place].folders.insert(name, path);
    &sessions[place]
}

impl Session {
    fn serve(self) -> AbortOnDropHandle<Result<()>> {
        let offers = self.folders.iter().fold(Attachables::new(), |all, (name, path)| all.dir(name, path));
        self.client.share_session(&self.id, &self.shared_key, offers)
    }
}
