//! Sets.

use super::{CallError, Called, Context, bad, elements};
use crate::convert::{common, convert};
use crate::types::{Type, unify};
use crate::value::{Value, compare};

/// All arguments as sets of one type.
fn unified(args: &[Value]) -> Result<(Type, Vec<Vec<Value>>), CallError> {
    let kinds: Vec<Type> = args
        .iter()
        .filter(|a| a.len() != Some(0) || !matches!(a, Value::Set(of, _) if **of == Type::Any))
        .map(Value::kind)
        .collect();
    let kind = unify(&kinds).ok_or("the given sets must all have compatible element types")?;
    let of = match &kind {
        Type::Set(of) => (**of).clone(),
        _ => Type::Any,
    };
    let sets =
        args.iter().map(|set| set.sequence().unwrap_or_default().iter().map(|v| convert(v, &of)).collect());
    let sets = sets.collect::<Result<_, String>>()?;
    Ok((of, sets))
}

pub(super) fn has_element(args: &[Value], _: &Context) -> Called {
    Ok(Value::Bool(elements(args, 0).contains(&args[1])))
}

pub(super) fn union(args: &[Value], _: &Context) -> Called {
    let (of, sets) = unified(args)?;
    Ok(Value::set(of, sets.concat()))
}

pub(super) fn intersection(args: &[Value], _: &Context) -> Called {
    let (of, sets) = unified(args)?;
    let (first, rest) = sets.split_first().ok_or("at least one set is required")?;
    let kept = first.iter().filter(|v| rest.iter().all(|set| has(set, v)));
    Ok(Value::set(of, kept.cloned().collect()))
}

pub(super) fn subtract(args: &[Value], _: &Context) -> Called {
    let (of, sets) = unified(args)?;
    let kept = sets[0].iter().filter(|v| !has(&sets[1], v));
    Ok(Value::set(of, kept.cloned().collect()))
}

/// What is in an odd number of the sets.
pub(super) fn symmetric_difference(args: &[Value], _: &Context) -> Called {
    let (of, sets) = unified(args)?;
    let mut out: Vec<Value> = Vec::new();
    for set in sets {
        let (gone, new): (Vec<Value>, Vec<Value>) = set.into_iter().partition(|v| has(&out, v));
        out.retain(|v| !gone.contains(v));
        out.extend(new);
        out.sort_by(compare);
    }
    Ok(Value::set(of, out))
}

fn has(set: &[Value], value: &Value) -> bool {
    set.contains(value)
}

/// Every combination of one element of each; the last changes fastest.
pub(super) fn product(args: &[Value], _: &Context) -> Called {
    if args.len() < 2 {
        return Err("at least two arguments are required".into());
    }
    let mut kinds = Vec::new();
    let mut sources = Vec::new();
    let mut total = 1usize;
    for (i, arg) in args.iter().enumerate() {
        let values = arg.sequence().ok_or_else(|| bad(i, "a set, list or tuple is required"))?;
        let of = match arg {
            Value::List(of, _) | Value::Set(of, _) => (**of).clone(),
            _ => common(values).ok_or_else(|| bad(i, "all elements must be of the same type"))?,
        };
        let values: Result<Vec<Value>, String> = values.iter().map(|v| convert(v, &of)).collect();
        kinds.push(of);
        sources.push(values?);
        total = total.saturating_mul(sources[i].len());
    }
    if total > 1 << 20 {
        return Err("there are too many combinations".into());
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for source in &sources {
        rows = rows
            .iter()
            .flat_map(|row| source.iter().map(|v| row.iter().chain([v]).cloned().collect()))
            .collect();
    }
    let rows = rows.into_iter().map(Value::tuple).collect();
    let of = Type::Tuple(kinds.into());
    Ok(match args.iter().any(|a| matches!(a, Value::Set(..))) {
        true => Value::set(of, rows),
        false => Value::list(of, rows),
    })
}
