//! Conversion of values between types.

use std::rc::Rc;

use crate::number::Number;
use crate::types::{Type, unify};
use crate::value::{Fields, Value};

/// Why a value has not the type that is wanted: words for a person, with the path to the place in the value.
pub type Mismatch = String;

/// The value as one of type `want`.
pub fn convert(value: &Value, want: &Type) -> Result<Value, Mismatch> {
    match (value, want) {
        (_, Type::Any) => Ok(value.clone()),
        (Value::Null(had), _) => null(had, want),
        (Value::String(_), Type::String)
        | (Value::Bool(_), Type::Bool)
        | (Value::Number(_), Type::Number) => Ok(value.clone()),
        (Value::Number(n), Type::String) => Ok(Value::string(n.to_string())),
        (Value::Bool(b), Type::String) => Ok(Value::string(b.to_string())),
        (Value::String(text), Type::Number) => {
            Number::parse(text).map(Value::number).ok_or_else(|| "a number is required".into())
        }
        (Value::String(text), Type::Bool) => match &**text {
            "true" | "1" => Ok(Value::Bool(true)),
            "false" | "0" => Ok(Value::Bool(false)),
            "True" | "TRUE" => {
                Err("a bool is required; to convert from string, use lowercase \"true\"".into())
            }
            "False" | "FALSE" => {
                Err("a bool is required; to convert from string, use lowercase \"false\"".into())
            }
            _ => Err("a bool is required".into()),
        },
        (_, Type::List(of)) => {
            let (of, values) = sequence(value, of, want)?;
            Ok(Value::List(of, Rc::new(values)))
        }
        (_, Type::Set(of)) => {
            let (of, values) = sequence(value, of, want)?;
            Ok(Value::set((*of).clone(), values))
        }
        (_, Type::Map(of)) => to_map(value, of, want),
        (Value::Tuple(values), Type::Tuple(of)) if values.len() == of.len() => {
            let values = values.iter().zip(of.iter()).enumerate();
            values.map(|(i, (v, t))| at_index(i, convert(v, t))).collect::<Result<_, _>>().map(Value::tuple)
        }
        (Value::Map(..) | Value::Object(_), Type::Object(of)) => {
            let fields = value.fields().into_iter().flatten();
            let fields: Fields = fields.map(|(k, v)| (k.clone(), v.clone())).collect();
            let mut out = Fields::new();
            for (key, kind) in of.iter() {
                let value = match (fields.get(key), kind) {
                    (Some(value), Type::Optional(kind)) => at_key(key, convert(value, kind))?,
                    (Some(value), kind) => at_key(key, convert(value, kind))?,
                    (None, Type::Optional(kind)) => Value::Null((**kind).clone()),
                    (None, _) => return Err(format!("attribute \"{key}\" is required")),
                };
                out.insert(key.clone(), value);
            }
            Ok(Value::object(out))
        }
        _ => Err(mismatch(value, want)),
    }
}

/// Whether a null of this type may stand for one of that type.
fn null(had: &Type, want: &Type) -> Result<Value, Mismatch> {
    match had == &Type::Any || had == want || could_be(had, want) {
        true => Ok(Value::Null(want.clone())),
        false => Err(format!("{} required", want.constraint_name())),
    }
}

/// Whether some value of type `had` converts to `want`.
fn could_be(had: &Type, want: &Type) -> bool {
    match (had, want) {
        (Type::Any, _) | (_, Type::Any) => true,
        (Type::Number, Type::Bool) | (Type::Bool, Type::Number) => false,
        (a, b) if a.is_primitive() && b.is_primitive() => true,
        (Type::List(a) | Type::Set(a), Type::List(b) | Type::Set(b)) | (Type::Map(a), Type::Map(b)) => {
            could_be(a, b)
        }
        (Type::Tuple(a), Type::List(b) | Type::Set(b)) => a.iter().all(|a| could_be(a, b)),
        (Type::Tuple(a), Type::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| could_be(a, b))
        }
        (Type::Object(a), Type::Map(b)) => a.values().all(|a| could_be(a, b)),
        (Type::Map(a), Type::Object(b)) => b.values().all(|b| could_be(a, b)),
        (Type::Object(a), Type::Object(b)) => b.iter().all(|(k, b)| a.get(k).is_some_and(|a| could_be(a, b))),
        _ => false,
    }
}

fn sequence(value: &Value, of: &Rc<Type>, want: &Type) -> Result<(Rc<Type>, Vec<Value>), Mismatch> {
    let values = value.sequence().ok_or_else(|| mismatch(value, want))?;
    let of = match (&**of, value) {
        (Type::Any, Value::Tuple(_)) => Rc::new(common(values).ok_or_else(|| {
            let kind = if matches!(want, Type::Set(_)) { "set" } else { "list" };
            format!("all {kind} elements must have the same type")
        })?),
        (Type::Any, Value::List(had, _) | Value::Set(had, _)) => had.clone(),
        _ => of.clone(),
    };
    let is_set = matches!(value, Value::Set(..));
    let converted = values.iter().enumerate().map(|(i, v)| match is_set {
        true => convert(v, &of),
        false => at_index(i, convert(v, &of)),
    });
    Ok((of.clone(), converted.collect::<Result<_, _>>()?))
}

fn to_map(value: &Value, of: &Rc<Type>, want: &Type) -> Result<Value, Mismatch> {
    let fields = value.fields().ok_or_else(|| mismatch(value, want))?;
    let of = match (&**of, value) {
        (Type::Any, Value::Object(_)) => {
            let values: Vec<Value> = fields.values().cloned().collect();
            Rc::new(common(&values).ok_or("all map elements must have the same type")?)
        }
        (Type::Any, Value::Map(had, _)) => had.clone(),
        _ => of.clone(),
    };
    let fields = fields.iter().map(|(k, v)| Ok((k.clone(), at_key(k, convert(v, &of))?)));
    Ok(Value::Map(of.clone(), Rc::new(fields.collect::<Result<_, Mismatch>>()?)))
}

/// The type that all of them can have.
pub fn common(values: &[Value]) -> Option<Type> {
    unify(&values.iter().map(Value::kind).collect::<Vec<_>>())
}

fn mismatch(value: &Value, want: &Type) -> Mismatch {
    let had = value.kind();
    match want {
        Type::Bool | Type::Number | Type::String => {
            format!("{} required, but have {}", want.name(), had.name())
        }
        _ => format!("{} required", want.constraint_name()),
    }
}

fn at_index(index: usize, result: Result<Value, Mismatch>) -> Result<Value, Mismatch> {
    result.map_err(|e| format!("element {index}: {e}"))
}

fn at_key(key: &str, result: Result<Value, Mismatch>) -> Result<Value, Mismatch> {
    result.map_err(|e| format!("element \"{key}\": {e}"))
}

/// The text of a primitive. `None` for null and what has no text.
pub fn text(value: &Value) -> Option<Rc<str>> {
    match convert(value, &Type::String) {
        Ok(Value::String(text)) => Some(text),
        _ => None,
    }
}
