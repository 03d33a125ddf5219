//! Instructions and their flags.

use super::{Flag, Instruction};

const TRUTH: &[&str] = &["true", "false"];

const fn flag(name: &'static str, value: &'static str, about: &'static str) -> Flag {
    Flag { name, value, about, choices: &[] }
}

const fn switch(name: &'static str, about: &'static str) -> Flag {
    Flag { name, value: "", about, choices: TRUTH }
}

const CHOWN: Flag =
    flag("chown", "USER[:GROUP]", "Whose the files are; names are looked up in the image. [default: 0:0]");
const CHMOD: Flag = flag("chmod", "MODE", "Permissions of the files, in octal or as `u=rwX,go=rX`.");
const LINK: Flag = switch(
    "link",
    "The files are a layer of their own that does not depend on what is below, so it stays \
    when the base changes. Links on the way to the destination are not followed.",
);
const EXCLUDE: Flag = flag("exclude", "PATTERN", "Files that are left out; may be given several times.");

/// In the order of the alphabet.
pub const INSTRUCTIONS: [Instruction; 18] = [
    Instruction {
        keyword: "ADD",
        form: "ADD [FLAGS] SOURCE... DESTINATION\nADD [FLAGS] [\"SOURCE\", ... \"DESTINATION\"]",
        about: "Copies files, unpacks local archives, and fetches URLs and git repositories. COPY says more clearly \
            what is meant where that is all.",
        flags: &[
            CHOWN,
            CHMOD,
            LINK,
            switch("keep-git-dir", "Keeps the folder `.git` of a repository. [default: false]"),
            flag(
                "checksum",
                "DIGEST",
                "What is fetched must have this digest, such as `sha256:...`, or be this commit.",
            ),
            switch(
                "unpack",
                "Whether archives are unpacked. [default: local ones are, fetched ones are not]",
            ),
            EXCLUDE,
        ],
    },
    Instruction {
        keyword: "ARG",
        form: "ARG NAME[=DEFAULT]...",
        about: "Declares variables that `--build-arg` may set. They live from here to the end of the stage, and are no \
            part of the image; in front of the first FROM they are for FROM lines, and for stages that declare them \
            once more by `ARG NAME`. Not for secrets: the history of the image shows them.",
        flags: &[],
    },
    Instruction {
        keyword: "CMD",
        form: "CMD [\"PROGRAM\", \"ARGUMENT\", ...]\nCMD COMMAND",
        about: "What a container runs unless told otherwise; or the arguments of ENTRYPOINT. The last CMD counts. The \
            first form runs the program itself, which then gets signals; the second one goes through a shell.",
        flags: &[],
    },
    Instruction {
        keyword: "COPY",
        form: "COPY [FLAGS] SOURCE... DESTINATION\nCOPY [FLAGS] [\"SOURCE\", ... \"DESTINATION\"]\nCOPY <<EOF DESTINATION",
        about: "Copies files of the build context, or of what `--from` names. The content of a folder is copied, not the \
            folder. A destination that ends in `/` is a folder. A heredoc becomes a file.",
        flags: &[
            flag(
                "from",
                "STAGE",
                "The stage, image or named context that the files come from. [default: the build context]",
            ),
            CHOWN,
            CHMOD,
            LINK,
            switch("parents", "Keeps the folders of each source; `/./` in a source marks where they begin."),
            EXCLUDE,
        ],
    },
    Instruction {
        keyword: "ENTRYPOINT",
        form: "ENTRYPOINT [\"PROGRAM\", \"ARGUMENT\", ...]\nENTRYPOINT COMMAND",
        about: "The program that a container is. CMD, or the arguments of `run`, are given to it in the first form; the \
            second form goes through a shell and takes none.",
        flags: &[],
    },
    Instruction {
        keyword: "ENV",
        form: "ENV NAME=VALUE...",
        about: "Sets variables for the steps below, for stages that go on from this one, and for containers.",
        flags: &[],
    },
    Instruction {
        keyword: "EXPOSE",
        form: "EXPOSE PORT[-PORT][/tcp|/udp|/sctp]...",
        about: "Says which ports the program listens on. It opens none.",
        flags: &[],
    },
    Instruction {
        keyword: "FROM",
        form: "FROM [--platform=PLATFORM] IMAGE [AS NAME]",
        about: "Begins a stage, from an image, from an earlier stage, or from nothing (`scratch`). The last stage is \
            the result unless `--target` names another one.",
        flags: &[flag(
            "platform",
            "PLATFORM",
            "The platform of the image, such as `linux/arm64`. [default: the one that \
            is built for]",
        )],
    },
    Instruction {
        keyword: "HEALTHCHECK",
        form: "HEALTHCHECK [FLAGS] CMD COMMAND\nHEALTHCHECK NONE",
        about: "How to see whether a container works: the command is to give 0. NONE switches off what the base image \
            says. The last one counts.",
        flags: &[
            flag("interval", "TIME", "How long to wait from one check to the next. [default: 30s]"),
            flag("timeout", "TIME", "A check that takes longer has failed. [default: 30s]"),
            flag("start-period", "TIME", "So long after the start, failures do not count. [default: 0s]"),
            flag("start-interval", "TIME", "As interval, during the start period. [default: 5s]"),
            flag(
                "retries",
                "COUNT",
                "The container is unhealthy after so many failures in a row. [default: 3]",
            ),
        ],
    },
    Instruction {
        keyword: "LABEL",
        form: "LABEL NAME=VALUE...",
        about: "Adds labels to the image, for people and programs. `org.opencontainers.image.…` are names that many know.",
        flags: &[],
    },
    Instruction {
        keyword: "MAINTAINER",
        form: "MAINTAINER NAME",
        about: "Out of use: say `LABEL org.opencontainers.image.authors=NAME`.",
        flags: &[],
    },
    Instruction {
        keyword: "ONBUILD",
        form: "ONBUILD INSTRUCTION",
        about: "Keeps an instruction for builds that go FROM this image. It runs there, right behind FROM.",
        flags: &[],
    },
    Instruction {
        keyword: "RUN",
        form: "RUN [FLAGS] COMMAND\nRUN [FLAGS] [\"PROGRAM\", \"ARGUMENT\", ...]\nRUN [FLAGS] <<EOF",
        about: "Runs a command and keeps the files that it leaves as a layer. A heredoc is a script, for the shell or, \
            with `#!`, for another program.",
        flags: &[
            flag(
                "mount",
                "OPTION=VALUE,...",
                "Files, caches, secrets or the ssh agent for this step alone; may be given \
                several times.",
            ),
            Flag {
                choices: &["default", "none", "host"],
                ..flag(
                    "network",
                    "MODE",
                    "`none` has no network; `host` has that of the machine, where that is allowed. \
                    [default: default]",
                )
            },
            Flag {
                choices: &["sandbox", "insecure"],
                ..flag(
                    "security",
                    "MODE",
                    "`insecure` runs with all rights, where that is allowed. [default: sandbox]",
                )
            },
            flag("device", "NAME[,required]", "A device of the machine (CDI), such as `nvidia.com/gpu=all`."),
        ],
    },
    Instruction {
        keyword: "SHELL",
        form: "SHELL [\"PROGRAM\", \"ARGUMENT\", ...]",
        about: "What runs commands that are no JSON arrays, from here on. [default: `[\"/bin/sh\", \"-c\"]`] With \
            `[\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]` a step fails when any command of a pipe does.",
        flags: &[],
    },
    Instruction {
        keyword: "STOPSIGNAL",
        form: "STOPSIGNAL SIGNAL",
        about: "The signal that asks a container to end: a name such as SIGQUIT, or a number. [default: SIGTERM]",
        flags: &[],
    },
    Instruction {
        keyword: "USER",
        form: "USER USER[:GROUP]",
        about: "Who runs the steps below, and containers. Without a group it is the one that the user has.",
        flags: &[],
    },
    Instruction {
        keyword: "VOLUME",
        form: "VOLUME PATH...\nVOLUME [\"PATH\", ...]",
        about: "Folders that each container gets a volume for.",
        flags: &[],
    },
    Instruction {
        keyword: "WORKDIR",
        form: "WORKDIR PATH",
        about: "The folder of the steps below, and of containers. It is made where there is none; a relative path goes on \
            from the last one.",
        flags: &[],
    },
];
