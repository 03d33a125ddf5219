//! What two views show otherwise.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::vec::IntoIter;

use errdefs::Result;

use crate::layer::Layer;
use crate::meta::{FileType, Meta, Time};
use crate::view::{DirEntry, View};
use crate::{path, sys};

/// A path that is not the same in two views.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// From the root, without a leading slash.
    pub path: Vec<u8>,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only the first view has it. What lies in a directory is not listed.
    OnlyFirst,
    OnlySecond,
    /// One at least.
    Other(Vec<Aspect>),
}

/// In what two files of one path differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// One is a directory, the other a file. Nothing else is looked at then.
    Kind,
    Content,
    /// Of a link.
    Target,
    Mode,
    Owner,
    Device,
    Xattrs,
    Mtime,
}

/// How the times of files count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Exact,
    /// All that are later count as this one.
    NotAfter(Time),
    /// Not at all.
    Ignored,
}

impl Times {
    fn is_same(self, a: Time, b: Time) -> bool {
        match self {
            Times::Exact => a == b,
            Times::NotAfter(latest) => a.min(latest) == b.min(latest),
            Times::Ignored => true,
        }
    }
}

/// Takes differences, in the order of paths.
pub type TakeDifference<'a> = &'a mut dyn FnMut(Difference) -> Result<()>;

impl View {
    /// Tells how `other` differs below its root, which is part of no layer. What both have of the same layers is not looked at, nor the content of one inode.
    pub fn compare(&self, other: &View, times: Times, take: TakeDifference<'_>) -> Result<()> {
        let shared = self.chain().iter().zip(other.chain()).take_while(|(a, b)| a == b).count();
        let above: Vec<&Layer> = [self, other]
            .into_iter()
            .flat_map(|view| &view.layers()[shared..])
            .map(|layer| &**layer)
            .collect();
        if above.is_empty() {
            return Ok(());
        }
        Compare { a: self, b: other, above, times, take }.dir(b"")
    }
}

struct Compare<'a> {
    a: &'a View,
    b: &'a View,
    /// The layers that are not those of both.
    above: Vec<&'a Layer>,
    times: Times,
    take: TakeDifference<'a>,
}

impl Compare<'_> {
    /// A path that both have.
    fn one(&mut self, at: &[u8]) -> Result<()> {
        let (Some(a), Some(b)) = (self.a.lstat_clean(at)?, self.b.lstat_clean(at)?) else { return Ok(()) };
        if (a.dev, a.ino) == (b.dev, b.ino) && !a.is_dir() {
            return Ok(());
        }
        let aspects = self.aspects(at, &a, &b)?;
        if !aspects.is_empty() {
            self.tell(at, Change::Other(aspects))?;
        }
        if a.is_dir() && b.is_dir() { self.dir(at) } else { Ok(()) }
    }

    fn dir(&mut self, at: &[u8]) -> Result<()> {
        let list = |view: &View| -> Result<Peekable<IntoIter<DirEntry>>> {
            Ok(view.dir(at)?.map(|dir| dir.list()).unwrap_or_default().into_iter().peekable())
        };
        let (mut left, mut right) = (list(self.a)?, list(self.b)?);
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.name.cmp(&b.name),
            };
            let only = if order.is_gt() { right.next() } else { left.next() };
            let Some(entry) = only else { return Ok(()) };
            let here = path::join(at, &entry.name);
            match order {
                Ordering::Less => self.tell(&here, Change::OnlyFirst)?,
                Ordering::Greater => self.tell(&here, Change::OnlySecond)?,
                Ordering::Equal => {
                    right.next();
                    if self.is_touched(&here)? {
                        self.one(&here)?;
                    }
                }
            }
        }
    }

    fn is_touched(&self, at: &[u8]) -> Result<bool> {
        for layer in &self.above {
            if layer.touches(at)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn aspects(&self, at: &[u8], a: &Meta, b: &Meta) -> Result<Vec<Aspect>> {
        if a.file_type != b.file_type {
            return Ok(vec![Aspect::Kind]);
        }
        let (Some(real_a), Some(real_b)) = (self.a.real_path(at)?, self.b.real_path(at)?) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut check = |aspect, is_same: bool| {
            if !is_same {
                found.push(aspect);
            }
        };
        match a.file_type {
            FileType::File => {
                check(Aspect::Content, a.size == b.size && sys::is_same_content(&real_a, &real_b)?);
            }
            FileType::Symlink => check(Aspect::Target, sys::read_link(&real_a)? == sys::read_link(&real_b)?),
            _ => {}
        }
        check(Aspect::Mode, a.mode == b.mode);
        check(Aspect::Owner, a.owner() == b.owner());
        check(Aspect::Device, a.rdev == b.rdev);
        check(Aspect::Xattrs, sys::xattrs(&real_a)? == sys::xattrs(&real_b)?);
        check(Aspect::Mtime, self.times.is_same(a.mtime, b.mtime));
        Ok(found)
    }

    fn tell(&mut self, at: &[u8], change: Change) -> Result<()> {
        (self.take)(Difference { path: at.to_vec(), change })
    }
}
