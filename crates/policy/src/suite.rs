//! Tests of policies, written in Rego (`policy/tester.go` of buildx).
//!
//! A test is a rule `test_NAME` in a file `NAME_test.rego`, of the policy's package. What it says with `with input as` is
//! completed by what is known of that image, if it names one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use errdefs::{Error, Result};
use oci::Platform;
use regorus::Value;
use regorus::unstable as ast;

use crate::builtins::{Shared, State, lock, to_value};
use crate::check::Policy;
use crate::decision::Decision;
use crate::fields;
use crate::host::Host;
use crate::input::{Env, Input, to_input};
use crate::modules::{File, Module};
use crate::program::{self, Program};
use crate::question::question;
use crate::source::{Answer, Known, Request, Source};

/// How often the engine is asked about the image of one test.
const MOST_ROUNDS: usize = 5;

/// A policy and its tests.
pub struct Suite {
    program: Arc<Program>,
    policy: Vec<File>,
    host: Arc<dyn Host>,
    tests: Vec<Test>,
}

struct Test {
    name: String,
    package: String,
}

/// How one test went, and what helps to understand it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TestResult {
    pub name: String,
    pub passed: bool,
    /// What the policy was shown.
    pub input: Option<Input>,
    pub decision: Option<Decision>,
    /// Fields that the policy reads and that are not there, as `image.repo`.
    pub missing: Vec<String>,
}

impl Suite {
    /// Reads a policy and files with tests.
    ///
    /// # Errors
    /// User errors for what is wrong in the files, and where there is no test whose name contains `run`.
    pub fn load(policy: File, tests: &[File], run: &str, host: Arc<dyn Host>) -> Result<Self> {
        let files = [std::slice::from_ref(&policy), tests].concat();
        let program = program::load(&files, true, &host)?;
        let is_test = |module: &&Module| tests.iter().any(|file| file.name == module.name);
        let mut found = BTreeMap::new();
        for module in program.modules.iter().filter(is_test) {
            let names = module.syntax.policy.iter().filter_map(|rule| test_name(rule));
            found.extend(
                names.filter(|name| name.contains(run)).map(|name| (name.to_owned(), module.package())),
            );
        }
        if found.is_empty() {
            return Err(Error::not_found("no tests found")
                .hint("a test is a rule whose name begins with `test_`, in a file `..._test.rego`"));
        }
        let tests = found.into_iter().map(|(name, package)| Test { name, package }).collect();
        Ok(Suite { program, policy: vec![policy], host, tests })
    }

    /// Runs all tests, by name. `platform` is asked for where the image of a test names none.
    pub fn run(&self, platform: &mut dyn FnMut() -> Result<Platform>) -> Result<Vec<TestResult>> {
        self.tests.iter().map(|test| self.run_one(test, platform)).collect()
    }

    fn run_one(&self, test: &Test, platform: &mut dyn FnMut() -> Result<Platform>) -> Result<TestResult> {
        let given = self.input(test)?;
        let input = match self.complete(test, given.as_ref(), platform)? {
            Some(input) => Some(input),
            None => given,
        };
        let state = state(input.as_ref());
        let value = self.value(&format!("{}.{}", test.package, test.name), input.as_ref(), &state)?;
        let deciding = self::state(input.as_ref());
        let decision = self.value(&format!("{}.decision", test.package), input.as_ref(), &deciding);
        let mut missing = self.missing(&test.package, input.as_ref());
        for state in [&state, &deciding] {
            missing.extend(lock(state).asked.iter().cloned());
        }
        Ok(TestResult {
            name: test.name.clone(),
            passed: value == Value::from(true),
            decision: decision.ok().as_ref().and_then(Decision::loosely),
            input,
            missing: missing.into_iter().collect(),
        })
    }

    fn value(&self, query: &str, input: Option<&Input>, state: &Shared) -> Result<Value> {
        let input = input.map(to_value).transpose()?;
        program::run(&self.program, query, input, state).map(|(value, _)| value)
    }

    /// What the test says with `with input as`.
    fn input(&self, test: &Test) -> Result<Option<Input>> {
        let mut texts = BTreeSet::new();
        for module in self.program.modules.iter().filter(|module| module.package() == test.package) {
            let rules = module.syntax.policy.iter().filter(|rule| test_name(rule) == Some(&test.name));
            texts.extend(rules.flat_map(|rule| inputs(rule)));
        }
        let mut texts = texts.into_iter();
        let Some(text) = texts.next() else { return Ok(None) };
        if texts.next().is_some() {
            return Err(Error::user(format!("multiple input overrides for {}", test.name)));
        }
        let state = Shared::default();
        let value = program::run(&self.program, text, None, &state).map(|(value, _)| value)?;
        let wrong = |e: String| Error::user(format!("failed to decode test input for {}: {e}", test.name));
        let json = value.to_json_str().map_err(|e| wrong(e.to_string()))?;
        serde_json::from_str(&json).map(Some).map_err(|e| wrong(e.to_string()))
    }

