//! Output in a form of the user's own: a template in Go's language over JSON.

use std::collections::HashMap;

use errdefs::{Error, Result};
use gtmpl::{FuncError, Template as Parsed, Value as Word};
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
        let mut template = Parsed::default();
        template.add_func("json", json);
        template.parse(text).map_err(|e| {
            Error::user(format!("invalid template {text:?}: {e}")).hint("write it as `{{.ID}}` or `json`")
        })?;
        Ok(Template::Go { template: Box::new(template), fields })
    }

    /// Fills it in.
    pub(crate) fn fill(&self, value: &Value) -> Result<String> {
        match self {
            Template::Json => Ok(value.to_string()),
            Template::Go { template, fields } => {
                let filled = template.render(&gtmpl::Context::from(word(value, fields)));
                filled.map_err(|e| Error::user(format!("the template does not fit what it is for: {e}")))
            }
        }
    }
}

/// Marks, within a value for a template, what its fields are called in JSON.
const JSON_NAME: &str = "\0";

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
    Ok(Word::String(value_of(value).to_string()))
}

fn word(value: &Value, fields: Fields) -> Word {
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
        Value::Object(map) => {
            let is_known = !map.is_empty() && map.keys().all(|k| fields.contains(&k.as_str()));
            let mut words: HashMap<String, Word> = HashMap::new();
            for (name, value) in map {
                let told = if is_known { go_name(name) } else { name.clone() };
                words.insert(told, word(value, fields));
            }
            if is_known {
                let names = map.keys().map(|k| (go_name(k), Word::String(k.clone()))).collect();
                words.insert(JSON_NAME.into(), Word::Map(names));
            }
            Word::Map(words)
        }
    }
}

fn value_of(word: &Word) -> Value {
    match word {
        Word::Bool(b) => Value::Bool(*b),
        Word::String(s) => Value::String(s.clone()),
        Word::Array(list) => Value::Array(list.iter().map(value_of).collect()),
        Word::Map(map) | Word::Object(map) => {
            let names = match map.get(JSON_NAME) {
                Some(Word::Map(names)) => names.clone(),
                _ => HashMap::new(),
            };
            let name = |k: &String| match names.get(k) {
                Some(Word::String(name)) => name.clone(),
                _ => k.clone(),
            };
            let fields = map.iter().filter(|(k, _)| *k != JSON_NAME);
            Value::Object(fields.map(|(k, v)| (name(k), value_of(v))).collect())
        }
        Word::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => Value::from(n),
            (None, Some(n)) => Value::from(n),
            (None, None) => Value::Null,
        },
        Word::Nil | Word::NoValue | Word::Function(_) => Value::Null,
    }
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
