use clap::{Args, Subcommand};

/// List the images of Kiln's own store
#[derive(Debug, Clone, Default, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  kiln images                List all
  kiln images rm app         Forget a name; `kiln prune` then frees the disk"
)]
pub(crate) struct ImagesArgs {
    #[command(subcommand)]
    pub command: Option<ImagesCommand>,

    /// Print IDs only
    #[arg(short, long)]
    pub quiet: bool,

    /// Form of the output: table or json
    #[arg(long, value_name = "FORM")]
    pub format: Option<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ImagesCommand {
    /// Take names away from images
    Rm {
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}
