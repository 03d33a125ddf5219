//! Which files of a folder are sent.

use errdefs::{Error, Result, ResultExt};
use fsutil::pattern::{MatchInfo, Matcher};

use crate::files::local::follow::without_children;

/// Which files of a folder are sent, in the patterns of `.dockerignore`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Empty for all.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Symlinks that are included together with what they point at.
    pub follow: Vec<String>,
}

/// A filter, ready for a walk.
pub(super) struct Chooser {
    include: Option<Include>,
    exclude: Option<Matcher>,
}

struct Include {
    matcher: Matcher,
    /// The patterns turned around: what it may take back below a folder, `matcher` may choose there.
    inverse: Matcher,
}

/// What to do with one entry.
pub(super) struct Choice {
    pub send: bool,
    /// For a folder: whether something in it may be sent.
    pub descend: bool,
    pub included: MatchInfo,
    pub excluded: MatchInfo,
}

impl Chooser {
    /// `followed` are the paths that `filter.follow` leads to.
    pub(super) fn new(filter: Filter, followed: Vec<String>) -> Result<Self> {
        let mut include = filter.include;
        if !followed.is_empty() {
            include.extend(followed);
            include = without_children(include);
        }
        let matcher = |patterns: &[String], what: &str| {
            let matcher = Matcher::new(patterns).map_err(|e| Error::user(e.to_string()));
            matcher.with_context(|| format!("invalid {what}: [{}]", patterns.join(" ")))
        };
        let chosen = include.iter().filter(|p| !p.trim_start().starts_with('!'));
        let inverse: Vec<_> = chosen.map(|p| format!("!{}", p.trim_start())).collect();
        let include = match include.is_empty() {
            true => None,
            false => Some(Include {
                matcher: matcher(&include, "includepatterns")?,
                inverse: matcher(&inverse, "includepatterns")?,
            }),
        };
        let exclude = match filter.exclude.is_empty() {
            true => None,
            false => Some(matcher(&filter.exclude, "excludepatterns")?),
        };
        Ok(Chooser { include, exclude })
    }

    /// Decides about an entry of a folder whose own matches are given.
    pub(super) fn choose(
        &self,
        path: &[u8],
        is_dir: bool,
        included: &MatchInfo,
        excluded: &MatchInfo,
    ) -> Choice {
        let mut choice = Choice {
            send: true,
            descend: is_dir,
            included: MatchInfo::default(),
            excluded: MatchInfo::default(),
        };
        if let Some(include) = &self.include {
            let (matched, info) = include.matcher.matches_using_parent(path, included);
            choice.included = info;
            choice.send &= matched;
            choice.descend &= matched || include.inverse.may_take_back_below(path);
        }
        if let Some(exclude) = &self.exclude {
            let (matched, info) = exclude.matches_using_parent(path, excluded);
            choice.excluded = info;
            choice.send &= !matched;
            choice.descend &= !matched || exclude.may_take_back_below(path);
        }
        choice
    }
}
