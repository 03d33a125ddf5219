//! Types of values, and what a conversion finds between them.

use std::collections::BTreeMap;
use std::rc::Rc;

/// The type of a value, or a constraint on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Anything; the type of a bare `null`.
    Any,
    Bool,
    Number,
    String,
    List(Rc<Type>),
    Set(Rc<Type>),
    Map(Rc<Type>),
    Tuple(Rc<[Type]>),
    Object(Rc<BTreeMap<Rc<str>, Type>>),
    /// Only within a constraint on objects: an attribute that may be missing, and is null then.
    Optional(Rc<Type>),
}

impl Type {
    pub fn list(of: Type) -> Self {
        Type::List(Rc::new(of))
    }

    pub fn set(of: Type) -> Self {
        Type::Set(Rc::new(of))
    }

    pub fn map(of: Type) -> Self {
        Type::Map(Rc::new(of))
    }

    pub fn is_primitive(&self) -> bool {
        matches!(self, Type::Bool | Type::Number | Type::String)
    }

    /// As messages and `--list` name it.
    pub fn name(&self) -> String {
        match self {
            Type::Any => "dynamic".into(),
            Type::Bool => "bool".into(),
            Type::Number => "number".into(),
            Type::String => "string".into(),
            Type::List(of) => format!("list of {}", of.constraint_name()),
            Type::Set(of) => format!("set of {}", of.constraint_name()),
            Type::Map(of) => format!("map of {}", of.constraint_name()),
            Type::Tuple(_) => "tuple".into(),
            Type::Object(_) => "object".into(),
            Type::Optional(of) => of.name(),
        }
    }

    /// As [`Type::name`], where the type is asked for and not had.
    pub fn constraint_name(&self) -> String {
        match self {
            Type::Any => "any type".into(),
            Type::List(of) if **of == Type::Any => "list of any single type".into(),
            Type::Set(of) if **of == Type::Any => "set of any single type".into(),
            Type::Map(of) if **of == Type::Any => "map of any single type".into(),
            other => other.name(),
        }
    }
}

/// The one type that values of all these types convert to. `None` if there is none.
pub fn unify(types: &[Type]) -> Option<Type> {
    let known: Vec<&Type> = types.iter().filter(|t| **t != Type::Any).collect();
    let Some(first) = known.first() else {
        return Some(Type::Any);
    };
    if known.iter().all(|t| t == first) {
        return Some((*first).clone());
    }
    if known.iter().all(|t| matches!(t, Type::Object(_))) {
        return unify_objects(&known);
    }
    if known.iter().all(|t| matches!(t, Type::Tuple(_))) {
        return unify_tuples(&known);
    }
    if known.iter().all(|t| matches!(t, Type::Object(_) | Type::Map(_))) {
        return unify_all(known.iter().flat_map(|t| elements(t))).map(Type::map);
    }
    if known.iter().all(|t| matches!(t, Type::Tuple(_) | Type::List(_))) {
        return unify_all(known.iter().flat_map(|t| elements(t))).map(Type::list);
    }
    if known.iter().all(|t| matches!(t, Type::Tuple(_) | Type::List(_) | Type::Set(_))) {
        let element = unify_all(known.iter().flat_map(|t| elements(t)))?;
        // Order is kept only where everybody has one.
        return Some(if known.iter().any(|t| matches!(t, Type::List(_))) {
            Type::list(element)
        } else {
            Type::set(element)
        });
    }
    if known.iter().all(|t| t.is_primitive()) {
        // Everything prints; nothing else is common to numbers and truth.
        return known.iter().any(|t| **t == Type::String).then_some(Type::String);
    }
    None
}

fn elements(of: &Type) -> Vec<Type> {
    match of {
        Type::List(t) | Type::Set(t) | Type::Map(t) => vec![(**t).clone()],
        Type::Tuple(all) => all.to_vec(),
        Type::Object(all) => all.values().cloned().collect(),
        _ => Vec::new(),
    }
}

fn unify_all(types: impl Iterator<Item = Type>) -> Option<Type> {
    unify(&types.collect::<Vec<_>>())
}

fn unify_objects(types: &[&Type]) -> Option<Type> {
    let objects: Vec<_> = types
        .iter()
        .filter_map(|t| match t {
            Type::Object(of) => Some(of),
            _ => None,
        })
        .collect();
    let same_keys = objects.windows(2).all(|pair| pair[0].keys().eq(pair[1].keys()));
    if same_keys {
        let mut out = BTreeMap::new();
        for key in objects.first()?.keys() {
            let attribute = unify_all(objects.iter().filter_map(|o| o.get(key).cloned()))?;
            out.insert(key.clone(), attribute);
        }
        return Some(Type::Object(Rc::new(out)));
    }
    unify_all(objects.iter().flat_map(|o| o.values().cloned())).map(Type::map)
}

fn unify_tuples(types: &[&Type]) -> Option<Type> {
    let tuples: Vec<_> = types
        .iter()
        .filter_map(|t| match t {
            Type::Tuple(of) => Some(of),
            _ => None,
        })
        .collect();
    let length = tuples.first()?.len();
    if tuples.iter().all(|t| t.len() == length) {
        let all: Option<Vec<Type>> =
            (0..length).map(|i| unify_all(tuples.iter().map(|t| t[i].clone()))).collect();
        return all.map(|all| Type::Tuple(all.into()));
    }
    unify_all(tuples.iter().flat_map(|t| t.iter().cloned())).map(Type::list)
}
