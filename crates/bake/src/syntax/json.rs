//! The JSON syntax of HCL: objects are bodies, texts are templates.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Attribute, Block, Body, Expr, Kind, hcl};
use crate::diagnostic::{Fault, File, Span};
use crate::number::Number;
use crate::value::Value;

/// Blocks that a file may hold; each has one label.
const LABELED: [&str; 4] = ["target", "group", "variable", "function"];
/// Nesting past this is refused, so that nothing runs out of stack.
const MAX_DEPTH: usize = 64;

pub fn parse(file: &File, index: u16) -> Result<Body, Fault> {
    let text = hcl::text(file, index)?;
    let reader = Reader { text, file: index };
    let root: &RawValue = serde_json::from_str(text).map_err(|e| reader.syntax(&e, 0, text))?;
    let mut body = Body::default();
    for (name, value) in reader.objects(root, 0)? {
        match LABELED.iter().find(|kind| **kind == name) {
            Some(kind) => reader.blocks(kind, value, &mut body)?,
            None => body.attributes.extend(reader.attribute(&name, value)?),
        }
    }
    Ok(body)
}

struct Reader<'a> {
    text: &'a str,
    file: u16,
}

/// The members of an object in their order, also those that are there twice.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    out.push((Cow::Owned(key), value));
                }
                Ok(Members(out))
            }
        }
        d.deserialize_map(All)
    }
}

