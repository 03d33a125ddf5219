use clap::Args;

/// Read bake files and tell what they say
///
/// Files are docker-bake.hcl, docker-bake.json, Compose files, their overrides, or those that `-f` names. What differs
/// from `docker buildx bake` is in docs/bake-differences.md.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  kiln bake --print                    The targets of the group `default`, as JSON
  kiln bake --print app 'test-*'       Those of a name and of a pattern
  kiln bake --explain app              Where each attribute of `app` came from
  kiln bake --list targets
  kiln bake --print --set '*.platform=linux/arm64' --var TAG=1.2")]
pub(crate) struct BakeArgs {
    /// Targets and groups, or patterns of their names [default: default]
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,

    /// Read this file; `-` reads stdin [env: BUILDX_BAKE_FILE]
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<String>,

    /// Override an attribute of targets: `TARGET.KEY=VALUE`; `+=` adds to a list
    #[arg(long, value_name = "OVERRIDE")]
    pub set: Vec<String>,

    /// Set a variable, above what the environment says
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub vars: Vec<String>,

    /// Print the targets as JSON
    #[arg(long)]
    pub print: bool,

    /// List `targets` or `variables`; `type=targets,format=json` lists them as JSON
    #[arg(long, value_name = "WHAT")]
    pub list: Option<String>,

    /// Print where each attribute of this target came from
    #[arg(long, value_name = "TARGET")]
    pub explain: Option<String>,

    /// Short for `--set *.push=true`
    #[arg(long)]
    pub push: bool,

    /// Short for `--set *.load=true`
    #[arg(long)]
    pub load: bool,

    /// Short for `--set *.no-cache=BOOL`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_cache: Option<bool>,

    /// Short for `--set *.pull=BOOL`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub pull: Option<bool>,

    /// Ask for this in place of a build: `check`, `outline` or `targets`
    #[arg(long, value_name = "METHOD")]
    pub call: Option<String>,

    /// Short for `--call=check`
    #[arg(long, conflicts_with = "call")]
    pub check: bool,

    /// Short for `--set *.attest=type=sbom`
    #[arg(long, value_name = "VALUE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub sbom: Option<String>,

    /// Short for `--set *.attest=type=provenance`
    #[arg(long, value_name = "VALUE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub provenance: Option<String>,
}
