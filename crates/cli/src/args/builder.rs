use clap::{Args, Subcommand};

/// How long engines are waited for that do not answer.
const TIMEOUT: &str = "20s";

/// Look after builders: engines with names, on this machine and on others
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Builders are kept where `docker buildx` keeps them, so both see the same ones.

Examples:
  kiln builder create --name far --use tcp://10.0.0.5:1234          An engine on another machine
  kiln builder create --name far --append --platform linux/arm64 ssh://arm.example
  kiln build --platform linux/amd64,linux/arm64 -t reg.io/me/app --push .    Each node builds its own platform")]
pub(crate) struct BuilderArgs {
    #[command(subcommand)]
    pub command: BuilderCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum BuilderCommand {
    Create(CreateArgs),
    Ls(LsArgs),
    Inspect(InspectArgs),
    Use(UseArgs),
    Stop(StopArgs),
    Rm(RmArgs),
}

/// Make a builder, or change one
#[derive(Debug, Clone, Default, Args)]
#[command(
    override_usage = "kiln builder create [OPTIONS] [ENDPOINT]",
    after_help = "\
Without an endpoint the builder is an engine on this machine, with a store of its own, that is started when it is needed.
Endpoints of other engines, Kiln's or BuildKit's: unix://PATH, tcp://HOST:PORT, ssh://[USER@]HOST,
docker-container://NAME[?context=DOCKER-CONTEXT], kube-pod://NAME.
Options of the driver for tcp:// are cacert, cert, key and servername."
)]
pub(crate) struct CreateArgs {
    /// Where the engine is
    #[arg(value_name = "ENDPOINT")]
    pub endpoint: Option<String>,

    /// Name of the builder [default: a random one]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Kind of engine: kiln or remote [default: what the endpoint asks for]
    #[arg(long, value_name = "DRIVER")]
    pub driver: Option<String>,

    /// Name of the node to make, change or remove
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,

    /// Platforms that this node builds, ahead of others
    #[arg(long = "platform", value_name = "PLATFORM,…")]
    pub platforms: Vec<String>,

    /// Options of the driver
    #[arg(long = "driver-opt", value_name = "NAME=VALUE,…")]
    pub driver_opts: Vec<String>,

    /// Arguments of the engine
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    pub buildkitd_flags: Option<String>,

    /// Configuration file of the engine [default: buildkitd.default.toml next to the builders, if it is there]
    #[arg(long, value_name = "FILE", alias = "config")]
    pub buildkitd_config: Option<String>,

    /// Start the engine at once
    #[arg(long)]
    pub bootstrap: bool,

    /// Add a node to the builder
    #[arg(long)]
    pub append: bool,

    /// Remove a node from the builder
    #[arg(long, conflicts_with = "append")]
    pub leave: bool,

    /// Build with it from now on
    #[arg(long = "use")]
    pub use_it: bool,

    /// Taken for buildx: nothing is waited for here
    #[arg(long, hide = true, default_value = TIMEOUT)]
    pub timeout: String,
}

/// List builders and their nodes
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "\
`*` after a name marks the builder that is used where none is named, after a platform one that the user has given to the
node. Fields for templates: Name, DriverEndpoint, LastActivity, Status, Buildkit, Platforms, Error.")]
pub(crate) struct LsArgs {
    /// Form of the output: table, json, or a template such as '{{.Name}}'
    #[arg(long, value_name = "FORM", default_value = "table", hide_default_value = true)]
    pub format: String,

    /// Show platforms in full
    #[arg(long)]
    pub no_trunc: bool,

    /// How long to wait for engines that do not answer
    #[arg(long, value_name = "TIME", default_value = TIMEOUT)]
    pub timeout: String,
}

/// Show all that is known of a builder
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct InspectArgs {
    /// The builder [default: the current one]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Start its engines first
    #[arg(long)]
    pub bootstrap: bool,

    /// How long to wait for engines that do not answer
    #[arg(long, value_name = "TIME", default_value = TIMEOUT)]
    pub timeout: String,
}

/// Build with this builder where none is named; `default` is the engine of your own
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct UseArgs {
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// Also after a change of the Docker context
    #[arg(long)]
    pub global: bool,

    /// Come back to it with the Docker context of now
    #[arg(long)]
    pub default: bool,
}

/// Stop the engines of a builder; the next build starts them again
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StopArgs {
    /// The builder [default: the current one]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// Remove builders
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RmArgs {
    /// The builders [default: the current one]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,

    /// Keep the stores of engines
    #[arg(long)]
    pub keep_state: bool,

    /// Let engines run
    #[arg(long)]
    pub keep_daemon: bool,

    /// Remove all builders of which no engine runs
    #[arg(long, conflicts_with = "names")]
    pub all_inactive: bool,

    /// Do not ask
    #[arg(short, long)]
    pub force: bool,

    /// How long to wait for engines that do not answer
    #[arg(long, value_name = "TIME", default_value = TIMEOUT)]
    pub timeout: String,
}
