//! Layers again, with no file later than a time: for images that are the same bytes whenever they are built.

use std::io::{Read, Write};

use errdefs::{Result, ResultExt as _};
use fsutil::tar::{Reader, Writer};

/// Copies an archive. Members that are later than `latest`, in seconds since 1970, become as old as that.
pub fn clamp(archive: &mut dyn Read, latest: i64, out: &mut dyn Write) -> Result<()> {
    let mut reader = Reader::new(archive);
    let mut writer = Writer::new(out);
    while let Some(mut entry) = reader.next_entry()? {
        entry.mtime = entry.mtime.min((latest, 0));
        writer.pax_header(&entry).context("failed to write archive")?;
        std::io::copy(&mut reader, &mut writer)?;
    }
    writer.finish().context("failed to write archive")?;
    // What lies behind the archive belongs to the blob, whose digest is checked at its end.
    std::io::copy(reader.into_inner(), &mut std::io::sink())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use fsutil::tar::Entry;

    use super::*;

    /// An archive of files with these times; the content of each is its name.
    fn archive(files: &[(&str, (i64, u32))]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (name, mtime) in files {
            let entry = Entry {
                path: (*name).into(),
                mode: 0o644,
                size: name.len() as u64,
                mtime: *mtime,
                xattrs: [(b"user.x".to_vec(), b"y".to_vec())].into(),
                ..Entry::default()
            };
            writer.pax_header(&entry).expect("a header");
            writer.write_all(name.as_bytes()).expect("content");
        }
        writer.finish().expect("the end")
    }

    #[test]
    fn only_what_is_later_changes() {
        let check = |given: &[(&str, (i64, u32))], expected: &[(&str, (i64, u32))]| {
            let mut out = Vec::new();
            clamp(&mut archive(given).as_slice(), 10, &mut out).expect("an archive");
            assert!(out == archive(expected), "{given:?}");
        };
        check(&[], &[]);
        check(&[("early", (9, 5)), ("same", (10, 0))], &[("early", (9, 5)), ("same", (10, 0))]);
        check(
            &[("a", (10, 1)), ("ab", (-5, 7)), ("b", (11, 0))],
            &[("a", (10, 0)), ("ab", (-5, 7)), ("b", (10, 0))],
        );
        let e = clamp(&mut &[1u8; 600][..], 10, &mut Vec::new()).expect_err("no archive");
        assert_eq!(e.class(), errdefs::Class::User);
    }
}
