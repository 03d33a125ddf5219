//! Attributes of targets and groups.

use std::rc::Rc;

use super::{Definition, Instance, Module, State};
use crate::diagnostic::Fault;
use crate::eval::{Evaluator, Scope};
use crate::origin::Origin;
use crate::schema::{self, Decoded};
use crate::syntax::{Attribute, Expr, Kind, StepKind};
use crate::target::{Group, Target};
use crate::value::{Fields, Value};

/// Attributes that say how many targets there are.
const NAMING: [&str; 2] = ["matrix", "name"];

impl Module<'_> {
    pub(super) fn all_blocks(&self) -> Result<(Vec<Target>, Vec<Group>), Fault> {
        self.look_over_blocks();
        let (mut targets, mut groups) = (Vec::new(), Vec::new());
        let instances = self.instances.borrow().clone();
        for (index, instance) in instances.iter().enumerate() {
            let block = &self.blocks[instance.block];
            let told = |f: Fault| {
                f.or_summary("Invalid block")
                    .at(block.label_span)
                    .while_in(format!("{} `{}`", block.kind, instance.name))
            };
            match block.kind {
                "target" => targets.push(self.target(index, instance, block).map_err(told)?),
                _ => groups.push(self.group(index, instance, block).map_err(told)?),
            }
        }
        groups.extend(self.matrix_groups(&instances));
        Ok((targets, groups))
    }

    fn look_over_blocks(&self) {
        for block in &self.blocks {
            let known: &[&str] = if block.kind == "target" { &schema::TARGET } else { &schema::GROUP };
            let what = format!("attribute of {}", block.kind);
            for attribute in &block.body.attributes {
                if !known.contains(&&*attribute.name) && !NAMING.contains(&&*attribute.name) {
                    self.warn(attribute.name_span, &what, &attribute.name, known);
                }
            }
            for inner in &block.body.blocks {
                self.warn(inner.kind_span, &format!("block of {}", block.kind), &inner.kind, known);
            }
        }
    }

    fn target(&self, index: usize, instance: &Instance, block: &Definition) -> Result<Target, Fault> {
        let mut target = Target { name: instance.name.to_string(), ..Target::default() };
        target.defined_in = Some(block.label_span.file);
        for attribute in self.known(block, &schema::TARGET) {
            let decoded = self.attribute(index, attribute)?;
            if decoded.is_set() {
                let origin = Origin::File {
                    span: attribute.name_span,
                    target: instance.name.clone(),
                    uses: variables_of(&attribute.value),
                };
                match decoded.keys() {
                    None => target.origins.set(attribute.name.clone(), origin),
                    Some(keys) => keys.iter().for_each(|key| {
                        target.origins.set(format!("{}.{key}", attribute.name), origin.clone())
                    }),
                }
            }
            target.set(&attribute.name, decoded);
        }
        target.bases.context_of = block.body.attribute("context").and_then(|a| context_of(&a.value));
        Ok(target)
    }

    fn group(&self, index: usize, instance: &Instance, block: &Definition) -> Result<Group, Fault> {
        let mut group = Group { name: instance.name.to_string(), ..Group::default() };
        if block.body.attribute("targets").is_none() {
            let why = "the argument \"targets\" is required, but was not set";
            return Err(Fault::new("Missing required argument", why).at(block.label_span));
        }
        for attribute in self.known(block, &schema::GROUP) {
            group.set(&attribute.name, self.attribute(index, attribute)?);
        }
        Ok(group)
    }

    fn known<'b>(&self, block: &'b Definition, names: &'b [&str]) -> impl Iterator<Item = &'b Attribute> {
        block.body.attributes.iter().filter(|a| names.contains(&&*a.name))
    }

    /// A block that a matrix made several of is a group of them.
    fn matrix_groups(&self, instances: &[Instance]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for instance in instances {
            let block = &self.blocks[instance.block];
            let place = *places.entry((block.kind, block.label.clone())).or_insert_with(|| {
                groups.push(Group { name: block.label.to_string(), ..Group::default() });
                groups.len() - 1
            });
            let names = &mut groups[place].targets;
            if names.last().is_none_or(|last| **last != *instance.name) {
                names.push(instance.name.to_string());
            }
        }
        groups.retain(|g| g.targets.iter().any(|t| *t != g.name));
        for group in &mut groups {
            let mut seen = std::collections::HashSet::new();
            group.targets.retain(|t| seen.insert(t.clone()));
        }
        groups
    }

    /// Evaluates and decodes an attribute, once.
    fn attribute(&self, instance: usize, attribute: &Attribute) -> Result<Decoded, Fault> {
        let key = (instance, attribute.name.clone());
        match self.attributes.borrow().get(&key) {
            Some(State::Done(decoded)) => return Ok(decoded.clone()),
            Some(State::Running) => {
                let instances = self.instances.borrow().clone();
                let at = &instances[instance];
                let kind = self.blocks[at.block].kind;
                let why = format!("reference cycle not allowed for {kind}.{}.{}", at.name, attribute.name);
                return Err(Fault::new("Invalid expression", why).at(attribute.name_span).fatal());
            }
            None => {}
        }
        self.attributes.borrow_mut().insert(key.clone(), State::Running);
        let names = self.instances.borrow()[instance].names.clone();
        let value = Evaluator::new(self).eval(&attribute.value, &Scope::new(names))?;
        let decoded = schema::decode(&attribute.name, &value).map_err(|why| {
            Fault::new("Unsuitable value type", format!("{}: unsuitable value: {why}", attribute.name))
                .at(attribute.value.span)
        })?;
        self.attributes.borrow_mut().insert(key, State::Done(decoded.clone()));
        Ok(decoded)
    }

    /// For `target.name.attribute` and `target.name` in expressions. Of several blocks with the name, the last that sets
    /// an attribute counts.
    pub(super) fn block_value(
        &self,
        kind: &str,
        name: &str,
        attribute: Option<&str>,
    ) -> Result<Option<Value>, Fault> {
        let kind = if kind == "target" { "target" } else { "group" };
        let found = self.by_name.borrow().get(&(kind, Rc::from(name))).cloned();
        let Some(found) = found else { return Ok(None) };
        let one = |attribute: &str| -> Result<Value, Fault> {
            let instances = self.instances.borrow().clone();
            let set = found
                .iter()
                .rev()
                .find_map(|i| Some((*i, self.blocks[instances[*i].block].body.attribute(attribute)?)));
            match set {
                Some((i, attribute)) => Ok(self.attribute(i, attribute)?.value()),
                None if attribute == "name" => Ok(Value::string(name)),
                None => Ok(schema::unset(attribute)),
            }
        };
        let known: &[&str] = if kind == "target" { &schema::TARGET } else { &schema::GROUP };
        match attribute {
            Some(attribute) if known.contains(&attribute) || attribute == "name" => one(attribute).map(Some),
            Some(attribute) => {
                let why = format!("a {kind} has no attribute named \"{attribute}\"");
                Err(Fault::new("Unsupported attribute", why))
            }
            None => {
                let mut fields = Fields::new();
                for attribute in known.iter().copied().chain(["name"]) {
                    fields.insert(attribute.into(), one(attribute)?);
                }
                Ok(Some(Value::object(fields)))
            }
        }
    }
}

/// Variables that an expression reads.
fn variables_of(e: &Expr) -> Rc<[Rc<str>]> {
    let mut out: Vec<Rc<str>> = Vec::new();
    e.walk(&mut |e| {
        if let Kind::Variable(name) = &e.kind
            && !out.contains(name)
        {
            out.push(name.clone());
        }
    });
    out.into()
}

/// The target of an expression that is nothing but `target.NAME.context`.
fn context_of(e: &Expr) -> Option<String> {
    let Kind::Traversal(root, steps) = &e.kind else { return None };
    let [name, attribute] = steps.as_slice() else { return None };
    let is_context = matches!(&attribute.kind, StepKind::Attribute(a) if &**a == "context");
    if !matches!(&root.kind, Kind::Variable(v) if &**v == "target") || !is_context {
        return None;
    }
    match &name.kind {
        StepKind::Attribute(name) => Some(name.to_string()),
        StepKind::Index(Expr { kind: Kind::Literal(Value::String(name)), .. }) => Some(name.to_string()),
        _ => None,
    }
}
