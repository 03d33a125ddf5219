//! Makes what is built: contexts of files whose bytes compress about as source code and binaries do.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Bytes that are the same on every machine, half of them random, half of them repeated.
pub struct Bytes(u64);

impl Bytes {
    pub fn new(seed: u64) -> Self {
        Bytes(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 16);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
            bytes.extend_from_slice(b"fn main(");
        }
        bytes.truncate(len);
        bytes
    }
}

/// Writes the Dockerfile of a context that has a shell and nothing else.
fn with_shell(dir: &Path, instructions: &str) -> Result<()> {
    let found = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|p| p.exists());
    let Some(busybox) = found else { bail!("there is no busybox: install Debian's busybox-static") };
    fs::create_dir_all(dir)?;
    fs::copy(busybox, dir.join("busybox"))?;
    // Named `sh`, it is a shell.
    let start = "FROM scratch AS base\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n";
    fs::write(dir.join("Dockerfile"), format!("{start}{instructions}"))?;
    Ok(())
}

/// A build as people make it first: a few steps and a few files.
pub fn small(dir: &Path, _: usize) -> Result<()> {
    with_shell(
        dir,
        "WORKDIR /app\nCOPY src src\nRUN echo built > out\nRUN cat src/* > all\nCMD [\"/app/out\"]\n",
    )?;
    fs::create_dir_all(dir.join("src"))?;
    for i in 0..10 {
        fs::write(dir.join(format!("src/{i}.c")), Bytes::new(i).take(4000))?;
    }
    Ok(())
}

/// A small build that differs by its argument `N` from its third step on.
pub fn numbered(dir: &Path, _: usize) -> Result<()> {
    small(dir, 0)?;
    with_shell(dir, "WORKDIR /app\nCOPY src src\nARG N\nRUN echo $N > out\nRUN cat src/* > all\n")
}

/// A bake of `count` such builds on one context.
pub fn targets(dir: &Path, count: usize) -> Result<()> {
    numbered(dir, 0)?;
    let mut text = String::new();
    for i in 0..count {
        writeln!(
            text,
            "target \"t{i}\" {{\n  args = {{ N = \"{i}\" }}\n  output = [\"type=cacheonly\"]\n}}"
        )?;
    }
    let names: Vec<_> = (0..count).map(|i| format!("\"t{i}\"")).collect();
    writeln!(text, "group \"default\" {{\n  targets = [{}]\n}}", names.join(", "))?;
    fs::write(dir.join("docker-bake.hcl"), text)?;
    Ok(())
}

/// `count` files of 20 kB, a hundred to a folder.
pub fn files(dir: &Path, count: usize) -> Result<()> {
    for i in 0..count {
        let folder = dir.join(format!("d{:03}/s{}", i / 1000, i / 100 % 10));
        if i % 100 == 0 {
            fs::create_dir_all(&folder)?;
        }
        fs::write(folder.join(format!("f{i}.bin")), Bytes::new(i as u64).take(20_000))?;
    }
    fs::write(dir.join("Dockerfile"), "FROM scratch\nCOPY . /src/\n")?;
    Ok(())
}

/// One file of `megabytes`.
pub fn big(dir: &Path, megabytes: usize) -> Result<()> {
    fs::create_dir_all(dir)?;
    let mut file = fs::File::create(dir.join("big.bin"))?;
    let mut bytes = Bytes::new(7);
    for _ in 0..megabytes {
        file.write_all(&bytes.take(1 << 20))?;
    }
    fs::write(dir.join("Dockerfile"), "FROM scratch\nCOPY big.bin /\n")?;
    Ok(())
}

pub fn chain(dir: &Path, steps: usize) -> Result<()> {
    let mut text = String::new();
    for i in 0..steps {
        writeln!(text, "RUN echo {i} > /f{i}")?;
    }
    with_shell(dir, &text)
}

/// Stages that wait for something other than the processor.
pub fn stages(dir: &Path, count: usize) -> Result<()> {
    let mut text = String::new();
    for i in 0..count {
        writeln!(text, "FROM base AS s{i}\nRUN /bin/busybox sleep 0.2; echo {i} > /f{i}")?;
    }
    text.push_str("FROM scratch\n");
    for i in 0..count {
        writeln!(text, "COPY --from=s{i} /f{i} /")?;
    }
    with_shell(dir, &text)
}

pub fn copies(dir: &Path, count: usize) -> Result<()> {
    let mut text = String::from("FROM scratch AS files\nCOPY files /\nFROM scratch\n");
    fs::create_dir_all(dir.join("files"))?;
    for i in 0..count {
        fs::write(dir.join(format!("files/f{i}")), Bytes::new(i as u64).take(1000))?;
        writeln!(text, "COPY --from=files /f{i} /to/{i}/")?;
    }
    fs::write(dir.join("Dockerfile"), text)?;
    Ok(())
}

/// An image of ten layers of `megabytes` together, and beside it the build that starts from it.
pub fn layers(dir: &Path, megabytes: usize) -> Result<()> {
    let image = dir.join("image");
    let mut text = String::new();
    for layer in 0..10 {
        let folder = image.join(format!("l{layer}"));
        fs::create_dir_all(&folder)?;
        for i in 0..50 {
            let bytes = Bytes::new(layer * 1000 + i).take((megabytes << 20) / 500);
            fs::write(folder.join(format!("f{i}")), bytes)?;
        }
        writeln!(text, "COPY l{layer} /l{layer}")?;
    }
    with_shell(&image, &text)?;
    fs::write(dir.join("Dockerfile"), "FROM @IMAGE@\nRUN [\"/bin/busybox\", \"true\"]\n")?;
    Ok(())
}

/// Ten layers of `megabytes` together, and a small one on them.
pub fn application(dir: &Path, megabytes: usize) -> Result<()> {
    layers(dir, megabytes)?;
    let image = dir.join("image");
    for layer in 0..10 {
        fs::rename(image.join(format!("l{layer}")), dir.join(format!("l{layer}")))?;
    }
    fs::rename(image.join("busybox"), dir.join("busybox"))?;
    let text = fs::read_to_string(image.join("Dockerfile"))?;
    fs::write(dir.join("Dockerfile"), text + "COPY small.bin /\n")?;
    fs::write(dir.join("small.bin"), Bytes::new(11).take(10_000))?;
    fs::remove_dir_all(image)?;
    Ok(())
}

/// Changes one file of a context, differently each time, and keeps its size.
pub fn change(dir: &Path, file: &str, turn: u64) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let path = dir.join(file);
    let file = fs::File::options().write(true).open(&path);
    let file = file.with_context(|| format!("cannot change `{}`", path.display()))?;
    file.write_all_at(&Bytes::new(turn + 1_000_000).take(8), 0)?;
    Ok(())
}
