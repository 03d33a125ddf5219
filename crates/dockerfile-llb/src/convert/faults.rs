use errdefs::{Error, Result};

/// What becomes of faults in a file.
#[derive(Debug, Default)]
pub(crate) enum Faults {
    /// The first ends the conversion.
    #[default]
    Fatal,
    /// The conversion goes on without what is faulty.
    Collected(Vec<Error>),
}

impl Faults {
    /// What went well, or nothing where the fault was collected.
    ///
    /// # Errors
    /// The fault, where it is fatal.
    pub fn take<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match (result, self) {
            (Ok(value), _) => Ok(Some(value)),
            (Err(e), Faults::Fatal) => Err(e),
            (Err(e), Faults::Collected(list)) => {
                list.push(e);
                Ok(None)
            }
        }
    }
}
