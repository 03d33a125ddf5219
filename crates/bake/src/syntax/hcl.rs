//! HCL's own syntax, as `hcl-edit` reads it.

use std::ops::Range;
use std::rc::Rc;

use hcl_edit::Span as _;
use hcl_edit::Spanned;
use hcl_edit::expr::{Expression, ForExpr, ObjectKey, Traversal, TraversalOperator};
use hcl_edit::structure::{self, BlockLabel};
use hcl_edit::template::{Directive, Element, HeredocTemplate, StringTemplate, Strip, Template};

use super::{Attribute, Block, Body, Call, Expr, For, Kind, Part, Step, StepKind};
use crate::diagnostic::{Fault, File, Span};
use crate::number::Number;
use crate::value::Value;

pub fn parse(file: &File, index: u16) -> Result<Body, Fault> {
    let text = text(file, index)?;
    let reader = Reader { text, place: Place::At { file: index, offset: 0 } };
    match hcl_edit::parser::parse_body(text) {
        Ok(body) => reader.body(&body),
        Err(e) => {
            let offset = e.location().offset() as u32;
            let span = Span { file: index, start: offset, end: offset + 1 };
            Err(Fault::new("Invalid syntax", e.message()).at(span))
        }
    }
}

/// The text of a file, without the mark that some editors put in front.
pub fn text(file: &File, index: u16) -> Result<&str, Fault> {
    match std::str::from_utf8(&file.data) {
        Ok(text) => Ok(text),
        Err(e) => {
            let start = e.valid_up_to() as u32;
            let span = Span { file: index, start, end: start + 1 };
            Err(Fault::new("Invalid character encoding", "all input files must be UTF-8 encoded").at(span))
        }
    }
}

/// Reads text that was decoded from JSON. `span` is all of it; `exact` if nothing in it was escaped.
pub fn template(text: &str, span: Span, exact: bool) -> Kind {
    let place = match exact {
        true => Place::At { file: span.file, offset: span.start },
        false => Place::Within(span),
    };
    if !text.contains("${") && !text.contains("%{") {
        return Kind::Literal(Value::string(text));
    }
    match hcl_edit::parser::parse_template(text) {
        Ok(template) => Reader { text, place }.template(&template).unwrap_or_else(Kind::Broken),
        Err(e) => Kind::Broken(Fault::new("Invalid syntax", e.message()).at(span)),
    }
}

/// Reads text of a JSON file that is an expression and no template.
pub fn expression(text: &str, span: Span) -> Result<Expr, Fault> {
    match hcl_edit::parser::parse_expr(text) {
        Ok(e) => Reader { text, place: Place::Within(span) }.expr(&e),
        Err(e) => Err(Fault::new("Invalid syntax", e.message()).at(span)),
    }
}

/// Where the text stands that is read.
enum Place {
    At {
        file: u16,
        offset: u32,
    },
    /// Somewhere in this.
    Within(Span),
}

struct Reader<'t> {
    text: &'t str,
    place: Place,
}

/// How the text of a template is taken.
#[derive(Clone, Copy)]
enum Text {
    /// As one piece.
    Quoted,
    /// Line by line.
    Lines,
    /// Line by line, as it stands in the file.
    Source,
}

