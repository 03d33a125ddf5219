//! Lists, tuples, maps and objects.

use std::rc::Rc;

use super::{Called, Context, bad, elements, integer, number_of, text_of};
use crate::convert::{common, convert};
use crate::eval;
use crate::number::Number;
use crate::types::{Type, unify};
use crate::value::{Fields, Value, compare};

/// A list where the source was a list, a tuple otherwise.
fn like(source: &Value, values: Vec<Value>) -> Value {
    match source {
        Value::List(of, _) | Value::Set(of, _) => Value::List(of.clone(), Rc::new(values)),
        _ => Value::tuple(values),
    }
}

pub(super) fn length(args: &[Value], _: &Context) -> Called {
    match &args[0] {
        Value::Object(_) => Err(bad(0, "the argument must be a list, map, set or tuple, not an object")),
        other => other
            .len()
            .map(Value::count)
            .ok_or_else(|| bad(0, "the argument must be a list, map, set or tuple")),
    }
}

/// Whether a key is of the type that the collection has keys of.
fn key_is_right(collection: &Value, key: &Value) -> Result<bool, super::CallError> {
    match collection {
        Value::List(..) | Value::Tuple(_) => Ok(matches!(key, Value::Number(_))),
        Value::Map(..) => Ok(matches!(key, Value::String(_))),
        _ => Err(bad(0, "the collection must be a list, map or tuple")),
    }
}

pub(super) fn has_index(args: &[Value], _: &Context) -> Called {
    Ok(Value::Bool(key_is_right(&args[0], &args[1])? && eval::index(&args[0], &args[1]).is_ok()))
}

pub(super) fn index(args: &[Value], _: &Context) -> Called {
    if !key_is_right(&args[0], &args[1])? {
        return Err(bad(1, "a list or tuple needs a number as key, a map text"));
    }
    eval::index(&args[0], &args[1]).map_err(|fault| bad(1, fault.detail()))
}

pub(super) fn index_of(args: &[Value], _: &Context) -> Called {
    let (Value::List(_, values) | Value::Tuple(values)) = &args[0] else {
        return Err(bad(0, "the argument must be a list or tuple"));
    };
    if values.is_empty() {
        return Err(bad(0, "an empty list has nothing to search"));
    }
    match values.iter().position(|v| *v == args[1]) {
        Some(i) => Ok(Value::count(i)),
        None => Err("there is no such item".into()),
    }
}

/// Counts around: the element after the last is the first.
pub(super) fn element(args: &[Value], _: &Context) -> Called {
    let (Value::List(_, values) | Value::Tuple(values)) = &args[0] else {
        return Err(bad(0, format!("a {} has no numbered elements", args[0].kind().name())));
    };
    let index = integer(args, 1)?;
    if values.is_empty() {
        return Err(bad(0, "an empty list has no elements"));
    }
    Ok(values[index.rem_euclid(values.len() as i64) as usize].clone())
}

pub(super) fn coalesce(args: &[Value], _: &Context) -> Called {
    if args.is_empty() {
        return Err("at least one argument is required".into());
    }
    let kinds: Vec<Type> = args.iter().map(Value::kind).collect();
    let kind = unify(&kinds).ok_or("all arguments must have the same type")?;
    let first = args.iter().find(|v| !v.is_null()).ok_or("all arguments are null")?;
    convert(first, &kind).map_err(Into::into)
}

pub(super) fn coalesce_list(args: &[Value], _: &Context) -> Called {
    if args.is_empty() {
        return Err("at least one argument is required".into());
    }
    for (i, arg) in args.iter().enumerate() {
        if !matches!(arg.kind(), Type::List(_) | Type::Tuple(_)) {
            return Err(bad(i, "all arguments must be lists or tuples"));
        }
    }
    let first = args.iter().find(|v| v.len().is_some_and(|n| n > 0));
    first.cloned().ok_or_else(|| "all arguments are null or empty".into())
}

pub(super) fn compact(args: &[Value], _: &Context) -> Called {
    let kept = elements(args, 0).iter().filter(|v| v.as_str().is_some_and(|s| !s.is_empty()));
    Ok(Value::list(Type::String, kept.cloned().collect()))
}

