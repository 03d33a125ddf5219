use serde_json::Value;

use super::{Engine, Folder, assert_has, list_tar};

/// Builds a Dockerfile and compares the files of the result.
#[track_caller]
pub fn check_files(
    engine: &Engine,
    dockerfile: &str,
    files: &[(&str, &str)],
    args: &[&str],
    expect: &[&str],
) {
    let context = Folder::with_dockerfile(dockerfile, files);
    let told = list_tar(&engine.build(&context).args(args).tar());
    assert_eq!(told, expect, "\n{dockerfile}");
}

/// Builds a Dockerfile and compares a part of the image's config.
#[track_caller]
pub fn check_config(engine: &Engine, dockerfile: &str, args: &[&str], expect: &Value) {
    let context = Folder::with_dockerfile(dockerfile, &[]);
    assert_has(&engine.build(&context).args(args).image().config, expect);
}
