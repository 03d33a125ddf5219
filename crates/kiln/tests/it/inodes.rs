//! Programs take two paths of one inode for a hard link: `cp -a` ties the copies, `tar` packs a link, and a write to one
//! changes the other. Here steps do all that to files of which the store has one copy, in random order.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::harness::{Engine, Folder, list_tar};

/// xorshift64*: a case is a number.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize) % n
    }
}

/// A file: its content, and a number that it has in common with those that the build made hard links of it.
type File = (String, usize);

/// What a stage shows under `/w`: files by folder and name.
type Tree = BTreeMap<String, BTreeMap<String, File>>;

/// Three folders, in which equal files are at many places.
const CONTEXT: &[(&str, &str)] = &[
    ("s0/a", "same\n"),
    ("s0/b", "same\n"),
    ("s0/c", "other\n"),
    ("s1/a", "same\n"),
    ("s1/d", "other\n"),
    ("s2/b", "other\n"),
    ("s2/e", "third\n"),
];

struct Writer {
    random: Random,
    dockerfile: String,
    stages: Vec<Tree>,
    /// Names of folders, and of files that are one, are never used twice.
    next: usize,
}

impl Writer {
    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn tree(&mut self) -> &mut Tree {
        self.stages.last_mut().expect("there is a stage")
    }

    /// Some folder of a stage.
    fn folder(&mut self, stage: usize) -> Option<String> {
        let names: Vec<_> = self.stages[stage].keys().cloned().collect();
        (!names.is_empty()).then(|| names[self.random.below(names.len())].clone())
    }

    /// The files of a folder, copied in one go: what was one there is one here too.
    fn copied(&mut self, files: &BTreeMap<String, File>) -> BTreeMap<String, File> {
        let base = self.next + 1;
        self.next += 1000;
        let ids: Vec<usize> = files.values().map(|file| file.1).collect();
        let new = |id: usize| base + ids.iter().position(|i| *i == id).expect("it is one of them");
        files.iter().map(|(name, (text, id))| (name.clone(), (text.clone(), new(*id)))).collect()
    }

    fn stage(&mut self) {
        let before = self.stages.len();
        let on = if before > 0 && self.random.below(2) == 0 { self.random.below(before) } else { before };
        let (base, tree) = match self.stages.get(on) {
            Some(tree) => (format!("s{on}"), tree.clone()),
            None => ("busybox".to_owned(), Tree::new()),
        };
        let _ = writeln!(self.dockerfile, "FROM {base} AS s{before}");
        self.stages.push(tree);
    }

    fn step(&mut self) {
        let (at, n) = (self.stages.len() - 1, self.number());
        let from = self.random.below(at + 1);
        match self.random.below(8) {
            kind @ 0..3 => {
                let source = self.random.below(3);
                let link = if kind == 0 { " --link" } else { "" };
                let _ = writeln!(self.dockerfile, "COPY{link} s{source} /w/d{n}/");
                let prefix = format!("s{source}/");
                let mut files = BTreeMap::new();
                for (path, text) in CONTEXT {
                    if let Some(name) = path.strip_prefix(&prefix) {
                        files.insert(name.to_owned(), ((*text).to_owned(), self.number()));
                    }
                }
                self.tree().insert(format!("d{n}"), files);
            }
            kind @ 3..5 => {
                let Some(folder) = self.folder(from).filter(|_| from < at) else { return };
                let link = if kind == 3 { " --link" } else { "" };
                let _ = writeln!(self.dockerfile, "COPY{link} --from=s{from} /w/{folder} /w/d{n}");
                let files = self.copied(&self.stages[from][&folder].clone());
                self.tree().insert(format!("d{n}"), files);
            }
            5 => {
                let Some(folder) = self.folder(at) else { return };
                let command = match self.random.below(2) {
                    0 => format!("cp -a /w/{folder} /w/d{n}"),
                    _ => format!("mkdir /w/d{n} && tar -C /w/{folder} -cf - . | tar -C /w/d{n} -xf -"),
                };
                let _ = writeln!(self.dockerfile, "RUN {command}");
                let files = self.copied(&self.stages[at][&folder].clone());
                self.tree().insert(format!("d{n}"), files);
            }
            kind => {
                let Some(folder) = self.folder(at) else { return };
                let names: Vec<_> = self.stages[at][&folder].keys().cloned().collect();
                let name = &names[self.random.below(names.len())];
                let id = self.number();
                let files = self.tree().get_mut(&folder).expect("it is there");
                // A file of a layer below is brought up by either, and is no link of its old names any more.
                let file = files.get_mut(name).expect("it is there");
                file.1 = id;
                if kind == 6 {
                    file.0.push_str("more\n");
                    let _ = writeln!(self.dockerfile, "RUN echo more >> /w/{folder}/{name}");
                } else {
                    let file = file.clone();
                    files.insert(format!("l{n}"), file);
                    let _ = writeln!(self.dockerfile, "RUN ln /w/{folder}/{name} /w/{folder}/l{n}");
                }
            }
        }
    }
}

