//! COPY and ADD.

use dockerfile::instruction::{Add, Copy, Sources};
use dockerfile::lint::rules;
use dockerfile::{Error, Result, go};
use errdefs::Range;
use llb::{MkFile, ProgressGroup};

use super::dispatch::Dispatch;
use super::mode::{self, Mode};
use super::names;
use super::stage::Progress;
use crate::draft::{About, Action, ActionKind, Port};
use crate::image::Layer;
use crate::{git, path};

/// COPY or ADD, whichever it was.
struct Transfer<'a> {
    sources: &'a Sources,
    /// Where paths are looked up.
    from: Option<Port>,
    chown: &'a str,
    chmod: &'a str,
    exclude: &'a [String],
    link: bool,
    parents: bool,
    /// What only ADD can do.
    add: Option<&'a Add>,
    from_context: bool,
}

impl Dispatch<'_> {
    pub(super) fn add(&mut self, add: Add, code: &str, ranges: Vec<Range>) -> Result<()> {
        let transfer = Transfer {
            sources: &add.sources,
            from: self.context,
            chown: &add.chown,
            chmod: &add.chmod,
            exclude: &add.exclude,
            link: add.link,
            parents: false,
            add: Some(&add),
            from_context: true,
        };
        self.transfer(&transfer, code, ranges)?;
        let local =
            add.sources.paths.iter().filter(|s| !s.starts_with("http://") && !s.starts_with("https://"));
        self.stage.context_paths.extend(local.map(|source| path::join("/", source)));
        Ok(())
    }

    pub(super) fn copy(
        &mut self,
        copy: Copy,
        source: Option<usize>,
        code: &str,
        ranges: Vec<Range>,
    ) -> Result<()> {
        let from = match source.map(|at| &self.stages[at]) {
            None => self.context,
            Some(stage) if stage.progress == Progress::Dispatched => stage.state.tree,
            Some(_) => {
                let message = format!(
                    "cannot copy from stage {}, it needs to be defined before current stage {}",
                    go::quote(&copy.from),
                    go::quote(&self.stage.label)
                );
                return Err(Error::new(message).about(&copy.from));
            }
        };
        let transfer = Transfer {
            sources: &copy.sources,
            from,
            chown: &copy.chown,
            chmod: &copy.chmod,
            exclude: &copy.exclude,
            link: copy.link,
            parents: copy.parents,
            add: None,
            from_context: source.is_none(),
        };
        self.transfer(&transfer, code, ranges)?;
        let used = match source {
            None => &mut self.stage.context_paths,
            Some(at) => &mut self.paths[self.stages[at].paths],
        };
        used.extend(copy.sources.paths.iter().map(|source| path::join("/", source)));
        Ok(())
    }

    fn transfer(&mut self, t: &Transfer<'_>, code: &str, ranges: Vec<Range>) -> Result<()> {
        let destination = self.destination(&t.sources.destination)?;
        let mode = mode::parse(t.chmod)?;
        t.check_checksum()?;
        self.stage.count_step();
        let env = &self.stage.state.env;
        let text = names::shown(&self.shared.lexer, code, env);
        let name = names::step(self.stage, &text, self.shared, self.stage.platform.as_ref(), env);

        let template = t.template(&destination, mode.as_ref());
        let mut actions = Vec::new();
        for source in &t.sources.paths {
            let (port, copy) =
                self.source(t, source, &template, &name, &ranges).map_err(|e| e.about(source))?;
            actions.push(Action::new(ActionKind::Copy(port, copy)).owned_by(t.chown));
        }
        for file in &t.sources.inline {
            let name = self.slashed(&file.name)?;
            let port = self.inline_document(&name, 0o644, &file.content);
            let copy = llb::Copy { src: path::join("/", &path::clean(&name)), ..template.clone() };
            actions.push(Action::new(ActionKind::Copy(Some(port), copy)).owned_by(t.chown));
        }

        let mut about = About { ranges, ..About::default() };
        about.metadata.ignore_cache = self.stage.ignore_cache;
        names::called(&mut about.metadata, name.clone());
        let tree = self.stage.state.tree;
        self.stage.state.tree = Some(if t.link && t.chmod.is_empty() {
            self.link(tree, actions, about, &name, &text)
        } else {
            self.draft.file(tree, actions, about)
        });
        self.note(format!("{} # buildkit", t.history()), Layer::One);
        Ok(())
    }

    /// Copies onto nothing and stacks the result, so that it stays good when what is below changes.
    fn link(
        &mut self,
        tree: Option<Port>,
        actions: Vec<Action>,
        about: About,
        name: &str,
        text: &str,
    ) -> Port {
        let group =
            ProgressGroup { id: group_id(about.ranges.first(), name), name: name.to_owned(), weak: true };
        let mut stacked = about.clone();
        let mut copied = about;
        copied.metadata.progress_group = Some(group.clone());
        stacked.metadata.progress_group = Some(ProgressGroup { weak: false, ..group });
        let prefix = name.strip_suffix(text).unwrap_or_default();
        let linked = format!("{prefix}LINK {text}");
        names::called(&mut stacked.metadata, linked);
        let copied = self.draft.file(None, actions, copied);
        self.draft.merge(tree, copied, stacked)
    }

    /// Relative to the working folder. A final slash stays: it says that the destination is a folder.
    fn destination(&self, written: &str) -> Result<String> {
        let written = self.slashed(written)?;
        let written = if matches!(&*written, "" | ".") { "./" } else { &written };
        let dir = &self.stage.state.dir;
        let parent = if written.starts_with('/') { "/" } else { dir };
        Ok(path::of_action(dir, &path::normalize(parent, written, true), true))
    }

    /// A source path with slashes. The pivot of `--parents` stays.
    fn slashed_source(&self, source: &str) -> Result<String> {
        let parts: Result<Vec<_>> = source.split("/./").map(|part| self.slashed(part)).collect();
        Ok(parts?.join("/./"))
    }

    /// A file that holds a heredoc.
    pub(super) fn inline_document(&mut self, name: &str, mode: i32, content: &str) -> Port {
        let file = MkFile {
            path: path::of_action("/", name, false),
            mode,
            data: content.as_bytes().to_vec(),
            owner: None,
            timestamp: llb::NONE,
        };
        let mut about = About::default();
        names::called(&mut about.metadata, "[internal] preparing inline document");
        self.draft.file(None, vec![Action::new(ActionKind::MkFile(file))], about)
    }

    fn source(
        &mut self,
        t: &Transfer<'_>,
        source: &str,
        template: &llb::Copy,
        name: &str,
        ranges: &[Range],
    ) -> Result<(Option<Port>, llb::Copy)> {
        if git::is_git(source) {
            let Some(add) = t.add else { return Err(Error::new("source can't be a git ref for COPY")) };
            let port = self.repository(source, add.keep_git_dir, &add.checksum, name)?;
            let copy = llb::Copy { src: "/".into(), ..template.clone() };
            return Ok((Some(port), copy));
        }
        if git::is_http(source) {
            let Some(add) = t.add else { return Err(Error::new("source can't be a URL for COPY")) };
            let (port, file) = self.download(source, &add.checksum, name)?;
            let copy = llb::Copy {
                src: path::join("/", &path::clean(&file)),
                attempt_unpack: add.unpack.unwrap_or(false),
                ..template.clone()
            };
            return Ok((Some(port), copy));
        }
        if t.from_context
            && let Some(path) = self.ignored.and_then(|ignored| ignored.find(source))
        {
            let (verb, path) = (if t.add.is_some() { "Add" } else { "Copy" }, go::quote(&path));
            let message = format!("Attempting to {verb} file {path} that is excluded by .dockerignore");
            self.find(rules::COPY_IGNORED_FILE, message, ranges);
        }
        Ok((t.from, t.local(&self.slashed_source(source)?, template)))
    }

    /// The files of a git repository.
    fn repository(
        &mut self,
        source: &str,
        keep_git_dir: Option<bool>,
        checksum: &str,
        name: &str,
    ) -> Result<Port> {
        let (op, mut about) = repository(source, keep_git_dir, checksum)?.op();
        names::called(&mut about.metadata, name.to_owned());
        Ok(self.draft.source(op, None, about))
    }

    /// A file of the web, and the name under which it is there.
    fn download(&mut self, address: &str, checksum: &str, name: &str) -> Result<(Port, String)> {
        let (op, file) = download(address, checksum)?;
        let mut about = About::default();
        if !checksum.is_empty() {
            about.metadata.need(llb::caps::SOURCE_HTTP_CHECKSUM);
        }
        about.metadata.need(llb::caps::SOURCE_HTTP);
        names::describe(&mut about.metadata, "", name.to_owned());
        Ok((self.draft.source(op, None, about), file))
    }
}

