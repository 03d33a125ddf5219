//! All expressions of a module that are evaluated, in no order of evaluation. Names that are defined, called or replaced
//! are none.

use regorus::unstable::{Expr, Literal, Query, Rule, RuleHead};

/// Visits the expressions of a rule, outer ones first. The second argument tells that the expression is the object of a
/// longer reference, as `input.image` is in `input.image.tag`.
pub(crate) fn rule<'m>(rule: &'m Rule, visit: &mut dyn FnMut(&'m Expr, bool)) {
    // A default is a constant.
    let Rule::Spec { head, bodies, .. } = rule else { return };
    match head {
        RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
            assign.iter().for_each(|assign| expr(&assign.value, false, visit));
        }
        RuleHead::Set { key, .. } => key.iter().for_each(|key| expr(key, false, visit)),
    }
    for body in bodies {
        body.assign.iter().for_each(|assign| expr(&assign.value, false, visit));
        query(&body.query, visit);
    }
}

fn query<'m>(q: &'m Query, visit: &mut dyn FnMut(&'m Expr, bool)) {
    for statement in &q.stmts {
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => {
                let parts = key.iter().chain([value, collection]);
                parts.for_each(|part| expr(part, false, visit));
            }
            Literal::Expr { expr: e, .. } | Literal::NotExpr { expr: e, .. } => expr(e, false, visit),
            Literal::Every { domain, query: q, .. } => {
                expr(domain, false, visit);
                query(q, visit);
            }
        }
        statement.with_mods.iter().for_each(|with| expr(&with.r#as, false, visit));
    }
}

fn expr<'m>(e: &'m Expr, is_inner: bool, visit: &mut dyn FnMut(&'m Expr, bool)) {
    visit(e, is_inner);
    match e {
        Expr::String { .. } | Expr::RawString { .. } | Expr::Number { .. } | Expr::Bool { .. } => {}
        Expr::Null { .. } | Expr::Var { .. } => {}
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().for_each(|item| expr(item, false, visit));
        }
        Expr::Object { fields, .. } => {
            let parts = fields.iter().flat_map(|(_, key, value)| [key, value]);
            parts.for_each(|part| expr(part, false, visit));
        }
        Expr::ArrayCompr { term, query: q, .. } | Expr::SetCompr { term, query: q, .. } => {
            expr(term, false, visit);
            query(q, visit);
        }
        Expr::ObjectCompr { key, value, query: q, .. } => {
            expr(key, false, visit);
            expr(value, false, visit);
            query(q, visit);
        }
        Expr::Call { params, .. } => params.iter().for_each(|param| expr(param, false, visit)),
        Expr::UnaryExpr { expr: e, .. } => expr(e, false, visit),
        Expr::RefDot { refr, .. } => expr(refr, true, visit),
        Expr::RefBrack { refr, index, .. } => {
            expr(refr, true, visit);
            expr(index, false, visit);
        }
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            expr(lhs, false, visit);
            expr(rhs, false, visit);
        }
        Expr::Membership { key, value, collection, .. } => {
            let parts = key.iter().chain([value, collection]);
            parts.for_each(|part| expr(part, false, visit));
        }
    }
}
