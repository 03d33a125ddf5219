//! Opens the store of an engine, also one whose database is damaged.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use errdefs::{Code, Error, Result, ResultExt};
use redb::Database;
use refs::{LastEnd, Records, Refs};
use tokio_util::sync::CancellationToken;

use crate::database::{self, damage};

/// Exists while an engine uses the store: where it does at a start, the last one did not come to its end.
const RUNNING: &str = "running";
/// A database up to this many bytes is read as a whole after a crash. It needs no repair then, it is only an occasion to
/// look; nobody is to wait for more.
const QUICKLY_READ: u64 = 64 << 20;
/// What that file says when the engine ended because of its database.
const DAMAGED: &str = "the database is damaged";

/// All that is kept in a store.
pub struct Stores<T> {
    pub content: content::Store,
    pub refs: Refs,
    pub records: Records,
    /// What else is kept in the database.
    pub more: T,
    /// The database that could not be read, where there was one; it was put there.
    pub set_aside: Option<PathBuf>,
    /// Cancelled when the database's file fails: nothing can be read or written then until the store is opened again.
    pub broken: CancellationToken,
}

impl<T: Send + 'static> Stores<T> {
    /// Opens the store in `root`. A database that cannot be read is set aside, and another is begun: what was in the
    /// store is built anew then. `thorough` reads all of the database first, as is done after a crash. `more` opens what
    /// else is kept in it.
    pub async fn open(
        root: &Path,
        thorough: bool,
        more: impl Fn(&Refs) -> Result<T> + Send + Sync + 'static,
    ) -> Result<Stores<T>> {
        let more = Arc::new(more);
        let running = root.join(RUNNING);
        let last = std::fs::read_to_string(&running).ok();
        let mut known_damage = last.as_deref() == Some(DAMAGED);
        let path = root.join("metadata");
        let is_quick = path.metadata().is_ok_and(|file| file.len() <= QUICKLY_READ);
        let last_end = if thorough || last.is_some() { LastEnd::Unknown } else { LastEnd::Clean };
        let thorough = thorough || (last.is_some() && is_quick);
        std::fs::write(&running, "").with_context(|| format!("failed to write `{}`", running.display()))?;
        let (mut set_aside, broken) = (None, CancellationToken::new());
        loop {
            let database = match std::mem::take(&mut known_damage) {
                true => Err(damage("the last engine ended over it")),
                false => database::open(&path, thorough, broken.clone()),
            };
            let opened = match database {
                Ok(database) => parts(root, Arc::new(database), last_end, Arc::clone(&more)).await,
                Err(e) => Err(e),
            };
            match opened {
                Ok((content, refs, records, more)) => {
                    return Ok(Stores { content, refs, records, more, set_aside, broken });
                }
                Err(e) if is_damage(&e) && set_aside.is_none() => {
                    let to = fsutil::set_aside(&path, &root.join("damaged"), "metadata");
                    let to =
                        to.with_context(|| format!("failed to set the damaged `{}` aside", path.display()))?;
                    tracing::error!(
                        "the database `{}` is damaged ({e}); it was moved to `{}`, and the store begins anew",
                        path.display(),
                        to.display()
                    );
                    set_aside = Some(to);
                }
                Err(e) => return Err(e),
            }
        }
    }
}

impl Stores<()> {
    /// From now on, a database whose pages make no sense ends the engine: whoever met them may hold its locks for ever.
    /// The next engine sets it aside.
    pub fn end_on_damage(root: &Path) {
        let running = root.join(RUNNING);
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            usual(panic);
            if panic.location().is_some_and(|location| location.file().contains("redb")) {
                tracing::error!(
                    "the database is damaged; the engine ends, and the next one begins a new database"
                );
                let _ = std::fs::write(&running, DAMAGED);
                std::process::abort();
            }
        }));
    }

    /// Makes all durable. Nothing is written after it.
    pub async fn close(refs: &Refs, root: &Path) {
        if refs.close().await == LastEnd::Clean
            && let Err(e) = std::fs::remove_file(root.join(RUNNING))
        {
            tracing::warn!("the next start is a thorough one: {e}");
        }
    }
}

async fn parts<T: Send + 'static>(
    root: &Path,
    database: Arc<Database>,
    last_end: LastEnd,
    more: Arc<impl Fn(&Refs) -> Result<T> + Send + Sync + 'static>,
) -> Result<(content::Store, Refs, Records, T)> {
    let root = root.to_owned();
    let runtime = tokio::runtime::Handle::current();
    let opened = tokio::task::spawn_blocking(move || {
        let content = content::Store::open(&root, Arc::clone(&database))?;
        let snapshots = snapshot::Store::open(&root, snapshot::Options::default())?;
        let refs = runtime.block_on(Refs::open(database, snapshots, content.clone(), last_end))?;
        let records = Records::open(&refs)?;
        let more = more(&refs)?;
        Ok((content, refs, records, more))
    });
    match opened.await {
        Ok(opened) => opened,
        Err(e) if e.is_panic() => Err(damage("its rows make no sense")),
        Err(e) => Err(Error::internal(format!("the store was not opened: {e}"))),
    }
}

fn is_damage(e: &Error) -> bool {
    e.code() == Code::DataLoss
}
