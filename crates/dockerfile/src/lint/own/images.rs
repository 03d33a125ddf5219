//! Names of images and stages.

use super::{Checker, STAGE_TYPO, UNPINNED_BASE};
use crate::instruction::{Instruction, Kind, Stage};
use crate::lint::Rule;
use crate::suggest;

/// Images that people use without a tag; a stage that is called nearly so is no reason to doubt.
const COMMON: [&str; 24] = [
    "alpine",
    "amazonlinux",
    "busybox",
    "caddy",
    "centos",
    "composer",
    "debian",
    "docker",
    "fedora",
    "golang",
    "haproxy",
    "httpd",
    "maven",
    "mysql",
    "nginx",
    "node",
    "perl",
    "php",
    "postgres",
    "python",
    "redis",
    "ruby",
    "rust",
    "ubuntu",
];

/// A name of an image, and where it stands.
struct Use<'a> {
    name: &'a str,
    /// The stage that it stands in.
    at: usize,
    /// Nothing is FROM.
    instruction: Option<&'a Instruction>,
}

impl<'a> Checker<'a> {
    pub(super) fn images(&mut self) {
        let uses = self.uses();
        let is_pinned = |u: &&Use<'a>| u.name.contains("@sha");
        let pinned = uses.iter().find(is_pinned).map(|u| u.name.to_owned());
        for u in &uses {
            if let Some(pinned) = pinned.as_ref().filter(|_| !is_pinned(&u)) {
                let message = format!(
                    "`{}` may be another image tomorrow, while `{}` is pinned by digest; pin all of them",
                    u.name,
                    pinned.split('@').next().unwrap_or_default()
                );
                self.report(UNPINNED_BASE, u, message);
            }
            if let Some(near) = self.near_stage(u) {
                let message = format!(
                    "`{}` is no stage of this file, so an image of that name is pulled (did you mean {near}?)",
                    u.name
                );
                self.report(STAGE_TYPO, u, message);
            }
        }
    }

    fn report(&mut self, rule: Rule, u: &Use<'a>, message: String) {
        let Stage { place, comments, .. } = &self.file.stages[u.at];
        let (place, comments) = u.instruction.map_or((place, comments), |i| (&i.place, &i.comments));
        self.lint.find(rule, message, place.ranges_of(u.name), comments);
    }

    /// Images that the file names outright. Variables may be anything.
    fn uses(&self) -> Vec<Use<'a>> {
        let mut uses = Vec::new();
        for (at, stage) in self.file.stages.iter().enumerate() {
            uses.push(Use { name: &stage.base, at, instruction: None });
            for instruction in &stage.instructions {
                let mut add = |name: &'a str| uses.push(Use { name, at, instruction: Some(instruction) });
                match &instruction.kind {
                    Kind::Copy(copy) => add(&copy.from),
                    Kind::Run(run) => run.mounts.iter().for_each(|mount| add(&mount.from)),
                    _ => {}
                }
            }
        }
        uses.retain(|u| {
            let is_name = !u.name.is_empty() && u.name != "scratch" && !u.name.contains('$');
            is_name && u.name.parse::<u32>().is_err() && self.stage(u.name, u.at).is_none()
        });
        uses
    }

    fn near_stage(&self, u: &Use<'a>) -> Option<&'a str> {
        if u.name.len() < 4 || u.name.contains(['/', ':', '@', '.']) || COMMON.contains(&u.name) {
            return None;
        }
        let names = self.file.stages[..u.at].iter().map(|s| s.name.as_str()).filter(|name| !name.is_empty());
        suggest::nearest(&u.name.to_lowercase(), names)
    }
}
