/// The version of this program, and of the engine that it starts.
pub(crate) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// One line: package, version, revision.
pub(crate) fn version() -> String {
    format!("kiln {VERSION} {}", option_env!("KILN_REVISION").unwrap_or("unknown"))
}