    /// The image of an input with all that the policy wants to know of it; nothing where it names no image.
    fn complete(
        &self,
        test: &Test,
        given: Option<&Input>,
        platform: &mut dyn FnMut() -> Result<Platform>,
    ) -> Result<Option<Input>> {
        let Some(given) = given else { return Ok(None) };
        let Some(source) = image_of(given) else { return Ok(None) };
        let platform = match platform_of(given)? {
            Some(platform) => platform,
            None => platform()?,
        };
        let env = if given.env.is_told() { given.env.clone() } else { Env::default() };
        let policy = Policy::new(self.policy.clone(), env.clone(), None, Arc::clone(&self.host));
        let mut known = Known { source, ..Known::default() };
        for _ in 0..MOST_ROUNDS {
            let request = Request { known: known.clone(), platform: Some(platform.clone()) };
            if let Answer::Ask(question) = policy.check(&request)? {
                known = self.host.ask(&question)?;
                continue;
            }
            let mut input = to_input(&known, Some(&platform))?;
            let missing = self.missing(&test.package, Some(&input));
            let fields: Vec<&str> = missing.iter().map(String::as_str).collect();
            let open: Vec<&str> = fields.into_iter().filter(|field| input.unknown.contains(field)).collect();
            match question(&input, &open) {
                Some(question) => known = self.host.ask(&question)?,
                None => {
                    if env.is_told() {
                        input.env = env;
                    }
                    return Ok(Some(input));
                }
            }
        }
        Err(Error::user("maximum attempts reached for resolving policy metadata"))
    }

    /// Fields that the policy reads somewhere and that the input has not.
    fn missing(&self, package: &str, input: Option<&Input>) -> BTreeSet<String> {
        let is_policy = |module: &&Module| {
            module.package() == package && self.policy.iter().any(|file| file.name == module.name)
        };
        let modules = self.program.modules.iter().filter(is_policy);
        let read = modules.flat_map(|module| fields::of_input(&module.syntax));
        let json = input.and_then(|input| serde_json::to_value(input).ok()).unwrap_or_default();
        let has = |field: &str| field.split('.').try_fold(&json, |value, part| value.get(part)).is_some();
        read.filter(|field| !has(field)).collect()
    }
}

fn state(input: Option<&Input>) -> Shared {
    let state = input.and_then(|input| State::new(input).ok()).unwrap_or_default();
    Arc::new(Mutex::new(state))
}

/// The name of a rule that is a test.
fn test_name(rule: &ast::Rule) -> Option<&str> {
    let ast::Rule::Spec { head: ast::RuleHead::Compr { refr, assign, .. }, .. } = rule else { return None };
    let is_bool = |assign: &ast::RuleAssign| matches!(*assign.value, ast::Expr::Bool { .. });
    let name = refr.span().text();
    (name.starts_with("test_") && assign.as_ref().is_none_or(is_bool)).then_some(name)
}

/// Texts of what a rule puts in the place of the input.
fn inputs(rule: &ast::Rule) -> Vec<&str> {
    let ast::Rule::Spec { bodies, .. } = rule else { return Vec::new() };
    let statements = bodies.iter().flat_map(|body| &body.query.stmts);
    let withs = statements.flat_map(|statement| &statement.with_mods);
    withs.filter(|with| with.refr.span().text() == "input").map(|with| with.r#as.span().text()).collect()
}

fn image_of(input: &Input) -> Option<Source> {
    let image = input.image.as_ref()?;
    let names = [&image.reference, &image.full_repo, &image.repo];
    let name = names.into_iter().find(|name| !name.is_empty())?;
    let tag = match image.tag.is_empty() || name.contains(':') {
        true => String::new(),
        false => format!(":{}", image.tag),
    };
    Some(Source { identifier: format!("docker-image://{name}{tag}"), ..Source::default() })
}

fn platform_of(input: &Input) -> Result<Option<Platform>> {
    let Some(image) = &input.image else { return Ok(None) };
    if !image.platform.is_empty() {
        let platform = image.platform.parse::<Platform>();
        let platform =
            platform.map_err(|e| Error::user(format!("invalid platform {}: {e}", image.platform)))?;
        return Ok(Some(platform.normalize()));
    }
    let parts = [&image.os, &image.arch, &image.variant];
    let is_told = parts.iter().any(|part| !part.is_empty());
    Ok(is_told.then(|| Platform {
        os: image.os.clone(),
        architecture: image.arch.clone(),
        variant: image.variant.clone(),
        ..Platform::default()
    }))
}