impl<'a> Reader<'a> {
    fn span(&self, raw: &RawValue) -> Span {
        let raw = raw.get();
        let start = (raw.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        Span { file: self.file, start: start as u32, end: (start + raw.len()) as u32 }
    }

    /// Where the name of a member stands, told by its value.
    fn name_span(&self, value: &RawValue) -> Span {
        let start = self.span(value).start as usize;
        let before = self.text[..start].trim_end().trim_end_matches(':').trim_end();
        let end = before.len();
        let open = before[..end.saturating_sub(1)].rfind('"').unwrap_or(0);
        Span { file: self.file, start: open as u32, end: end as u32 }
    }

    fn syntax(&self, e: &serde_json::Error, base: usize, text: &str) -> Fault {
        let line_start: usize =
            text.split_inclusive('\n').take(e.line().saturating_sub(1)).map(str::len).sum();
        let start = (base + line_start + e.column().saturating_sub(1)) as u32;
        let message = e.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        Fault::new("Invalid JSON", message).at(Span { file: self.file, start, end: start + 1 })
    }

    fn wrong(&self, raw: &RawValue, message: &str) -> Fault {
        Fault::new("Incorrect JSON value type", message).at(self.span(raw))
    }

    fn members(&self, raw: &'a RawValue) -> Result<Vec<(Cow<'a, str>, &'a RawValue)>, Fault> {
        match serde_json::from_str::<Members>(raw.get()) {
            Ok(members) => Ok(members.0),
            Err(e) => Err(self.syntax(&e, self.span(raw).start as usize, raw.get())),
        }
    }

    fn items(&self, raw: &'a RawValue) -> Result<Vec<&'a RawValue>, Fault> {
        serde_json::from_str(raw.get()).map_err(|e| self.syntax(&e, self.span(raw).start as usize, raw.get()))
    }

    /// The members of an object, or of all objects of an array.
    fn objects(&self, raw: &'a RawValue, depth: usize) -> Result<Vec<(Cow<'a, str>, &'a RawValue)>, Fault> {
        match raw.get().as_bytes().first() {
            Some(b'{') => self.members(raw),
            Some(b'[') if depth < 3 => {
                let mut out = Vec::new();
                for item in self.items(raw)? {
                    out.extend(self.objects(item, depth + 1)?);
                }
                Ok(out)
            }
            Some(b'n') => Ok(Vec::new()),
            _ => Err(self.wrong(raw, "either a JSON object or an array of JSON objects is required here")),
        }
    }

    /// `{"label": {...}}`, where each of both may be an array of such.
    fn blocks(&self, kind: &str, raw: &'a RawValue, out: &mut Body) -> Result<(), Fault> {
        for (label, value) in self.objects(raw, 0)? {
            let bodies = match value.get().as_bytes().first() {
                Some(b'[') => self.items(value)?,
                _ => vec![value],
            };
            let name_span = self.name_span(value);
            for body in bodies {
                if body.get().starts_with('n') {
                    continue;
                }
                out.blocks.push(Block {
                    kind: kind.into(),
                    kind_span: name_span,
                    labels: vec![(label.as_ref().into(), name_span)],
                    body: self.body(kind, body)?,
                });
            }
        }
        Ok(())
    }

    fn body(&self, kind: &str, raw: &'a RawValue) -> Result<Body, Fault> {
        let mut body = Body::default();
        for (name, value) in self.objects(raw, 1)? {
            if kind == "variable" && name == "validation" {
                let rules = match value.get().as_bytes().first() {
                    Some(b'[') => self.items(value)?,
                    _ => vec![value],
                };
                for rule in rules {
                    body.blocks.push(Block {
                        kind: "validation".into(),
                        kind_span: self.name_span(value),
                        labels: Vec::new(),
                        body: self.body("validation", rule)?,
                    });
                }
                continue;
            }
            let attribute = self.attribute(&name, value)?;
            if let Some(again) = attribute.as_ref().filter(|a| body.attribute(&a.name).is_some()) {
                return Err(
                    Fault::new("Duplicate argument", format!("`{name}` was already set")).at(again.name_span)
                );
            }
            body.attributes.extend(attribute);
        }
        Ok(body)
    }

    /// `None` for a comment.
    fn attribute(&self, name: &str, value: &'a RawValue) -> Result<Option<Attribute>, Fault> {
        if name == "//" {
            return Ok(None);
        }
        let name_span = self.name_span(value);
        Ok(Some(Attribute { name: name.into(), name_span, value: Rc::new(self.expr(value, 0)?) }))
    }

    fn expr(&self, raw: &'a RawValue, depth: usize) -> Result<Expr, Fault> {
        let span = self.span(raw);
        if depth > MAX_DEPTH {
            return Err(Fault::new("Invalid JSON", "this is nested too deeply").at(span));
        }
        let text = raw.get();
        let kind = match text.as_bytes().first() {
            Some(b'{') => {
                let members = self.members(raw)?.into_iter().map(|(name, value)| {
                    let key_span = self.name_span(value);
                    let key = Expr { kind: self.template(&name, key_span), span: key_span };
                    Ok((key, self.expr(value, depth + 1)?))
                });
                Kind::Object(members.collect::<Result<_, Fault>>()?)
            }
            Some(b'[') => Kind::Tuple(
                self.items(raw)?.into_iter().map(|e| self.expr(e, depth + 1)).collect::<Result<_, _>>()?,
            ),
            Some(b'"') => {
                let decoded: String =
                    serde_json::from_str(text).map_err(|e| self.syntax(&e, span.start as usize, text))?;
                self.template(&decoded, span)
            }
            Some(b't') => Kind::Literal(Value::Bool(true)),
            Some(b'f') => Kind::Literal(Value::Bool(false)),
            Some(b'n') => Kind::Literal(Value::NULL),
            _ => Kind::Literal(Value::number(
                Number::parse(text).ok_or_else(|| self.wrong(raw, "the number is out of range"))?,
            )),
        };
        Ok(Expr { kind, span })
    }

    /// `span` is that of the text with its quotes.
    fn template(&self, decoded: &str, span: Span) -> Kind {
        let exact = span.end.saturating_sub(span.start) as usize == decoded.len() + 2;
        let inner =
            Span { start: span.start + 1, end: span.end.saturating_sub(1).max(span.start + 1), ..span };
        hcl::template(decoded, if exact { inner } else { span }, exact)
    }
}
