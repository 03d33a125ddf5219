//! Expressions to values.

mod access;
mod budget;
mod collect;
mod template;

use std::rc::Rc;

use crate::convert::convert;
use crate::diagnostic::{Fault, Span};
use crate::functions;
use crate::syntax::{BinaryOperator, Call, Expr, Kind, UnaryOperator};
use crate::types::{Type, unify};
use crate::value::{Fields, Value};

pub(crate) use access::index;
pub use budget::Budget;

/// Names that an expression sees before those of the files: of a `for`, a matrix, a function's parameters.
#[derive(Debug, Default)]
pub struct Scope<'a> {
    names: Vec<(Rc<str>, Value)>,
    outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    pub fn new(names: Vec<(Rc<str>, Value)>) -> Self {
        Scope { names, outer: None }
    }

    fn within(&'a self, names: Vec<(Rc<str>, Value)>) -> Scope<'a> {
        Scope { names, outer: Some(self) }
    }

    fn find(&self, name: &str) -> Option<&Value> {
        let here = self.names.iter().rev().find(|(n, _)| &**n == name).map(|(_, v)| v);
        here.or_else(|| self.outer?.find(name))
    }
}

/// What the files define, found out when an expression asks for it.
pub trait World {
    /// `None` if no such variable exists.
    fn variable(&self, name: &str) -> Result<Option<Value>, Fault>;
    /// Whether `name` is a kind of block that can be referred to.
    fn is_block_kind(&self, name: &str) -> bool;
    /// The block of this name, or one attribute of it. `None` if there is no such block.
    fn block(&self, kind: &str, name: &str, attribute: Option<&str>) -> Result<Option<Value>, Fault>;
    /// A function of the files: its parameters, the name for the rest of the arguments, its result.
    fn function(&self, name: &str) -> Result<Option<Rc<UserFunction>>, Fault>;
    fn function_names(&self) -> Vec<String>;
    fn variable_names(&self) -> Vec<String>;
    fn context(&self) -> &functions::Context;
    fn budget(&self) -> &Budget;
}

/// A function that a file defines.
#[derive(Debug)]
pub struct UserFunction {
    pub params: Vec<Rc<str>>,
    pub rest: Option<Rc<str>>,
    pub result: Rc<Expr>,
}

/// Evaluates expressions in a world.
#[derive(Clone, Copy)]
pub struct Evaluator<'w> {
    world: &'w dyn World,
}

pub type Evaluated = Result<Value, Fault>;

impl<'w> Evaluator<'w> {
    pub fn new(world: &'w dyn World) -> Self {
        Evaluator { world }
    }

    pub fn eval(&self, e: &Expr, scope: &Scope) -> Evaluated {
        let _deeper = self.world.budget().enter(e.span)?;
        let value = self.eval_kind(e, scope).map_err(|fault| fault.at(e.span))?;
        self.world.budget().spend(value.weight(), e.span)?;
        Ok(value)
    }

