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
    let script =
        "import sys,tarfile\nfor m in tarfile.open(fileobj=sys.stdin.buffer,mode='r|'): print(m.name,m.size)";
    assert_eq!(
        filter(Command::new("python3").args(["-c", script]), &archive),
        format!("a 5\n{deep} 4\nünï 1\n")
    );
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
        let names: Vec<_> =
            members.iter().map(|(e, _)| String::from_utf8_lossy(&e.path).into_owned()).collect();
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

/// What kind of header a member gets, in the words of the archive: PAX records, prefix, name.
fn headers(entry: &Entry) -> (String, String, String) {
    let mut writer = Writer::new(Vec::new());
    writer.pax_header(entry).expect("header");
    let archive = writer.finish().expect("end");
    let text = |field: header::Field, block: &[u8]| {
        String::from_utf8_lossy(header::string(field.of(block))).into_owned()
    };
    let (mut records, mut block) = (String::new(), &archive[..BLOCK]);
    if block[header::TYPE] == b'x' {
        let size = header::number(header::SIZE.of(block)).expect("a number") as usize;
        records = String::from_utf8_lossy(&archive[BLOCK..BLOCK + size]).into_owned();
        block = &archive[BLOCK + size.next_multiple_of(BLOCK)..];
    }
    (records, text(header::PREFIX, block), text(header::NAME, block))
}

#[test]
fn headers_are_chosen_as_buildkit_chooses_them() {
    let (long, dir) = ("n".repeat(120), "d".repeat(60));
    let split = format!("{dir}/{dir}/file");
    let entry = |path: &str| Entry { path: path.into(), ..Entry::default() };
    let old = Entry { mtime: (-315_619_200, 0), ..entry("old") };
    let precise = Entry { mtime: (1, 500_000_000), ..entry(&split) };
    let link = Entry { kind: EntryKind::Symlink, link: long.clone().into(), ..entry("sym") };
    let owned = Entry { uid: 2_097_152, gid: 2_097_151, ..entry("owned") };
    for (entry, records, prefix, name) in [
        (entry("file"), String::new(), "", "file"),
        (entry(&split), String::new(), &*format!("{dir}/{dir}"), "file"),
        (entry(&long), format!("130 path={long}\n"), "", &long[..100]),
        (entry("ünï"), "14 path=ünï\n".into(), "", "n"),
        (old, "20 mtime=-315619200\n".into(), "", "old"),
        (precise, format!("13 mtime=1.5\n136 path={split}\n"), "", &split[..100]),
        (link, format!("134 linkpath={long}\n"), "", "sym"),
        (owned, "15 uid=2097152\n".into(), "", "owned"),
    ] {
        assert_eq!(headers(&entry), (records, prefix.to_owned(), name.to_owned()));
    }
}

#[test]
fn archives_of_python_are_read_in_all_its_formats() {
    let script = "import io,sys,tarfile
t=tarfile.open(fileobj=sys.stdout.buffer,mode='w|',format=getattr(tarfile,sys.argv[1]+'_FORMAT'))
def add(name,data=b'',**more):
    i=tarfile.TarInfo(name); i.size=len(data)
    for k,v in more.items(): setattr(i,k,v)
    t.addfile(i,io.BytesIO(data))
add('plain',b'hello',mode=0o4755,uid=7,gid=8,mtime=12,uname='u',gname='g')
add('d/'*60+'deep',b'x'*513)
add('dir',type=tarfile.DIRTYPE)
add('sym',type=tarfile.SYMTYPE,linkname='plain')
add('hard',type=tarfile.LNKTYPE,linkname='plain')
add('dev',type=tarfile.CHRTYPE,devmajor=5,devminor=1)
add('fifo',type=tarfile.FIFOTYPE)
if sys.argv[1]!='USTAR': add('big',uid=3000000,mtime=2**34 if sys.argv[1]=='GNU' else 1.25)
t.close()";
    for format in ["USTAR", "GNU", "PAX"] {
        let archive =
            Command::new("python3").args(["-c", script, format]).output().expect("python runs").stdout;
        let members = read_all(&archive).unwrap_or_else(|e| panic!("{format}: {e}"));
        let (plain, content) = &members[0];
        assert_eq!((plain.mode, plain.uid, plain.gid, plain.mtime), (0o4755, 7, 8, (12, 0)), "{format}");
        assert_eq!((&plain.uname[..], &plain.gname[..], &content[..]), (&b"u"[..], &b"g"[..], &b"hello"[..]));
        assert_eq!(
            (&members[1].0.path[..], members[1].1.len()),
            (("d/".repeat(60) + "deep").as_bytes(), 513)
        );
        let kinds: Vec<_> = members[2..7].iter().map(|(e, _)| (e.kind, e.link.len(), e.dev)).collect();
        use EntryKind::{Char, Dir, Fifo, Hardlink, Symlink};
        let expected = [(Dir, 0), (Symlink, 5), (Hardlink, 5), (Char, 0), (Fifo, 0)];
        assert_eq!(
            kinds,
            expected.map(|(kind, len)| (kind, len, if kind == Char { (5, 1) } else { (0, 0) }))
        );
        let big = members.get(7).map(|(e, _)| (e.uid, e.mtime));
        let expected = [("GNU", (3_000_000, (1 << 34, 0))), ("PAX", (3_000_000, (1, 250_000_000)))];
        assert_eq!(big, expected.into_iter().find(|(f, _)| *f == format).map(|(_, e)| e));
    }
}

