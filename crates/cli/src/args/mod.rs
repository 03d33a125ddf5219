//! Words: what clap reads from the command line. Nothing here means anything yet; `settings` gives it meaning.

mod bake;
mod build;
mod builder;
mod dockerfile;
mod engine;
mod history;
mod images;
mod imagetools;
mod policy;
mod run;
mod store;

use clap::{Args, Parser, Subcommand};

pub(crate) use bake::BakeArgs;
pub(crate) use build::BuildArgs;
pub(crate) use builder::{
    BuilderArgs, BuilderCommand, CreateArgs, InspectArgs as InspectBuilderArgs, LsArgs as LsBuilderArgs,
    RmArgs as RmBuilderArgs, UseArgs as UseBuilderArgs,
};
pub(crate) use dockerfile::{DockerfileArgs, DockerfileCommand, FmtArgs};
pub(crate) use engine::{EngineArgs, EngineCommand, LogsArgs};
pub(crate) use history::{
    AttachmentArgs, HistoryArgs, HistoryCommand, HistoryExportArgs, HistoryImportArgs, HistoryLogsArgs,
    HistoryLsArgs, HistoryRmArgs, HistoryTraceArgs, InspectCommand,
};
pub(crate) use images::{
    ImageArgs, ImageCommand, ImageExportArgs, ImageInspectArgs, ImageLoadArgs, ImageLsArgs, ImagePushArgs,
    ImageRmArgs, ImageSaveArgs, ImageTagArgs, ImagesArgs, ImagesCommand,
};
pub(crate) use imagetools::{ImagetoolsArgs, ImagetoolsCommand, ImagetoolsCreateArgs, ImagetoolsInspectArgs};
pub(crate) use policy::{PolicyArgs, PolicyCommand, PolicyEvalArgs, PolicyTestArgs};
pub(crate) use run::RunArgs;
pub(crate) use store::{DuArgs, PruneArgs};

/// Builds container images from Dockerfiles, on its own.
#[derive(Debug, Parser)]
#[command(
    name = "kiln",
    bin_name = "kiln",
    about = "Build container images from Dockerfiles. No Docker, no daemon to set up.",
    disable_help_subcommand = true,
    disable_version_flag = true,
    arg_required_else_help = false,
    max_term_width = 100,
    after_help = "\
Examples:
  kiln build -t app .            Build the Dockerfile here and keep the image as `app`
  kiln run --rm app              Try it
  kiln build -o out .            Write the files of the last stage to `out`
  kiln build -t reg.io/me/app --push .

`kiln COMMAND --help` says more."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Engine")]
pub(crate) struct GlobalArgs {
    /// Where the engine keeps its store [default: /var/lib/kiln for root, $XDG_DATA_HOME/kiln otherwise]
    #[arg(long, global = true, env = "KILN_ROOT", value_name = "DIR", hide_env_values = true)]
    pub root: Option<std::path::PathBuf>,

    /// Use the engine at this address, Kiln's or BuildKit's, instead of one of your own: unix://PATH, tcp://HOST:PORT,
    /// ssh://[USER@]HOST, docker-container://NAME or kube-pod://NAME [env: KILN_HOST, BUILDKIT_HOST]
    #[arg(long, global = true, env = "KILN_HOST", value_name = "ADDRESS", hide_env = true)]
    pub host: Option<String>,

    /// Use this builder of `kiln builder ls` or `docker buildx ls`; `default` is the engine of your own
    /// [env: BUILDX_BUILDER]
    #[arg(long, global = true, value_name = "NAME")]
    pub builder: Option<String>,

    /// Folder with ca.pem, cert.pem and key.pem (or ca.crt, tls.crt and tls.key) for an engine at tcp://HOST:PORT
    #[arg(long, global = true, env = "KILN_TLS_DIR", value_name = "DIR", hide_env_values = true)]
    pub tls_dir: Option<std::path::PathBuf>,

    /// Name that the engine's certificate shows, where it is not that of its address
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub tls_server_name: Option<String>,

    /// Say more about what goes on
    #[arg(short = 'D', long, global = true)]
    pub debug: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(visible_alias = "b")]
    Build(Box<BuildArgs>),
    #[command(alias = "f")]
    Bake(Box<BakeArgs>),
    Run(RunArgs),
    Image(ImageArgs),
    Images(ImagesArgs),
    Imagetools(ImagetoolsArgs),
    Policy(PolicyArgs),
    History(HistoryArgs),
    Du(DuArgs),
    Prune(PruneArgs),
    Dockerfile(DockerfileArgs),
    Builder(BuilderArgs),
    Engine(EngineArgs),
    /// Run the build engine in the foreground
    ///
    /// `kiln build` starts one by itself when none answers; run it by hand, or from an init system, to serve others
    /// or to configure it. See `kiln daemon --help`.
    #[command(disable_help_flag = true)]
    Daemon {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        args: Vec<String>,
    },
    /// Print the version
    Version,
    /// Print a completion script
    ///
    /// Put the line that belongs to your shell into its start file:
    ///   bash   source <(kiln completion bash)
    ///   zsh    source <(kiln completion zsh)
    ///   fish   kiln completion fish | source
    #[command(verbatim_doc_comment)]
    Completion {
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn help(path: &[&str]) -> String {
        let mut command = Cli::command();
        command.build();
        let mut at = &mut command;
        for name in path {
            at = at.find_subcommand_mut(name).expect("a command");
        }
        at.clone().term_width(100).render_help().to_string()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_of_each_command() {
        let commands = [
            "",
            "bake",
            "build",
            "run",
            "images",
            "images rm",
            "imagetools",
            "imagetools create",
            "imagetools inspect",
            "policy",
            "policy eval",
            "policy test",
            "image",
            "image ls",
            "image inspect",
            "image rm",
            "image tag",
            "image push",
            "image save",
            "image load",
            "image export",
            "history",
            "history ls",
            "history inspect",
            "history inspect attachment",
            "history logs",
            "history open",
            "history trace",
            "history rm",
            "history export",
            "history import",
            "du",
            "prune",
            "dockerfile",
            "dockerfile fmt",
            "dockerfile lsp",
            "builder",
            "builder create",
            "builder ls",
            "builder inspect",
            "builder use",
            "builder stop",
            "builder rm",
            "engine",
            "engine logs",
            "engine stop",
        ];
        for path in commands.map(|c| Vec::from_iter(c.split_whitespace())) {
            let path = &path[..];
            insta::assert_snapshot!(format!("help_{}", path.join("_")), help(path));
        }
    }
}
