use std::path::Path;

use errdefs::Result;

use crate::meta::{FileType, Meta};
use crate::sys;

/// Whether two files count as the same: equal mode, owner, device and capabilities, and but for directories equal size,
/// time and content.
///
/// BuildKit's differ trusts equal times unless both are whole seconds. Here steps may be so quick that two versions of a
/// file get one time, so the content decides; it is only read where all else is equal.
pub fn is_same(below: &Path, above: &Path, meta: &Meta) -> Result<bool> {
    let Some(old) = sys::lstat(below)? else { return Ok(false) };
    if (old.dev, old.ino) == (meta.dev, meta.ino) {
        return Ok(true);
    }
    let capability = |path| sys::xattr(path, "security.capability");
    if (old.st_mode(), old.owner(), old.rdev) != (meta.st_mode(), meta.owner(), meta.rdev)
        || capability(below)? != capability(above)?
    {
        return Ok(false);
    }
    if meta.is_dir() {
        return Ok(true);
    }
    if old.size != meta.size || old.mtime != meta.mtime {
        return Ok(false);
    }
    match meta.file_type {
        FileType::Symlink => Ok(sys::read_link(below)? == sys::read_link(above)?),
        FileType::File if meta.size > 0 => sys::is_same_content(below, above),
        _ => Ok(true),
    }
}
