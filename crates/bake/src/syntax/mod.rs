//! The shape of bake files, whichever syntax they were written in: bodies, blocks, attributes, expressions.

mod hcl;
mod indent;
mod json;

use std::rc::Rc;

use crate::diagnostic::{Fault, File, Span};
use crate::value::Value;

pub use hcl_edit::expr::{BinaryOperator, UnaryOperator};

/// What stands between the braces of a block, or in a file.
#[derive(Debug, Default)]
pub struct Body {
    pub attributes: Vec<Attribute>,
    pub blocks: Vec<Block>,
}

impl Body {
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|a| &*a.name == name)
    }
}

#[derive(Debug)]
pub struct Attribute {
    pub name: Rc<str>,
    pub name_span: Span,
    pub value: Rc<Expr>,
}

#[derive(Debug)]
pub struct Block {
    pub kind: Rc<str>,
    pub kind_span: Span,
    pub labels: Vec<(Rc<str>, Span)>,
    pub body: Body,
}

#[derive(Debug)]
pub struct Expr {
    pub kind: Kind,
    pub span: Span,
}

#[derive(Debug)]
pub enum Kind {
    Literal(Value),
    Tuple(Vec<Expr>),
    Object(Vec<(Expr, Expr)>),
    /// Text with parts to fill in.
    Template(Vec<Part>),
    /// `"${x}"`: the value itself, whatever its type.
    Wrapped(Box<Expr>),
    Parenthesis(Box<Expr>),
    Variable(Rc<str>),
    Conditional(Box<[Expr; 3]>),
    Call(Box<Call>),
    Traversal(Box<Expr>, Vec<Step>),
    Unary(UnaryOperator, Box<Expr>),
    Binary(Box<Expr>, BinaryOperator, Box<Expr>),
    For(Box<For>),
    /// Text of JSON that is no template.
    Broken(Fault),
}

#[derive(Debug)]
pub struct Call {
    pub name: Rc<str>,
    pub name_span: Span,
    pub args: Vec<Expr>,
    /// `f(list...)`: the last argument is a sequence of arguments.
    pub expand: bool,
}

#[derive(Debug)]
pub struct Step {
    pub kind: StepKind,
    pub span: Span,
}

#[derive(Debug)]
pub enum StepKind {
    Attribute(Rc<str>),
    Index(Expr),
    /// What follows is done to each element.
    Splat(Vec<Step>),
}

#[derive(Debug)]
pub struct For {
    pub key: Option<Rc<str>>,
    pub value: Rc<str>,
    pub collection: Expr,
    /// With a key the result is an object.
    pub result_key: Option<Expr>,
    pub result: Expr,
    pub condition: Option<Expr>,
    /// Values of the same key are gathered into a tuple.
    pub grouped: bool,
}

#[derive(Debug)]
pub enum Part {
    Text(Rc<str>),
    Value(Expr),
    If { condition: Expr, then: Vec<Part>, otherwise: Vec<Part> },
    For { key: Option<Rc<str>>, value: Rc<str>, collection: Expr, body: Vec<Part> },
}

/// Reads a file whose name ends in `.hcl`.
pub fn hcl(file: &File, index: u16) -> Result<Body, Fault> {
    hcl::parse(file, index)
}

/// Reads a file whose name ends in `.json`.
pub fn json(file: &File, index: u16) -> Result<Body, Fault> {
    json::parse(file, index)
}

/// Reads an expression that stands as text at `span`.
pub fn expression(text: &str, span: Span) -> Result<Expr, Fault> {
    hcl::expression(text, span)
}

impl Expr {
    /// The name, if the expression is nothing but one.
    pub fn keyword(&self) -> Option<&str> {
        match &self.kind {
            Kind::Variable(name) => Some(name),
            Kind::Parenthesis(inner) => inner.keyword(),
            // JSON has no names but text.
            Kind::Wrapped(inner) => inner.keyword(),
            Kind::Literal(Value::String(text)) => is_identifier(text).then_some(text),
            _ => None,
        }
    }

    /// Calls `visit` for this expression and all in it.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        match &self.kind {
            Kind::Literal(_) | Kind::Variable(_) | Kind::Broken(_) => {}
            Kind::Tuple(items) => items.iter().for_each(|e| e.walk(visit)),
            Kind::Object(items) => items.iter().for_each(|(k, v)| {
                k.walk(visit);
                v.walk(visit);
            }),
            Kind::Template(parts) => parts.iter().for_each(|p| p.walk(visit)),
            Kind::Wrapped(inner) | Kind::Parenthesis(inner) | Kind::Unary(_, inner) => inner.walk(visit),
            Kind::Conditional(three) => three.iter().for_each(|e| e.walk(visit)),
            Kind::Call(call) => call.args.iter().for_each(|e| e.walk(visit)),
            Kind::Traversal(root, steps) => {
                root.walk(visit);
                walk_steps(steps, visit);
            }
            Kind::Binary(left, _, right) => {
                left.walk(visit);
                right.walk(visit);
            }
            Kind::For(f) => {
                f.collection.walk(visit);
                f.result_key.iter().chain(&f.condition).for_each(|e| e.walk(visit));
                f.result.walk(visit);
            }
        }
    }
}

fn walk_steps<'a>(steps: &'a [Step], visit: &mut dyn FnMut(&'a Expr)) {
    for step in steps {
        match &step.kind {
            StepKind::Index(index) => index.walk(visit),
            StepKind::Splat(inner) => walk_steps(inner, visit),
            StepKind::Attribute(_) => {}
        }
    }
}

impl Part {
    fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        match self {
            Part::Text(_) => {}
            Part::Value(e) => e.walk(visit),
            Part::If { condition, then, otherwise } => {
                condition.walk(visit);
                then.iter().chain(otherwise).for_each(|p| p.walk(visit));
            }
            Part::For { collection, body, .. } => {
                collection.walk(visit);
                body.iter().for_each(|p| p.walk(visit));
            }
        }
    }
}

/// Whether text could be a name in HCL.
pub fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}