    fn eval_kind(&self, e: &Expr, scope: &Scope) -> Evaluated {
        match &e.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Tuple(items) => {
                items.iter().map(|e| self.eval(e, scope)).collect::<Result<_, _>>().map(Value::tuple)
            }
            Kind::Object(items) => self.object(items, scope),
            Kind::Template(parts) => self.template(parts, scope, e.span),
            Kind::Wrapped(inner) | Kind::Parenthesis(inner) => self.eval(inner, scope),
            Kind::Variable(name) => self.variable(name, e.span, scope),
            Kind::Conditional(three) => self.conditional(three, scope),
            Kind::Call(call) => self.call(call, e.span, scope),
            Kind::Traversal(root, steps) => self.traversal(root, steps, scope),
            Kind::Unary(operator, operand) => {
                let value = self.eval(operand, scope)?;
                match operator {
                    UnaryOperator::Neg => Ok(Value::number(number(&value, operand.span)?.negated())),
                    UnaryOperator::Not => Ok(Value::Bool(!truth(&value, operand.span)?)),
                }
            }
            Kind::Binary(left, operator, right) => self.binary(left, *operator, right, e.span, scope),
            Kind::For(f) => self.for_expr(f, scope),
            Kind::Broken(fault) => Err(fault.clone()),
        }
    }

    fn object(&self, items: &[(Expr, Expr)], scope: &Scope) -> Evaluated {
        let mut out = Fields::new();
        for (key, value) in items {
            let name = self.key(key, scope)?;
            out.insert(name, self.eval(value, scope)?);
        }
        Ok(Value::object(out))
    }

    fn key(&self, e: &Expr, scope: &Scope) -> Result<Rc<str>, Fault> {
        match convert(&self.eval(e, scope)?, &Type::String) {
            Ok(Value::String(text)) => Ok(text),
            Ok(_) => Err(Fault::new("Null value as key", "a key must not be null").at(e.span)),
            Err(why) => {
                Err(Fault::new("Incorrect key type", format!("a key must be text: {why}")).at(e.span))
            }
        }
    }

    fn variable(&self, name: &str, span: Span, scope: &Scope) -> Evaluated {
        if let Some(value) = scope.find(name) {
            return Ok(value.clone());
        }
        if self.world.is_block_kind(name) {
            return Err(
                Fault::new("Invalid expression", format!("cannot access {name} as a variable")).at(span)
            );
        }
        match self.world.variable(name)? {
            Some(value) => Ok(value),
            None => Err(self.unknown_variable(name).at(span)),
        }
    }

    fn unknown_variable(&self, name: &str) -> Fault {
        let fault = Fault::new("Unknown variable", format!("there is no variable named \"{name}\""));
        let names = self.world.variable_names();
        match crate::diagnostic::did_you_mean(name, names.iter().map(String::as_str)) {
            Some(near) => fault.hint(format!("did you mean \"{near}\"?")),
            None => fault,
        }
    }

    /// Both results are looked at, because together they say what type the expression has.
    fn conditional(&self, [condition, yes, no]: &[Expr; 3], scope: &Scope) -> Evaluated {
        let chosen = truth_of(&self.eval(condition, scope)?, "condition", condition.span)?;
        let (taken, other) = if chosen { (yes, no) } else { (no, yes) };
        let value = self.eval(taken, scope)?;
        let other = match self.eval(other, scope) {
            Ok(other) => other.kind(),
            Err(fault) if fault.is_fatal() => return Err(fault),
            Err(_) => return Ok(value),
        };
        let kind = value.kind();
        let common =
            if kind == Type::Any || other == Type::Any { Some(other) } else { unify(&[kind, other]) };
        let inconsistent = |why: String| Fault::new("Inconsistent conditional result types", why);
        match common {
            Some(Type::Any) => Ok(value),
            Some(common) if value.is_null() => Ok(Value::Null(common)),
            Some(common) if value.kind() == Type::Any => Ok(Value::Null(common)),
            Some(common) => convert(&value, &common).map_err(inconsistent),
            None => Err(inconsistent("both results must have one type".into())),
        }
    }

    fn binary(
        &self,
        left: &Expr,
        operator: BinaryOperator,
        right: &Expr,
        span: Span,
        scope: &Scope,
    ) -> Evaluated {
        use BinaryOperator as B;
        let a = self.eval(left, scope)?;
        if let B::And | B::Or = operator {
            let a = truth(&a, left.span)?;
            if a == (operator == B::Or) {
                return Ok(Value::Bool(a));
            }
            return Ok(Value::Bool(truth(&self.eval(right, scope)?, right.span)?));
        }
        let b = self.eval(right, scope)?;
        match operator {
            B::Eq => return Ok(Value::Bool(a == b)),
            B::NotEq => return Ok(Value::Bool(a != b)),
            _ => {}
        }
        let (a, b) = (number(&a, left.span)?, number(&b, right.span)?);
        let result = match operator {
            B::Less => return Ok(Value::Bool(a < b)),
            B::LessEq => return Ok(Value::Bool(a <= b)),
            B::Greater => return Ok(Value::Bool(a > b)),
            B::GreaterEq => return Ok(Value::Bool(a >= b)),
            B::Plus => functions::number::add(&a, &b),
            B::Minus => functions::number::subtract(&a, &b),
            B::Mul => functions::number::multiply(&a, &b),
            B::Div => functions::number::divide(&a, &b),
            _ => functions::number::modulo(&a, &b),
        };
        result.map(Value::number).map_err(|why| Fault::new("Operation failed", why).at(span))
    }

    fn call(&self, call: &Call, span: Span, scope: &Scope) -> Evaluated {
        if let Some(user) = self.world.function(&call.name)? {
            let args = self.arguments(call, scope)?;
            return self.call_user(&call.name, &user, args);
        }
        match &*call.name {
            "try" => return self.first_success(call, span, scope),
            "can" => {
                let [one] = call.args.as_slice() else {
                    return Err(wrong_count("can", "exactly one expression"));
                };
                return match self.eval(one, scope) {
                    Err(fault) if fault.is_fatal() => Err(fault),
                    result => Ok(Value::Bool(result.is_ok())),
                };
            }
            "convert" => {
                let [value, kind] = call.args.as_slice() else {
                    return Err(wrong_count("convert", "a value and a type"));
                };
                let value = self.eval(value, scope)?;
                let kind = crate::constraint::parse(kind)?;
                return convert(&value, &kind).map_err(|why| argument_fault("convert", why).at(span));
            }
            _ => {}
        }
        let Some(function) = functions::find(&call.name) else {
            return Err(self.unknown_function(&call.name).at(call.name_span));
        };
        let args = self.arguments(call, scope)?;
        let spans = |i: usize| call.args.get(i).or(call.args.last()).map_or(span, |e| e.span);
        functions::call(function, &args, self.world.context())
            .map_err(|e| argument_fault(&call.name, e.message).at(e.argument.map_or(span, spans)))
    }

    fn unknown_function(&self, name: &str) -> Fault {
        let fault = Fault::new("Call to unknown function", format!("there is no function named \"{name}\""));
        let own = self.world.function_names();
        let mut known: Vec<&str> = functions::names().collect();
        known.extend(own.iter().map(String::as_str));
        match crate::diagnostic::did_you_mean(name, known) {
            Some(near) => fault.hint(format!("did you mean \"{near}\"?")),
            None => fault,
        }
    }

    fn arguments(&self, call: &Call, scope: &Scope) -> Result<Vec<Value>, Fault> {
        let mut args = call.args.iter().map(|e| self.eval(e, scope)).collect::<Result<Vec<_>, _>>()?;
        if call.expand {
            let last = args.pop().unwrap_or(Value::NULL);
            let more = last.sequence().ok_or_else(|| {
                let fault = Fault::new(
                    "Invalid expanding argument value",
                    "`...` needs a tuple, list or set before it",
                );
                call.args.last().map_or(fault.clone(), |e| fault.at(e.span))
            })?;
            args.extend(more.iter().cloned());
        }
        Ok(args)
    }

    fn call_user(&self, name: &str, user: &UserFunction, mut args: Vec<Value>) -> Evaluated {
        let count = user.params.len();
        if args.len() < count || (args.len() > count && user.rest.is_none()) {
            let wanted = user.params.iter().map(|p| &**p).chain(user.rest.as_deref());
            return Err(wrong_count(name, &wanted.collect::<Vec<_>>().join(", ")));
        }
        if args.iter().any(Value::is_null) {
            return Err(argument_fault(name, "an argument must not be null"));
        }
        let more = args.split_off(count);
        let mut names: Vec<(Rc<str>, Value)> = user.params.iter().cloned().zip(args).collect();
        names.extend(user.rest.clone().map(|rest| (rest, Value::tuple(more))));
        self.eval(&user.result, &Scope::new(names))
            .map_err(|fault| fault.while_in(format!("function `{name}`")))
    }

    fn first_success(&self, call: &Call, span: Span, scope: &Scope) -> Evaluated {
        let mut faults = Vec::new();
        for arg in &call.args {
            match self.eval(arg, scope) {
                Ok(value) => return Ok(value),
                Err(fault) if fault.is_fatal() => return Err(fault),
                Err(fault) => faults.push(fault.to_string()),
            }
        }
        let tried = match faults.is_empty() {
            true => "at least one argument is required".to_owned(),
            false => format!("no expression succeeded: {}", faults.join("; then: ")),
        };
        Err(argument_fault("try", tried).at(span))
    }
}

