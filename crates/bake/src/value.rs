//! Values of the language: immutable, cheap to clone, each with its type.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use crate::number::Number;
use crate::types::Type;

pub type Fields = BTreeMap<Rc<str>, Value>;

/// A value. Lists, sets and maps hold one type of element; tuples and objects any mix.
#[derive(Debug, Clone)]
pub enum Value {
    Null(Type),
    Bool(bool),
    Number(Rc<Number>),
    String(Rc<str>),
    List(Rc<Type>, Rc<Vec<Value>>),
    /// Sorted, each element once.
    Set(Rc<Type>, Rc<Vec<Value>>),
    Tuple(Rc<Vec<Value>>),
    Map(Rc<Type>, Rc<Fields>),
    Object(Rc<Fields>),
}

impl Value {
    pub const NULL: Value = Value::Null(Type::Any);

    /// Text, in Unicode's composed form: so strings that look the same are the same.
    pub fn string(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
            return Value::String(text.into());
        }
        Value::String(text.nfc().collect::<String>().into())
    }

    pub fn number(number: Number) -> Self {
        Value::Number(Rc::new(number))
    }

    pub fn int(number: i64) -> Self {
        Value::number(Number::from(number))
    }

    pub fn count(number: usize) -> Self {
        Value::number(Number::from(number))
    }

    pub fn tuple(values: Vec<Value>) -> Self {
        Value::Tuple(Rc::new(values))
    }

    pub fn object(fields: Fields) -> Self {
        Value::Object(Rc::new(fields))
    }

    pub fn list(of: Type, values: Vec<Value>) -> Self {
        Value::List(Rc::new(of), Rc::new(values))
    }

    pub fn strings(values: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Value::list(Type::String, values.into_iter().map(Value::string).collect())
    }

    pub fn map(of: Type, fields: Fields) -> Self {
        Value::Map(Rc::new(of), Rc::new(fields))
    }

    /// Sorts, and drops what is there twice.
    pub fn set(of: Type, values: Vec<Value>) -> Self {
        let mut keyed: Vec<(SetKey, Value)> = values.into_iter().map(|v| (SetKey::of(&v), v)).collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        keyed.dedup_by(|a, b| a.1 == b.1);
        Value::Set(Rc::new(of), Rc::new(keyed.into_iter().map(|(_, v)| v).collect()))
    }

    pub fn kind(&self) -> Type {
        match self {
            Value::Null(kind) => kind.clone(),
            Value::Bool(_) => Type::Bool,
            Value::Number(_) => Type::Number,
            Value::String(_) => Type::String,
            Value::List(of, _) => Type::List(of.clone()),
            Value::Set(of, _) => Type::Set(of.clone()),
            Value::Map(of, _) => Type::Map(of.clone()),
            Value::Tuple(values) => Type::Tuple(values.iter().map(Value::kind).collect()),
            Value::Object(fields) => {
                Type::Object(Rc::new(fields.iter().map(|(k, v)| (k.clone(), v.kind())).collect()))
            }
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null(_))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Elements of a list, set or tuple.
    pub fn sequence(&self) -> Option<&[Value]> {
        match self {
            Value::List(_, values) | Value::Set(_, values) | Value::Tuple(values) => Some(values),
            _ => None,
        }
    }

    /// Elements of a map or object.
    pub fn fields(&self) -> Option<&Fields> {
        match self {
            Value::Map(_, fields) | Value::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// Keys and elements of anything that has some. A set's elements are their own keys.
    pub fn elements(&self) -> Option<Vec<(Value, Value)>> {
        Some(match self {
            Value::Set(_, values) => values.iter().map(|v| (v.clone(), v.clone())).collect(),
            Value::List(_, values) | Value::Tuple(values) => {
                values.iter().enumerate().map(|(i, v)| (Value::count(i), v.clone())).collect()
            }
            Value::Map(_, fields) | Value::Object(fields) => {
                fields.iter().map(|(k, v)| (Value::String(k.clone()), v.clone())).collect()
            }
            _ => return None,
        })
    }

    pub fn len(&self) -> Option<usize> {
        self.sequence().map(<[Value]>::len).or_else(|| self.fields().map(BTreeMap::len))
    }

    /// A rough count of bytes, for the budget.
    pub fn weight(&self) -> usize {
        match self {
            Value::Null(_) | Value::Bool(_) | Value::Number(_) => 8,
            Value::String(text) => text.len(),
            Value::List(_, values) | Value::Set(_, values) | Value::Tuple(values) => values.len() * 24,
            Value::Map(_, fields) | Value::Object(fields) => fields.len() * 64,
        }
    }
}

/// Equality as `==` has it: types must be equal as well.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null(_), Value::Null(_)) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Number(a), Value::Number(b)) => a == b,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::List(s, a), Value::List(t, b)) | (Value::Set(s, a), Value::Set(t, b)) => s == t && a == b,
            (Value::Tuple(a), Value::Tuple(b)) => a == b,
            (Value::Map(s, a), Value::Map(t, b)) => s == t && a == b,
            (Value::Object(a), Value::Object(b)) => a == b,
            _ => false,
        }
    }
}

/// What sets are sorted by: truth, numbers and text by value, anything else by a text that tells it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SetKey {
    Bool(bool),
    Number(Rc<Number>),
    String(Rc<str>),
    Other(String),
    Null,
}

impl SetKey {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null(_) => SetKey::Null,
            Value::Bool(b) => SetKey::Bool(*b),
            Value::Number(n) => SetKey::Number(n.clone()),
            Value::String(s) => SetKey::String(s.clone()),
            other => {
                let mut out = String::new();
                describe(other, &mut out);
                SetKey::Other(out)
            }
        }
    }
}

fn describe(value: &Value, out: &mut String) {
    let sequence = |values: &[Value], open, close, out: &mut String| {
        out.push(open);
        for value in values {
            describe(value, out);
            out.push(';');
        }
        out.push(close);
    };
    match value {
        Value::Null(_) => out.push('~'),
        Value::Bool(b) => out.push(if *b { 'T' } else { 'F' }),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::String(s) => out.push_str(&format!("{s:?}")),
        Value::List(_, values) | Value::Set(_, values) => sequence(values, '[', ']', out),
        Value::Tuple(values) => sequence(values, '<', '>', out),
        Value::Object(fields) => {
            let values: Vec<Value> = fields.values().cloned().collect();
            sequence(&values, '<', '>', out);
        }
        Value::Map(_, fields) => {
            out.push('{');
            for (key, value) in fields.iter() {
                out.push_str(&format!("{key:?}:"));
                describe(value, out);
                out.push(';');
            }
            out.push('}');
        }
    }
}

/// The order of `sort` and of sets, for two of the same primitive type.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    SetKey::of(a).cmp(&SetKey::of(b))
}
