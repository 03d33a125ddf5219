//! Fields of the input that a module names, wherever that is.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Module};

use crate::walk;

/// As `image.labels`: two names at most, as buildx tells them.
pub(crate) fn of_input(module: &Module) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for rule in &module.policy {
        walk::rule(rule, &mut |expr, is_inner| {
            let path = if is_inner { None } else { path(expr) };
            let Some(["input", names @ ..]) = path.as_deref() else { return };
            let fixed: Vec<&str> =
                names.iter().copied().take_while(|name| !name.is_empty()).take(2).collect();
            if !fixed.is_empty() {
                fields.insert(fixed.join("."));
            }
        });
    }
    fields
}

/// The names that a reference begins with, up to the first that is not fixed.
fn path(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Var { span, .. } => Some(vec![span.text()]),
        Expr::RefDot { refr, field, .. } => Some(longer(refr, Some(field.0.text()))?),
        Expr::RefBrack { refr, index, .. } => match index.as_ref() {
            Expr::String { value, .. } | Expr::RawString { value, .. } => {
                longer(refr, value.as_string().ok().map(|name| name.as_ref()))
            }
            _ => longer(refr, None),
        },
        _ => None,
    }
}

/// Behind what is not fixed comes an empty name, which ends the path.
fn longer<'m>(refr: &'m Expr, name: Option<&'m str>) -> Option<Vec<&'m str>> {
    let mut path = path(refr)?;
    if path.last() != Some(&"") {
        path.push(name.unwrap_or_default());
    }
    Some(path)
}