#[test]
fn global_records_hold_until_a_member_has_its_own() {
    let block = |kind: u8, records: &[(&str, &str)]| {
        let mut text = Vec::new();
        for (key, value) in records {
            pax::push(&mut text, key.as_bytes(), value.as_bytes());
        }
        let mut archive = pack(&[file("records", &text)]);
        archive.truncate(archive.len() - 2 * BLOCK);
        archive[header::TYPE] = kind;
        let sum = header::checksums(archive[..BLOCK].try_into().expect("a block")).0;
        put_checksum(&mut archive[..BLOCK], sum);
        archive
    };
    let member = pack(&[file("plain", b"")]);
    let member = &member[..BLOCK];
    let archive = [
        block(b'g', &[("uid", "5"), ("gname", "all")]).as_slice(),
        member,
        &block(b'x', &[("uid", ""), ("path", ""), ("SCHILY.xattr.user.e", "")]),
        member,
        &block(b'x', &[("uid", "7"), ("path", "named")]),
        member,
        &[0; 2 * BLOCK],
    ]
    .concat();
    let members = read_all(&archive).expect("readable");
    let read: Vec<_> =
        members.iter().map(|(e, _)| (&e.path[..], e.uid, &e.gname[..], e.xattrs.len())).collect();
    let expected: [(&[u8], u32, &[u8], usize); 3] =
        [(b"plain", 5, b"all", 0), (b"plain", 0, b"all", 1), (b"named", 7, b"all", 0)];
    assert_eq!(read, expected);
}

fn put_checksum(block: &mut [u8], sum: i64) {
    let field = header::CHECKSUM.of_mut(block);
    header::put_octal(&mut field[..7], sum);
}

fn entries() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let name = || prop::collection::vec(1_u8.., 1..200);
    let kind =
        prop::sample::select(vec![EntryKind::File, EntryKind::Dir, EntryKind::Symlink, EntryKind::Hardlink]);
    let attrs =
        prop::collection::btree_map("[a-z.]{1,8}".prop_map(String::into_bytes), any::<Vec<u8>>(), 0..3);
    let numbers =
        (0_u32..0o10000, any::<u32>(), any::<u32>(), -(1_i64 << 40)..(1 << 40), 0_u32..1_000_000_000);
    (name(), kind, name(), attrs, numbers, prop::collection::vec(any::<u8>(), 0..1100)).prop_map(
        |(path, kind, link, xattrs, (mode, uid, gid, seconds, nanos), content)| {
            let is_file = kind == EntryKind::File;
            let content = if is_file { content } else { Vec::new() };
            let size = content.len() as u64;
            let link =
                if matches!(kind, EntryKind::Symlink | EntryKind::Hardlink) { link } else { Vec::new() };
            let mtime = (seconds, nanos);
            let mut entry =
                Entry { path, kind, mode, uid, gid, size, mtime, link, xattrs, ..Entry::default() };
            // A slash at the end makes a directory of a file.
            while is_file && entry.path.last() == Some(&b'/') {
                *entry.path.last_mut().expect("it has a last byte") = b'x';
            }
            (entry, content)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_member_is_read_back(members in prop::collection::vec(entries(), 0..4)) {
        prop_assert_eq!(read_all(&pack(&members)).expect("readable"), members);
    }
}
