//! Directories that steps share from build to build.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use errdefs::Result;
use fsutil::mount::Source;
use snapshot::LayerId;
use tokio::sync::Notify;

use crate::make::NewRef;
use crate::node::{ImmutableRef, Node, Parents};
use crate::record::{Kind, RecordType, RefId, Tree};
use crate::refs::{Inner, Refs, blocking};

/// What happens when two steps use one cache mount at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sharing {
    /// Both write to it.
    #[default]
    Shared,
    /// The second gets another directory.
    Private,
    /// The second waits.
    Locked,
}

/// Who uses a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Free,
    Shared(usize),
    Alone,
}

struct Directory {
    node: Arc<Node>,
    used: Use,
}

/// The directories of all cache mounts, by key.
#[derive(Default)]
pub(crate) struct Mounts {
    keys: Mutex<HashMap<String, Vec<Directory>>>,
    freed: Notify,
    /// Held from a look to what it leads to, so that two who find no directory do not each make one.
    choosing: tokio::sync::Mutex<()>,
}

impl Mounts {
    pub fn add(&self, key: String, node: Arc<Node>) {
        self.lock().entry(key).or_default().push(Directory { node, used: Use::Free });
    }

    pub fn remove(&self, key: &str, id: &RefId) {
        let mut keys = self.lock();
        if let Some(directories) = keys.get_mut(key) {
            directories.retain(|directory| directory.node.id != *id);
            if directories.is_empty() {
                keys.remove(key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Directory>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directories of `key` that nobody uses.
    fn free(&self, key: &str) -> Vec<Arc<Node>> {
        let keys = self.lock();
        let all = keys.get(key).into_iter().flatten();
        all.filter(|directory| directory.used == Use::Free).map(|directory| directory.node.clone()).collect()
    }

    /// Takes a directory of `key`, if one can be had.
    fn take(&self, key: &str, sharing: Sharing, refs: &Arc<Inner>) -> Taken {
        let mut keys = self.lock();
        let directories = keys.entry(key.to_owned()).or_default();
        if sharing == Sharing::Shared {
            for directory in directories.iter_mut() {
                if let Use::Shared(count) = &mut directory.used {
                    *count += 1;
                    return Taken::Directory(directory.node.hold(refs));
                }
            }
        }
        for free in directories.iter_mut().filter(|directory| directory.used == Use::Free) {
            let held = free.node.hold(refs);
            // One that is being removed is not given out.
            if refs.state().nodes.contains_key(&free.node.id) {
                free.used = Self::first_use(sharing);
                return Taken::Directory(held);
            }
        }
        directories.retain(|directory| {
            directory.used != Use::Free || refs.state().nodes.contains_key(&directory.node.id)
        });
        if sharing == Sharing::Locked && !directories.is_empty() { Taken::Wait } else { Taken::Make }
    }

    fn first_use(sharing: Sharing) -> Use {
        if sharing == Sharing::Shared { Use::Shared(1) } else { Use::Alone }
    }

    /// Notes the use of a directory that was just made.
    fn start(&self, key: &str, id: &str, sharing: Sharing) {
        if let Some(directory) =
            self.lock().get_mut(key).and_then(|all| all.iter_mut().find(|d| *d.node.id == *id))
        {
            directory.used = Self::first_use(sharing);
        }
    }

    fn give_back(&self, key: &str, id: &str) {
        if let Some(directory) =
            self.lock().get_mut(key).and_then(|all| all.iter_mut().find(|d| *d.node.id == *id))
        {
            directory.used = match directory.used {
                Use::Shared(count) if count > 1 => Use::Shared(count - 1),
                _ => Use::Free,
            };
        }
        self.freed.notify_waiters();
    }
}

enum Taken {
    Directory(ImmutableRef),
    Make,
    Wait,
}

/// A cache mount in use. Dropped, it may be used by others.
pub struct CacheMount {
    key: String,
    state: ImmutableRef,
    tree: LayerId,
}

impl CacheMount {
    /// The mount; it takes writes.
    pub fn mount_source(&self) -> Result<Source> {
        self.state.refs()?.snapshots.scratch_source(&self.tree)
    }

    pub fn id(&self) -> &str {
        self.state.id()
    }
}

impl Drop for CacheMount {
    fn drop(&mut self) {
        self.state.node().recount();
        if let Ok(refs) = self.state.refs() {
            refs.mounts.give_back(&self.key, self.state.id());
        }
    }
}

impl Refs {
    /// The cache mount of this name. A new one begins with what `base` holds. Cancelled by dropping the future.
    pub async fn cache_mount(
        &self,
        name: &str,
        base: Option<&ImmutableRef>,
        sharing: Sharing,
        description: &str,
    ) -> Result<CacheMount> {
        let key = match base {
            Some(base) => format!("{name}:{}", base.id()),
            None => name.to_owned(),
        };
        loop {
            // Before the look, so that nothing that is given back after it is missed.
            let freed = self.0.mounts.freed.notified();
            let choosing = self.0.mounts.choosing.lock().await;
            for node in self.0.mounts.free(&key) {
                if self.0.lost_part(&node).is_some() {
                    self.0.drop_lost(&node);
                }
            }
            match self.0.mounts.take(&key, sharing, &self.0) {
                Taken::Directory(state) => return mount(key, state),
                Taken::Wait => {
                    drop(choosing);
                    freed.await;
                }
                Taken::Make => return self.new_cache_mount(key, base, sharing, description).await,
            }
        }
    }

    async fn new_cache_mount(
        &self,
        key: String,
        base: Option<&ImmutableRef>,
        sharing: Sharing,
        description: &str,
    ) -> Result<CacheMount> {
        let base = match base {
            Some(base) => Some(base.view().await?),
            None => None,
        };
        let refs = self.0.clone();
        let tree = blocking(move || refs.snapshots.new_scratch(base.as_ref())).await?;
        let kind = Kind::Scratch { key: key.clone(), tree: Tree(tree) };
        let record = NewRef::new(description, RecordType::CacheMount).record(kind);
        let state = self.0.create(Parents::None, record);
        self.0.mounts.start(&key, state.id(), sharing);
        state.persist();
        mount(key, state)
    }

    /// Empties the cache mount of this name, or with `on_base` all of this name that began with some content: who comes
    /// next gets a new directory. Those in use stay until then.
    pub fn forget_cache_mounts(&self, name: &str, on_base: bool) {
        let wanted = |key: &str| match key.strip_prefix(name) {
            Some(rest) => {
                if on_base {
                    rest.starts_with(':')
                } else {
                    rest.is_empty()
                }
            }
            None => false,
        };
        let gone: Vec<_> =
            self.0.mounts.lock().extract_if(|key, _| wanted(key)).flat_map(|(_, all)| all).collect();
        for directory in gone {
            directory.node.record().retained = false;
            self.0.remove(&directory.node);
        }
    }
}

fn mount(key: String, state: ImmutableRef) -> Result<CacheMount> {
    let tree = state.node().record().kind.own_trees().into_iter().next();
    let tree = tree.ok_or_else(|| errdefs::Error::internal(format!("`{}` is no cache mount", state.id())))?;
    Ok(CacheMount { key, state, tree })
}
