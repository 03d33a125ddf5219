//! Variables and functions.

use std::rc::Rc;

use super::{Module, State};
use crate::constraint;
use crate::convert::{convert, text};
use crate::diagnostic::{Fault, Span};
use crate::eval::{Evaluator, Scope, UserFunction, World as _, truth_of};
use crate::functions::{self, encode_json};
use crate::syntax::{Block, Expr, Kind};
use crate::types::Type;
use crate::value::Value;
use crate::variable;

/// A variable as `--list=variables` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableInfo {
    pub name: String,
    pub description: String,
    /// Empty if none is told.
    pub kind: String,
    /// `None` for null.
    pub value: Option<String>,
    pub source: Source,
}

/// Where a variable has its value from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The file that defines it.
    Default(Span),
    /// `--var`.
    Flag,
    Environment,
}

/// Whether a name may be defined elsewhere, so that its use is no fault of the function that uses it.
const SPECIAL: [&str; 3] = ["try", "can", "convert"];

impl Module<'_> {
    pub(super) fn all_variables(&self) -> Result<Vec<VariableInfo>, Fault> {
        let mut out = Vec::new();
        for (name, block) in &self.variables {
            let missing = || Fault::plain(format!("variable \"{name}\" does not exist"));
            let value = self
                .value_of(name)
                .and_then(|value| value.ok_or_else(missing))
                .map_err(|f| f.or_summary("Invalid value").at(block.kind_span))?;
            self.look_over(block, "variable", &["type", "default", "description", "validation"]);
            out.push(self.info(name, block, &value)?);
        }
        for (name, block) in &self.variables {
            self.validate(block).map_err(|f| f.while_in(format!("variable `{name}`")))?;
        }
        Ok(out)
    }

    fn look_over(&self, block: &Block, kind: &str, known: &[&str]) {
        for attribute in block.body.attributes.iter().filter(|a| !known.contains(&&*a.name)) {
            self.warn(attribute.name_span, &format!("attribute of {kind}"), &attribute.name, known);
        }
        for inner in block.body.blocks.iter().filter(|b| !known.contains(&&*b.kind)) {
            self.warn(inner.kind_span, &format!("block of {kind}"), &inner.kind, known);
        }
    }

    fn info(&self, name: &str, block: &Block, value: &Value) -> Result<VariableInfo, Fault> {
        let description = match block.body.attribute("description") {
            None => String::new(),
            Some(a) => {
                let value = Evaluator::new(self).eval(&a.value, &Scope::default())?;
                text(&value).map(|t| t.to_string()).unwrap_or_default()
            }
        };
        let kind = self.declared_type(block)?;
        let shown = match value {
            Value::Null(_) => None,
            Value::Bool(_) | Value::Number(_) | Value::String(_) => text(value).map(|t| t.to_string()),
            other => Some(encode_json(other)),
        };
        let kind = kind.map(|k| k.constraint_name()).unwrap_or_default();
        let source = self.source(name, block);
        Ok(VariableInfo { name: name.to_owned(), description, kind, value: shown, source })
    }

    fn source(&self, name: &str, block: &Block) -> Source {
        let names = [name.to_owned(), format!("{name}_JSON")];
        let given =
            |from: &std::collections::BTreeMap<String, String>| names.iter().any(|n| from.contains_key(n));
        if given(&self.outside.vars) {
            Source::Flag
        } else if given(&self.outside.environment) {
            Source::Environment
        } else {
            Source::Default(block.body.attribute("default").map_or(block.kind_span, |a| a.name_span))
        }
    }

    fn declared_type(&self, block: &Block) -> Result<Option<Type>, Fault> {
        match block.body.attribute("type") {
            None => Ok(None),
            Some(a) if matches!(&a.value.kind, Kind::Literal(Value::Null(_))) => Ok(None),
            Some(a) => constraint::parse(&a.value).map(Some),
        }
    }

    fn validate(&self, block: &Block) -> Result<(), Fault> {
        let eval = |e: &Expr| Evaluator::new(self).eval(e, &Scope::default());
        for rule in block.body.blocks.iter().filter(|b| &*b.kind == "validation") {
            let condition = rule.body.attribute("condition");
            let invalid = |why: &str| Fault::new("Invalid condition result", why).at(rule.kind_span);
            let Some(condition) = condition else {
                return Err(invalid("a validation needs a condition"));
            };
            let result = eval(&condition.value)?;
            if result.is_null() {
                return Err(Fault::new(
                    "Invalid condition result",
                    "the condition is null, where it must be true or false",
                )
                .at(condition.value.span));
            }
            let holds = truth_of(&result, "condition", condition.value.span)
                .map_err(|f| Fault::new("Invalid condition result", f.detail()).at(condition.value.span))?;
            if holds {
                continue;
            }
            let message = rule.body.attribute("error_message").map(|a| eval(&a.value)).transpose()?;
            let message = message.and_then(|m| text(&m)).map(|m| m.to_string());
            let message = message.unwrap_or_else(|| "a check failed that has no message".into());
            return Err(Fault::new("Validation failed", message).at(condition.value.span));
        }
        Ok(())
    }

    /// The value of a variable, however it is defined. `None` if it is not.
    pub(super) fn value_of(&self, name: &str) -> Result<Option<Value>, Fault> {
        if let Some(text) = self.outside.built_in.get(name) {
            return Ok(Some(Value::string(text)));
        }
        if let Some(state) = self.values.borrow().get(name) {
            return match state {
                State::Done(value) => Ok(Some(value.clone())),
                State::Running => Err(Fault::plain(format!("variable cycle not allowed for {name}"))
                    .or_summary("Invalid expression")
                    .fatal()),
            };
        }
        if !self.globals.contains_key(name) && !self.variables.contains_key(name) {
            return Ok(None);
        }
        let name: Rc<str> = name.into();
        self.values.borrow_mut().insert(name.clone(), State::Running);
        let value = self.compute(&name).map_err(|f| f.while_in(format!("variable `{name}`")))?;
        self.values.borrow_mut().insert(name, State::Done(value.clone()));
        Ok(Some(value))
    }

    fn compute(&self, name: &Rc<str>) -> Result<Value, Fault> {
        let block = self.variables.get(name);
        let global = self.globals.get(name);
        let declared = match (global, block) {
            (None, Some(block)) => self.declared_type(block)?,
            _ => None,
        };
        let default = global.or_else(|| block?.body.attribute("default"));
        let value = default.map(|a| Evaluator::new(self).eval(&a.value, &Scope::default())).transpose()?;
        let value = match (value, &declared) {
            (Some(value), Some(kind)) => Some(convert(&value, kind).map_err(|why| {
                Fault::plain(format!("invalid type {} for variable {name} default value: {why}", kind.name()))
            })?),
            (value, _) => value,
        };
        let overridden = match block {
            Some(_) => self.overridden(name, declared.as_ref(), value.as_ref()).map_err(Fault::plain)?,
            None => None,
        };
        Ok(overridden.or(value).unwrap_or_else(|| match declared {
            Some(kind) => Value::Null(kind),
            None => Value::string(""),
        }))
    }

    /// What `--var` or the environment say. A variable with a type may be given as JSON, in NAME_JSON.
    fn overridden(
        &self,
        name: &str,
        declared: Option<&Type>,
        default: Option<&Value>,
    ) -> Result<Option<Value>, String> {
        let json_name = format!("{name}_JSON");
        let is_taken =
            self.variables.contains_key(json_name.as_str()) || self.outside.built_in.contains_key(&json_name);
        let json = self.outside.lookup(&json_name).filter(|_| !is_taken);
        let plain = self.outside.lookup(name);
        match (declared, json, plain) {
            (Some(kind), Some(json), _) => variable::from_json(name, json, kind).map(Some),
            (Some(Type::Any), None, Some(_)) => Err(format!("unsupported type dynamic for variable {name}")),
            (Some(kind), None, Some(plain)) => variable::from_text(name, plain, kind).map(Some),
            (None, json, plain) => match (plain.or(json), default) {
                (None, _) => Ok(None),
                (Some(text), None | Some(Value::Null(Type::Any))) => Ok(Some(Value::string(text))),
                (Some(text), Some(default)) if default.kind().is_primitive() => {
                    variable::from_text(name, text, &default.kind()).map(Some)
                }
                (Some(_), Some(default)) => {
                    Err(format!("unsupported type {} for variable {name}", default.kind().name()))
                }
            },
            (Some(_), None, None) => Ok(None),
        }
    }

    pub(super) fn all_functions(&self) -> Result<(), Fault> {
        for (name, block) in &self.functions {
            let at = block.body.attribute("params").map_or(block.kind_span, |a| a.name_span);
            self.user_function(name).map_err(|f| f.or_summary("Invalid function").at(at))?;
        }
        Ok(())
    }

    /// A function of the files. What it uses must exist already when it is defined.
    pub(super) fn user_function(&self, name: &str) -> Result<Option<Rc<UserFunction>>, Fault> {
        if let Some(state) = self.ready_functions.borrow().get(name) {
            return match state {
                State::Done(function) => Ok(Some(function.clone())),
                State::Running => Err(Fault::plain(format!("function cycle not allowed for {name}")).fatal()),
            };
        }
        let Some((name, block)) = self.functions.get_key_value(name) else {
            return Ok(None);
        };
        self.ready_functions.borrow_mut().insert(name.clone(), State::Running);
        let function = self.define(name, block).map_err(|f| f.while_in(format!("function `{name}`")))?;
        let function = Rc::new(function);
        self.ready_functions.borrow_mut().insert(name.clone(), State::Done(function.clone()));
        Ok(Some(function))
    }

    fn define(&self, name: &str, block: &Block) -> Result<UserFunction, Fault> {
        let known = ["params", "variadic_params", "result"];
        if let Some(unknown) = block.body.attributes.iter().find(|a| !known.contains(&&*a.name)) {
            let why = format!("a function has no attribute \"{}\"", unknown.name);
            return Err(Fault::new("Unsupported argument", why).at(unknown.name_span));
        }
        let result = block.body.attribute("result");
        let result = result.ok_or_else(|| Fault::plain(format!("empty result not allowed for {name}")))?;
        let params = block.body.attribute("params");
        let params = params.ok_or_else(|| Fault::plain(format!("empty params not allowed for {name}")))?;
        let name_of = |e: &Expr| {
            let invalid = || Fault::new("Invalid param element", "a parameter must be a name").at(e.span);
            e.keyword().map(Rc::from).ok_or_else(invalid)
        };
        let Kind::Tuple(items) = &params.value.kind else {
            return Err(Fault::new("Invalid expression", "a list of names is required").at(params.value.span));
        };
        let rest = block.body.attribute("variadic_params").map(|a| name_of(&a.value)).transpose()?;
        let function = UserFunction {
            params: items.iter().map(name_of).collect::<Result<_, _>>()?,
            rest,
            result: result.value.clone(),
        };
        self.check_uses(&function)?;
        Ok(function)
    }

    fn check_uses(&self, function: &UserFunction) -> Result<(), Fault> {
        let mut bound: Vec<Rc<str>> = function.params.iter().chain(&function.rest).cloned().collect();
        let mut calls = Vec::new();
        let mut names = Vec::new();
        function.result.walk(&mut |e| match &e.kind {
            Kind::Call(call) => calls.push((call.name.clone(), e.span)),
            Kind::Variable(name) => names.push((name.clone(), e.span)),
            Kind::For(f) => bound.extend(f.key.iter().chain([&f.value]).cloned()),
            _ => {}
        });
        let missing = |what: &str, name: &str, span| {
            Fault::new("Invalid expression", format!("{what} \"{name}\" does not exist")).at(span)
        };
        for (name, span) in calls {
            let known = functions::find(&name).is_some() || SPECIAL.contains(&&*name);
            if !known && self.user_function(&name).map_err(|f| f.at(function.result.span))?.is_none() {
                return Err(missing("function", &name, span));
            }
        }
        for (name, span) in names {
            if !bound.contains(&name) && !self.is_block_kind(&name) && self.value_of(&name)?.is_none() {
                return Err(missing("variable", &name, span));
            }
        }
        Ok(())
    }
}
