//! How steps reach the network, by buildkitd's words for it.

use std::path::{Path, PathBuf};

use errdefs::{Error, Result};
use network::{List, Mode, Networks, Options};

use crate::args::Args;
use crate::config::Config;
use crate::place::Name;

/// Where this is true, `auto` is a bridge.
const BRIDGE_AUTO: &str = "BUILDKIT_NETWORK_BRIDGE_AUTO";

/// Makes sure that the network of steps works; nothing is there to be done for that of the host.
pub async fn open(name: Name, args: &Args, config: &Config, root: &Path) -> Result<Networks> {
    let worker = &config.worker.oci;
    let options = Options {
        mode: mode(name, args, config, std::env::var(BRIDGE_AUTO).is_ok_and(|value| is_true(&value)))?,
        plugins: given(&args.cni_binary_dir, &worker.cni_binary_path),
        pool_size: args.cni_pool_size.unwrap_or(worker.cni_pool_size),
        state: root.join("networks"),
    };
    Networks::open(options).await
}

fn mode(name: Name, args: &Args, config: &Config, bridge_auto: bool) -> Result<Mode> {
    let worker = &config.worker.oci;
    let list = given(&args.cni_config_path, &worker.cni_config_path).unwrap_or_else(|| name.cni_config());
    let bridge = || {
        let (bridge, subnet) = name.bridge();
        let or = |configured: &String, own: &str| {
            Some(configured.clone()).filter(|c| !c.is_empty()).unwrap_or(own.into())
        };
        Mode::Bridge { name: or(&worker.bridge_name, bridge), subnet: or(&worker.bridge_subnet, subnet) }
    };
    match args.network.as_deref().unwrap_or(&worker.network_mode) {
        "host" => Ok(Mode::Host),
        "cni" => List::read(&list).map(Mode::Cni),
        "bridge" => Ok(bridge()),
        "auto" | "" if bridge_auto => Ok(bridge()),
        "auto" | "" if list.exists() => List::read(&list).map(Mode::Cni),
        "auto" | "" => Ok(Mode::Host),
        other => {
            Err(Error::user(format!("invalid network mode: `{other}`"))
                .hint("give auto, host, cni or bridge"))
        }
    }
}

/// By a flag, or by a key; an empty one says nothing.
fn given(flag: &Option<PathBuf>, key: &Option<PathBuf>) -> Option<PathBuf> {
    flag.as_ref().or(key.as_ref()).filter(|path| !path.as_os_str().is_empty()).cloned()
}

/// As Go reads it.
fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    /// The mode in words: `Err` has the beginning of an error.
    fn check(name: Name, flags: &[&str], keys: &str, bridge_auto: bool, expected: Result<&str, &str>) {
        let args = Args::try_parse_from([&["daemon"], flags].concat()).expect("flags");
        let config = Config::parse(&format!("[worker.oci]\n{keys}")).expect("keys");
        let mode = mode(name, &args, &config, bridge_auto).map(|mode| match mode {
            Mode::Host => "host".to_owned(),
            Mode::Cni(list) => format!("cni {}", list.name()),
            Mode::Bridge { name, subnet } => format!("bridge {name} {subnet}"),
        });
        let told = format!("{name:?} {flags:?} {keys} {bridge_auto}");
        match (mode, expected) {
            (Ok(mode), Ok(expected)) => assert_eq!(mode, expected, "{told}"),
            (Err(e), Err(expected)) => assert!(e.to_string().starts_with(expected), "{told}: {e}"),
            (mode, _) => panic!("{told}: {mode:?}"),
        }
    }

    #[test]
    fn modes() {
        use Name::{Buildkitd, Kiln};
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("net.conflist");
        std::fs::write(&list, r#"{"name": "given", "plugins": [{"type": "ptp"}]}"#).expect("written");
        let list = list.to_str().expect("text");
        let key = format!("cniConfigPath = {list:?}");

        check(Kiln, &[], "", false, Ok("host"));
        check(Kiln, &[], "", true, Ok("bridge kiln0 10.12.0.0/16"));
        check(Buildkitd, &[], "networkMode = \"auto\"", true, Ok("bridge buildkit0 10.10.0.0/16"));
        check(Kiln, &[], &key, false, Ok("cni given"));
        check(Kiln, &[], &key, true, Ok("bridge kiln0 10.12.0.0/16"));
        check(Kiln, &["--oci-cni-config-path", list], "", false, Ok("cni given"));
        check(Kiln, &["--oci-worker-net", "host"], &key, true, Ok("host"));
        check(Kiln, &["--oci-worker-net=cni"], &key, false, Ok("cni given"));
        check(Kiln, &[], "cniConfigPath = \"/nowhere/x.json\"", false, Ok("host"));
        check(
            Kiln,
            &["--oci-cni-config-path=/nowhere"],
            "networkMode = \"cni\"",
            false,
            Err("failed to read cni config `/nowhere`"),
        );
        check(
            Buildkitd,
            &["--oci-worker-net=bridge"],
            "bridgeName = \"b0\"\nbridgeSubnet = \"10.1.0.0/24\"",
            false,
            Ok("bridge b0 10.1.0.0/24"),
        );
        check(Kiln, &["--oci-worker-net=none"], "", false, Err("invalid network mode: `none`"));
    }
}
