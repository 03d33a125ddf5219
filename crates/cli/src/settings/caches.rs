//! Remote caches.

use errdefs::{Error, Result};

use crate::args::BuildArgs;
use crate::flags::{CacheFlag, parse_bool};

/// Which caches are read and written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CacheSettings {
    pub from: Vec<CacheFlag>,
    pub to: Vec<CacheFlag>,
}

impl CacheSettings {
    pub(crate) fn new(args: &BuildArgs) -> Result<Self> {
        let mut caches = CacheSettings { from: flags(&args.cache_from)?, to: flags(&args.cache_to)? };
        for from in &caches.from {
            known(&from.kind, &["registry", "local"], "import")?;
        }
        for to in &caches.to {
            known(&to.kind, &["registry", "local", "inline"], "export")?;
        }
        let has_inline = caches.to.iter().any(|to| to.kind == "inline");
        if !has_inline && args.build_args.iter().any(|arg| asks_for_inline(arg)) {
            caches.to.push(CacheFlag::inline());
        }
        Ok(caches)
    }
}

fn flags(texts: &[String]) -> Result<Vec<CacheFlag>> {
    let mut all = Vec::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        for flag in CacheFlag::parse(text)? {
            if !all.contains(&flag) {
                all.push(flag);
            }
        }
    }
    Ok(all)
}

/// Says at once what cannot be done.
fn known(kind: &str, there: &[&str], what: &str) -> Result<()> {
    let error = match kind {
        kind if there.contains(&kind) => return Ok(()),
        "gha" | "s3" | "azblob" => {
            Error::unimplemented(format!("cache {what} of type `{kind}` is not supported yet"))
        }
        kind => Error::user(format!("unknown type `{kind}` of cache {what}")),
    };
    Err(error.hint(format!("there are the types {}", there.join(", "))))
}

/// `--build-arg BUILDKIT_INLINE_CACHE=1`.
fn asks_for_inline(arg: &str) -> bool {
    arg.strip_prefix("BUILDKIT_INLINE_CACHE=").is_some_and(|value| parse_bool(value) == Some(true))
}
