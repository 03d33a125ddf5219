use std::sync::Arc;

use errdefs::{Result, ResultExt as _};
use policy::{Known, Level, Question, Signed};
use signature::Signer;
use tokio::runtime::Handle;

use crate::policies::{Engine, Files, Log};

/// The world of a policy: files beside it, the engine, programs that check signatures.
pub(crate) struct Host {
    files: Arc<Files>,
    engine: Arc<Engine>,
    /// Who hears what it does; else the program's own log.
    log: Option<Arc<Log>>,
    level: Level,
    runtime: Handle,
}

impl Host {
    /// To be made in a runtime, which does what the policy asks for.
    pub(crate) fn new(
        files: Arc<Files>,
        engine: Arc<Engine>,
        log: Option<Arc<Log>>,
        level: Option<Level>,
    ) -> Self {
        let usual = if tracing::enabled!(tracing::Level::DEBUG) { Level::Debug } else { Level::Info };
        Host { files, engine, log, level: level.unwrap_or(usual), runtime: Handle::current() }
    }
}

impl policy::Host for Host {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>> {
        self.runtime.block_on(self.files.read(path, most))
    }

    fn verify(&self, signed: &Signed, keys: &[u8]) -> Result<()> {
        let signer = Signer { keys: String::from_utf8_lossy(keys).into_owned(), reject_expired: false };
        let folder = tempfile::TempDir::with_prefix("kiln-").context("failed to make a temporary folder")?;
        let data = signature::as_file(&signed.data)?;
        self.runtime.block_on(signer.verify(folder.path(), &signed.signature, data))
    }

    fn ask(&self, question: &Question) -> Result<Known> {
        self.runtime.block_on(async { self.engine.inquiry().await?.ask(question).await })
    }

    fn log(&self, level: Level, text: &str) {
        match &self.log {
            Some(log) if self.hears(level) => log.line(text),
            Some(_) => {}
            None => tracing::debug!("{text}"),
        }
    }

    fn hears(&self, level: Level) -> bool {
        level <= self.level
    }
}
