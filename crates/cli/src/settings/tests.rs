//! Arguments to settings: each case is a command line and what becomes of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Parser as _;

use super::*;
use crate::args::{Cli, Command};
use crate::environment::Environment;

fn settings(line: &str, env: &Environment) -> errdefs::Result<BuildSettings> {
    let words = ["kiln", "build"].into_iter().chain(line.split(' ').filter(|w| !w.is_empty()));
    let cli = Cli::try_parse_from(words).map_err(|e| errdefs::Error::user(e.to_string()))?;
    let Some(Command::Build(args)) = cli.command else { panic!("not a build") };
    BuildSettings::new(&args, env, &BTreeMap::from([("HTTP_PROXY".into(), "http://p".into())]))
}

/// What is sent to the engine, a line for each option and output.
fn told(line: &str, vars: &[(&str, &str)]) -> String {
    let s = match settings(line, &Environment::of(vars)) {
        Ok(settings) => settings,
        Err(e) => {
            return format!(
                "ERROR: {e}{}",
                e.hints().iter().map(|h| format!("\nhint: {h}")).collect::<String>()
            );
        }
    };
    let mut out = String::new();
    if s.frontend.frontend != "dockerfile.v0" {
        let _ = writeln!(out, "frontend {}", s.frontend.frontend);
    }
    let is_always_there = |key: &str, value: &str| {
        key == "build-arg:HTTP_PROXY" || (key, value) == ("attest:provenance", "mode=min,inline-only=true")
    };
    for (key, value) in s.frontend.attrs.iter().filter(|(k, v)| !is_always_there(k, v)) {
        let _ = writeln!(out, "{key} = {value}");
    }
    for (name, source) in &s.contexts {
        let _ = writeln!(out, "context {name} = {source}");
    }
    for output in &s.outputs {
        let _ = writeln!(out, "output {} {:?} {:?}", output.kind, output.dest, output.attrs);
    }
    if !s.frontend.entitlements.is_empty() {
        let _ = writeln!(out, "allow {}", s.frontend.entitlements.join(","));
    }
    if s.notice != Notice::Nowhere && s.notice != Notice::None {
        let _ = writeln!(out, "notice {:?}", s.notice);
    }
    s.warnings.iter().for_each(|w| writeln!(out, "warning {w}").expect("a String takes all"));
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn check(line: &str, expect: &str) {
    check_with(line, &[], expect);
}

fn check_with(line: &str, vars: &[(&str, &str)], expect: &str) {
    assert_eq!(told(line, vars), expect, "{line}");
}

#[test]
fn frontend_options() {
    check(".", "");
    check("--target a .", "target = a");
    check("--build-arg A=1 --build-arg B= .", "build-arg:A = 1\nbuild-arg:B =");
    check("--build-arg A=1 --build-arg A=2 .", "build-arg:A = 2");
    check("--label a=b --label c .", "label:a = b\nlabel:c =");
    check("--pull .", "image-resolve-mode = pull");
    check("--pull=false .", "");
    check("--no-cache .", "no-cache =");
    check("--no-cache=true .", "no-cache =");
    check("--no-cache-filter a --no-cache-filter b .", "no-cache = a,b");
    check("--network none .", "force-network-mode = none");
    check("--network host .", "force-network-mode = host\nallow network.host");
    check("--network default .", "");
    check("--add-host a:1.2.3.4 .", "add-hosts = a=1.2.3.4");
    check("--shm-size 64m .", "shm-size = 67108864");
    check("--shm-size 0 .", "");
    check("--ulimit nofile=1:2 .", "ulimit = nofile=1:2");
    check("--cgroup-parent x .", "cgroup-parent = x");
    check("--resource memory=1k -m 2k --cpu-shares 5 .", "cpushares = 5\nmemory = 1024");
    check("--allow security.insecure .", "allow security.insecure");
    check("--allow device=vendor.com/dev=a,alias=b .", "allow device=vendor.com/dev=a,alias=b");
    check("--platform linux/arm64/v8 .", "platform = linux/arm64");
    check("--platform linux/amd64,linux/x86_64 .", "platform = linux/amd64");
    check(
        "--platform linux/amd64 --platform linux/arm64,linux/386 .",
        "platform = linux/amd64,linux/arm64,linux/386",
    );
}

#[test]
fn environment_fills_in() {
    check_with("--build-arg A --build-arg B .", &[("A", "here")], "build-arg:A = here");
    check_with(".", &[("SOURCE_DATE_EPOCH", "7")], "build-arg:SOURCE_DATE_EPOCH = 7");
    check_with(
        "--build-arg SOURCE_DATE_EPOCH=8 .",
        &[("SOURCE_DATE_EPOCH", "7")],
        "build-arg:SOURCE_DATE_EPOCH = 8",
    );
    check_with("-t a .", &[("BUILDX_NO_DEFAULT_LOAD", "1")], "");
    let proxy = settings(".", &Environment::of(&[])).expect("valid").frontend.attrs;
    assert_eq!(proxy["build-arg:HTTP_PROXY"], "http://p");
    let own = settings("--build-arg http_proxy=x .", &Environment::of(&[])).expect("valid").frontend.attrs;
    assert!(!own.contains_key("build-arg:HTTP_PROXY"));
}

#[test]
fn other_frontends() {
    check(
        "--build-arg BUILDKIT_SYNTAX=docker/dockerfile:1 .",
        "frontend gateway.v0\nbuild-arg:BUILDKIT_SYNTAX = docker/dockerfile:1\ncmdline = docker/dockerfile:1\nsource = docker/dockerfile:1",
    );
    check(
        "--build-arg BUILDKIT_SYNTAX= .",
        "ERROR: empty BUILDKIT_SYNTAX build-arg is invalid, use --build-arg BUILDKIT_SYNTAX without '=' for optional behavior",
    );
}

#[test]
fn contexts() {
    check("--build-context alpine=../a .", "context alpine = ../a");
    check("--build-context docker.io/library/alpine:latest=../a .", "context alpine = ../a");
    check("--build-context alpine .", "ERROR: invalid context value: alpine, expected key=value");
    check(
        "",
        "ERROR: error: the following required arguments were not provided:\n  <PATH | URL | ->\n\nUsage: kiln build [OPTIONS] PATH | URL | -\n\nFor more information, try '--help'.\n",
    );
}

#[test]
fn outputs_of_each_kind() {
    check("-o out .", "output local Dir { path: \"out\", mirror: false } {}");
    check(
        "-o type=local,dest=out,mode=delete .",
        "output local Dir { path: \"out\", mirror: true } {\"mode\": \"delete\"}",
    );
    check("-o - .", "output tar Stdout {}");
    check("-o type=tar,dest=a.tar .", "output tar File(\"a.tar\") {}");
    check("-o type=oci .", "output oci Stdout {}");
    check("-o type=oci,tar=false,dest=d .", "output oci Layout(\"d\") {\"tar\": \"false\"}");
    check("-o type=docker,tar=0 .", "ERROR: dest is required for docker exporter with tar=false");
    check("-o type=oci,tar=false,dest=- .", "ERROR: dest cannot be stdout for oci exporter with tar=false");
    check("-o type=oci,dest=a.tar -t x .", "output oci File(\"a.tar\") {\"name\": \"x\"}");
    check("-o type=docker,dest=a.tar -t x -t y:1 .", "output docker File(\"a.tar\") {\"name\": \"x,y:1\"}");
    check("-o type=image,name=x .", "output image Engine {\"name\": \"x\"}");
    check(
        "-o type=registry,name=x .",
        "output image Engine {\"name\": \"x\", \"push\": \"true\", \"unpack\": \"false\"}",
    );
    check("-o type=cacheonly -t x .", "");
    check("-o type=odd,dest=x .", "output odd Engine {\"dest\": \"x\"}");
    check("-o type=image --annotation a=b .", "output image Engine {\"annotation.a\": \"b\"}");
    check(
        "-o type=image --annotation index,manifest[linux/arm64]:a=b .",
        "output image Engine {\"annotation-index.a\": \"b\", \"annotation-manifest[linux/arm64].a\": \"b\"}",
    );
}

#[test]
fn shorthands_for_outputs() {
    check("-t x .", "output image Engine {\"name\": \"x\"}\nnotice KeptByDefault");
    check("--iidfile i .", "output image Engine {}");
    check("-q .", "output image Engine {}");
    check(
        "-t x --push .",
        "output image Engine {\"name\": \"x\", \"push\": \"true\", \"unpack\": \"false\"}",
    );
    check(
        "-t x --push -o type=image,unpack=true .",
        "output image Engine {\"name\": \"x\", \"push\": \"true\", \"unpack\": \"true\"}",
    );
    check(
        "-t x --push -o out .",
        "output local Dir { path: \"out\", mirror: false } {}\noutput image Engine {\"name\": \"x\", \"push\": \"true\", \"unpack\": \"false\"}",
    );
    let load =
        "output image Engine {\"name\": \"x\"}\noutput docker Docker { context: None } {\"name\": \"x\"}";
    check("-t x --load .", load);
    check("-t x -o type=docker .", load);
    check("-t x --load -o type=docker .", load);
    check(
        "-o type=docker,context=c .",
        "output image Engine {}\noutput docker Docker { context: Some(\"c\") } {}",
    );
}

#[test]
fn faults() {
    check("--push .", "ERROR: tag is needed when pushing to registry\nhint: name the image with `-t`");
    check("--iidfile i -o out .", "ERROR: local and tar exporters are incompatible with image ID file");
    check("-o type=local .", "ERROR: dest is required for local exporter");
    check("-o type=local,dest=- .", "ERROR: dest cannot be stdout for local exporter");
    check("-o type=local,dest=o,mode=x .", "ERROR: invalid local exporter mode \"x\"");
    check("-o - -o type=oci .", "ERROR: multiple outputs configured to write to stdout");
    check(
        "--no-cache --no-cache-filter a .",
        "ERROR: --no-cache and --no-cache-filter cannot currently be used together",
    );
    check(
        "--network foo .",
        "ERROR: network mode \"foo\" not supported by buildkit\nhint: use `--network` with default, none or host",
    );
    check("--build-arg =x .", "ERROR: invalid key-value pair \"=x\": empty key");
    check(
        "--allow foo .",
        "ERROR: unknown entitlement foo\nhint: known are network.host, security.insecure, device and buildx.local.delete",
    );
    check("--allow buildx.local.delete=1 .", "ERROR: buildx.local.delete does not accept a value");
    check("--secret src=/x .", "ERROR: secret missing ID\nhint: write it as `id=NAME,src=FILE`");
    check("--annotation a .", "ERROR: invalid annotation \"a\", expected key=value");
    check("--platform nope .", "ERROR: \"nope\": unknown operating system or architecture: invalid argument");
    check("-q --progress plain .", "ERROR: progress=plain and quiet cannot be used together");
    check("-t bad! .", "ERROR: invalid tag \"bad!\": invalid reference format");
}

#[test]
fn stdout_that_is_a_terminal_is_spared() {
    let mut env = Environment::of(&[]);
    env.stdout_is_terminal = true;
    let e = settings("-o type=oci .", &env).expect_err("refused");
    assert_eq!(e.to_string(), "dest file is required for oci exporter. refusing to write to console");
}

#[test]
fn policies() {
    check(
        "--policy filename= .",
        "ERROR: failed to read `--policy filename=`: invalid value filename=\n\
         hint: a policy is named as in `--policy filename=policy.rego`",
    );
}

const NO_LISTS: &str = "ERROR: docker exporter does not currently support exporting manifest lists\n\
    hint: load one platform without attestations, or push the image and let Docker pull it from there";

#[test]
fn attestations() {
    let by_default = |line, vars| {
        settings(line, &Environment::of(vars)).expect("valid").frontend.attrs.remove("attest:provenance")
    };
    assert_eq!(by_default(".", &[]).as_deref(), Some("mode=min,inline-only=true"));
    assert_eq!(by_default(".", &[("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")]), None);
    assert_eq!(by_default("--provenance=false .", &[]), None);
    check("--provenance=mode=max .", "attest:provenance = type=provenance,mode=max");
    check(
        "--attest type=provenance,mode=min --provenance mode=max --sbom=true .",
        "attest:provenance = type=provenance,mode=min\nattest:sbom = type=sbom",
    );
    check("--attest type=sbom,disabled=true --sbom=generator=x .", "");
    check("--attest mode=max .", "ERROR: attestation type not specified");
    check_with(
        ".",
        &[("BUILDX_NO_DEFAULT_ATTESTATIONS", "x")],
        "ERROR: invalid BUILDX_NO_DEFAULT_ATTESTATIONS: strconv.ParseBool: parsing \"x\": invalid syntax",
    );
    let old = [("BUILDX_NO_DEFAULT_OCI_ARTIFACT", "true")];
    check_with("-o type=image .", &old, "output image Engine {\"oci-artifact\": \"false\"}");
    check_with(
        "-o type=oci,oci-artifact=true,dest=x .",
        &old,
        "output oci File(\"x\") {\"oci-artifact\": \"true\"}",
    );
    check_with("-o type=local,dest=x .", &old, "output local Dir { path: \"x\", mirror: false } {}");
    let wrong =
        "ERROR: invalid BUILDX_NO_DEFAULT_OCI_ARTIFACT: strconv.ParseBool: parsing \"x\": invalid syntax";
    check_with(".", &[("BUILDX_NO_DEFAULT_OCI_ARTIFACT", "x")], wrong);
    check("--sbom=true --load .", NO_LISTS);
    check(
        "--provenance=true -o type=docker,dest=x .",
        "ERROR: docker exporter does not support exporting manifest lists, use the oci exporter instead",
    );
    check("--provenance=false --platform linux/amd64,linux/386 --load .", NO_LISTS);
    check("--provenance=false -o type=docker,dest=x .", "output docker File(\"x\") {}");
}

#[test]
fn what_goes_into_the_metadata_file() {
    let check = |value: &str, expected| {
        let env = Environment::of(&[("BUILDX_METADATA_PROVENANCE", value)]);
        assert_eq!(settings(".", &env).expect("valid").metadata_provenance, expected, "{value}");
    };
    check("", MetadataProvenance::Min);
    check("max", MetadataProvenance::Max);
    check("disabled", MetadataProvenance::None);
    check("0", MetadataProvenance::None);
    check("1", MetadataProvenance::Min);
}

#[test]
fn calls_make_no_result() {
    let outline = "requestid = frontend.outline\ntarget = a";
    let caps = "frontend.caps = moby.buildkit.frontend.subrequests+forward";
    check("--call outline --target a -t x --push -o out .", &format!("{caps}\n{outline}"));
    check("--check .", &format!("{caps}\nkiln.check = full\nrequestid = frontend.lint"));
    check("--call targets --check=false .", &format!("{caps}\nrequestid = frontend.targets"));
    check("--call a,b .", "ERROR: invalid print value: a,b");
}

#[test]
fn what_turns_a_missing_thing_off_is_fine() {
    check("--provenance false --sbom=false --attest type=sbom,disabled=true --policy disabled=true .", "");
    check(
        "--builder default --call build --build-arg BUILDKIT_INLINE_CACHE=0 .",
        "build-arg:BUILDKIT_INLINE_CACHE = 0",
    );
}

#[test]
fn old_flags_are_taken() {
    check(
        "--rm --rm=false --force-rm .",
        "ERROR: error: the argument '--rm[=<RM>]' cannot be used multiple times\n\nUsage: kiln build [OPTIONS] PATH | URL | -\n\nFor more information, try '--help'.\n",
    );
    check("--rm=true --force-rm .", "");
    check(
        "--squash .",
        "warning `--squash` has no effect; squash inside the build with a multi-stage Dockerfile",
    );
}

#[test]
fn caches() {
    let check = |line: &str, expected: &str| {
        let told = match settings(line, &Environment::of(&[])) {
            Ok(settings) => {
                let shown = |flags: &[crate::flags::CacheFlag]| {
                    flags.iter().map(|f| format!("{} {:?}", f.kind, f.attrs)).collect::<Vec<_>>().join("; ")
                };
                format!("{} -> {}", shown(&settings.caches.from), shown(&settings.caches.to))
            }
            Err(e) => format!("{e}; {}", e.hints().join("; ")),
        };
        assert_eq!(told, expected, "{line}");
    };
    check(".", " -> ");
    check(
        "--cache-from a/b --cache-from a/b --cache-to type=inline .",
        "registry {\"ref\": \"a/b\"} -> inline {}",
    );
    check("--build-arg BUILDKIT_INLINE_CACHE=1 .", " -> inline {}");
    check("--cache-to type=inline --build-arg BUILDKIT_INLINE_CACHE=1 .", " -> inline {}");
    check("--build-arg BUILDKIT_INLINE_CACHE=0 .", " -> ");
    check(
        "--cache-from type=gha .",
        "cache import of type `gha` is not supported yet; there are the types registry, local",
    );
    check(
        "--cache-to type=s3,bucket=x .",
        "cache export of type `s3` is not supported yet; there are the types registry, local, inline",
    );
    check("--cache-from type=x .", "unknown type `x` of cache import; there are the types registry, local");
}
