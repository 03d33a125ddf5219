use clap::{Args, Subcommand};

/// Look after the engine that builds in the background
#[derive(Debug, Clone, Args)]
pub(crate) struct EngineArgs {
    #[command(subcommand)]
    pub command: EngineCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum EngineCommand {
    /// Tell whether an engine runs, where and which
    Status,
    /// Stop the engine once its builds have ended; the next build starts it again
    Stop(StopArgs),
    /// Look for damage in the store of an engine that does not run, and repair it; exits with 3 where there was any
    Check,
    /// Show what the engine wrote to its log
    Logs(LogsArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct StopArgs {
    /// Cancel builds that still run
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LogsArgs {
    /// Lines to show from the end
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 100)]
    pub lines: usize,

    /// Go on as the engine writes more
    #[arg(short, long)]
    pub follow: bool,
}
