use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

fn read_all(archive: &[u8]) -> errdefs::Result<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(archive);
    let mut members = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        members.push((entry, content));
    }
    Ok(members)
}

fn pack(members: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, content) in members {
        writer.pax_header(entry).expect("header");
        writer.write_all(content).expect("content");
    }
    writer.finish().expect("end")
}

fn file(path: impl Into<Vec<u8>>, content: &[u8]) -> (Entry, Vec<u8>) {
    let entry = Entry { path: path.into(), mode: 0o644, size: content.len() as u64, ..Entry::default() };
    (entry, content.to_vec())
}

/// Runs a program on an archive, and gives what it prints.
fn filter(program: &mut Command, input: &[u8]) -> String {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("piped").write_all(input).expect("takes the archive");
    let out = child.wait_with_output().expect("ends");
    assert!(out.status.success());
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn what_was_written_is_read_back() {
    let deep = "d/".repeat(90) + "name";
    let special = |path: &str, kind, link: &str| {
        (Entry { path: path.into(), kind, link: link.into(), mode: 0o777, ..Entry::default() }, Vec::new())
    };
    let mut members = vec![
        file("a", b"hello"),
        file(deep.as_bytes(), b""),
        file("ünï".as_bytes(), &[9; 1000]),
        file(&b"bad\xff\xfename"[..], b"x"),
        special("dir/", EntryKind::Dir, ""),
        special("link", EntryKind::Symlink, &"t/".repeat(80)),
        special("hard", EntryKind::Hardlink, "a"),
        special("fifo", EntryKind::Fifo, ""),
    ];
    members[0].0.uid = 3_000_000;
    members[0].0.mtime = (-5, 250_000_000);
    members[0].0.xattrs.insert(b"security.capability".to_vec(), vec![1, 0, 10, 255]);
    let mut device = special("dev", EntryKind::Char, "");
    device.0.dev = (5, 1);
    members.push(device);
    assert_eq!(read_all(&pack(&members)).expect("readable"), members);
}

#[test]
fn other_programs_read_it() {
    let deep = "directory/".repeat(20) + "name";
    let members = [file("a", b"hello"), file(deep.as_bytes(), b"deep"), file("ünï".as_bytes(), b"u")];
    let archive = pack(&members);
    let listed = filter(Command::new("tar").args(["-t", "--quoting-style=literal"]), &archive);
    assert_eq!(listed, format!("a\n{deep}\nünï\n"));
    let script = "import sys,tarfile\nfor m in tarfile.open(fileobj=sys.stdin.buffer,mode='r|'): print(m.name,m.size)";
    assert_eq!(filter(Command::new("python3").args(["-c", script]), &archive), format!("a 5\n{deep} 4\nünï 1\n"));
}

#[test]
fn archives_of_gnu_tar_are_read_in_all_its_formats() {
    let dir = tempfile::tempdir().expect("temp dir");
    let long = "n".repeat(120);
    std::fs::write(dir.path().join("small"), "small").expect("write");
    std::fs::write(dir.path().join(&long), "long name").expect("write");
    std::os::unix::fs::symlink("l".repeat(130), dir.path().join("sym")).expect("link");
    let holes = std::fs::File::create(dir.path().join("holes")).expect("create");
    for offset in [100_000_u64, 900_000, 5_000_000] {
        std::os::unix::fs::FileExt::write_all_at(&holes, b"data", offset).expect("write");
    }
    holes.set_len(6_000_000).expect("resize");
    let formats: [&[&str]; 6] = [
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=pax"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
    ];
    for format in formats {
        let mut tar = Command::new("tar");
        tar.args(format).args(["--sort=name", "-c", "holes", "small", "sym", &long]).current_dir(dir.path());
        let archive = tar.output().expect("tar runs").stdout;
        let members = read_all(&archive).unwrap_or_else(|e| panic!("{format:?}: {e}"));
        let names: Vec<_> = members.iter().map(|(e, _)| String::from_utf8_lossy(&e.path).into_owned()).collect();
        assert_eq!(names, ["holes", "small", "sym", &long], "{format:?}");
        assert_eq!(members[0].1, std::fs::read(dir.path().join("holes")).expect("read"), "{format:?}");
        assert_eq!(members[0].0.size, 6_000_000, "{format:?}");
        assert_eq!(members[2].0.link, "l".repeat(130).into_bytes(), "{format:?}");
        assert_eq!(members[3].1, b"long name", "{format:?}");
    }
}

#[test]
fn a_long_whiteout_is_split_over_prefix_and_name() {
    let path = format!("{}/{}", "p".repeat(80), "n".repeat(60));
    let mut writer = Writer::new(Vec::new());
    writer.ustar_header(&Entry { path: path.clone().into(), ..Entry::default() }).expect("header");
    let archive = writer.finish().expect("end");
    assert_eq!(archive.len(), 3 * BLOCK, "no extended header");
    assert_eq!(read_all(&archive).expect("readable")[0].0.path, path.as_bytes());
}

#[test]
fn damage_is_told() {
    let good = pack(&[file("a", b"hello"), file("b", &[1; 2000])]);
    let check = |archive: &[u8], expected: &str| {
        let message = read_all(archive).expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(&good[..700], "unexpected end of archive");
    check(&good[..1100], "unexpected end of archive");
    check(&good[..good.len() - 3 * BLOCK], "unexpected end of archive");
    let mut flipped = good.clone();
    flipped[10] ^= 1;
    check(&flipped, "the checksum is wrong");
    check(&[b'x'; 600], "invalid tar header");
}

#[test]
fn the_writer_holds_members_to_their_size() {
    let mut writer = Writer::new(Vec::new());
    writer.pax_header(&file("a", b"hello").0).expect("header");
    assert!(writer.write_all(b"hello, world").is_err());
    let mut writer = Writer::new(Vec::new());
    writer.pax_header(&file("a", b"hello").0).expect("header");
    assert!(writer.pax_header(&Entry::default()).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = read_all(&bytes);
    }

    #[test]
    fn a_changed_archive_never_panics(at in 0_usize..3000, value: u8) {
        let mut members = vec![file("d/".repeat(70), b""), file("a", &[7; 600])];
        members[1].0.xattrs.insert(b"user.x".to_vec(), b"y".to_vec());
        let mut archive = pack(&members);
        let at = at % archive.len();
        archive[at] = value;
        // The checksum is made right again, so that the change is looked at.
        let start = at / BLOCK * BLOCK;
        let mut block: header::Block = archive[start..start + BLOCK].try_into().expect("a block");
        let (sum, _) = header::checksums(&block);
        header::put_octal(&mut header::CHECKSUM.of_mut(&mut block)[..7], sum);
        archive[start..start + BLOCK].copy_from_slice(&block);
        let _ = read_all(&archive);
    }
}