pub(super) fn contains(args: &[Value], _: &Context) -> Called {
    let values = args[0].sequence().ok_or_else(|| bad(0, "the argument must be a list, set or tuple"))?;
    Ok(Value::Bool(values.contains(&args[1])))
}

pub(super) fn distinct(args: &[Value], _: &Context) -> Called {
    let mut out: Vec<Value> = Vec::new();
    for value in elements(args, 0) {
        if !out.contains(value) {
            out.push(value.clone());
        }
    }
    Ok(like(&args[0], out))
}

pub(super) fn chunk_list(args: &[Value], _: &Context) -> Called {
    let size = usize::try_from(integer(args, 1)?).map_err(|_| bad(1, "the size must not be negative"))?;
    let values = elements(args, 0);
    let chunks: Vec<Value> = match (values.is_empty(), size) {
        (true, _) => Vec::new(),
        (false, 0) => vec![args[0].clone()],
        _ => values.chunks(size).map(|chunk| like(&args[0], chunk.to_vec())).collect(),
    };
    Ok(Value::list(args[0].kind(), chunks))
}

pub(super) fn flatten(args: &[Value], _: &Context) -> Called {
    fn into(values: &[Value], out: &mut Vec<Value>) {
        for value in values {
            match value.sequence() {
                Some(inner) => into(inner, out),
                None => out.push(value.clone()),
            }
        }
    }
    let values = args[0].sequence().ok_or_else(|| bad(0, "only lists, sets and tuples can be flattened"))?;
    let mut out = Vec::new();
    into(values, &mut out);
    Ok(Value::tuple(out))
}

pub(super) fn keys(args: &[Value], _: &Context) -> Called {
    let fields = args[0].fields().ok_or_else(|| bad(0, "the argument must be a map or object"))?;
    let keys = fields.keys().map(|k| Value::String(k.clone())).collect();
    Ok(match args[0] {
        Value::Map(..) => Value::list(Type::String, keys),
        _ => Value::tuple(keys),
    })
}

pub(super) fn values(args: &[Value], _: &Context) -> Called {
    let fields = args[0].fields().ok_or_else(|| bad(0, "the argument must be a map or object"))?;
    let values = fields.values().cloned().collect();
    Ok(match &args[0] {
        Value::Map(of, _) => Value::List(of.clone(), Rc::new(values)),
        _ => Value::tuple(values),
    })
}

pub(super) fn lookup(args: &[Value], _: &Context) -> Called {
    let fields = args[0].fields().ok_or_else(|| bad(0, "the first argument must be a map or object"))?;
    let default = match &args[0] {
        Value::Map(of, _) => convert(&args[2], of)
            .map_err(|_| bad(2, "the default must have the type of the elements of the map"))?,
        _ => args[2].clone(),
    };
    Ok(fields.get(text_of(args, 1)).cloned().unwrap_or(default))
}

/// Later ones win.
pub(super) fn merge(args: &[Value], _: &Context) -> Called {
    let mut out = Fields::new();
    for (i, arg) in args.iter().enumerate() {
        match (arg.fields(), arg.kind()) {
            (Some(fields), _) => out.extend(fields.iter().map(|(k, v)| (k.clone(), v.clone()))),
            (None, Type::Any | Type::Map(_) | Type::Object(_)) => {}
            (None, other) => {
                return Err(bad(i, format!("all arguments must be maps or objects, not {}", other.name())));
            }
        }
    }
    let kinds: Vec<Type> = args.iter().map(Value::kind).collect();
    Ok(match kinds.first() {
        Some(Type::Map(of)) if kinds.iter().all(|k| k == &kinds[0]) => Value::Map(of.clone(), Rc::new(out)),
        _ => Value::object(out),
    })
}

pub(super) fn reverse_list(args: &[Value], _: &Context) -> Called {
    let values = args[0].sequence().ok_or_else(|| bad(0, "only lists, sets and tuples can be reversed"))?;
    Ok(like(&args[0], values.iter().rev().cloned().collect()))
}

