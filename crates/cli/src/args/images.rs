use std::path::PathBuf;

use clap::{Args, Subcommand};

/// List the images of Kiln's own store
#[derive(Debug, Clone, Default, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  kiln images                List all
  kiln images rm app         Forget a name; `kiln prune` then frees the disk

`kiln image` does more with them."
)]
pub(crate) struct ImagesArgs {
    #[command(subcommand)]
    pub command: Option<ImagesCommand>,

    #[command(flatten)]
    pub ls: ImageLsArgs,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ImagesCommand {
    Rm(ImageRmArgs),
}

/// Look after the images of Kiln's own store
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  kiln image ls                           List all
  kiln image tag app reg.io/me/app:1      Give one more name
  kiln image push reg.io/me/app:1         Push it, for all its platforms
  kiln image save -o app.tar app          For `docker load`, skopeo and others
  kiln image load -i app.tar              Take the images of an archive or an OCI layout
  kiln image export -o root.tar app       The files alone")]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    pub command: ImageCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ImageCommand {
    #[command(visible_alias = "list")]
    Ls(ImageLsArgs),
    Inspect(ImageInspectArgs),
    #[command(visible_alias = "remove")]
    Rm(ImageRmArgs),
    Tag(ImageTagArgs),
    Push(ImagePushArgs),
    Save(ImageSaveArgs),
    Load(ImageLoadArgs),
    Export(ImageExportArgs),
}

/// List images
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ImageLsArgs {
    /// Print IDs only
    #[arg(short, long)]
    pub quiet: bool,

    /// Form of the output: table, json, or a template such as `{{.Repository}}`
    #[arg(long, value_name = "FORM")]
    pub format: Option<String>,
}

/// Tell all about images, as JSON
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ImageInspectArgs {
    /// By name, or by the beginning of an ID
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,

    /// Form of the output: json, or a template such as `{{.Config.Cmd}}`
    #[arg(short, long, value_name = "FORM", default_value = "", hide_default_value = true)]
    pub format: String,

    /// Tell of the image for this platform [default: the engine's]
    #[arg(long, value_name = "PLATFORM", default_value = "", hide_default_value = true)]
    pub platform: String,
}

/// Take names away from images
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ImageRmArgs {
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,

    /// Take away all names of an image that is meant by its ID; what is not there is no fault
    #[arg(short, long)]
    pub force: bool,
}

/// Give an image one more name
#[derive(Debug, Clone, Args)]
pub(crate) struct ImageTagArgs {
    /// By name, or by the beginning of an ID
    pub image: String,

    pub name: String,
}

/// Push an image to the registry of its name
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ImagePushArgs {
    pub name: String,

    /// Push all names of the repository
    #[arg(short, long)]
    pub all_tags: bool,

    /// Push the image for this platform alone [default: all platforms, and what is said of them]
    #[arg(long, value_name = "PLATFORM", default_value = "", hide_default_value = true)]
    pub platform: String,

    /// Print the name only
    #[arg(short, long)]
    pub quiet: bool,

    /// How to show progress: auto, plain, tty, quiet, none or rawjson
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub progress: String,
}

/// Write images as one archive
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ImageSaveArgs {
    /// By name, or by the beginning of an ID
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,

    /// File to write, in place of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Save the image for this platform alone [default: all platforms, and what is said of them]
    #[arg(long, value_name = "PLATFORM", default_value = "", hide_default_value = true)]
    pub platform: String,

    /// Who reads it: `docker` for Docker and all that read OCI layouts, `oci` for these alone
    #[arg(long, value_name = "FORM", default_value = "docker", value_parser = ["docker", "oci"])]
    pub format: String,
}

/// Take images from an archive of Docker or OCI, or from a folder with an OCI layout
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ImageLoadArgs {
    /// File or folder to read, in place of stdin; the file may be packed by gzip, bzip2, xz or zstd
    #[arg(short, long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Name for an image, beside those that it has in the archive
    #[arg(short, long, value_name = "NAME")]
    pub tag: Vec<String>,

    /// Take the image for this platform alone [default: all platforms]
    #[arg(long, value_name = "PLATFORM", default_value = "", hide_default_value = true)]
    pub platform: String,

    /// Do not tell what came
    #[arg(short, long)]
    pub quiet: bool,
}

/// Write the files of an image as a tar archive
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ImageExportArgs {
    /// By name, or by the beginning of an ID
    pub image: String,

    /// File to write, in place of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Write the files for this platform [default: the engine's]
    #[arg(long, value_name = "PLATFORM", default_value = "", hide_default_value = true)]
    pub platform: String,
}
