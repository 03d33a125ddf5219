//! `for` expressions.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Evaluated, Evaluator, Scope, truth_of};
use crate::diagnostic::{Fault, Span};
use crate::syntax::{Expr, For};
use crate::value::{Fields, Value};

impl Evaluator<'_> {
    pub(super) fn for_expr(&self, f: &For, scope: &Scope) -> Evaluated {
        let collection = self.eval(&f.collection, scope)?;
        let elements = iterate(&collection, f.collection.span)?;
        match &f.result_key {
            None => self.for_tuple(f, elements, scope),
            Some(key) => self.for_object(f, key, elements, scope),
        }
    }

    fn for_tuple(&self, f: &For, elements: Vec<(Value, Value)>, scope: &Scope) -> Evaluated {
        let mut out = Vec::with_capacity(elements.len());
        for (key, value) in elements {
            let inner = scope.within(names(&f.key, &f.value, key, value));
            if self.is_wanted(f, &inner)? {
                out.push(self.eval(&f.result, &inner)?);
            }
        }
        Ok(Value::tuple(out))
    }

    fn for_object(
        &self,
        f: &For,
        key_expr: &Expr,
        elements: Vec<(Value, Value)>,
        scope: &Scope,
    ) -> Evaluated {
        let mut groups: BTreeMap<Rc<str>, Vec<Value>> = BTreeMap::new();
        for (key, value) in elements {
            let inner = scope.within(names(&f.key, &f.value, key, value));
            if !self.is_wanted(f, &inner)? {
                continue;
            }
            let name = self.key(key_expr, &inner)?;
            let result = self.eval(&f.result, &inner)?;
            let group = groups.entry(name.clone()).or_default();
            if !f.grouped && !group.is_empty() {
                let why = format!("two different items produced the key \"{name}\"");
                return Err(Fault::new("Duplicate object key", why)
                    .at(key_expr.span)
                    .hint("write `...` after the value to group values by key"));
            }
            group.push(result);
        }
        let value = |mut group: Vec<Value>| match f.grouped {
            true => Value::tuple(group),
            false => group.pop().unwrap_or(Value::NULL),
        };
        Ok(Value::object(groups.into_iter().map(|(k, g)| (k, value(g))).collect::<Fields>()))
    }

    fn is_wanted(&self, f: &For, scope: &Scope) -> Result<bool, Fault> {
        match &f.condition {
            None => Ok(true),
            Some(condition) => truth_of(&self.eval(condition, scope)?, "condition", condition.span),
        }
    }
}

pub(super) fn iterate(collection: &Value, span: Span) -> Result<Vec<(Value, Value)>, Fault> {
    collection.elements().ok_or_else(|| match collection {
        Value::Null(_) => Fault::new("Iteration over null value", "a null value has no elements").at(span),
        other => {
            let why = format!("a {} has no elements to iterate over", other.kind().name());
            Fault::new("Iteration over non-iterable value", why).at(span)
        }
    })
}

pub(super) fn names(
    key_name: &Option<Rc<str>>,
    value_name: &Rc<str>,
    key: Value,
    value: Value,
) -> Vec<(Rc<str>, Value)> {
    let mut out = Vec::with_capacity(2);
    out.extend(key_name.clone().map(|name| (name, key)));
    out.push((value_name.clone(), value));
    out
}