pub(super) fn slice(args: &[Value], _: &Context) -> Called {
    let (Value::List(_, values) | Value::Tuple(values)) = &args[0] else {
        return Err(bad(0, "the argument must be a list or tuple"));
    };
    let bound = |i: usize, name: &str| {
        let bound = usize::try_from(integer(args, i)?).ok().filter(|b| *b <= values.len());
        bound.ok_or_else(|| bad(i, format!("the {name} index must be from 0 to {}", values.len())))
    };
    let (start, end) = (bound(1, "start")?, bound(2, "end")?);
    let part =
        values.get(start..end).ok_or_else(|| bad(1, "the start index must not be after the end index"))?;
    Ok(like(&args[0], part.to_vec()))
}

pub(super) fn sort(args: &[Value], _: &Context) -> Called {
    let mut values = elements(args, 0).to_vec();
    if values.iter().any(Value::is_null) {
        return Err(bad(0, "a null element cannot be sorted"));
    }
    values.sort_by(compare);
    Ok(Value::list(Type::String, values))
}

pub(super) fn zip_map(args: &[Value], _: &Context) -> Called {
    let (Value::List(_, values) | Value::Tuple(values)) = &args[1] else {
        return Err(bad(1, "the values must be a list or tuple"));
    };
    let keys = elements(args, 0);
    if keys.len() != values.len() {
        return Err(format!("there are {} keys for {} values", keys.len(), values.len()).into());
    }
    let mut out = Fields::new();
    for (key, value) in keys.iter().zip(values.iter()) {
        let key = key.as_str().ok_or_else(|| bad(0, "a key must not be null"))?;
        out.insert(key.into(), value.clone());
    }
    Ok(match &args[1] {
        Value::List(of, _) => Value::Map(of.clone(), Rc::new(out)),
        _ => Value::object(out),
    })
}

pub(super) fn concat(args: &[Value], _: &Context) -> Called {
    if args.is_empty() {
        return Err("at least one argument is required".into());
    }
    let mut out = Vec::new();
    for (i, arg) in args.iter().enumerate() {
        match arg {
            Value::List(_, values) | Value::Tuple(values) => out.extend(values.iter().cloned()),
            _ => return Err(bad(i, "all arguments must be lists or tuples")),
        }
    }
    let lists = args.iter().all(|a| matches!(a, Value::List(..)));
    let kind = lists.then(|| unify(&args.iter().map(Value::kind).collect::<Vec<_>>())).flatten();
    match kind {
        Some(Type::List(of)) => {
            let of = if *of == Type::Any { common(&out).unwrap_or(Type::Any) } else { (*of).clone() };
            let values: Result<_, _> = out.iter().map(|v| convert(v, &of)).collect();
            Ok(Value::list(of, values?))
        }
        _ => Ok(Value::tuple(out)),
    }
}

/// `range(end)`, `range(start, end)` or `range(start, end, step)`.
pub(super) fn range(args: &[Value], _: &Context) -> Called {
    let number = |i| number_of(args, i);
    let down = |start: &Number, end: &Number| Number::from(if end < start { -1i64 } else { 1 });
    let (start, end, step) = match args.len() {
        1 => (Number::zero(), number(0), down(&Number::zero(), &number(0))),
        2 => (number(0), number(1), down(&number(0), &number(1))),
        3 => (number(0), number(1), number(2)),
        _ => return Err("it takes one, two or three numbers".into()),
    };
    if step.is_zero() {
        return Err(bad(2, "the step must not be zero"));
    }
    if step.is_negative() && end > start {
        return Err(bad(1, "with a negative step the end must be less than the start"));
    }
    if !step.is_negative() && end < start {
        return Err(bad(1, "with a positive step the end must be greater than the start"));
    }
    let mut out = Vec::new();
    let mut next = start;
    while if step.is_negative() { next > end } else { next < end } {
        if out.len() >= 1024 {
            return Err("this makes more than 1024 values".into());
        }
        let following = super::number::add(&next, &step)?;
        out.push(Value::number(std::mem::replace(&mut next, following)));
    }
    Ok(Value::list(Type::Number, out))
}