impl Transfer<'_> {
    fn check_checksum(&self) -> Result<()> {
        let Some(add) = self.add.filter(|add| !add.checksum.is_empty()) else { return Ok(()) };
        match self.sources.paths.as_slice() {
            [source] if git::is_http(source) || git::is_git(source) => Ok(()),
            [_] => Err(Error::new("checksum requires HTTP(S) or Git sources").about(&add.checksum)),
            _ => Err(Error::new("checksum can't be specified for multiple sources").about(&add.checksum)),
        }
    }

    /// What all copies of the instruction have in common.
    fn template(&self, destination: &str, mode: Option<&Mode>) -> llb::Copy {
        let (mode, mode_str) = match mode {
            None => (-1, String::new()),
            Some(Mode::Octal(mode)) => (*mode, String::new()),
            Some(Mode::Symbolic(text)) => (0, text.clone()),
        };
        llb::Copy {
            dest: destination.to_owned(),
            mode,
            mode_str,
            create_dest_path: true,
            exclude_patterns: self.exclude.to_vec(),
            ..llb::Copy::default()
        }
    }

    /// A copy out of a tree. With `--parents` the path becomes a pattern below the part in front of `/./`.
    fn local(&self, source: &str, template: &llb::Copy) -> llb::Copy {
        let mut src = source;
        let mut include_patterns = Vec::new();
        let mut required_paths = Vec::new();
        if self.parents {
            let (parent, pattern) = source.split_once("/./").unwrap_or(("/", source));
            let pattern = path::normalize("/", pattern, false);
            src = parent;
            // A path that says exactly what it means has to be there.
            if !has_wildcard(parent) && !has_wildcard(&pattern) {
                required_paths.push(path::normalize("/", &path::join(parent, &pattern), false));
            }
            include_patterns.push(pattern.strip_prefix('/').unwrap_or(&pattern).to_owned());
        }
        let src = path::join("/", &path::clean(&path::normalize("/", src, false)));
        llb::Copy {
            src,
            include_patterns,
            required_paths,
            follow_symlink: true,
            dir_copy_contents: true,
            attempt_unpack: self.add.is_some_and(|add| add.unpack.unwrap_or(true)),
            allow_wildcard: true,
            allow_empty_wildcard: true,
            ..template.clone()
        }
    }

    /// The instruction as the history of the image has it.
    fn history(&self) -> String {
        let mut text = if self.add.is_some() { "ADD" } else { "COPY" }.to_owned();
        if self.parents {
            text.push_str(" --parents");
        }
        for (flag, value) in [("--chown", self.chown), ("--chmod", self.chmod)] {
            if !value.is_empty() {
                text.push_str(&format!(" {flag}={value}"));
            }
        }
        for source in &self.sources.paths {
            text.push_str(&format!(" {source}"));
        }
        for file in &self.sources.inline {
            text.push_str(&format!(" <<{}", file.name));
        }
        format!("{text} {}", self.sources.destination)
    }
}

