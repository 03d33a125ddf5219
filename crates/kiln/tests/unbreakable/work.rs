//! Builds of all kinds, and what is known of those that ended well.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use oci::Digest;

use crate::harness::{Build, Engine, Folder, Image, Steps};

/// Steps that must never run twice note a number of their own.
const UUID: &str = "cat /proc/sys/kernel/random/uuid";

/// Files in a context, in seven folders.
const FILES: usize = 120;

/// One build: what it is made of and how it is exported.
pub struct Work {
    context: Folder,
    output: &'static str,
    /// Folders of the context of which all is in a layer of the image.
    dirs: &'static [usize],
}

/// A build that a client was told the result of.
pub struct Reported {
    work: Work,
    digest: String,
}

impl Work {
    /// One of several kinds, which no other test or run has built before.
    pub fn new(kind: u64) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let files: Vec<(String, String)> = (0..FILES)
            .map(|i| (format!("src/d{}/f{i}", i % 7), format!("{id} {i}").repeat(1 + i % 50)))
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
        let (dockerfile, output, dirs): (_, _, &[usize]) = match kind % 5 {
            0 => {
                (format!("FROM busybox\nCOPY src /src\nRUN {UUID} > /id"), "type=oci", &[0, 1, 2, 3, 4, 5, 6])
            }
            1 => (
                format!(
                    "FROM busybox\nCOPY src/d0 /src\nRUN --mount=type=cache,target=/c \
                     ls /c | wc -l > /n; for i in 1 2 3 4 5 6 7 8 9; do cat /src/* > /c/{id}-$i; done; {UUID} > /id"
                ),
                "type=oci,compression=zstd",
                &[0],
            ),
            2 => (
                format!(
                    "FROM busybox AS a\nCOPY src/d1 /a\nRUN {UUID} > /a/id\n\
                     FROM busybox AS b\nCOPY src/d2 /b\nRUN {UUID} > /b/id; sleep 0.1\n\
                     FROM busybox\nCOPY --from=a /a /a\nCOPY --link --from=b /b /b\nRUN cat /a/id /b/id > /ids"
                ),
                "type=docker",
                &[1, 2],
            ),
            3 => (
                format!(
                    "FROM busybox\nRUN echo {id}; dd if=/dev/urandom of=/random bs=64k count=40 2>&1\nCOPY src/d3 /"
                ),
                "type=oci,compression=uncompressed,force-compression=true",
                &[3],
            ),
            _ => (
                format!(
                    "FROM busybox\nCOPY src /src\nRUN rm -r /src/d4; echo {id} > /src/d5/x; {UUID} > /id\nRUN mv /src /dst"
                ),
                "type=oci",
                &[0, 1, 2, 3, 4, 5, 6],
            ),
        };
        Work { context: Folder::with_dockerfile(&dockerfile, &files), output, dirs }
    }

    /// The numbers of the files of the context that come into the image.
    fn copied(&self) -> Vec<usize> {
        (0..FILES).filter(|i| self.dirs.contains(&(i % 7))).collect()
    }

    fn build<'a>(&self, engine: &'a Engine, to: &str) -> Build<'a> {
        engine.build(&self.context).args(["-o", &format!("{},dest={to}", self.output)])
    }

    /// Builds it; nothing where the build failed.
    pub fn run(self, engine: &Engine) -> Result<Reported, String> {
        let out = Folder::new(&[]);
        let archive = out.join("image.tar");
        let built = self.build(engine, &archive.display().to_string()).run();
        match built.code {
            Some(0) => {
                let digest = checked(&Image::open(&archive));
                Ok(Reported { work: self, digest })
            }
            _ => Err(built.stderr),
        }
    }
}

impl Reported {
    /// Builds it again: nothing may run, and the image is the same to the last byte.
    pub fn check(&self, engine: &Engine) {
        let (image, steps) = self.again(engine);
        assert_eq!(steps.ran(), [""; 0], "these ran again\n{steps:?}");
        assert_eq!(checked(&image), self.digest, "the image is another one\n{steps:?}");
    }

    /// Builds it again: what comes out is whole, and the same if nothing had to run. Says whether that was so.
    pub fn was_kept(&self, engine: &Engine) -> bool {
        let (image, steps) = self.again(engine);
        let kept = steps.ran().is_empty();
        self.check_image(&image);
        assert!(!kept || image.digest() == self.digest, "the image is another one\n{steps:?}");
        kept
    }

    fn again(&self, engine: &Engine) -> (Image, Steps) {
        let out = Folder::new(&[]);
        let archive = out.join("image.tar");
        let args = ["--progress=rawjson"];
        let built = self.work.build(engine, &archive.display().to_string()).args(args).ok();
        (Image::open(&archive), Steps::read(&built.stderr))
    }
}

impl Reported {
    /// Builds it again, whatever has to run for it: what comes out is whole, and holds what was put in.
    pub fn check_content(&self, engine: &Engine) {
        self.try_content(engine).unwrap_or_else(|told| panic!("{told}"));
    }

    /// The same; what the build said where it failed.
    pub fn try_content(&self, engine: &Engine) -> Result<(), String> {
        let out = Folder::new(&[]);
        let archive = out.join("image.tar");
        let built = self.work.build(engine, &archive.display().to_string()).run();
        if built.code != Some(0) {
            return Err(built.stderr);
        }
        self.check_image(&Image::open(&archive));
        Ok(())
    }

    fn check_image(&self, image: &Image) {
        checked(image);
        let mut contents: Vec<String> = Vec::new();
        for layer in 0..image.layer_paths().len() {
            contents.extend(image.layer(layer));
        }
        for i in self.work.copied() {
            let content = self.work.context.read(&format!("src/d{}/f{i}", i % 7));
            let shown = match content.len() {
                0..=100 => format!("f{i} '{content}'"),
                long => format!("f{i} {long} bytes {}", &Digest::of(content.as_bytes()).hex()[..12]),
            };
            let is_file =
                |line: &&String| line.ends_with(&format!("/{shown}")) || line.ends_with(&format!(" {shown}"));
            assert!(contents.iter().any(|line| is_file(&line)), "`{shown}` is not in\n{contents:#?}");
        }
    }
}

/// The digest of an image all of whose blobs are what their names say.
fn checked(image: &Image) -> String {
    let layers: Vec<PathBuf> = image.layer_paths();
    for path in layers {
        let data = std::fs::read(&path).expect("the layer is there");
        assert!(path.ends_with(Digest::of(&data).hex()), "{} is damaged", path.display());
    }
    image.digest().to_owned()
}