impl Reader<'_> {
    fn span(&self, range: Option<Range<usize>>) -> Span {
        match self.place {
            Place::Within(span) => span,
            Place::At { file, offset } => {
                let range = range.unwrap_or_default();
                Span { file, start: offset + range.start as u32, end: offset + range.end as u32 }
            }
        }
    }

    fn body(&self, body: &structure::Body) -> Result<Body, Fault> {
        let mut out = Body::default();
        for attribute in body.attributes() {
            out.attributes.push(Attribute {
                name: attribute.key.as_str().into(),
                name_span: self.span(attribute.key.span()),
                value: Rc::new(self.expr(&attribute.value)?),
            });
        }
        for block in body.blocks() {
            let labels = block.labels.iter().map(|label| match label {
                BlockLabel::Ident(name) => (name.as_str().into(), self.span(name.span())),
                BlockLabel::String(text) => (text.as_str().into(), self.span(text.span())),
            });
            out.blocks.push(Block {
                kind: block.ident.as_str().into(),
                kind_span: self.span(block.ident.span()),
                labels: labels.collect(),
                body: self.body(&block.body)?,
            });
        }
        Ok(out)
    }

    fn boxed(&self, e: &Expression) -> Result<Box<Expr>, Fault> {
        self.expr(e).map(Box::new)
    }

    fn all<'a>(&self, items: impl Iterator<Item = &'a Expression>) -> Result<Vec<Expr>, Fault> {
        items.map(|e| self.expr(e)).collect()
    }

    fn expr(&self, e: &Expression) -> Result<Expr, Fault> {
        let span = self.span(e.span());
        let kind = match e {
            Expression::Null(_) => Kind::Literal(Value::NULL),
            Expression::Bool(b) => Kind::Literal(Value::Bool(*b.value())),
            Expression::Number(n) => {
                let text = n.as_repr().map_or_else(|| n.value().to_string(), |repr| repr.to_string());
                let number = Number::parse(text.trim()).ok_or_else(|| {
                    Fault::new("Invalid number", format!("`{text}` is out of range")).at(span)
                })?;
                Kind::Literal(Value::number(number))
            }
            Expression::String(text) => Kind::Literal(Value::string(text.as_str())),
            Expression::Array(items) => Kind::Tuple(self.all(items.iter())?),
            Expression::Object(items) => {
                let items = items.iter().map(|(key, value)| {
                    let key = match key {
                        ObjectKey::Ident(name) => Expr {
                            kind: Kind::Literal(Value::string(name.as_str())),
                            span: self.span(name.span()),
                        },
                        // Without parentheses a word is a key, whatever else it means.
                        ObjectKey::Expression(e @ Expression::Null(_)) => {
                            Expr { kind: Kind::Literal(Value::string("null")), span: self.span(e.span()) }
                        }
                        ObjectKey::Expression(e) => self.expr(e)?,
                    };
                    Ok((key, self.expr(value.expr())?))
                });
                Kind::Object(items.collect::<Result<_, Fault>>()?)
            }
            Expression::StringTemplate(t) => self.string_template(t)?,
            Expression::HeredocTemplate(t) => self.heredoc(t)?,
            Expression::Parenthesis(inner) => Kind::Parenthesis(self.boxed(inner.inner())?),
            Expression::Variable(name) => Kind::Variable(name.as_str().into()),
            Expression::Conditional(c) => Kind::Conditional(Box::new([
                self.expr(&c.cond_expr)?,
                self.expr(&c.true_expr)?,
                self.expr(&c.false_expr)?,
            ])),
            Expression::FuncCall(call) => {
                let spaces = call.name.namespace.iter().map(|n| n.as_str()).chain([call.name.name.as_str()]);
                Kind::Call(Box::new(Call {
                    name: spaces.collect::<Vec<_>>().join("::").into(),
                    name_span: self.span(call.name.name.span()),
                    args: self.all(call.args.iter())?,
                    expand: call.args.expand_final(),
                }))
            }
            Expression::Traversal(t) => self.traversal(t)?,
            Expression::UnaryOp(op) => Kind::Unary(*op.operator.value(), self.boxed(&op.expr)?),
            Expression::BinaryOp(op) => {
                Kind::Binary(self.boxed(&op.lhs_expr)?, *op.operator.value(), self.boxed(&op.rhs_expr)?)
            }
            Expression::ForExpr(f) => Kind::For(Box::new(self.for_expr(f)?)),
        };
        Ok(Expr { kind, span })
    }

    fn for_expr(&self, f: &ForExpr) -> Result<For, Fault> {
        Ok(For {
            key: f.intro.key_var.as_ref().map(|k| k.as_str().into()),
            value: f.intro.value_var.as_str().into(),
            collection: self.expr(&f.intro.collection_expr)?,
            result_key: f.key_expr.as_ref().map(|e| self.expr(e)).transpose()?,
            result: self.expr(&f.value_expr)?,
            condition: f.cond.as_ref().map(|c| self.expr(&c.expr)).transpose()?,
            grouped: f.grouping,
        })
    }

    fn traversal(&self, t: &Traversal) -> Result<Kind, Fault> {
        let mut operators = t.operators.iter().peekable();
        let mut steps = Vec::new();
        while let Some(operator) = operators.next() {
            let span = self.span(operator.span());
            let kind = match operator.value() {
                TraversalOperator::AttrSplat(_) => {
                    // Only names belong to it; an index after them picks from the result.
                    let mut inner = Vec::new();
                    while let Some(next) = operators.next_if(|o| {
                        matches!(o.value(), TraversalOperator::GetAttr(_) | TraversalOperator::LegacyIndex(_))
                    }) {
                        inner.push(self.step(next)?);
                    }
                    StepKind::Splat(inner)
                }
                TraversalOperator::FullSplat(_) => {
                    let mut inner = Vec::new();
                    while let Some(next) = operators.next_if(|o| {
                        !matches!(
                            o.value(),
                            TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_)
                        )
                    }) {
                        inner.push(self.step(next)?);
                    }
                    // A second splat works on each element of the first.
                    if operators.peek().is_some() {
                        let rest: Vec<_> = operators.by_ref().cloned().collect();
                        let rest = Traversal::new(Expression::null(), rest);
                        if let Kind::Traversal(_, more) = self.traversal(&rest)? {
                            inner.extend(more);
                        }
                    }
                    StepKind::Splat(inner)
                }
                _ => {
                    steps.push(self.step(operator)?);
                    continue;
                }
            };
            steps.push(Step { kind, span });
        }
        Ok(Kind::Traversal(self.boxed(&t.expr)?, steps))
    }

    fn step(&self, operator: &hcl_edit::Decorated<TraversalOperator>) -> Result<Step, Fault> {
        let span = self.span(operator.span());
        let kind = match operator.value() {
            TraversalOperator::GetAttr(name) => StepKind::Attribute(name.as_str().into()),
            TraversalOperator::Index(e) => StepKind::Index(self.expr(e)?),
            TraversalOperator::LegacyIndex(i) => {
                let index = Number::parse(&i.value().to_string()).unwrap_or_else(Number::zero);
                StepKind::Index(Expr { kind: Kind::Literal(Value::number(index)), span })
            }
            TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => StepKind::Splat(Vec::new()),
        };
        Ok(Step { kind, span })
    }

    fn string_template(&self, t: &StringTemplate) -> Result<Kind, Fault> {
        let elements: Vec<&Element> = t.iter().collect();
        self.kind_of(&elements, Text::Quoted)
    }

    fn template(&self, t: &Template) -> Result<Kind, Fault> {
        let elements: Vec<&Element> = t.iter().collect();
        self.kind_of(&elements, Text::Lines)
    }

    /// Text, even where it is nothing but one value.
    fn heredoc(&self, t: &HeredocTemplate) -> Result<Kind, Fault> {
        let elements: Vec<&Element> = t.template.iter().collect();
        // What `<<-` took away is put back from the source: how much goes depends on the marks of the template.
        let text = if t.indent().is_some() { Text::Source } else { Text::Lines };
        let mut parts = self.parts(&elements, Strip::None, Strip::None, text)?;
        if let Text::Source = text {
            super::indent::remove(&mut parts);
        }
        drop_empty(&mut parts);
        Ok(simplest(parts))
    }

    fn kind_of(&self, elements: &[&Element], text: Text) -> Result<Kind, Fault> {
        if let [Element::Interpolation(one)] = elements {
            return Ok(Kind::Wrapped(self.boxed(&one.expr)?));
        }
        let mut parts = self.parts(elements, Strip::None, Strip::None, text)?;
        drop_empty(&mut parts);
        Ok(simplest(parts))
    }

    /// `before` and `after` are the marks that enclose the elements: of `%{ if x ~}` and `%{~ endif }`.
    fn parts(
        &self,
        elements: &[&Element],
        before: Strip,
        after: Strip,
        text: Text,
    ) -> Result<Vec<Part>, Fault> {
        let mut out = Vec::new();
        for (i, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(literal) => {
                    let left = if i == 0 { before } else { trailing_mark(elements[i - 1]) };
                    let right = elements.get(i + 1).map_or(after, |next| leading_mark(next));
                    self.literal(literal, (left, right), text, &mut out);
                }
                Element::Interpolation(inner) => out.push(Part::Value(self.expr(&inner.expr)?)),
                Element::Directive(directive) => out.push(self.directive(directive, text)?),
            }
        }
        Ok(out)
    }

    /// A mark strips no farther than the line on which it stands; a quoted text is one line.
    fn literal(
        &self,
        literal: &Spanned<String>,
        (left, right): (Strip, Strip),
        text: Text,
        out: &mut Vec<Part>,
    ) {
        let source = match (text, literal.span()) {
            (Text::Source, Some(span)) => {
                self.text.get(span).map(|t| t.replace("$${", "${").replace("%%{", "%{"))
            }
            _ => None,
        };
        let all = source.as_deref().unwrap_or(literal.as_str());
        let mut lines: Vec<&str> = match text {
            Text::Quoted => vec![all],
            _ => all.split_inclusive('\n').collect(),
        };
        if let Some(first) = lines.first_mut().filter(|_| strips_end(left)) {
            *first = first.trim_start();
        }
        if let Some(last) = lines.last_mut().filter(|_| strips_start(right)) {
            *last = last.trim_end();
        }
        out.extend(lines.into_iter().map(|line| Part::Text(line.into())));
    }

    fn directive(&self, directive: &Directive, text: Text) -> Result<Part, Fault> {
        match directive {
            Directive::If(d) => {
                let end_of_then = d.else_expr.as_ref().map_or(d.endif_expr.strip, |e| e.strip);
                let then: Vec<&Element> = d.if_expr.template.iter().collect();
                let otherwise = match &d.else_expr {
                    None => Vec::new(),
                    Some(e) => {
                        let elements: Vec<&Element> = e.template.iter().collect();
                        self.parts(&elements, e.strip, d.endif_expr.strip, text)?
                    }
                };
                Ok(Part::If {
                    condition: self.expr(&d.if_expr.cond_expr)?,
                    then: self.parts(&then, d.if_expr.strip, end_of_then, text)?,
                    otherwise,
                })
            }
            Directive::For(d) => {
                let elements: Vec<&Element> = d.for_expr.template.iter().collect();
                Ok(Part::For {
                    key: d.for_expr.key_var.as_ref().map(|k| k.as_str().into()),
                    value: d.for_expr.value_var.as_str().into(),
                    collection: self.expr(&d.for_expr.collection_expr)?,
                    body: self.parts(&elements, d.for_expr.strip, d.endfor_expr.strip, text)?,
                })
            }
        }
    }
}

