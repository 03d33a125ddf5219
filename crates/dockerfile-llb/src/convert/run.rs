//! RUN.

use std::borrow::Cow;

use dockerfile::instruction::{Mount, MountKind, Network, Run, Security};
use dockerfile::{Environment, Error, Heredoc, Lexer, Result, go};
use errdefs::Range;
use llb::{Meta, NetMode, SecurityMode};

use super::dispatch::Dispatch;
use super::names;
use crate::draft::{About, ExecDraft, MountDraft, MountUse};
use crate::image::Layer;
use crate::windows;

/// Where the scripts of heredocs are mounted.
const PIPES: &str = "/dev/pipes/";

/// The command of a RUN, with its heredocs worked in.
struct Script {
    words: Vec<String>,
    /// The words are arguments, not a text for the shell.
    is_exec: bool,
    /// A script file to be mounted: name and text.
    file: Option<(String, String)>,
    /// What is added to the name of the step.
    summary: String,
}

impl Dispatch<'_> {
    pub(super) fn run_step(
        &mut self,
        run: &Run,
        sources: &[usize],
        code: &str,
        ranges: Vec<Range>,
    ) -> Result<()> {
        // A process may read any file.
        self.paths[self.stage.paths].insert("/".into());
        let script = script(run, self.stage.image.os != windows::OS)?;
        let words = if script.is_exec { script.words.clone() } else { self.with_shell(&script.words) };
        if words.is_empty() {
            return Err(Error::new("arguments are required"));
        }
        let mounts = self.resolve_mounts(run, &ranges)?;
        let mut exec = self.exec(run, words.clone());
        if let Some((name, text)) = &script.file {
            let source = Some(self.inline_document(name, 0o755, text));
            exec.mounts.push(MountDraft {
                target: PIPES.into(),
                source,
                selector: "/".into(),
                readonly: true,
                ..MountDraft::default()
            });
        }
        self.add_mounts(&mounts, sources, &mut exec, &ranges)?;
        if self.shared.config.shm_size > 0 {
            let used = MountUse::Tmpfs(self.shared.config.shm_size);
            exec.mounts.push(MountDraft { target: "/dev/shm".into(), used, ..MountDraft::default() });
        }

        self.stage.count_step();
        let name = self.run_name(&format!("{code}{}", script.summary), &mounts);
        let mut about = About { ranges, ..About::default() };
        about.metadata.ignore_cache = self.stage.ignore_cache;
        about.metadata.linux_resources.clone_from(&self.shared.config.resources);
        names::describe(&mut about.metadata, code, name);
        self.stage.state.tree = Some(self.draft.exec(exec, about));
        let text = format!("RUN {} # buildkit", self.history(&words));
        self.note(text, Layer::One);
        Ok(())
    }

    fn exec(&self, run: &Run, args: Vec<String>) -> ExecDraft {
        let config = self.shared.config;
        let state = &self.stage.state;
        ExecDraft {
            meta: Meta {
                args,
                env: state.env.lines(),
                cwd: state.dir.clone(),
                user: state.user.clone(),
                proxy_env: self.shared.proxy.clone(),
                extra_hosts: config.extra_hosts.clone(),
                hostname: state.hostname.clone(),
                ulimit: config.ulimits.clone(),
                cgroup_parent: config.cgroup_parent.clone(),
                remove_mount_stubs_recursive: true,
                valid_exit_codes: Vec::new(),
            },
            network: match run.network {
                Network::Default => state.network,
                Network::None => NetMode::None,
                Network::Host => NetMode::Host,
            },
            security: match run.security {
                Security::Sandbox => SecurityMode::Sandbox,
                Security::Insecure => SecurityMode::Insecure,
            },
            mounts: vec![MountDraft { target: "/".into(), source: state.tree, ..MountDraft::default() }],
            secrets: Vec::new(),
            ssh: Vec::new(),
            devices: run
                .devices
                .iter()
                .map(|d| llb::CdiDevice { name: d.name.clone(), optional: !d.required })
                .collect(),
            platform: state.platform.clone(),
        }
    }

    fn resolve_mounts(&mut self, run: &Run, ranges: &[Range]) -> Result<Vec<Mount>> {
        let mut unset = Vec::new();
        let mut expand = |word: &str| {
            let expanded = self.shared.lexer.expand(word, &self.stage.state.env)?;
            unset.extend(expanded.unmatched);
            Ok(expanded.text)
        };
        let mounts = run.mounts.iter().map(|flag| flag.resolve(&mut expand)).collect();
        self.find_unset(unset, ranges);
        mounts
    }

    /// The name shows the values of variables, but not those of secrets.
    fn run_name(&self, text: &str, mounts: &[Mount]) -> String {
        let state = &self.stage.state;
        let mut shown = Cow::Borrowed(&state.env);
        for mount in mounts.iter().filter(|m| m.kind == MountKind::Secret) {
            if let Some(name) = &mount.env {
                shown.to_mut().set(name, "****");
            }
        }
        let lexer = Lexer { raw_quotes: true, keep_unset: true, ..self.shared.lexer };
        let text = names::shown(&lexer, text, &*shown);
        names::step(self.stage, &text, self.shared, state.platform.as_ref(), &state.env)
    }

    /// The command with the ARGs that it saw: `|1 V=2 /bin/sh -c make`.
    fn history(&self, words: &[String]) -> String {
        let env = &self.stage.state.env;
        let mut args: Vec<(&str, String)> = Vec::new();
        for arg in &self.stage.args {
            let value = env.get(&arg.key).unwrap_or(arg.value_or_empty());
            let text = format!("{}={value}", arg.key);
            match args.iter_mut().find(|(key, _)| *key == arg.key) {
                Some((_, known)) => *known = text,
                None => args.push((&arg.key, text)),
            }
        }
        let count = (!args.is_empty()).then(|| format!("|{}", args.len()));
        let texts = args.into_iter().map(|(_, text)| text);
        let all: Vec<String> = count.into_iter().chain(texts).chain(words.iter().cloned()).collect();
        all.join(" ")
    }
}

/// Where `files` are possible, a script that names its interpreter is one.
fn script(run: &Run, files: bool) -> Result<Script> {
    let command = &run.command;
    let plain =
        Script { words: command.words.clone(), is_exec: !command.shell, file: None, summary: String::new() };
    let Some(first) = command.heredocs.first() else { return Ok(plain) };
    let [line] = command.words.as_slice() else {
        let message = format!("parsing produced an invalid run command: {}", go::list(&command.words));
        return Err(Error::new(message));
    };
    if Heredoc::parse(line).ok().flatten().is_none() {
        // The shell is left to make sense of it.
        let mut text = line.clone();
        for heredoc in &command.heredocs {
            text.push_str(&format!("\n{}{}", heredoc.content, heredoc.name));
        }
        return Ok(Script { words: vec![text], ..plain });
    }
    let content = if first.chomp { dockerfile::chomp(&first.content) } else { first.content.clone() };
    let summary = format!(" ({})", summary(&first.content));
    if files && content.starts_with("#!") {
        let path = crate::path::join(PIPES, &first.name);
        return Ok(Script {
            words: vec![path],
            // The file is given to the shell like any other command line.
            is_exec: plain.is_exec,
            file: Some((first.name.clone(), content)),
            summary,
        });
    }
    Ok(Script { words: vec![content], summary, ..plain })
}

/// The first line of a script, with dots where there are more.
fn summary(content: &str) -> String {
    let content = content.trim();
    match content.split_once('\n') {
        Some((first, _)) => format!("{}...", first.strip_suffix('\r').unwrap_or(first)),
        None => content.to_owned(),
    }
}
