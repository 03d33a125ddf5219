use clap::Args;

/// Run an image of Kiln's own store in the foreground, to try what was built
#[derive(Debug, Clone, Default, Args)]
#[command(
    override_usage = "kiln run [OPTIONS] IMAGE [COMMAND…]",
    after_help = "\
Examples:
  kiln run --rm app                        Run what the image says
  kiln run -it --rm app sh                 Look around in it
  kiln run --rm -v $PWD:/work -w /work app make test"
)]
pub(crate) struct RunArgs {
    /// Keep stdin open
    #[arg(short, long)]
    pub interactive: bool,

    /// Give the program a terminal
    #[arg(short, long)]
    pub tty: bool,

    /// Remove the container's files afterwards. Kiln always does
    #[arg(long)]
    pub rm: bool,

    /// Show a folder of the host in the container: /HOST:/CONTAINER[:ro]
    #[arg(short, long = "volume", value_name = "HOST:CONTAINER")]
    pub volumes: Vec<String>,

    /// Set a variable; a bare NAME takes its value from here
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub env: Vec<String>,

    /// Folder to start in
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,

    /// User to run as: NAME|UID[:GROUP|GID]
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,

    /// Program to run in place of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,

    /// Network of the container: default, host or none
    #[arg(long, value_name = "NETWORK", alias = "net")]
    pub network: Option<String>,

    /// Let the container's own files not be written
    #[arg(long)]
    pub read_only: bool,

    /// Name of the container as it sees itself
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,

    /// Make a name known in the container
    #[arg(long = "add-host", value_name = "NAME:IP")]
    pub add_hosts: Vec<String>,

    /// Which of the image's platforms to run, as linux/arm64 [default: what suits this machine]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,

    /// Image, by name or ID; then command and arguments in place of the image's
    // One list, because what follows the image is never an option of kiln.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "IMAGE COMMAND"
    )]
    pub words: Vec<String>,
}
