use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Build targets that files describe
///
/// Files are docker-bake.hcl, docker-bake.json, Compose files, their overrides, or those that `-f` names. All targets are
/// built side by side by one engine: folders that they share are sent once, steps that they share run once, and a target
/// that is a context of another one (`contexts = { base = "target:base" }`) is built before it. The first that fails ends
/// the others.
///
/// What differs from `docker buildx bake` is in docs/bake-differences.md.
#[derive(Debug, Clone, Default, Args)]
#[command(
    override_usage = "kiln bake [OPTIONS] [TARGET]...\n       kiln bake [OPTIONS] URL [CONTEXT-URL] [TARGET]...",
    args_override_self = true,
    after_help = "\
A URL is a Git repository, an archive or a file of the web; the engine fetches it. Contexts of such
files lie there too, but for those that begin with cwd://, and those below BAKE_CMD_CONTEXT: that is
the folder here, or CONTEXT-URL.

Files may not do all that their user may. Paths outside of this folder, the network of the host,
privileged steps, devices and ssh agents are asked for at the terminal, or granted beforehand:

  --allow fs.read=PATH, fs.write=PATH, fs=PATH    `*` for all [env: BUILDX_BAKE_ENTITLEMENTS_FS=0]
  --allow network.host, security.insecure, device[=NAME], ssh, buildx.local.delete

Examples:
  kiln bake                            Build the targets of the group `default`
  kiln bake app 'test-*'               Those of a name and of a pattern
  kiln bake --push --set '*.platform=linux/amd64,linux/arm64' --var TAG=1.2
  kiln bake --keep-going --metadata-file built.json
  kiln bake --print app                What would be built, as JSON
  kiln bake --explain app              Where each attribute of `app` came from
  kiln bake --list targets
  kiln bake --check                    Look the Dockerfiles of all targets over
  kiln bake https://github.com/me/app.git#main app"
)]
pub(crate) struct BakeArgs {
    /// Targets and groups, or patterns of their names [default: default]
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,

    /// Read this file; `-` reads stdin; cwd://FILE is here even if the others are in the web [env: BUILDX_BAKE_FILE]
    #[arg(short, long = "file", value_name = "FILE", help_heading = "Input", value_hint = ValueHint::FilePath)]
    pub files: Vec<String>,

    /// Override an attribute of targets: TARGET.KEY=VALUE; `+=` adds to a list
    #[arg(long, value_name = "OVERRIDE", help_heading = "Input")]
    pub set: Vec<String>,

    /// Set a variable, above what the environment says
    #[arg(long = "var", value_name = "NAME=VALUE", help_heading = "Input")]
    pub vars: Vec<String>,

    /// Let targets have what their files ask for: network.host, security.insecure, device[=NAME], ssh, fs[.read|.write]=PATH
    #[arg(long = "allow", value_name = "ENTITLEMENT", help_heading = "Input")]
    pub allow: Vec<String>,

    /// Push images under their tags; short for --set *.push=true
    #[arg(long, help_heading = "Result")]
    pub push: bool,

    /// Keep images in Kiln's store, and load them into Docker where Docker answers; short for --set *.load=true
    #[arg(long, help_heading = "Result")]
    pub load: bool,

    /// Say what is in the results; short for --set *.attest=type=sbom
    #[arg(long, value_name = "SPEC", help_heading = "Result")]
    pub sbom: Option<String>,

    /// Say what the results were made from; short for --set *.attest=type=provenance
    #[arg(long, value_name = "SPEC", help_heading = "Result")]
    pub provenance: Option<String>,

    /// Write what is known of the results to a file, as JSON by target
    #[arg(long, value_name = "FILE", help_heading = "Result", value_hint = ValueHint::FilePath)]
    pub metadata_file: Option<PathBuf>,

    /// Run every step anew; short for --set *.no-cache=BOOL
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Cache")]
    pub no_cache: Option<bool>,

    /// Ask registries for newer images; short for --set *.pull=BOOL
    #[arg(long, value_name = "BOOL", hide_possible_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Cache")]
    pub pull: Option<bool>,

    /// Build all that can be built after a target has failed, and tell all failures at the end
    #[arg(short, long, help_heading = "Progress")]
    pub keep_going: bool,

    /// How to tell what goes on: auto, plain, tty, quiet, none or rawjson
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Progress"
    )]
    pub progress: String,

    /// Print the targets as JSON
    #[arg(long, help_heading = "Questions")]
    pub print: bool,

    /// List `targets` or `variables`; type=targets,format=json lists them as JSON
    #[arg(long, value_name = "WHAT", help_heading = "Questions")]
    pub list: Option<String>,

    /// Print where each attribute of this target came from
    #[arg(long, value_name = "TARGET", help_heading = "Questions")]
    pub explain: Option<String>,

    /// Ask about the Dockerfiles instead of building them: check, outline or targets[,format=json]
    #[arg(long, value_name = "METHOD", help_heading = "Questions")]
    pub call: Option<String>,

    /// Short for --call=check
    #[arg(long, conflicts_with = "call", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true, value_name = "BOOL", help_heading = "Questions")]
    pub check: bool,

    /// Policies of all targets: [disabled=BOOL][,strict=BOOL][,log-level=LEVEL]
    #[arg(long = "policy", value_name = "SPEC", help_heading = "Policies")]
    pub policies: Vec<String>,

    #[arg(long, hide = true)]
    pub list_targets: bool,

    #[arg(long, hide = true)]
    pub list_variables: bool,
}
