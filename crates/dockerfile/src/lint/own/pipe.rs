//! Pipes whose first commands may fail unseen.

use super::{Checker, PIPE_FAIL, shell};
use crate::instruction::{Instruction, Kind, Run};

/// What only writes words cannot fail in a way that matters.
const WRITERS: [&str; 6] = ["echo", "printf", "yes", "true", ":", "seq"];

impl Checker<'_> {
    pub(super) fn pipes(&mut self, at: usize) {
        let lineage = self.lineage(at);
        let Some((own, below)) = lineage.split_last() else { return };
        let mut shell = below.iter().flat_map(|s| &s.instructions).fold(Shell::Plain, Shell::after);
        for instruction in &own.instructions {
            shell = Shell::after(shell, instruction);
            if let (Shell::Plain, Kind::Run(run)) = (shell, &instruction.kind) {
                self.pipe(instruction, run);
            }
        }
    }

    fn pipe(&mut self, instruction: &Instruction, run: &Run) {
        let script = shell::script(run);
        let has_own_interpreter = run.command.heredocs.iter().any(|h| h.content.starts_with("#!"));
        if !run.command.shell || script.contains("pipefail") || has_own_interpreter {
            return;
        }
        let commands = shell::commands(&script);
        let silent = |c: &&shell::Command| c.piped && !c.is_condition && !WRITERS.contains(&c.program());
        if let Some(command) = commands.iter().find(silent) {
            let message = format!(
                "when `{}` fails the step goes on with what came out of the pipe; use a shell with pipefail, as \
                 `SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]`",
                command.program()
            );
            self.find(PIPE_FAIL, instruction, command.program(), message);
        }
    }
}

/// The shell that steps run in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shell {
    /// One of Unix, without pipefail.
    Plain,
    /// With pipefail, or one whose pipes are not known here.
    Other,
}

impl Shell {
    fn after(self, instruction: &Instruction) -> Shell {
        let Kind::Shell(words) = &instruction.kind else { return self };
        let is_unix =
            words.first().is_some_and(|program| program.ends_with("sh") && !program.ends_with("pwsh"));
        let has_pipefail = words.iter().any(|word| word.contains("pipefail"));
        if is_unix && !has_pipefail { Shell::Plain } else { Shell::Other }
    }
}
