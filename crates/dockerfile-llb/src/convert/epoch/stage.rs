//! A stage that only says where a time comes from.

use std::collections::BTreeMap;

use dockerfile::instruction::Add;
use dockerfile::{Error, Kind, Lexer, Result, Stage};
use llb::SourceOp;

use super::NAME;
use crate::convert::{Request, copy};
use crate::environment::Variables;
use crate::git;
use crate::image::SCRATCH;

/// # Errors
/// For stages that do more than to ADD one source of the web to scratch.
pub(super) fn source(
    stage: &Stage,
    given: &BTreeMap<String, String>,
    globals: &Variables,
    request: &Request<'_>,
) -> errdefs::Result<SourceOp> {
    let lexer = Lexer::new(request.dockerfile.escape);
    let mut env = globals.clone();
    env.remove(NAME);
    added(stage, given, env, &lexer).map_err(|e| e.at(&stage.place).with_source(request.info.clone()))
}

fn added(
    stage: &Stage,
    given: &BTreeMap<String, String>,
    mut env: Variables,
    lexer: &Lexer,
) -> Result<SourceOp> {
    if lexer.expand(&stage.base, &env)?.text != SCRATCH {
        return Err(Error::new(format!("{NAME} stage must use FROM scratch")));
    }
    let not_one = || Error::new(format!("{NAME} stage must contain exactly one remote ADD"));
    let mut found = None;
    for instruction in &stage.instructions {
        match &instruction.kind {
            Kind::Arg(definitions) => {
                for arg in definitions {
                    if let Some(value) = given.get(&arg.key) {
                        env.set(&arg.key, value);
                    } else if let Some(default) = &arg.value {
                        let value = lexer.expand(default, &env)?.text;
                        env.set(&arg.key, &value);
                    }
                }
            }
            Kind::Add(_) if found.is_some() => return Err(not_one()),
            Kind::Add(add) => found = Some(remote(add, &env, lexer)?),
            _ => {
                return Err(Error::new(format!(
                    "{NAME} stage does not meet source-only requirements: unsupported {} instruction",
                    instruction.keyword
                )));
            }
        }
    }
    found.ok_or_else(not_one)
}

fn remote(add: &Add, env: &Variables, lexer: &Lexer) -> Result<SourceOp> {
    let ([source], []) = (add.sources.paths.as_slice(), add.sources.inline.as_slice()) else {
        return Err(Error::new(format!("{NAME} stage must contain exactly one remote ADD source")));
    };
    let source = lexer.expand(source, env)?.text;
    let checksum = lexer.expand(&add.checksum, env)?.text;
    if git::is_git(&source) {
        return Ok(copy::repository(&source, add.keep_git_dir, &checksum)?.op().0);
    }
    if git::is_http(&source) {
        return Ok(copy::download(&source, &checksum)?.0);
    }
    Err(Error::new(format!("{NAME} stage source must be a single HTTP(S) or Git ADD")))
}
