//! All HCL and JSON files together, and what their definitions come to: variables, functions and blocks, each found out
//! when somebody asks for it, once.

mod blocks;
mod names;
mod variables;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::diagnostic::{Fault, Span, Warning, did_you_mean};
use crate::eval::{Budget, UserFunction, World};
use crate::functions::{self, Context};
use crate::schema;
use crate::syntax::{Attribute, Block, Body};
use crate::target::{Group, Target};
use crate::value::Value;

pub(crate) use names::check_name;
pub use variables::{Source, VariableInfo};

/// What comes from outside.
#[derive(Debug)]
pub struct Outside {
    /// `--var`.
    pub vars: BTreeMap<String, String>,
    /// The environment; empty where it must not be looked at.
    pub environment: BTreeMap<String, String>,
    /// Variables that exist without being defined, such as BAKE_CMD_CONTEXT.
    pub built_in: BTreeMap<String, String>,
    pub context: Context,
}

impl Outside {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.vars.get(name).or_else(|| self.environment.get(name)).map(String::as_str)
    }
}

/// What is known of something that is found out once.
#[derive(Debug, Clone)]
enum State<T> {
    Running,
    Done(T),
}

/// A `target` or `group` block.
#[derive(Debug)]
struct Definition {
    kind: &'static str,
    label: Rc<str>,
    label_span: Span,
    body: Body,
}

/// Names with their values.
type Names = Vec<(Rc<str>, Value)>;

/// Places of instances by kind and name of their blocks.
type ByName = HashMap<(&'static str, Rc<str>), Vec<usize>>;

/// What is known of attributes, by their place and name.
type Attributes = HashMap<(usize, Rc<str>), State<schema::Decoded>>;

/// One combination of a matrix; a block without one has one of these.
#[derive(Debug)]
struct Instance {
    block: usize,
    name: Rc<str>,
    /// The names that the matrix gives values to.
    names: Names,
}

#[derive(Debug)]
pub struct Module<'o> {
    outside: &'o Outside,
    budget: Budget,
    variables: BTreeMap<Rc<str>, Block>,
    globals: BTreeMap<Rc<str>, Attribute>,
    functions: BTreeMap<Rc<str>, Block>,
    blocks: Vec<Definition>,
    /// In the order of the files. Empty until all names are known.
    instances: RefCell<Rc<Vec<Instance>>>,
    by_name: RefCell<ByName>,
    values: RefCell<HashMap<Rc<str>, State<Value>>>,
    ready_functions: RefCell<HashMap<Rc<str>, State<Rc<UserFunction>>>>,
    attributes: RefCell<Attributes>,
    warnings: RefCell<Vec<Warning>>,
}

/// What the files come to.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// In the order of the files; several may have the same name.
    pub targets: Vec<Target>,
    pub groups: Vec<Group>,
    pub variables: Vec<VariableInfo>,
    pub warnings: Vec<Warning>,
}

const KINDS: [&str; 2] = ["target", "group"];

impl<'o> Module<'o> {
    /// Takes bodies in the order of their files.
    ///
    /// # Errors
    /// For blocks that cannot be what they are named.
    pub fn new(bodies: Vec<Body>, outside: &'o Outside, budget: Budget) -> Result<Self, Fault> {
        let mut module = Module {
            outside,
            budget,
            variables: BTreeMap::new(),
            globals: BTreeMap::new(),
            functions: BTreeMap::new(),
            blocks: Vec::new(),
            instances: RefCell::default(),
            by_name: RefCell::default(),
            values: RefCell::default(),
            ready_functions: RefCell::default(),
            attributes: RefCell::default(),
            warnings: RefCell::default(),
        };
        for body in bodies {
            for attribute in body.attributes {
                if !module.is_reserved(&attribute.name) {
                    module.globals.insert(attribute.name.clone(), attribute);
                }
            }
            for block in body.blocks {
                module.add(block)?;
            }
        }
        Ok(module)
    }

    fn is_reserved(&self, name: &str) -> bool {
        KINDS.contains(&name) || self.outside.built_in.contains_key(name)
    }

    fn add(&mut self, block: Block) -> Result<(), Fault> {
        let kind = match &*block.kind {
            "target" => "target",
            "group" => "group",
            "variable" | "function" => "",
            other => {
                let known = ["target", "group", "variable", "function"];
                self.warn(block.kind_span, "block", other, &known);
                return Ok(());
            }
        };
        let [(label, label_span)] = block.labels.as_slice() else {
            let why = format!("a {} block has one label, its name", block.kind);
            let span = block.labels.get(1).map_or(block.kind_span, |(_, span)| *span);
            return Err(Fault::new("Invalid block", why).at(span));
        };
        let (label, label_span) = (label.clone(), *label_span);
        match &*block.kind {
            "variable" if !self.is_reserved(&label) => _ = self.variables.insert(label, block),
            "function" if !self.is_reserved(&label) => _ = self.functions.insert(label, block),
            "variable" | "function" => {}
            _ => self.blocks.push(Definition { kind, label, label_span, body: block.body }),
        }
        Ok(())
    }

    fn warn(&self, span: Span, what: &str, name: &str, known: &[&str]) {
        let mut message = format!("unknown {what} \"{name}\" is ignored");
        if let Some(near) = did_you_mean(name, known.iter().copied()) {
            message.push_str(&format!(": did you mean \"{near}\"?"));
        }
        self.warnings.borrow_mut().push(Warning { message, span });
    }

    /// Finds out everything.
    ///
    /// # Errors
    /// The first fault of the files.
    pub fn evaluate(self) -> Result<Evaluated, Fault> {
        let variables = self.all_variables()?;
        self.all_functions()?;
        self.find_names()?;
        let (targets, groups) = self.all_blocks()?;
        for (name, attribute) in &self.globals {
            self.value_of(name).map_err(|f| f.or_summary("Invalid attribute").at(attribute.name_span))?;
        }
        Ok(Evaluated { targets, groups, variables, warnings: self.warnings.take() })
    }
}

impl World for Module<'_> {
    fn variable(&self, name: &str) -> Result<Option<Value>, Fault> {
        self.value_of(name)
    }

    fn is_block_kind(&self, name: &str) -> bool {
        KINDS.contains(&name)
    }

    fn block(&self, kind: &str, name: &str, attribute: Option<&str>) -> Result<Option<Value>, Fault> {
        self.block_value(kind, name, attribute)
    }

    fn function(&self, name: &str) -> Result<Option<Rc<UserFunction>>, Fault> {
        match functions::find(name) {
            Some(_) => Ok(None),
            None => self.user_function(name),
        }
    }

    fn function_names(&self) -> Vec<String> {
        self.functions.keys().map(|k| k.to_string()).collect()
    }

    fn variable_names(&self) -> Vec<String> {
        self.variables.keys().chain(self.globals.keys()).map(|k| k.to_string()).collect()
    }

    fn context(&self) -> &Context {
        &self.outside.context
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }
}
