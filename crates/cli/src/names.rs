//! Names of images and platforms, checked with the words that the flags use.

use errdefs::{Error, Result};

/// A tag as it was given, if it can name an image.
pub(crate) fn check_tag(tag: &str) -> Result<String> {
    match tag.parse::<oci::Reference>() {
        Ok(_) => Ok(tag.to_owned()),
        Err(e) => Err(Error::user(format!("invalid tag {tag:?}: {e}"))),
    }
}

/// The name of a named context: an image reference in its short form, so that it can stand for a base image.
pub(crate) fn context_name(name: &str) -> Result<String> {
    let reference: oci::Reference =
        name.parse().map_err(|e| Error::user(format!("invalid context name {name}: {e}")))?;
    let familiar = reference.familiar();
    Ok(familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned())
}

/// A platform in its full form. `local` is that of this machine.
pub(crate) fn platform(name: &str) -> Result<String> {
    Ok(::builder::parse_platform(name)?.to_string())
}
