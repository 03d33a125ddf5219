//! ARG in front of the first FROM, and the variables that are there without it.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::{Instruction, Kind, Lexer, Result};
use llb::ProxyEnv;
use oci::Platform;

use super::outline::Wants;
use crate::environment::Variables;

/// Platforms and the target. Values given by the client win.
pub(super) fn predefined(
    build: &Platform,
    target: &Platform,
    stage: &str,
    given: &BTreeMap<String, String>,
) -> Variables {
    let stage = if stage.is_empty() { "default" } else { stage };
    let values = [
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDOSVERSION", build.os_version.clone()),
        ("BUILDARCH", build.architecture.clone()),
        ("BUILDVARIANT", build.variant.clone()),
        ("TARGETPLATFORM", target.format_all()),
        ("TARGETOS", target.os.clone()),
        ("TARGETOSVERSION", target.os_version.clone()),
        ("TARGETARCH", target.architecture.clone()),
        ("TARGETVARIANT", target.variant.clone()),
        ("TARGETSTAGE", stage.to_owned()),
    ];
    let mut variables = Variables::default();
    for (name, value) in values {
        variables.set(name, given.get(name).unwrap_or(&value));
    }
    variables
}

/// Adds what the file declares for all its stages.
pub(super) fn global(
    mut variables: Variables,
    lexer: &Lexer,
    instructions: &[Instruction],
    given: &BTreeMap<String, String>,
) -> Result<(Variables, Wants)> {
    let mut wants = Wants::default();
    for instruction in instructions {
        let Kind::Arg(definitions) = &instruction.kind else { continue };
        for arg in definitions {
            let mut arg = arg.clone();
            let mut needs = BTreeSet::new();
            match (given.get(&arg.key), &arg.value) {
                (Some(given), _) => arg.value = Some(given.clone()),
                (None, Some(default)) => {
                    let expanded = lexer
                        .expand(default, &variables)
                        .map_err(|e| e.about(default).at(&instruction.place))?;
                    needs = expanded.matched;
                    arg.value = Some(expanded.text);
                }
                (None, None) => {}
            }
            if let Some(value) = &arg.value {
                variables.set(&arg.key, value);
            }
            wants.declare(&arg, needs, instruction.place.ranges());
        }
    }
    Ok((variables, wants))
}

/// Proxies that steps get without declaring them, and without a trace in the image.
pub(super) fn proxy(given: &BTreeMap<String, String>) -> Option<ProxyEnv> {
    let mut proxy = ProxyEnv::default();
    let mut found = false;
    for (name, value) in given {
        let slot = match name.to_lowercase().as_str() {
            "http_proxy" => &mut proxy.http_proxy,
            "https_proxy" => &mut proxy.https_proxy,
            "ftp_proxy" => &mut proxy.ftp_proxy,
            "no_proxy" => &mut proxy.no_proxy,
            "all_proxy" => &mut proxy.all_proxy,
            _ => continue,
        };
        slot.clone_from(value);
        found = true;
    }
    found.then_some(proxy)
}
