//! The digest of some files of a tree, chosen by a wildcard and by patterns.

use errdefs::{Error, Result};
use fsutil::glob;
use fsutil::pattern::{MatchInfo, Matcher};
use sha2::{Digest as _, Sha256};

use super::{HashOptions, dir};
use crate::meta::FileType;
use crate::path;
use crate::view::View;

type Raw = [u8; 32];

/// A path that is covered.
struct Chosen {
    path: Vec<u8>,
    at: Vec<u8>,
    /// A link of which the target counts.
    follow: bool,
}

/// A path that is covered, or a directory that will be if something in it is.
struct Candidate {
    /// From the root, with a leading slash; the root is empty.
    path: Vec<u8>,
    /// Where the view has it: differs where the way to it leads over a link.
    at: Vec<u8>,
    file_type: FileType,
    /// Whether a link is followed, which is so unless it lies in a directory that was looked at.
    top: bool,
    covered: bool,
    include: MatchInfo,
    exclude: MatchInfo,
}

impl Candidate {
    fn chosen(&self) -> Chosen {
        let follow = self.top && self.file_type == FileType::Symlink;
        Chosen { path: self.path.clone(), at: self.at.clone(), follow }
    }
}

pub fn hash(view: &View, path: &[u8], options: &HashOptions) -> Result<Raw> {
    let selection = Selection::new(view, path, options)?;
    let prefix = selection.prefix.clone();
    let covered = selection.run()?;
    for required in &options.required {
        if !covered.iter().any(|chosen| chosen.path.starts_with(required.as_bytes())) {
            return Err(Error::not_found(format!("{required:?}: not found")));
        }
    }
    dir::hash_files(view, covered.iter().map(|chosen| &chosen.at[..]))?;
    if let [only] = &covered[..]
        && path::base(path) == path::base(&only.path)
    {
        return digest(view, only);
    }
    let mut sha = Sha256::new();
    for chosen in covered {
        update_path(&mut sha, chosen.path.strip_prefix(&prefix[..]).unwrap_or(&chosen.path));
        dir::update_text(&mut sha, digest(view, &chosen)?);
    }
    Ok(sha.finalize().into())
}

fn digest(view: &View, chosen: &Chosen) -> Result<Raw> {
    if chosen.follow { dir::hash(view, &chosen.path, true) } else { dir::node(view, &chosen.at) }
}

/// Adds a path with zero bytes for slashes; nothing counts as one slash.
fn update_path(sha: &mut Sha256, path: &[u8]) {
    if path.is_empty() {
        sha.update(b"\0");
    }
    for (i, part) in path.split(|&b| b == b'/').enumerate() {
        if i > 0 {
            sha.update(b"\0");
        }
        sha.update(part);
    }
}

struct Selection<'a> {
    view: &'a View,
    options: &'a HashOptions,
    /// The path asked for, clean, with a leading slash; the root is empty.
    wanted: Vec<u8>,
    /// A trailing slash: the directory itself is not covered, only what is in it.
    content_only: bool,
    /// The part of `wanted` before the first wildcard.
    prefix: Vec<u8>,
    /// Where `prefix` leads.
    start: Option<Vec<u8>>,
    include: Option<Matcher>,
    exclude: Option<Matcher>,
    /// The last path that the wildcard matched; patterns count from there.
    matched: Vec<u8>,
    /// The directories on the way to the current path.
    parents: Vec<Candidate>,
    covered: Vec<Chosen>,
}

impl<'a> Selection<'a> {
    fn new(view: &'a View, path: &[u8], options: &'a HashOptions) -> Result<Self> {
        let mut wanted = Vec::from(b"/");
        wanted.extend(path::clean(path));
        if wanted == b"/" {
            wanted.clear();
        }
        let (prefix, start) = start(view, &wanted, options.wildcard)?;
        let matcher = |patterns: &[String], kind: &str| match patterns {
            [] => Ok(None),
            patterns => Matcher::new(patterns)
                .map(Some)
                .map_err(|e| Error::user(format!("invalid {kind}patterns: {patterns:?}: {e}"))),
        };
        Ok(Selection {
            view,
            options,
            content_only: path.last() == Some(&b'/'),
            wanted,
            prefix,
            start,
            include: matcher(&options.include, "include")?,
            exclude: matcher(&options.exclude, "exclude")?,
            matched: Vec::new(),
            parents: Vec::new(),
            covered: Vec::new(),
        })
    }

