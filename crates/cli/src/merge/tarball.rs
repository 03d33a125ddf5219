//! One tarball of those that several engines have written, each with the folders of its platforms. It is what one engine
//! would have written: members are taken over byte by byte, and folders come in the order of their names.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};
use std::path::PathBuf;

use errdefs::{Error, Result, ResultExt as _};
use fsutil::tar::Reader;
use tempfile::TempDir;

use super::{artifact, folder_for};
use crate::environment::Environment;
use crate::settings::Destination;

/// What ends an archive: two empty blocks (POSIX, pax, "ustar Interchange Format").
const END: [u8; 1024] = [0; 1024];

/// An output that each engine writes a part of.
pub(super) struct Tarball {
    /// Its place among the outputs.
    pub output: usize,
    parts: TempDir,
    dest: Destination,
}

/// A stretch of a part: all members below one folder that follow each other.
struct Stretch {
    folder: Vec<u8>,
    /// Number of the part.
    part: usize,
    start: u64,
    end: u64,
}

impl Tarball {
    pub(super) fn plan(output: usize, dest: &Destination, env: &Environment) -> Result<Self> {
        Ok(Tarball { output, parts: folder_for(dest, env)?, dest: dest.clone() })
    }

    /// Where the engine of a node writes.
    pub(super) fn part(&self, node: usize) -> PathBuf {
        self.parts.path().join(format!("{node}.tar"))
    }

    /// Writes what the engines of so many nodes have written as one.
    pub(super) fn join(self, nodes: usize, env: &Environment) -> Result<()> {
        let parts: Vec<File> = (0..nodes)
            .map(|node| File::open(self.part(node)))
            .collect::<io::Result<_>>()
            .context("failed to open what an engine has written")?;
        let mut artifact = artifact(&self.dest, env)?;
        join(&parts, artifact.writer()).context("failed to merge tarballs")?;
        artifact.finish()
    }
}

fn join(parts: &[File], out: &mut dyn Write) -> Result<()> {
    let mut stretches = Vec::new();
    for (part, file) in parts.iter().enumerate() {
        stretches.extend(find(part, file)?);
    }
    // Those of one part keep their order.
    stretches.sort_by(|a, b| a.folder.cmp(&b.folder));
    for pair in stretches.windows(2) {
        if pair[0].folder == pair[1].folder && pair[0].part != pair[1].part {
            let folder = pair[0].folder.escape_ascii();
            return Err(Error::environment(format!("two engines have written `{folder}`")));
        }
    }
    for stretch in stretches {
        let mut file = &parts[stretch.part];
        file.seek(SeekFrom::Start(stretch.start))?;
        io::copy(&mut file.take(stretch.end - stretch.start), out)?;
    }
    out.write_all(&END)?;
    Ok(out.flush()?)
}

/// The stretches of a part.
fn find(part: usize, file: &File) -> Result<Vec<Stretch>> {
    let mut reader = Reader::new(Counted { inner: BufReader::with_capacity(256 << 10, file), read: 0 });
    let mut stretches: Vec<Stretch> = Vec::new();
    loop {
        let start = next(&mut reader);
        let Some(entry) = reader.next_entry()? else { return Ok(stretches) };
        let folder = entry.path.split(|&b| b == b'/').next().unwrap_or_default();
        let end = next(&mut reader);
        match stretches.last_mut().filter(|last| last.folder == folder) {
            Some(last) => last.end = end,
            None => stretches.push(Stretch { folder: folder.to_vec(), part, start, end }),
        }
    }
}

/// Where the next member begins.
fn next(reader: &mut Reader<Counted<impl Read>>) -> u64 {
    reader.rest() + reader.get_mut().read
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use fsutil::tar::{Entry, Writer};

    use super::*;

    /// Each member is its own content, with a name that needs a PAX header where it is long.
    fn tar(paths: &[&str]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for path in paths {
            let size = path.len() as u64;
            writer
                .pax_header(&Entry { path: path.as_bytes().to_vec(), size, mode: 0o644, ..Entry::default() })
                .expect("written");
            writer.write_all(path.as_bytes()).expect("written");
        }
        writer.finish().expect("written")
    }

    fn joined(parts: &[&[&str]]) -> Result<Vec<u8>> {
        let file = |paths: &&[&str]| {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&tar(paths)).expect("written");
            file.rewind().expect("rewound");
            file
        };
        let mut out = Vec::new();
        join(&parts.iter().map(file).collect::<Vec<_>>(), &mut out).map(|()| out)
    }

    #[test]
    fn the_parts_are_what_one_would_have_written() {
        let long = format!("linux_arm64/{}", "long/".repeat(60));
        let long = long.trim_end_matches('/');
        let all = ["linux_386/b", "linux_amd64/a", "linux_amd64/z", long, "linux_s390x/a"];
        let check = |parts: &[&[&str]]| assert!(joined(parts).expect("joined") == tar(&all), "{parts:?}");
        check(&[&all]);
        check(&[&all[3..], &all[..3]]);
        check(&[&["linux_386/b", long], &["linux_amd64/a", "linux_amd64/z", "linux_s390x/a"], &[]]);
    }

    #[test]
    fn a_folder_of_two_is_told() {
        let e = joined(&[&["a/1", "b/1"], &["b/2"]]).expect_err("both have b");
        assert_eq!(e.to_string(), "two engines have written `b`");
    }
}
