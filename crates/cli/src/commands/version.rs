/// The version of this program, and of the engine that it starts.
pub(crate) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// One line: package, version, and the revision where the program was built with one.
pub(crate) fn version() -> String {
    let revision = option_env!("KILN_REVISION").map(|r| format!(" {r}"));
    format!("kiln {VERSION}{}", revision.unwrap_or_default())
}
