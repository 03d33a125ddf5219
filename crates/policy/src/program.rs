//! A policy that is ready to be evaluated.

use std::sync::Arc;

use errdefs::Result;
use regorus::utils::limits::PolicyLengthConfig;
use regorus::{Engine, Value};

use crate::builtins::{self, Shared};
use crate::host::Host;
use crate::level::Level;
use crate::modules::{self, File, Module};
use crate::{budget, fault, recursion};

/// Bytes of a line, as it is after the reads of fields were made to tell.
const MOST_COLUMNS: u32 = 1 << 16;

pub(crate) struct Program {
    engine: Engine,
    pub modules: Vec<Module>,
    host: Arc<dyn Host>,
}

impl Program {
    /// Reads all files; `known` as for [`modules::load`].
    ///
    /// # Errors
    /// User errors that point into the file.
    pub fn load(files: &[File], known: bool, host: &Arc<dyn Host>) -> Result<Self> {
        let modules = modules::load(files, known, host.as_ref())?;
        recursion::check(&modules)?;
        let mut engine = Engine::new();
        // A builtin that fails has no value, as for OPA.
        engine.set_strict_builtin_errors(false);
        engine.set_gather_prints(true);
        let mut limits = PolicyLengthConfig::default();
        limits.max_col = limits.max_col.max(MOST_COLUMNS.try_into().unwrap_or(limits.max_col));
        engine.set_policy_length_config(limits);
        for module in &modules {
            let added = engine.add_policy(module.name.clone(), module.traced.clone());
            added.map_err(|e| fault::of(&e, &modules))?;
        }
        Ok(Program { engine, modules, host: Arc::clone(host) })
    }

    /// The value of a rule, as `data.docker.decision`, and what was printed meanwhile.
    pub fn run(&self, query: &str, input: Option<Value>, state: &Shared) -> Result<(Value, Vec<String>)> {
        let mut engine = self.engine.clone();
        engine.set_execution_timer_config(budget::timer());
        builtins::add(&mut engine, state, &self.host)?;
        if let Some(input) = input {
            engine.set_input(input);
        }
        let results = engine.eval_query(query.to_owned(), false);
        let prints = engine.take_prints().unwrap_or_default();
        if let Some(failure) = builtins::lock(state).failure.take() {
            return Err(failure);
        }
        let results = results.map_err(|e| fault::of(&e, &self.modules))?;
        let value =
            results.result.into_iter().next().and_then(|result| result.expressions.into_iter().next());
        Ok((value.map_or(Value::Undefined, |expression| expression.value), prints))
    }

    pub fn tell(&self, prints: &[String]) {
        prints.iter().for_each(|line| self.host.log(Level::Info, line));
    }
}

/// As [`Program::load`], within the budget.
pub(crate) fn load(files: &[File], known: bool, host: &Arc<dyn Host>) -> Result<Arc<Program>> {
    let (files, host) = (files.to_vec(), Arc::clone(host));
    budget::run(move || Program::load(&files, known, &host).map(Arc::new))
}

/// As [`Program::run`], within the budget.
pub(crate) fn run(
    program: &Arc<Program>,
    query: &str,
    input: Option<Value>,
    state: &Shared,
) -> Result<(Value, Vec<String>)> {
    let (program, query, state) = (Arc::clone(program), query.to_owned(), Arc::clone(state));
    budget::run(move || program.run(&query, input, &state))
}
