//! Values that come from outside: `--var`, the environment.

use std::rc::Rc;

use dockerfile::csv;

use crate::convert::convert;
use crate::entries::parse_bool;
use crate::functions::decode_json;
use crate::number::Number;
use crate::types::Type;
use crate::value::{Fields, Value};

/// The value of a variable that is given as text.
///
/// # Errors
/// If the text is none of the type.
pub fn from_text(name: &str, text: &str, kind: &Type) -> Result<Value, String> {
    match kind {
        Type::List(_) | Type::Set(_) | Type::Tuple(_) | Type::Map(_) => {
            from_csv(name, text, kind).map_err(|e| format!("failed to convert variable {name} from CSV: {e}"))
        }
        kind if kind.is_primitive() => primitive(name, text, kind),
        Type::Any => Ok(Value::string(text)),
        other => {
            Err(format!("unsupported type {} for variable {name}: set {name}_JSON instead", other.name()))
        }
    }
}

/// The value of a variable that is given as JSON.
///
/// # Errors
/// If the text is no JSON, or none of the type.
pub fn from_json(name: &str, text: &str, kind: &Type) -> Result<Value, String> {
    let value = decode_json(text).and_then(|v| exactly(&v, kind));
    value.map_err(|e| format!("failed to convert variable {name} from JSON: {e}"))
}

/// JSON has types of its own, so that little may be converted.
fn exactly(value: &Value, kind: &Type) -> Result<Value, String> {
    let required = || format!("a {} is required", kind.name());
    match (value, kind) {
        (Value::Null(_), kind) => Ok(Value::Null(kind.clone())),
        (Value::Object(_), Type::Any) => Err("a value of any type must be told with its type".into()),
        (Value::Bool(_), Type::Number) | (Value::Number(_), Type::Bool) => Err(required()),
        (Value::Tuple(items), Type::List(of)) => {
            Ok(Value::list((**of).clone(), items.iter().map(|v| exactly(v, of)).collect::<Result<_, _>>()?))
        }
        (Value::Tuple(items), Type::Set(of)) => {
            Ok(Value::set((**of).clone(), items.iter().map(|v| exactly(v, of)).collect::<Result<_, _>>()?))
        }
        (Value::Tuple(items), Type::Tuple(of)) if items.len() == of.len() => {
            let items = items.iter().zip(of.iter()).map(|(v, of)| exactly(v, of));
            items.collect::<Result<_, _>>().map(Value::tuple)
        }
        (Value::Object(fields), Type::Map(of)) => {
            let fields = fields.iter().map(|(k, v)| Ok((k.clone(), exactly(v, of)?)));
            Ok(Value::Map(of.clone(), Rc::new(fields.collect::<Result<_, String>>()?)))
        }
        (Value::Object(fields), Type::Object(of)) => {
            if let Some(unknown) = fields.keys().find(|k| !of.contains_key(*k)) {
                return Err(format!("unsupported attribute \"{unknown}\""));
            }
            let fields = of.iter().map(|(name, kind)| {
                let value = match (fields.get(name), kind) {
                    (Some(value), Type::Optional(kind)) => exactly(value, kind)?,
                    (Some(value), kind) => exactly(value, kind)?,
                    (None, Type::Optional(kind)) => Value::Null((**kind).clone()),
                    (None, _) => return Err(format!("missing required attribute \"{name}\"")),
                };
                Ok((name.clone(), value))
            });
            Ok(Value::object(fields.collect::<Result<Fields, String>>()?))
        }
        (value, kind) => convert(value, kind),
    }
}

fn primitive(name: &str, text: &str, kind: &Type) -> Result<Value, String> {
    match kind {
        Type::String => Ok(Value::string(text)),
        Type::Bool => {
            parse_bool(text).map(Value::Bool).map_err(|e| format!("failed to parse {name} as bool: {e}"))
        }
        Type::Number => {
            let number = text.parse::<f64>().ok().filter(|n| n.is_finite()).and_then(Number::from_f64);
            number
                .map(Value::number)
                .ok_or_else(|| format!("failed to parse {name} as number: \"{text}\" is none"))
        }
        other => Err(format!("unsupported type {} for CSV specification", other.name())),
    }
}

fn from_csv(name: &str, text: &str, kind: &Type) -> Result<Value, String> {
    let fields = csv::fields(text).map_err(|e| e.to_string())?;
    match kind {
        Type::List(of) => {
            let items = fields.iter().map(|f| primitive(name, f, of)).collect::<Result<_, _>>()?;
            Ok(Value::list((**of).clone(), items))
        }
        Type::Set(of) => {
            let items = fields.iter().map(|f| primitive(name, f, of)).collect::<Result<_, _>>()?;
            Ok(Value::set((**of).clone(), items))
        }
        Type::Tuple(of) => {
            if fields.len() != of.len() {
                return Err(format!("{} elements are expected, but {} were given", of.len(), fields.len()));
            }
            let items = fields.iter().zip(of.iter()).map(|(f, of)| primitive(name, f, of));
            items.collect::<Result<_, _>>().map(Value::tuple)
        }
        Type::Map(of) => {
            let fields = fields.iter().map(|field| {
                let parts: Vec<&str> = field.split(':').collect();
                let [key, value] = parts.as_slice() else {
                    return Err(format!("one key:value pair is expected, but \"{field}\" is none"));
                };
                Ok((Rc::from(*key), primitive(name, value, of)?))
            });
            Ok(Value::map((**of).clone(), fields.collect::<Result<Fields, String>>()?))
        }
        other => Err(format!("unsupported type {} for CSV specification", other.name())),
    }
}
