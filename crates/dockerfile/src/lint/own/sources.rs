//! ADD where COPY would do.

use super::{ADD_FOR_COPY, Checker};
use crate::instruction::{Add, Kind};

const ARCHIVES: [&str; 15] = [
    ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".tbz2", ".xz", ".txz", ".zst", ".tzst", ".lzma", ".tlz", ".Z",
    ".lz4", ".zip",
];

impl Checker<'_> {
    pub(super) fn sources(&mut self, at: usize) {
        for instruction in &self.file.stages[at].instructions {
            if let Kind::Add(add) = &instruction.kind
                && is_copy(add)
            {
                let message = "ADD would also fetch and unpack, and nothing here is to be fetched or unpacked; use COPY";
                self.find(ADD_FOR_COPY, instruction, &instruction.keyword, message.to_owned());
            }
        }
    }
}

/// Whether nothing is fetched and nothing can be an archive. A wildcard or a variable may stand for one.
fn is_copy(add: &Add) -> bool {
    let asks_for_more = !add.checksum.is_empty() || add.unpack.is_some() || add.keep_git_dir.is_some();
    !asks_for_more && add.sources.paths.iter().all(|path| is_plain(path))
}

fn is_plain(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_remote = path.contains("://") || path.starts_with("git@");
    let may_be_archive = ARCHIVES.iter().any(|end| name.ends_with(end));
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let is_open = path.contains('$')
        || extension.contains(['*', '?', '['])
        || (name.contains('*') && extension.is_empty());
    !is_remote && !may_be_archive && !is_open
}
