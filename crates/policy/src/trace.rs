//! Finds out which fields of the input a policy reads.
//!
//! The evaluator does not tell. So the text of a policy is changed before it sees it: `image.labels` becomes
//! `image[__field(image, "labels")]`. The function gives the name back, and has seen from which object which field was
//! read, at the moment when it was read: through other names of the object and arguments of functions, and only where the
//! evaluation came to. buildx learns the same by partial evaluation, which this evaluator has not.

use regorus::Value;
use regorus::unstable as ast;

use crate::walk;

/// The function that hears of an object and a field of it.
pub(crate) const FIELD: &str = "__field";
/// The function that hears of a field only: of `a[_].labels`, where naming the object again would mean another one. Its
/// second argument tells that the object is one of a list, as materials are.
pub(crate) const NAME: &str = "__name";

/// Fields that may have to be asked for, of whichever kind of source.
const FIELDS: [&str; 17] = [
    "branch",
    "checksum",
    "commit",
    "commitChecksum",
    "env",
    "hasProvenance",
    "isAnnotatedTag",
    "isSHA256",
    "labels",
    "provenance",
    "ref",
    "signatures",
    "tag",
    "tagName",
    "user",
    "volumes",
    "workingDir",
];

/// A stretch of the text, and what stands there instead.
pub(crate) struct Edit {
    pub start: usize,
    pub end: usize,
    pub text: String,
}

/// Changes that make a module tell what it reads, from its start to its end.
pub(crate) fn edits(module: &ast::Module) -> Vec<Edit> {
    let mut tracer =
        Tracer { text: module.package.span.source.contents(), opaque: vec!["data"], edits: Vec::new() };
    for import in &module.imports {
        let path = import.refr.span().text();
        if path == "data" || path.starts_with("data.") || path.starts_with("data[") {
            let last = path.rsplit('.').next().unwrap_or(path);
            tracer.opaque.push(import.r#as.as_ref().map_or(last, |span| span.text()));
        }
    }
    module.policy.iter().for_each(|rule| walk::rule(rule, &mut |expr, _| tracer.expr(expr)));
    let mut edits = tracer.edits;
    edits.sort_by_key(|edit| edit.start);
    edits
}

struct Tracer<'t> {
    text: &'t str,
    /// Names of what is no input: reading it twice may mean to compute much.
    opaque: Vec<&'t str>,
    edits: Vec<Edit>,
}

impl<'t> Tracer<'t> {
    fn expr(&mut self, expr: &'t ast::Expr) {
        match expr {
            ast::Expr::RefDot { refr, field, .. } => self.field(refr, field.0.text(), field.0.end),
            ast::Expr::RefBrack { span, refr, index, .. } => match index.as_ref() {
                ast::Expr::String { value, .. } | ast::Expr::RawString { value, .. } => {
                    self.field(refr, name(value), span.end);
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// The field of an object, whose text ends before `end`.
    fn field(&mut self, object: &'t ast::Expr, name: &str, end: u32) {
        if !FIELDS.contains(&name) {
            return;
        }
        let call = match root(object) {
            Root::Var(root) if self.opaque.contains(&root) => return,
            Root::Var("input") if matches!(object, ast::Expr::Var { .. }) => return,
            Root::Var(_) => format!("[{FIELD}({}, {name:?})]", object.span().text()),
            Root::Wildcard => format!("[{NAME}({name:?}, true)]"),
            Root::Other => format!("[{NAME}({name:?}, false)]"),
        };
        let (start, end) = (object.span().end as usize, end as usize);
        if self.text.get(start..end).is_some() {
            self.edits.push(Edit { start, end, text: call });
        }
    }
}

enum Root<'t> {
    Var(&'t str),
    /// There are wildcards on the way.
    Wildcard,
    /// A call or the like.
    Other,
}

fn root(mut expr: &ast::Expr) -> Root<'_> {
    loop {
        match expr {
            ast::Expr::Var { span, .. } => return Root::Var(span.text()),
            ast::Expr::RefDot { refr, .. } => expr = refr,
            ast::Expr::RefBrack { refr, index, .. } => match index.as_ref() {
                ast::Expr::Var { span, .. } if span.text() == "_" => return Root::Wildcard,
                ast::Expr::Var { .. } | ast::Expr::String { .. } | ast::Expr::RawString { .. } => expr = refr,
                ast::Expr::Number { .. } => expr = refr,
                _ => return Root::Other,
            },
            _ => return Root::Other,
        }
    }
}

/// The text with the changes made.
pub(crate) fn apply(text: &str, edits: &[Edit]) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        out.push_str(&text[at..edit.start]);
        out.push_str(&edit.text);
        at = edit.end;
    }
    out.push_str(&text[at..]);
    out
}

/// The name that a call of [`FIELD`] or [`NAME`] gives back.
pub(crate) fn name(value: &Value) -> &str {
    value.as_string().map_or("", |name| name)
}
