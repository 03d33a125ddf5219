//! Names of blocks: a block with a matrix stands for as many as it has combinations.

use std::rc::Rc;

use super::{Definition, Instance, Module, Names};
use crate::convert::text;
use crate::diagnostic::Fault;
use crate::eval::{Evaluator, Scope};
use crate::value::Value;

/// Combinations past this are refused.
const MAX_COMBINATIONS: usize = 100_000;

impl Module<'_> {
    pub(super) fn find_names(&self) -> Result<(), Fault> {
        let mut instances = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            let named = |f: Fault| {
                f.or_summary("Invalid name")
                    .at(block.label_span)
                    .while_in(format!("{} `{}`", block.kind, block.label))
            };
            instances.extend(self.instances_of(index, block).map_err(named)?);
            if instances.len() > MAX_COMBINATIONS {
                return Err(named(Fault::plain("there are too many targets")));
            }
        }
        let mut by_name = self.by_name.borrow_mut();
        for (i, instance) in instances.iter().enumerate() {
            let kind = self.blocks[instance.block].kind;
            by_name.entry((kind, instance.name.clone())).or_default().push(i);
        }
        *self.instances.borrow_mut() = Rc::new(instances);
        Ok(())
    }

    fn instances_of(&self, index: usize, block: &Definition) -> Result<Vec<Instance>, Fault> {
        check_name(&block.label)?;
        let matrix = block.body.attribute("matrix");
        let name = block.body.attribute("name");
        if block.kind == "group" {
            for (attribute, what) in [(name, "name"), (matrix, "matrix")] {
                if let Some(attribute) = attribute {
                    return Err(
                        Fault::plain(format!("{what} is not supported for groups")).at(attribute.name_span)
                    );
                }
            }
        }
        let combinations = match matrix {
            None => vec![Vec::new()],
            Some(matrix) => {
                let value = Evaluator::new(self).eval(&matrix.value, &Scope::default())?;
                combinations(&value).map_err(|why| Fault::plain(why).at(matrix.value.span))?
            }
        };
        let mut out: Vec<Instance> = Vec::with_capacity(combinations.len());
        let mut seen = std::collections::HashSet::new();
        for names in combinations {
            let name: Rc<str> = match (name, matrix) {
                (None, _) => block.label.clone(),
                (Some(name), None) => return Err(Fault::plain("name requires matrix").at(name.name_span)),
                (Some(name), Some(_)) => {
                    let value = Evaluator::new(self).eval(&name.value, &Scope::new(names.clone()))?;
                    let name_text = text(&value)
                        .ok_or_else(|| Fault::plain("a name must be text").at(name.value.span))?;
                    check_name(&name_text).map_err(|f| f.at(name.value.span))?;
                    name_text
                }
            };
            if !seen.insert(name.clone()) {
                let fault = Fault::plain(format!("duplicate name \"{name}\""));
                return Err(fault.hint("give every combination a name of its own: name = \"app-${item}\""));
            }
            out.push(Instance { block: index, name, names });
        }
        Ok(out)
    }
}

/// # Errors
/// If a target or group may not have this name.
pub(crate) fn check_name(name: &str) -> Result<(), Fault> {
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match fits {
        true => Ok(()),
        false => Err(Fault::plain(format!("invalid name \"{name}\": only \"[a-zA-Z0-9_-]+\" are allowed"))),
    }
}

/// Every combination of one value of each key, keys in their order; the first key changes fastest.
fn combinations(matrix: &Value) -> Result<Vec<Names>, String> {
    let fields = matrix.fields().ok_or("matrix must be a map")?;
    let mut out: Vec<Names> = vec![Vec::new()];
    for (key, values) in fields {
        let values = values.elements().ok_or("matrix values must be a list")?;
        if out.len().saturating_mul(values.len()) > MAX_COMBINATIONS {
            return Err("there are too many combinations".into());
        }
        let with = |value: &Value| {
            let value = value.clone();
            out.iter().map(move |names| names.iter().cloned().chain([(key.clone(), value.clone())]).collect())
        };
        out = values.iter().flat_map(|(_, value)| with(value).collect::<Vec<_>>()).collect();
    }
    Ok(out)
}
