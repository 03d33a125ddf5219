//! A sync that tells of all files and brings only some of them.

use errdefs::{Error, Result};
use fsutil::pattern::Matcher;
use session::files::{FileSink, Stat, SyncReceiver};

use super::receive::Receiver;

/// Where the tree tells of all files: one stat after the other as on the wire, each behind its length.
const LIST: &[u8] = b".fsutil-metadata";

/// Lets through the files that patterns name, and the folders above them.
pub struct MetadataOnly {
    receiver: Receiver,
    wanted: Matcher,
    /// The folders above the next entry that were not let through so far.
    above: Vec<Stat>,
    list: Vec<u8>,
}

impl MetadataOnly {
    pub fn new(receiver: Receiver, wanted: &[String]) -> Result<Self> {
        let wanted = Matcher::new(wanted)
            .map_err(|e| Error::user(format!("invalid attribute local.metadatatransferexclude: {e}")))?;
        Ok(MetadataOnly { receiver, wanted, above: Vec::new(), list: Vec::new() })
    }

    pub fn into_receiver(self) -> Receiver {
        self.receiver
    }
}

impl SyncReceiver for MetadataOnly {
    fn entry(&mut self, stat: Stat) -> Result<Option<Box<dyn FileSink>>> {
        if stat.path == LIST {
            return Ok(None);
        }
        stat.append_framed(&mut self.list);
        while self.above.last().is_some_and(|dir| !is_below(&stat.path, &dir.path)) {
            self.above.pop();
        }
        if !self.wanted.matches_or_parent(&stat.path) {
            if stat.is_dir() {
                self.above.push(stat);
            }
            return Ok(None);
        }
        for dir in self.above.drain(..) {
            self.receiver.entry(dir)?;
        }
        self.receiver.entry(stat)
    }

    fn listed(&mut self) -> Result<()> {
        self.receiver.listed()?;
        self.receiver.put_beside(LIST, &self.list)
    }

    fn complete(&mut self) -> Result<()> {
        self.receiver.complete()
    }
}

fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with(b"/"))
}
