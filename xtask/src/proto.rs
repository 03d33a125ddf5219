//! Generates `crates/proto/src/generated` from `crates/proto/proto`, or checks that nobody forgot to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use protox::prost::Message as _;
use tonic_prost_build::manual;

/// Bulk data that is passed on as it came, without a copy.
const SHARED_BYTES: [&str; 17] = [
    ".containerd.services.content.v1.ReadContentResponse.data",
    ".containerd.services.content.v1.WriteContentRequest.data",
    ".fsutil.types.Packet.data",
    ".kiln.v1.ArchivePiece.data",
    ".kiln.v1.BlobPiece.data",
    ".kiln.v1.ImageBlob.data",
    ".kiln.v1.LoadImagesRequest.data",
    ".kiln.v1.RunInput.stdin",
    ".kiln.v1.RunOutput.stderr",
    ".kiln.v1.RunOutput.stdout",
    ".moby.buildkit.v1.BytesMessage.data",
    ".moby.buildkit.v1.VertexLog.msg",
    ".moby.buildkit.v1.frontend.FdMessage.Data",
    ".moby.filesync.v1.BytesMessage.data",
    ".moby.sshforward.v1.BytesMessage.data",
    ".moby.upload.v1.BytesMessage.data",
    ".pb.Definition.def",
];

/// With `check`, changes nothing and fails when the generated code is not what the .proto files say.
pub fn run(check: bool) -> Result<()> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/proto");
    let fresh = tempfile::tempdir()?;
    generate(&home.join("proto"), fresh.path())?;
    let target = home.join("src/generated");
    let (old, new) = (read_all(&target)?, read_all(fresh.path())?);
    if old == new {
        return Ok(());
    }
    ensure!(!check, "crates/proto/src/generated is stale: run `cargo xtask proto`");
    fs::create_dir_all(&target)?;
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        fs::remove_file(target.join(name))?;
    }
    for (name, text) in new {
        fs::write(target.join(&name), text).with_context(|| name)?;
    }
    Ok(())
}

fn generate(protos: &Path, out: &Path) -> Result<()> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(protos)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.sort();
    if files.is_empty() {
        bail!("no .proto files in `{}`", protos.display());
    }
    let mut compiler = protox::Compiler::new([protos])?;
    compiler.include_imports(true).include_source_info(true).open_files(files)?;
    let mut builder = tonic_prost_build::configure()
        .out_dir(out)
        .include_file("mod.rs")
        .btree_map(".")
        .emit_rerun_if_changed(false);
    for path in SHARED_BYTES {
        builder = builder.bytes(path);
    }
    let mut files = compiler.file_descriptor_set();
    builder.compile_fds(files.clone())?;
    // For those who ask a server what it serves; comments are not theirs.
    files.file.iter_mut().for_each(|file| file.source_code_info = None);
    fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
    manual::Builder::new().out_dir(out).compile(&[file_send()]);
    Ok(())
}

/// FileSend by hand: its one method carries two message types, so both sides get the bytes of each message.
fn file_send() -> manual::Service {
    let diff_copy = manual::Method::builder()
        .name("diff_copy")
        .route_name("DiffCopy")
        .input_type("bytes::Bytes")
        .output_type("bytes::Bytes")
        .codec_path("crate::raw::RawCodec")
        .client_streaming()
        .server_streaming()
        .build();
    manual::Service::builder().name("FileSend").package("moby.filesync.v1").method(diff_copy).build()
}

fn read_all(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    if !dir.exists() {
        return Ok(BTreeMap::new());
    }
    fs::read_dir(dir)?
        .map(|entry| {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, fs::read(&path)?))
        })
        .collect()
}
