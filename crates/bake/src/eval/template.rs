//! Text with parts to fill in.

use super::collect::{iterate, names};
use super::{Evaluated, Evaluator, Scope, truth_of};
use crate::convert;
use crate::diagnostic::{Fault, Span};
use crate::syntax::{Expr, Part};
use crate::value::Value;

impl Evaluator<'_> {
    pub(super) fn template(&self, parts: &[Part], scope: &Scope, span: Span) -> Evaluated {
        let mut out = String::new();
        self.fill(parts, scope, span, &mut out)?;
        Ok(Value::string(out))
    }

    fn fill(&self, parts: &[Part], scope: &Scope, span: Span, out: &mut String) -> Result<(), Fault> {
        for part in parts {
            match part {
                Part::Text(text) => self.append(text, span, out)?,
                Part::Value(e) => {
                    let value = self.eval(e, scope)?;
                    self.append(&printed(&value, e)?, span, out)?;
                }
                Part::If { condition, then, otherwise } => {
                    let value = self.eval(condition, scope)?;
                    let chosen = match truth_of(&value, "condition", condition.span)? {
                        true => then,
                        false => otherwise,
                    };
                    self.fill(chosen, scope, span, out)?;
                }
                Part::For { key, value, collection, body } => {
                    let elements = iterate(&self.eval(collection, scope)?, collection.span)?;
                    for (k, v) in elements {
                        let inner = scope.within(names(key, value, k, v));
                        self.fill(body, &inner, span, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn append(&self, text: &str, span: Span, out: &mut String) -> Result<(), Fault> {
        self.world.budget().spend(text.len(), span)?;
        out.push_str(text);
        Ok(())
    }
}

fn printed(value: &Value, e: &Expr) -> Result<std::rc::Rc<str>, Fault> {
    convert::text(value).ok_or_else(|| {
        let what = match value {
            Value::Null(_) => "null".to_owned(),
            other => format!("a {}", other.kind().name()),
        };
        let why = format!("the value is {what}, which cannot be part of text");
        Fault::new("Invalid template interpolation value", why).at(e.span)
    })
}