fn wrong_count(name: &str, wanted: &str) -> Fault {
    Fault::new("Wrong number of arguments", format!("function \"{name}\" takes {wanted}"))
}

fn argument_fault(name: &str, why: impl std::fmt::Display) -> Fault {
    Fault::new("Error in function call", format!("call to function \"{name}\" failed: {why}"))
}

fn number(value: &Value, span: Span) -> Result<Rc<crate::number::Number>, Fault> {
    match convert(value, &Type::Number) {
        Ok(Value::Number(n)) => Ok(n),
        Ok(_) => Err(Fault::new("Operation failed", "an operand must not be null").at(span)),
        Err(why) => Err(Fault::new("Invalid operand", format!("unsuitable value: {why}")).at(span)),
    }
}

fn truth(value: &Value, span: Span) -> Result<bool, Fault> {
    truth_of(value, "operand", span)
}

pub(crate) fn truth_of(value: &Value, what: &str, span: Span) -> Result<bool, Fault> {
    match convert(value, &Type::Bool) {
        Ok(Value::Bool(b)) => Ok(b),
        Ok(_) => Err(Fault::new(
            format!("Null {what}"),
            format!("the {what} is null, where it must be true or false"),
        )
        .at(span)),
        Err(why) => Err(Fault::new(format!("Incorrect {what} type"), why).at(span)),
    }
}
