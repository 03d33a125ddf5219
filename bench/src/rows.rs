//! The rows of the table: what is built, in which steps, and how much faster Kiln means to be.

use std::path::Path;

use anyhow::Result;

use crate::builder::{Builder, Output};
use crate::request::Load;
use crate::workload;

/// Builds of one context, one after the other, each on what the one before left.
pub struct Row {
    pub name: &'static str,
    /// Makes the context; the number is its size.
    pub make: fn(&Path, usize) -> Result<()>,
    pub size: usize,
    pub steps: &'static [Step],
    /// How often it is done where nothing else is said.
    pub runs: usize,
    /// The context begins with an image of the registry.
    pub from_registry: bool,
    /// How many times faster than BuildKit it is to be where the stock client drives both.
    pub by_buildx: f64,
}

pub enum Step {
    /// A build that is not measured.
    Build(Output),
    /// A build that is: its title, its output, and how many times faster than BuildKit it is to be.
    Time(&'static str, Output, f64),
    /// Requests to the engine without a client's program.
    Requests(&'static str, Load, f64),
    /// One file of the context changes.
    Change(&'static str),
}

impl Row {
    /// Whether something of it goes to a registry.
    pub fn pushes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Build(Push) | Time(_, Push, _)))
    }
}

impl Step {
    /// Whether the builder can do it.
    pub fn is_for(&self, builder: &Builder) -> bool {
        match self {
            Step::Build(output) | Step::Time(_, output, _) => builder.can(*output),
            Step::Requests(..) => builder.takes_requests(),
            Step::Change(_) => true,
        }
    }
}

use Output::{Bake, Image, Local, Nothing, Oci, Push, Zstd};
use Step::{Build, Change, Requests, Time};

const FILE: &str = "d000/s3/f345.bin";

pub const ROWS: &[Row] = &[
    Row {
        name: "small",
        make: workload::small,
        size: 0,
        steps: &[Time("small build, first", Image, 3.0), Time("small build, nothing changed", Image, 5.0)],
        runs: 7,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "context",
        make: workload::files,
        size: 20_000,
        steps: &[
            Time("context of 20,000 files, 400 MB: first", Nothing, 5.0),
            Time("… nothing changed", Nothing, 5.0),
            Change(FILE),
            Time("… one file changed", Nothing, 10.0),
        ],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "big-file",
        make: workload::big,
        size: 512,
        steps: &[Time("context of one 512 MB file, first", Nothing, 3.0)],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "chain",
        make: workload::chain,
        size: 50,
        steps: &[Time("50 chained RUN steps", Nothing, 5.0)],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "stages",
        make: workload::stages,
        size: 20,
        steps: &[Time("20 independent stages of 0.2 s", Nothing, 2.0)],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "copies",
        make: workload::copies,
        size: 300,
        steps: &[Time("300 COPY --from steps", Nothing, 10.0)],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "bake",
        make: workload::targets,
        size: 50,
        steps: &[
            Time("bake of 50 small targets on one context, first", Bake, 3.0),
            Time("… nothing changed", Bake, 3.0),
        ],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "local",
        make: workload::files,
        size: 20_000,
        steps: &[Build(Nothing), Time("20,000 files to type=local", Local, 20.0)],
        runs: 3,
        from_registry: false,
        by_buildx: 3.0,
    },
    Row {
        name: "oci-files",
        make: workload::files,
        size: 20_000,
        steps: &[Build(Oci), Change(FILE), Time("20,000 files, one changed, to a gzip OCI tar", Oci, 5.0)],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "oci-big",
        make: workload::big,
        size: 512,
        steps: &[Build(Oci), Change("big.bin"), Time("512 MB file changed, to a gzip OCI tar", Oci, 2.5)],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "zstd",
        make: workload::big,
        size: 512,
        steps: &[Build(Zstd), Change("big.bin"), Time("512 MB file changed, to a zstd OCI tar", Zstd, 4.0)],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "push",
        make: workload::big,
        size: 512,
        steps: &[
            Build(Push),
            Change("big.bin"),
            Time("512 MB file changed, gzip, pushed to a registry", Push, 2.5),
        ],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "repush",
        make: workload::application,
        size: 400,
        steps: &[
            Build(Push),
            Change("small.bin"),
            Time("11 layers, 400 MB, a small one changed, pushed again", Push, 5.0),
        ],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "pull",
        make: workload::layers,
        size: 1000,
        steps: &[Time("pull and unpack 10 layers, 1 GB", Nothing, 3.0)],
        runs: 3,
        from_registry: true,
        by_buildx: 2.0,
    },
    Row {
        name: "crowd",
        make: workload::numbered,
        size: 0,
        steps: &[Requests("64 small builds at once", Load::Crowd(64), 3.0)],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
    Row {
        name: "graph",
        make: workload::small,
        size: 0,
        steps: &[Requests("one graph of 10,000 vertices", Load::Graph { chains: 100, steps: 100 }, 3.0)],
        runs: 3,
        from_registry: false,
        by_buildx: 2.0,
    },
];

/// A workload in three sizes.
pub struct Growth {
    pub title: &'static str,
    pub make: fn(&Path, usize) -> Result<()>,
    pub sizes: [usize; 3],
}

/// The rows that show how time grows with size. They have no rival.
pub const GROWTH: &[Growth] = &[
    Growth { title: "files of the context", make: workload::files, sizes: [2_000, 20_000, 200_000] },
    Growth { title: "chained RUN steps", make: workload::chain, sizes: [10, 100, 1_000] },
    Growth { title: "COPY --from steps", make: workload::copies, sizes: [10, 100, 1_000] },
];
