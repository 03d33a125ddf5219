//! Output in a form of the user's own: a template in Go's language over JSON.

use std::collections::{BTreeMap, HashMap};

use errdefs::{Error, Result};
use gtmpl::{Func, FuncError, Template as Parsed, Value as Word};
use serde_json::Value;

/// A template, or the wish for JSON.
pub(crate) enum Template {
    Json,
    Go { template: Box<Parsed>, fields: Fields },
}

/// Fields that have one name in JSON and, as those of Go's structures, another in templates.
type Fields = &'static [&'static str];

impl Template {
    /// Reads `json` or a template such as `{{.ID}}`. `fields` are those whose names in a template begin with a capital.
    pub(crate) fn parse(text: &str, fields: Fields) -> Result<Self> {
        if text == "json" || text == "{{json .}}" {
            return Ok(Template::Json);
        }
        let template = compile(text, json).map_err(|e| e.hint("write it as `{{.ID}}` or `json`"))?;
        Ok(Template::Go { template: Box::new(template), fields })
    }

    /// Fills it in.
    pub(crate) fn fill(&self, value: &Value) -> Result<String> {
        match self {
            Template::Json => Ok(value.to_string()),
            Template::Go { template, fields } => render(template, word(value, fields)),
        }
    }
}

/// Reads a template whose function `json` is this one.
pub(crate) fn compile(text: &str, json: Func) -> Result<Parsed> {
    let mut template = Parsed::default();
    template.add_func("json", json);
    template.parse(text).map_err(|e| Error::user(format!("invalid template {text:?}: {e}")))?;
    Ok(template)
}

/// Fills a template in.
pub(crate) fn render(template: &Parsed, value: Word) -> Result<String> {
    let filled = template.render(&gtmpl::Context::from(value));
    filled.map_err(|e| Error::user(format!("the template does not fit what it is for: {e}")))
}

/// Marks, within a value that is a structure, which fields JSON has, and what they are called there.
const FIELDS: &str = "\0";

/// A structure of Go's: its fields by their names in templates and in JSON, in their order there. Those that are empty
/// and not in JSON then are marked so.
pub(crate) fn structure(fields: Vec<(&str, &str, Word, bool)>) -> Word {
    let text = |text: &str| Word::String(text.to_owned());
    let shown = fields.iter().filter(|(_, _, _, shown)| *shown);
    let shown = shown.map(|(go, json, ..)| Word::Array(vec![text(go), text(json)])).collect();
    let mut words: HashMap<String, Word> =
        fields.into_iter().map(|(go, _, value, _)| (go.to_owned(), value)).collect();
    words.insert(FIELDS.into(), Word::Array(shown));
    Word::Map(words)
}

fn go_name(name: &str) -> String {
    match name {
        "id" | "os" => name.to_uppercase(),
        "gcPolicy" => "GCPolicy".into(),
        "cdiDevices" => "CDIDevices".into(),
        name => name[..1].to_uppercase() + &name[1..],
    }
}

fn json(args: &[Word]) -> Result<Word, FuncError> {
    let value = args.first().ok_or_else(|| FuncError::ExactlyXArgs("json".into(), 1))?;
    Ok(Word::String(to_json(value)))
}

/// As `json`, with two spaces for each level.
pub(crate) fn indented_json(args: &[Word]) -> Result<Word, FuncError> {
    let value = args.first().ok_or_else(|| FuncError::ExactlyXArgs("json".into(), 1))?;
    Ok(Word::String(oci::json::indent(&to_json(value))))
}

pub(crate) fn word(value: &Value, fields: Fields) -> Word {
    match value {
        Value::Null => Word::Nil,
        Value::Bool(b) => Word::Bool(*b),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => Word::from(n),
            (None, Some(n)) => Word::from(n),
            (None, None) => Word::Nil,
        },
        Value::String(s) => Word::String(s.clone()),
        Value::Array(list) => Word::Array(list.iter().map(|v| word(v, fields)).collect()),
        Value::Object(map) if !map.is_empty() && map.keys().all(|k| fields.contains(&k.as_str())) => {
            let names: Vec<_> = map.keys().map(|name| go_name(name)).collect();
            let all = names.iter().zip(map).map(|(go, (name, v))| (&**go, &**name, word(v, fields), true));
            structure(all.collect())
        }
        Value::Object(map) => Word::Map(map.iter().map(|(k, v)| (k.clone(), word(v, fields))).collect()),
    }
}

/// JSON as Go writes it: structures in the order of their fields, maps in that of their keys.
fn to_json(word: &Word) -> String {
    match word {
        Word::Array(list) => format!("[{}]", Vec::from_iter(list.iter().map(to_json)).join(",")),
        Word::Map(map) | Word::Object(map) => {
            let field = |name: &str, value| format!("{}:{}", quoted(name), to_json(value));
            let fields: Vec<String> = match map.get(FIELDS) {
                Some(Word::Array(fields)) => fields
                    .iter()
                    .filter_map(|names| match names {
                        Word::Array(names) => match &names[..] {
                            [Word::String(go), Word::String(json)] => Some(field(json, map.get(go)?)),
                            _ => None,
                        },
                        _ => None,
                    })
                    .collect(),
                _ => BTreeMap::from_iter(map).into_iter().map(|(name, value)| field(name, value)).collect(),
            };
            format!("{{{}}}", fields.join(","))
        }
        Word::String(text) => quoted(text),
        Word::Bool(b) => b.to_string(),
        Word::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), ..) => n.to_string(),
            (None, Some(n), _) => n.to_string(),
            (None, None, Some(n)) => Value::from(n).to_string(),
            (None, None, None) => Value::Null.to_string(),
        },
        Word::Nil | Word::NoValue | Word::Function(_) => Value::Null.to_string(),
    }
}

fn quoted(text: &str) -> String {
    String::from_utf8_lossy(&oci::json::to_vec(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates() {
        let value = json!({"id": "a", "size": 3, "labels": {"x": "y"}, "parents": ["p", "q"]});
        let check = |text: &str, expect: &str| {
            let template = Template::parse(text, &["id", "size", "labels", "parents"]);
            let told = template.and_then(|t| t.fill(&value));
            assert_eq!(told.unwrap_or_else(|e| e.to_string()), expect, "{text}");
        };
        check("{{.ID}} {{.Size}}", "a 3");
        check("{{range .Parents}}<{{.}}>{{end}}", "<p><q>");
        check("{{json .Parents}}", r#"["p","q"]"#);
        check("{{.Labels.x}}", "y");
        check("json", &value.to_string());
        check("{{json .}}!", &format!("{value}!"));
        check("{{if eq .ID \"a\"}}yes{{else}}no{{end}}", "yes");
        assert!(Template::parse("{{.ID", &[]).is_err());
    }
}
