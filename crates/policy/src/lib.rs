//! Policies on sources, in Rego: what a build fetches is judged before it is fetched.
//!
//! A [`Policy`] is shown a [`Request`] and gives an [`Answer`]. What is not known of a source yet is not in the input of
//! the policy; where the policy reads it, the answer is a [`Question`], and the same source is shown again with more
//! known. So a policy that looks at names only costs nothing, and a source that is denied by its name is never asked for.
//!
//! ```text
//! Request -> input::Input -> rego::Program::run -> Outcome -> Answer
//!               (fields)      (trace: which were read)
//! ```
//!
//! The words of the input, the functions and the query are those of buildx (`policy/types.go`, `policy/funcs.go`).
//!
//! Never: does I/O. Files, signatures and what is known of other sources come through [`Host`].

mod budget;
mod builtins;
mod check;
mod decision;
mod fault;
mod fields;
mod flags;
mod host;
mod input;
mod level;
mod modules;
pub mod openpgp;
mod program;
mod question;
mod recursion;
mod source;
mod suite;
mod trace;
mod walk;

pub use check::{CAP_PROXY, Policy, go_json};
pub use decision::{Caps, Decision};
pub use flags::PolicyFlag;
pub use host::{Host, Signed};
pub use input::{Env, Input, to_input};
pub use level::Level;
pub use modules::File;
pub use question::{Step, is_all_askable, resolve, unknowns};
pub use source::{
    Algorithm, Answer, Blob, Chain, GitMeta, GitQuestion, HttpMeta, HttpQuestion, ImageMeta, ImageQuestion,
    Known, Question, Request, Source,
};
pub use suite::{Suite, TestResult};
