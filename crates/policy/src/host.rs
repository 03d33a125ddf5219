use errdefs::Result;

use crate::level::Level;
use crate::source::{Known, Question};

/// What a policy needs of the world around it. Called from a thread that may block.
pub trait Host: Send + Sync + 'static {
    /// A file beside the policy, as far as its first `most` bytes; nothing where there is none.
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>>;

    /// Checks that one of the keys in `keys` has signed an object of git.
    ///
    /// # Errors
    /// Tells why it is not so.
    fn verify(&self, signed: &Signed, keys: &[u8]) -> Result<()>;

    /// What is known of a source that another was made from.
    fn ask(&self, question: &Question) -> Result<Known>;

    /// Hears what a policy does.
    fn log(&self, level: Level, text: &str);

    /// Whether somebody listens to that level.
    fn hears(&self, level: Level) -> bool;
}

/// A text and its detached signature, OpenPGP's or SSH's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signed {
    pub data: Vec<u8>,
    /// Armored; empty where there is none.
    pub signature: String,
}