/// A repository as ADD and its flags name it.
pub(super) fn repository(source: &str, keep_git_dir: Option<bool>, checksum: &str) -> Result<git::GitRef> {
    let mut wanted = git::GitRef::parse(source).map_err(|e| Error::new(e.message().to_owned()))?;
    if let (Some(flag), Some(query)) = (keep_git_dir, wanted.keep_git_dir)
        && flag != query
    {
        return Err(Error::new("inconsistent keep-git-dir configuration"));
    }
    wanted.keep_git_dir = wanted.keep_git_dir.or(keep_git_dir);
    if !checksum.is_empty() && !wanted.checksum.is_empty() && checksum != wanted.checksum {
        return Err(Error::new(format!("checksum mismatch {checksum:?} != {:?}", wanted.checksum)));
    }
    if wanted.checksum.is_empty() {
        checksum.clone_into(&mut wanted.checksum);
    }
    Ok(wanted)
}

/// The source of a file of the web, and its name.
pub(super) fn download(address: &str, checksum: &str) -> Result<(llb::SourceOp, String)> {
    let file = file_name(address);
    let mut op = llb::SourceOp { identifier: address.to_owned(), attrs: Default::default() };
    op.attrs.insert("http.filename".into(), file.clone());
    if !checksum.is_empty() {
        let digest: oci::Digest = checksum.parse().map_err(|_| checksum_fault(checksum))?;
        op.attrs.insert("http.checksum".into(), digest.to_string());
    }
    Ok((op, file))
}

/// The last part of an address's path.
fn file_name(address: &str) -> String {
    const UNNAMED: &str = "__unnamed__";
    let Some((_, rest)) = address.split_once("://") else { return UNNAMED.into() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let Some((_, path)) = rest.split_once('/') else { return UNNAMED.into() };
    let Some(path) = percent_decoded(path) else { return UNNAMED.into() };
    match path::base(&format!("/{path}")) {
        "." | "/" => UNNAMED.into(),
        name => name.to_owned(),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            out.push((digit()? * 16 + digit()?) as u8);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

fn checksum_fault(checksum: &str) -> Error {
    let known = |algorithm| matches!(algorithm, "sha256" | "sha384" | "sha512");
    let message = match checksum.split_once(':') {
        Some((algorithm, hex)) if !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
            if known(algorithm) { "invalid checksum digest length" } else { "unsupported digest algorithm" }
        }
        _ => "invalid checksum digest format",
    };
    Error::new(message).about(checksum)
}

fn has_wildcard(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => _ = chars.next(),
            _ => {}
        }
    }
    false
}

/// Names a group within its build: step and place make it unique, and the same build names it the same.
fn group_id(range: Option<&Range>, name: &str) -> String {
    let line = range.map_or(0, |r| r.start.line);
    oci::Digest::of(format!("{line} {name}")).hex()[..25].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_are_named() {
        let check = |address, expected| assert_eq!(file_name(address), expected, "{address}");
        check("https://h/a/b.tgz?x=y#z", "b.tgz");
        check("https://h/a%20b", "a b");
        check("https://h/a/", "a");
        check("https://h/", "__unnamed__");
        check("https://h", "__unnamed__");
        check("https://h/%zz", "__unnamed__");
    }
}