/// Paths in groups that are one file.
fn groups<'a, K: Ord>(paths: impl Iterator<Item = (K, &'a str)>) -> Vec<Vec<&'a str>> {
    let mut groups: BTreeMap<K, Vec<&str>> = BTreeMap::new();
    for (key, path) in paths {
        groups.entry(key).or_default().push(path);
    }
    let mut links: Vec<_> = groups.into_values().filter(|paths| paths.len() > 1).collect();
    links.iter_mut().for_each(|paths| paths.sort_unstable());
    links.sort();
    links
}

fn play(engine: &Engine, case: u64) {
    let random = Random(case.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut writer = Writer { random, dockerfile: String::new(), stages: Vec::new(), next: 0 };
    for _ in 0..2 + writer.random.below(2) {
        writer.stage();
        for _ in 0..4 + writer.random.below(5) {
            writer.step();
        }
    }
    let Writer { mut dockerfile, stages, .. } = writer;
    let at = stages.len() - 1;
    let look = "mkdir -p /w && find /w -type f -exec stat -c '%i %n' {} + > /inodes";
    let _ = write!(
        dockerfile,
        "FROM s{at} AS look\nRUN {look}\nFROM scratch AS seen\nCOPY --from=look /inodes /"
    );
    let context = Folder::with_dockerfile(&dockerfile, CONTEXT);

    let mut expected: BTreeMap<String, File> = BTreeMap::new();
    for (folder, files) in &stages[at] {
        let path = |name: &str| format!("w/{folder}/{name}");
        expected.extend(files.iter().map(|(name, file)| (path(name), file.clone())));
    }
    let links = groups(expected.iter().map(|(path, file)| (file.1, path.as_str())));

    // What a step sees.
    let out = Folder::new(&[]);
    let dest = format!("type=local,dest={}", out.path().display());
    engine.build(&context).args(["--target", "seen", "-o", &dest]).ok();
    let seen = out.read("inodes");
    let inodes = seen.lines().filter_map(|line| line.split_once(' '));
    let inodes: Vec<_> = inodes.map(|(ino, path)| (ino, path.trim_start_matches('/'))).collect();
    assert_eq!(inodes.len(), expected.len(), "case {case}\n{dockerfile}");
    assert_eq!(groups(inodes.into_iter()), links, "case {case}\n{dockerfile}");

    // What is packed, read by another program.
    let listing = list_tar(&engine.build(&context).args(["--target", &format!("s{at}")]).tar());
    let mut contents: BTreeMap<&str, String> = BTreeMap::new();
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    for line in listing.iter().filter_map(|l| l.splitn(3, ' ').nth(2)).filter(|l| l.starts_with("w/d")) {
        if let Some((path, target)) = line.split_once(" == ") {
            first.insert(path, target);
            contents.insert(path, contents[target].clone());
        } else if let Some((path, text)) = line.split_once(" '") {
            first.insert(path, path);
            contents.insert(path, text.trim_end_matches('\'').replace("\\n", "\n"));
        }
    }
    let texts: BTreeMap<&str, String> = expected.iter().map(|(p, f)| (p.as_str(), f.0.clone())).collect();
    assert_eq!(contents, texts, "case {case}\n{dockerfile}");
    assert_eq!(
        groups(first.iter().map(|(path, target)| (*target, *path))),
        links,
        "case {case}\n{dockerfile}"
    );
}

/// `KILN_STRESS=<number>` plays that many, `KILN_CASE=<number>` one alone.
#[test]
fn files_are_one_only_where_the_build_made_them_so() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let engine = Engine::new();
    let cases = match number("KILN_CASE") {
        Some(case) => case..case + 1,
        None => 0..number("KILN_STRESS").unwrap_or(6),
    };
    cases.for_each(|case| play(&engine, case));
}