    fn run(mut self) -> Result<Vec<Chosen>> {
        if let Some(start) = self.start.take()
            && let Some(meta) = self.view.lstat_clean(&start)?
        {
            let prefix = self.prefix.clone();
            self.visit(prefix, start, meta.file_type)?;
        }
        Ok(self.covered)
    }

    /// `path` is what the caller would call the place `at`.
    fn visit(&mut self, path: Vec<u8>, at: Vec<u8>, file_type: FileType) -> Result<()> {
        let is_dir = file_type == FileType::Dir;
        if self.options.wildcard && !self.is_matched(&path)? {
            return if is_dir && self.may_match_below(&path) {
                self.visit_children(&path, &at)
            } else {
                Ok(())
            };
        }
        if is_dir && self.content_only && path == self.wanted {
            return self.visit_children(&path, &at);
        }
        let from = if self.options.wildcard { &self.matched } else { &self.wanted };
        let relative = path[from.len()..].strip_prefix(b"/").unwrap_or(&path[from.len()..]).to_vec();
        let top = self.parents.is_empty() && self.options.follow_links;
        let mut candidate = Candidate {
            path,
            at,
            file_type,
            top,
            covered: false,
            include: MatchInfo::default(),
            exclude: MatchInfo::default(),
        };
        if self.is_included(&relative, &mut candidate)? {
            self.cover(&mut candidate);
        }
        if is_dir {
            let (path, at) = (candidate.path.clone(), candidate.at.clone());
            self.parents.push(candidate);
            self.visit_children(&path, &at)?;
            self.parents.pop();
        }
        Ok(())
    }

    fn visit_children(&mut self, path: &[u8], at: &[u8]) -> Result<()> {
        let Some(dir) = self.view.dir(at)? else { return Ok(()) };
        for entry in dir.list() {
            let mut child = path.to_vec();
            child.push(b'/');
            child.extend_from_slice(&entry.name);
            self.visit(child, path::join(at, &entry.name), entry.file_type)?;
        }
        Ok(())
    }

    /// Whether the wildcard matches the path or a directory that holds it.
    fn is_matched(&mut self, path: &[u8]) -> Result<bool> {
        if self.wanted.is_empty() || (!self.matched.is_empty() && path::is_below(path, &self.matched)) {
            return Ok(true);
        }
        let matches = glob::matches(&self.wanted, path).map_err(|e| Error::user(e.to_string()))?;
        if matches {
            self.matched = path.to_vec();
        }
        Ok(matches)
    }

    /// A wildcard matches within one component, so a deeper path cannot match. A class may match a slash.
    fn may_match_below(&self, path: &[u8]) -> bool {
        let depth = |p: &[u8]| p.iter().filter(|&&b| b == b'/').count();
        self.wanted.contains(&b'[') || depth(path) < depth(&self.wanted)
    }

    fn is_included(&self, relative: &[u8], candidate: &mut Candidate) -> Result<bool> {
        let parent = self.parents.last();
        let none = MatchInfo::default();
        if let Some(include) = &self.include {
            let (included, info) =
                include.matches_using_parent(relative, parent.map_or(&none, |parent| &parent.include));
            candidate.include = info;
            if !included {
                return Ok(false);
            }
        }
        if let Some(exclude) = &self.exclude {
            let (excluded, info) =
                exclude.matches_using_parent(relative, parent.map_or(&none, |parent| &parent.exclude));
            candidate.exclude = info;
            return Ok(!excluded);
        }
        Ok(true)
    }

    /// Adds a path, and before it the directories that hold it.
    fn cover(&mut self, candidate: &mut Candidate) {
        for parent in self.parents.iter_mut().filter(|parent| !parent.covered) {
            parent.covered = true;
            self.covered.push(parent.chosen());
        }
        candidate.covered = true;
        self.covered.push(candidate.chosen());
    }
}

/// The path before the first wildcard and where it leads; nowhere is `None`.
fn start(view: &View, wanted: &[u8], wildcard: bool) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    if !wildcard {
        let at = view.resolve(wanted, false)?;
        return Ok((wanted.to_vec(), view.lstat_clean(&at)?.is_some().then_some(at)));
    }
    let plain = wanted
        .split_inclusive(|&b| b == b'/')
        .take_while(|part| !path::has_wildcards(part))
        .map(<[u8]>::len)
        .sum();
    let (prefix, rest): (&[u8], &[u8]) = wanted.split_at(plain);
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    let at = view.resolve(prefix, !rest.is_empty())?;
    Ok((prefix.to_vec(), view.lstat_clean(&at)?.is_some().then_some(at)))
}
