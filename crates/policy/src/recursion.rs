//! Functions that call themselves would never end; Rego does not allow them. The evaluator finds rules that need
//! themselves, but not functions.

use std::collections::{BTreeMap, BTreeSet};

use errdefs::{Position, Result};
use regorus::unstable as ast;

use crate::fault;
use crate::modules::Module;
use crate::walk;

/// A function, by its package and name.
type Name = String;

/// Where a function begins, and what it calls.
type Function<'m> = (Option<(&'m Module, Position)>, BTreeSet<Name>);

#[derive(Default)]
struct Calls<'m> {
    by_name: BTreeMap<Name, Function<'m>>,
}

/// # Errors
/// A user error at a function that calls itself, by itself or through others.
pub(crate) fn check(modules: &[Module]) -> Result<()> {
    let mut calls = Calls::default();
    for module in modules {
        calls.read(module);
    }
    let mut done = BTreeSet::new();
    calls.by_name.keys().try_for_each(|name| calls.follow(name, &mut Vec::new(), &mut done))
}

impl<'m> Calls<'m> {
    fn read(&mut self, module: &'m Module) {
        let package = module.package();
        for rule in &module.syntax.policy {
            let ast::Rule::Spec { head: ast::RuleHead::Func { refr, .. }, .. } = rule.as_ref() else {
                continue;
            };
            let span = refr.span();
            let place = Position { line: span.line, character: span.col.saturating_sub(1) };
            let entry = self.by_name.entry(format!("{package}.{}", span.text())).or_default();
            entry.0.get_or_insert((module, place));
            walk::rule(rule, &mut |expr, _| {
                if let ast::Expr::Call { fcn, .. } = expr {
                    entry.1.insert(whole(module, &package, fcn.span().text()));
                }
            });
        }
    }

    fn follow<'c>(
        &'c self,
        name: &'c str,
        path: &mut Vec<&'c str>,
        done: &mut BTreeSet<&'c str>,
    ) -> Result<()> {
        if let Some(at) = path.iter().position(|other| *other == name) {
            let circle = [&path[at..], &[name]].concat().join(" -> ");
            let Some((Some((module, place)), _)) = self.by_name.get(name) else { return Ok(()) };
            return Err(fault::at(module, *place, &format!("function {name} is recursive: {circle}")));
        }
        if !done.insert(name) {
            return Ok(());
        }
        let Some((_, called)) = self.by_name.get(name) else { return Ok(()) };
        path.push(name);
        for other in called {
            self.follow(other, path, done)?;
        }
        path.pop();
        Ok(())
    }
}

/// What a call names: a function of the package, of an imported one, or of one named in full.
fn whole(module: &Module, package: &str, name: &str) -> Name {
    if name.starts_with("data.") {
        return name.to_owned();
    }
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    for import in &module.syntax.imports {
        let path = import.refr.span().text();
        let last = path.rsplit('.').next().unwrap_or(path);
        if import.r#as.as_ref().map_or(last, |span| span.text()) == first && path.starts_with("data.") {
            return if rest.is_empty() { path.to_owned() } else { format!("{path}.{rest}") };
        }
    }
    format!("{package}.{name}")
}
