use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::json;

use super::image::Layout;
use super::{Folder, run_tool, tool};

const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nkim:x:1000:1001:Kim:/home/kim:/bin/sh\n";
const GROUP: &str = "root:x:0:\ndaemon:x:1:\nkim:x:1001:\nstaff:x:50:kim\n";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The base image of the tests: Debian's busybox with a few users, as an OCI layout with the tag `latest`.
///
/// Users: root, `daemon` 1:1, `kim` 1000:1001 with the further group `staff` 50.
///
/// Tests that run at the same time share it; it goes with the last of them, as what is static never would.
pub fn busybox() -> Arc<Layout> {
    static SHARED: Mutex<Weak<Layout>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let layout = Arc::new(make());
        *shared = Arc::downgrade(&layout);
        layout
    })
}

fn make() -> Layout {
    Layout::new(&[&busybox_layer()], json!({"Env": [PATH], "Cmd": ["sh"]}))
}

/// Its layer, as a tar archive.
pub fn busybox_layer() -> Vec<u8> {
    let root = Folder::new(&[
        ("etc/passwd", PASSWD),
        ("etc/group", GROUP),
        ("root/", ""),
        ("tmp/", ""),
        ("home/kim/", ""),
        ("usr/bin/", ""),
        ("bin/", ""),
        ("dev/", ""),
        ("proc/", ""),
        ("sys/", ""),
    ]);
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("open to all");
    let program = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
    let program = program.unwrap_or_else(|| panic!("there is no busybox: run `./setup test`"));
    fs::copy(program, root.join("bin/busybox")).expect("copied");
    let applets = run_tool(tool("busybox").arg("--list"), b"");
    for applet in String::from_utf8_lossy(&applets).lines().filter(|a| *a != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).expect("linked");
    }
    let mut tar = tool("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@1684449257", "-c", "-C"]);
    tar.arg(root.path()).args(["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr"]);
    run_tool(&mut tar, b"")
}
