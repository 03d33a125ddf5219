//! What a command writes for the user: a file that is there once it is whole, or stdout.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use errdefs::{Error, Result, ResultExt as _};
use tempfile::NamedTempFile;

use crate::environment::Environment;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 256 << 10;

/// Something to write. Dropping it leaves no file behind.
pub(crate) enum Artifact {
    Stdout,
    /// A device or a pipe, which is written to as it is.
    Special(File),
    File {
        file: BufWriter<NamedTempFile>,
        path: PathBuf,
    },
}

impl Artifact {
    /// The file that `--output` names, or else stdout, which no terminal may be.
    pub(crate) fn open(path: Option<&Path>, env: &Environment) -> Result<Self> {
        match path {
            Some(path) if path != Path::new("-") => Artifact::file(&env.cwd.join(path)),
            _ if env.stdout_is_terminal => Err(Error::user("an archive is nothing for a terminal")
                .hint("name a file with `-o`, or send the output somewhere else")),
            _ => Ok(Artifact::Stdout),
        }
    }

    pub(crate) fn file(path: &Path) -> Result<Self> {
        let told = || format!("failed to write `{}`", path.display());
        if path.is_dir() {
            return Err(Error::user(format!("destination file {} is a directory", path.display())));
        }
        if path.exists() && !path.is_file() {
            return Ok(Artifact::Special(File::options().write(true).open(path).with_context(told)?));
        }
        let dir = path.parent().unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".kiln-").permissions(std::fs::Permissions::from_mode(0o644));
        let file = BufWriter::with_capacity(BUFFER, builder.tempfile_in(dir).with_context(told)?);
        Ok(Artifact::File { file, path: path.to_owned() })
    }

    pub(crate) fn writer(&mut self) -> &mut (dyn Write + Send) {
        self
    }

    /// Puts the file in its place.
    pub(crate) fn finish(self) -> Result<()> {
        let Artifact::File { file, path } = self else { return Ok(()) };
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.persist(&path)
            .map_err(|e| e.error)
            .with_context(|| format!("failed to write `{}`", path.display()))?;
        Ok(())
    }
}

impl Write for Artifact {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Artifact::Stdout => io::stdout().lock().write(bytes),
            Artifact::Special(file) => file.write(bytes),
            Artifact::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Artifact::Stdout => io::stdout().lock().flush(),
            Artifact::Special(file) => file.flush(),
            Artifact::File { file, .. } => file.flush(),
        }
    }
}
