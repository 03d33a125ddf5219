use clap::Args;

/// Show what takes up disk
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "\
Filters: id, parents, description, inuse, mutable, immutable, shared, private, type, until=24h.
`*` after an ID marks what can still change, after a size what is shared.")]
pub(crate) struct DuArgs {
    /// Show only some records, as type=exec.cachemount or until=24h
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    pub filters: Vec<String>,

    /// Show all that is known of each record
    #[arg(long)]
    pub verbose: bool,

    /// Form of the output: table, pretty or json
    #[arg(long, value_name = "FORM")]
    pub format: Option<String>,
}

/// Remove build cache
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "\
Examples:
  kiln prune                          What no image or build refers to
  kiln prune --all --force            Everything, without asking
  kiln prune --filter until=72h       What was not used for three days
  kiln prune --max-used-space 20g     The oldest, until 20 GB are left")]
pub(crate) struct PruneArgs {
    /// Remove internal and frontend records too
    #[arg(short, long)]
    pub all: bool,

    /// Do not ask
    #[arg(short, long)]
    pub force: bool,

    /// Remove only some records, as type=exec.cachemount or until=24h
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    pub filters: Vec<String>,

    /// Always keep this much
    #[arg(long, value_name = "SIZE", alias = "keep-storage")]
    pub reserved_space: Option<String>,

    /// Keep at most this much
    #[arg(long, value_name = "SIZE")]
    pub max_used_space: Option<String>,

    /// Remove until this much is free on the disk
    #[arg(long, value_name = "SIZE")]
    pub min_free_space: Option<String>,

    /// Show all that is known of each record
    #[arg(long)]
    pub verbose: bool,
}
