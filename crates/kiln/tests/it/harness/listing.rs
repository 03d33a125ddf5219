use std::fs;
use std::path::Path;

use super::{run_tool, tool};

/// The entries of a tar archive, read by Python: `755 0:0 dir/`, `644 0:0 file 'content'`, `777 0:0 link -> target`,
/// `644 0:0 second == first` for hard links.
pub fn list_tar(archive: &[u8]) -> Vec<String> {
    let text = run_tool(tool("python3").args(["-c", include_str!("list_tar.py")]), archive);
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

/// The entries of a layer, whatever it is compressed with.
pub fn list_layer(path: &Path) -> Vec<String> {
    let data = fs::read(path).expect("the layer is there");
    match data.as_slice() {
        [0x1f, 0x8b, ..] => list_tar(&run_tool(tool("gzip").arg("-dc"), &data)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => list_tar(&run_tool(tool("zstd").arg("-dc"), &data)),
        data => list_tar(data),
    }
}

/// The same of a folder.
pub fn files_below(folder: &Path) -> Vec<String> {
    let mut tar = tool("tar");
    tar.args(["--sort=name", "--numeric-owner", "--transform=s,^\\./,,", "-c", "-C"]).arg(folder).arg(".");
    list_tar(&run_tool(&mut tar, b"")).into_iter().filter(|l| !l.ends_with(" ./")).collect()
}
