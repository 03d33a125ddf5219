//! Git repositories (`git://`), by way of the `git` program.
//!
//! A reference is resolved with `ls-remote`, which costs little; the commit that it stands for is the key. Only when no
//! record is found under that key is anything fetched: into a bare repository that stays for the next build of the same
//! remote, and from there into a fresh tree.

mod bundle;
mod checkout;
mod command;
mod fetch;
mod options;
mod resolve;
mod signed;

use std::sync::Arc;

use async_trait::async_trait;
use errdefs::{Error, Result};
use frontend::{GitMeta, SourceMeta, SourceOptions};
use redb::Database;
use refs::{ImmutableRef, NewRef, RecordType, Sharing};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::context::Context;
use crate::memory::Memory;
use crate::sources::Shared;
use crate::{Key, Source};
use bundle::Staged;
pub use options::GitOptions;
use options::is_commit;
pub use resolve::Resolved;

/// The checkouts of former builds, by their keys.
pub struct Checkouts(Memory<Checkout>);

#[derive(Serialize, Deserialize)]
struct Checkout {
    /// The id of the state with the files.
    id: String,
}

impl Checkouts {
    pub fn new(db: Arc<Database>) -> Self {
        Checkouts(Memory::new(db, "source.git.v1"))
    }
}

pub struct GitSource {
    shared: Arc<Shared>,
    options: GitOptions,
    resolved: OnceCell<Resolved>,
    staged: OnceCell<Staged>,
    verified: OnceCell<()>,
}

impl GitSource {
    pub fn new(shared: Arc<Shared>, options: GitOptions) -> Self {
        let (resolved, staged, verified) = Default::default();
        GitSource { shared, options, resolved, staged, verified }
    }

    /// The bundle that stands in for the remote.
    async fn staged(&self, cx: &Context) -> Result<Option<&Staged>> {
        let Some(blob) = &self.options.bundle else { return Ok(None) };
        let open = || Staged::open(&self.shared, blob, &self.options.checksum, cx);
        self.staged.get_or_try_init(open).await.map(Some)
    }

    /// What the reference stands for now.
    pub async fn resolved(&self, cx: &Context) -> Result<&Resolved> {
        let GitOptions { remote, reference, fetch_by_commit, checksum, bundle, .. } = &self.options;
        let bundle = bundle.as_ref().map(|blob| blob.digest.as_str()).unwrap_or_default();
        let name = format!("{remote}\0{reference}\0{checksum}\0{fetch_by_commit}\0{bundle}");
        let find = || cx.meanings.references().get(&name, self.resolve(cx));
        self.resolved.get_or_try_init(find).await
    }

    async fn resolve(&self, cx: &Context) -> Result<Resolved> {
        // A commit by its own name needs no look.
        let staged = if is_commit(&self.options.reference) { None } else { self.staged(cx).await? };
        resolve::resolve(&self.shared, &self.options, staged, cx).await
    }

    fn key_text(&self, resolved: &Resolved) -> String {
        let options = &self.options;
        let mut key = resolved.key_sha(options.keep_git_dir).to_owned();
        if options.keep_git_dir {
            key.push_str(".git");
            if !resolved.reference.is_empty() {
                key.push('#');
                key.push_str(&resolved.reference);
            }
        }
        if !options.subdir.is_empty() {
            key.push(':');
            key.push_str(&options.subdir);
        }
        if options.skip_submodules {
            key.push_str("(skip-submodules)");
        }
        if options.commit_time {
            key.push_str("(mtime=commit)");
        }
        if options.to_bundle {
            key.push_str("(bundle)");
        }
        key
    }

    /// The bare repository of the remote, with the commit that is wanted.
    async fn repository(&self, cx: &Context) -> Result<fetch::Repository> {
        let resolved = self.resolved(cx).await?;
        let stand_in = self.staged(cx).await?.map(|staged| staged.url.as_str());
        fetch::fetch(&self.shared, &self.options, resolved, stand_in, cx).await
    }

    /// The commit, and the tag that names it.
    async fn objects(&self, cx: &Context) -> Result<fetch::Objects> {
        let resolved = self.resolved(cx).await?;
        fetch::objects(&self.repository(cx).await?.git, &resolved.sha).await
    }

    /// Refuses what is not signed as it has to be.
    async fn verify(&self, cx: &Context) -> Result<()> {
        let Some(signed) = &self.options.signed else { return Ok(()) };
        let check = || async { signed.check(&self.shared, &self.objects(cx).await?).await };
        self.verified.get_or_try_init(check).await.copied()
    }

    async fn check_out(&self, cx: &Context) -> Result<ImmutableRef> {
        let resolved = self.resolved(cx).await?;
        let repository = self.repository(cx).await?;
        let tree = self.shared.refs.new_tree()?;
        let what = if self.options.to_bundle {
            bundle::create(&self.shared, &repository, resolved, &tree.path()).await?;
            "bundle checkout"
        } else {
            checkout::check_out(&repository, &self.options, resolved, &tree.path()).await?;
            "snapshot"
        };
        let (remote, reference) = (options::without_password(&self.options.remote), &resolved.reference);
        let new = NewRef::new(format!("git {what} for {remote}#{reference}"), RecordType::GitCheckout);
        self.shared.refs.from_tree(None, tree, new).await
    }
}

#[async_trait]
impl Source for GitSource {
    async fn key(&self, cx: &Context, _: usize) -> Result<Key> {
        self.verify(cx).await?;
        let text = self.key_text(self.resolved(cx).await?);
        Ok(Key { text, transient: false, done: true })
    }

    async fn meta(&self, cx: &Context, options: &SourceOptions) -> Result<SourceMeta> {
        self.verify(cx).await?;
        let resolved = self.resolved(cx).await?;
        let mut meta = GitMeta {
            reference: resolved.reference.clone(),
            checksum: resolved.sha.clone(),
            commit_checksum: resolved.commit.clone(),
            ..GitMeta::default()
        };
        if options.objects {
            let found = self.objects(cx).await?;
            meta.commit_checksum = found.tagged.unwrap_or_default();
            meta.commit_object = found.commit.into();
            meta.tag_object = found.tag.into();
        }
        Ok(SourceMeta::Git(meta))
    }

    fn pin(&self) -> Option<String> {
        self.resolved.get().map(|resolved| resolved.sha.clone())
    }

    async fn snapshot(&self, cx: &Context) -> Result<Option<ImmutableRef>> {
        let key = self.key_text(self.resolved(cx).await?);
        let known = self.shared.checkouts.0.get(&key)?.and_then(|c| self.shared.refs.get(&c.id));
        if let Some(known) = known {
            return Ok(Some(known));
        }
        let made = tokio::select! {
            made = self.check_out(cx) => made?,
            () = cx.cancel.cancelled() => return Err(Error::canceled()),
        };
        self.shared.checkouts.0.put(&key, &Checkout { id: made.id().to_owned() })?;
        Ok(Some(made))
    }
}

/// The name of the directory that holds the bare repository of a remote.
fn shared_name(remote: &str, sha256: bool) -> String {
    format!("git {}:{remote}", if sha256 { "sha256" } else { "sha1" })
}

/// One build at a time fetches into a repository.
const SHARING: Sharing = Sharing::Locked;
