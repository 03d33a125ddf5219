//! Ways into values: `.name`, `[index]`, `[*]`; and references to blocks.

use super::{Evaluated, Evaluator, Scope};
use crate::convert::{common, convert};
use crate::diagnostic::{Fault, Span, did_you_mean};
use crate::syntax::{Expr, Kind, Step, StepKind};
use crate::types::Type;
use crate::value::Value;

impl Evaluator<'_> {
    pub(super) fn traversal(&self, root: &Expr, steps: &[Step], scope: &Scope) -> Evaluated {
        match &root.kind {
            Kind::Variable(name) if scope.find(name).is_none() && self.world.is_block_kind(name) => {
                self.block(name, steps, root.span, scope)
            }
            _ => {
                let value = self.eval(root, scope)?;
                self.steps(value, steps, scope)
            }
        }
    }

    /// `target.app.tags`: only the attribute that is asked for is evaluated, so that targets may refer to each other.
    fn block(&self, kind: &str, steps: &[Step], span: Span, scope: &Scope) -> Evaluated {
        let Some((Step { kind: StepKind::Attribute(name), span: name_span }, rest)) = steps.split_first()
        else {
            return Err(
                Fault::new("Invalid expression", format!("{kind} must be followed by a name")).at(span)
            );
        };
        let (attribute, rest) = match rest.split_first() {
            Some((Step { kind: StepKind::Attribute(attribute), span }, rest)) => {
                (Some((attribute, *span)), rest)
            }
            _ => (None, rest),
        };
        let value = self.world.block(kind, name, attribute.map(|(a, _)| &**a))?;
        match (value, attribute) {
            (Some(value), _) => self.steps(value, rest, scope),
            (None, _) => {
                let why = format!("there is no {kind} named \"{name}\"");
                Err(Fault::new("Unsupported attribute", why).at(*name_span))
            }
        }
    }

    fn steps(&self, mut value: Value, steps: &[Step], scope: &Scope) -> Evaluated {
        for step in steps {
            value = match &step.kind {
                StepKind::Attribute(name) => attribute(&value, name).map_err(|f| f.at(step.span))?,
                StepKind::Index(e) => {
                    let key = self.eval(e, scope)?;
                    index(&value, &key).map_err(|f| f.at(step.span))?
                }
                StepKind::Splat(inner) => self.splat(&value, inner, scope).map_err(|f| f.at(step.span))?,
            };
        }
        Ok(value)
    }

    fn splat(&self, value: &Value, inner: &[Step], scope: &Scope) -> Evaluated {
        let one = [value.clone()];
        let values = match value {
            Value::Null(Type::List(_) | Type::Set(_) | Type::Tuple(_)) => {
                return Err(Fault::new("Splat of null value", "a null sequence has no elements"));
            }
            Value::Null(_) => return Ok(Value::tuple(Vec::new())),
            _ => value.sequence().unwrap_or(&one),
        };
        let results =
            values.iter().map(|v| self.steps(v.clone(), inner, scope)).collect::<Result<Vec<_>, _>>()?;
        Ok(match value {
            Value::List(of, _) | Value::Set(of, _) => {
                let kind = match results.is_empty() {
                    true if inner.is_empty() => (**of).clone(),
                    true => Type::Any,
                    false => common(&results).unwrap_or(Type::Any),
                };
                Value::list(kind, results)
            }
            _ => Value::tuple(results),
        })
    }
}

fn attribute(value: &Value, name: &str) -> Evaluated {
    let absent = |known: Vec<&str>| {
        let fault =
            Fault::new("Unsupported attribute", format!("there is no attribute named \"{name}\" here"));
        match did_you_mean(name, known) {
            Some(near) => fault.hint(format!("did you mean \"{near}\"?")),
            None => fault,
        }
    };
    match value {
        Value::Map(_, fields) | Value::Object(fields) => {
            fields.get(name).cloned().ok_or_else(|| absent(fields.keys().map(|k| &**k).collect()))
        }
        Value::Null(_) => {
            Err(Fault::new("Attempt to get attribute from null value", "a null value has no attributes"))
        }
        other => {
            let why = format!("a {} has no attributes, so no \"{name}\"", other.kind().name());
            Err(Fault::new("Unsupported attribute", why))
        }
    }
}

/// Also the function `index`.
pub(crate) fn index(value: &Value, key: &Value) -> Evaluated {
    let invalid = |why: String| Fault::new("Invalid index", why);
    if value.is_null() {
        return Err(Fault::new("Attempt to index null value", "a null value has no elements"));
    }
    if key.is_null() {
        return Err(invalid("null is no index".into()));
    }
    match value {
        Value::Map(_, fields) | Value::Object(fields) => {
            let key = convert(key, &Type::String)
                .map_err(|why| invalid(format!("the key is unsuitable: {why}")))?;
            let key = key.as_str().unwrap_or_default();
            fields
                .get(key)
                .cloned()
                .ok_or_else(|| invalid(format!("there is no element with the key \"{key}\"")))
        }
        Value::List(_, values) | Value::Tuple(values) => {
            let key = convert(key, &Type::Number)
                .map_err(|why| invalid(format!("the index is unsuitable: {why}")))?;
            let Value::Number(number) = &key else {
                return Err(invalid("null is no index".into()));
            };
            let position = number.to_i64().and_then(|i| usize::try_from(i).ok());
            position.and_then(|i| values.get(i)).cloned().ok_or_else(|| {
                invalid(format!("there is no element {number}, only {} from 0 on", values.len()))
            })
        }
        Value::Set(..) => Err(invalid("elements of a set have no index".into())),
        other => Err(invalid(format!("a {} has no elements", other.kind().name()))),
    }
}
