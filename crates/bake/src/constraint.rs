//! Type constraints, as `variable` blocks and `convert` have them: `list(string)`.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::convert;
use crate::diagnostic::Fault;
use crate::syntax::{self, Expr, Kind};
use crate::types::Type;
use crate::value::Value;

/// What the expression says of a type.
///
/// # Errors
/// If it is none that exists.
pub fn parse(e: &Expr) -> Result<Type, Fault> {
    let invalid = |why: &str| Fault::new("Invalid type specification", why.to_owned()).at(e.span);
    match &e.kind {
        Kind::Wrapped(inner) | Kind::Parenthesis(inner) => parse(inner),
        Kind::Variable(name) => keyword(name).ok_or_else(|| match &**name {
            "list" | "set" | "map" => invalid(&format!("{name} needs a type: {name}(string)")),
            "object" => invalid("object needs types of its attributes: object({ name = string })"),
            "tuple" => invalid("tuple needs types of its elements: tuple([string, number])"),
            other => invalid(&format!("\"{other}\" is no type")),
        }),
        // In JSON a type is text.
        Kind::Literal(Value::String(text)) => match keyword(text) {
            Some(kind) => Ok(kind),
            None => {
                let inner = syntax::expression(text, e.span)?;
                match inner.kind {
                    Kind::Call(_) => parse(&inner),
                    _ => Err(invalid(&format!("\"{text}\" is no type"))),
                }
            }
        },
        Kind::Call(call) => match (&*call.name, call.args.as_slice()) {
            ("list", [of]) => parse(of).map(Type::list),
            ("set", [of]) => parse(of).map(Type::set),
            ("map", [of]) => parse(of).map(Type::map),
            ("tuple", [Expr { kind: Kind::Tuple(items), .. }]) => {
                items.iter().map(parse).collect::<Result<_, _>>().map(Type::Tuple)
            }
            ("object", [Expr { kind: Kind::Object(items), .. }]) => object(items),
            ("optional", _) => Err(invalid("only an attribute of an object can be optional")),
            ("list" | "set" | "map" | "tuple" | "object", _) => {
                Err(invalid(&format!("{} takes one argument that tells the types", call.name)))
            }
            (other, _) => Err(invalid(&format!("\"{other}\" is no type"))),
        },
        _ => Err(invalid("this is no type")),
    }
}

fn object(items: &[(Expr, Expr)]) -> Result<Type, Fault> {
    let mut out = BTreeMap::new();
    for (key, kind) in items {
        let name: Option<Rc<str>> = match &key.kind {
            Kind::Literal(value) => convert::text(value),
            _ => key.keyword().map(Into::into),
        };
        let name = name
            .ok_or_else(|| Fault::new("Invalid type specification", "a key must be a name").at(key.span))?;
        let kind = match &kind.kind {
            Kind::Call(call) if &*call.name == "optional" => match call.args.as_slice() {
                [of] => Type::Optional(Rc::new(parse(of)?)),
                _ => {
                    let why = "optional takes one type, and no default";
                    return Err(Fault::new("Invalid type specification", why).at(kind.span));
                }
            },
            _ => parse(kind)?,
        };
        out.insert(name, kind);
    }
    Ok(Type::Object(Rc::new(out)))
}

fn keyword(name: &str) -> Option<Type> {
    Some(match name {
        "string" => Type::String,
        "number" => Type::Number,
        "bool" => Type::Bool,
        "any" => Type::Any,
        _ => return None,
    })
}
