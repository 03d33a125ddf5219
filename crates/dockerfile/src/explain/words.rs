//! Words that stand for themselves: mounts, variables, parser directives.

use super::{MountOption, Word};

const fn word(name: &'static str, about: &'static str) -> Word {
    Word { name, about }
}

/// Types of `RUN --mount`.
pub const MOUNT_KINDS: [Word; 5] = [
    word(
        "bind",
        "Shows files of the build context, of a stage or of an image, without copying them. Read-only unless \
        `rw` is given; what is written is thrown away after the step.",
    ),
    word(
        "cache",
        "A folder that stays from build to build and is no part of the image: for package managers and \
        compilers.",
    ),
    word("tmpfs", "An empty folder in memory, gone after the step."),
    word(
        "secret",
        "A secret of the user (`kiln build --secret`), as a file or a variable of this step. It reaches \
        neither image nor cache.",
    ),
    word("ssh", "The user's ssh agent or keys (`kiln build --ssh`), to log in with during this step."),
];

const ALL: &[&str] = &["bind", "cache", "tmpfs", "secret", "ssh"];
const OWNED: &[&str] = &["cache", "secret", "ssh"];
const TRUTH: &[&str] = &["true", "false"];

const fn option(name: &'static str, kinds: &'static [&'static str], about: &'static str) -> MountOption {
    MountOption { name, kinds, about, choices: &[] }
}

/// Options of `RUN --mount`.
pub const MOUNT_OPTIONS: [MountOption; 14] = [
    MountOption {
        choices: ALL,
        ..option("type", ALL, "What is mounted. Without it the mount is of type `bind`.")
    },
    option(
        "target",
        ALL,
        "Where it is seen in the container. Also `dst`, `destination`. A secret is at \
        `/run/secrets/<id>` without it, an agent at `/run/buildkit/ssh_agent.N`.",
    ),
    option(
        "source",
        &["bind", "cache"],
        "The path within what `from` names. Also `src`. [default: its root]",
    ),
    option(
        "from",
        &["bind", "cache"],
        "The stage, image or named context that the files come from. A bind mount \
        shows the build context without it; a cache begins empty.",
    ),
    MountOption {
        choices: TRUTH,
        ..option("readonly", &["bind", "cache"], "Nothing can be written. Also `ro`.")
    },
    MountOption {
        choices: TRUTH,
        ..option("rw", &["bind"], "The step may write; what it writes is thrown away. Also `readwrite`.")
    },
    option(
        "id",
        OWNED,
        "Its name: of a cache, so that several steps share one [default: the target]; of a secret or \
        an agent, the one that the user gave.",
    ),
    MountOption {
        choices: &["shared", "private", "locked"],
        ..option(
            "sharing",
            &["cache"],
            "Steps that run at once and want the same cache: `shared` gives it to all of \
            them, `private` makes another one for each, `locked` lets them wait. [default: shared]",
        )
    },
    MountOption {
        choices: TRUTH,
        ..option(
            "required",
            &["secret", "ssh"],
            "The build fails where the user gives none. [default: false]",
        )
    },
    option(
        "env",
        &["secret"],
        "The variable that holds the secret. No file is made then, unless there is a target.",
    ),
    option(
        "mode",
        OWNED,
        "Permissions in octal. [default: 0755 of a cache, 0400 of a secret, 0600 of an agent]",
    ),
    option("uid", OWNED, "The owner. [default: 0]"),
    option("gid", OWNED, "The owner's group. [default: 0]"),
    option("size", &["tmpfs"], "At most so much memory, such as `100m`."),
];

/// Variables that need no declaration, or of which the value is known once they are declared.
pub const VARIABLES: [Word; 27] = [
    word(
        "TARGETPLATFORM",
        "The platform that is built for, such as `linux/arm64`. In FROM it is there; a stage that \
        uses it says `ARG TARGETPLATFORM` first.",
    ),
    word("TARGETOS", "The operating system of TARGETPLATFORM."),
    word("TARGETOSVERSION", "The version of the operating system of TARGETPLATFORM, which Windows has."),
    word("TARGETARCH", "The architecture of TARGETPLATFORM, such as `amd64`."),
    word("TARGETVARIANT", "The variant of TARGETARCH, such as `v7` of `arm`."),
    word("TARGETSTAGE", "The name of the stage that is built, or `default`."),
    word(
        "BUILDPLATFORM",
        "The platform that the build runs on. `FROM --platform=$BUILDPLATFORM` runs a compiler \
        without emulation.",
    ),
    word("BUILDOS", "The operating system of BUILDPLATFORM."),
    word("BUILDOSVERSION", "The version of the operating system of BUILDPLATFORM, which Windows has."),
    word("BUILDARCH", "The architecture of BUILDPLATFORM, such as `amd64`."),
    word("BUILDVARIANT", "The variant of BUILDARCH."),
    word(
        "HTTP_PROXY",
        "The proxy for http. Steps have it without a declaration, and the image shows no trace of it.",
    ),
    word(
        "HTTPS_PROXY",
        "The proxy for https. Steps have it without a declaration, and the image shows no trace of it.",
    ),
    word(
        "FTP_PROXY",
        "The proxy for ftp. Steps have it without a declaration, and the image shows no trace of it.",
    ),
    word("NO_PROXY", "Hosts that are reached without a proxy. Steps have it without a declaration."),
    word(
        "ALL_PROXY",
        "The proxy for all else. Steps have it without a declaration, and the image shows no trace of it.",
    ),
    word(
        "SOURCE_DATE_EPOCH",
        "Seconds since 1970: the time that the image and its files have at the latest, so that a \
        build gives the same bytes each time.",
    ),
    word("BUILDKIT_SYNTAX", "The frontend in place of that of `# syntax=`."),
    word("BUILDKIT_DOCKERFILE_CHECK", "What `# check=` says, from the command line."),
    word("BUILDKIT_CACHE_MOUNT_NS", "A name that keeps the cache mounts of one build from those of another."),
    word("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "A context from git keeps its `.git`."),
    word("BUILDKIT_INLINE_CACHE", "The image holds what is needed to use it as a cache."),
    word("BUILDKIT_MULTI_PLATFORM", "The result has the form for several platforms, also for one."),
    word("BUILDKIT_SANDBOX_HOSTNAME", "The host name that steps see. [default: buildkitsandbox]"),
    word(
        "BUILDKIT_SBOM_SCAN_CONTEXT",
        "The scan for an SBOM covers the build context. ARG sets it in the file.",
    ),
    word(
        "BUILDKIT_SBOM_SCAN_STAGE",
        "The scan for an SBOM covers this stage, or those that are named. ARG sets it in \
        the file.",
    ),
    word("PATH", "Where commands are looked for. Linux images that set none have the usual folders."),
];

/// Parser directives: comments on top of the file.
pub const DIRECTIVES: [Word; 3] = [
    word("syntax", "The frontend that reads this file, an image. `docker/dockerfile:1` is built into Kiln."),
    word("escape", "The character that continues lines and escapes others: `\\` or a backtick."),
    word(
        "check",
        "How the file is checked: `skip=RULE,RULE` silences rules (`all` every one), `error=true` lets \
        findings fail the build, `experimental=RULE` asks for more; separated by `;`.",
    ),
];