fn drop_empty(parts: &mut Vec<Part>) {
    parts.retain(|p| !matches!(p, Part::Text(text) if text.is_empty()));
    for part in parts {
        match part {
            Part::If { then, otherwise, .. } => {
                drop_empty(then);
                drop_empty(otherwise);
            }
            Part::For { body, .. } => drop_empty(body),
            Part::Text(_) | Part::Value(_) => {}
        }
    }
}

/// Text without anything to fill in is a literal.
fn simplest(parts: Vec<Part>) -> Kind {
    let texts: Option<Vec<&str>> = parts
        .iter()
        .map(|p| match p {
            Part::Text(text) => Some(&**text),
            _ => None,
        })
        .collect();
    match texts {
        Some(texts) => Kind::Literal(Value::string(texts.concat())),
        None => Kind::Template(parts),
    }
}

fn strips_start(strip: Strip) -> bool {
    matches!(strip, Strip::Start | Strip::Both)
}

fn strips_end(strip: Strip) -> bool {
    matches!(strip, Strip::End | Strip::Both)
}

/// The mark at which the element begins.
fn leading_mark(element: &Element) -> Strip {
    match element {
        Element::Literal(_) => Strip::None,
        Element::Interpolation(i) => i.strip,
        Element::Directive(d) => match &**d {
            Directive::If(d) => d.if_expr.strip,
            Directive::For(d) => d.for_expr.strip,
        },
    }
}

/// The mark at which the element ends.
fn trailing_mark(element: &Element) -> Strip {
    match element {
        Element::Literal(_) => Strip::None,
        Element::Interpolation(i) => i.strip,
        Element::Directive(d) => match &**d {
            Directive::If(d) => d.endif_expr.strip,
            Directive::For(d) => d.endfor_expr.strip,
        },
    }
}
