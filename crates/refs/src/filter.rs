//! Filters of usage records, in containerd's language: `type==regular,description~=^pulled`, `inuse`, `id!="x y"`.

use errdefs::{Error, Result};

use crate::usage::UsageRecord;

/// A list of filters of which one must match; an empty list matches all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    texts: Vec<String>,
    any: Vec<Vec<Selector>>,
}

#[derive(Debug, Clone)]
struct Selector {
    field: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    Matches(regex::Regex),
}

impl Filter {
    /// Each text is a list of selectors, between commas, which all must hold.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self> {
        let any = texts.iter().map(|text| parse_one(text.as_ref())).collect::<Result<_>>()?;
        Ok(Filter { texts: texts.iter().map(|text| text.as_ref().to_owned()).collect(), any })
    }

    /// What it was read from.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    pub fn matches(&self, record: &UsageRecord) -> bool {
        self.matches_fields(&|field| value(record, field))
    }

    /// As [`Filter::matches`], for something else that has fields.
    pub fn matches_fields(&self, value: &dyn Fn(&str) -> Option<String>) -> bool {
        self.any.is_empty() || self.any.iter().any(|all| all.iter().all(|selector| selector.matches(value)))
    }
}

impl Selector {
    fn matches(&self, value: &dyn Fn(&str) -> Option<String>) -> bool {
        let value = value(&self.field);
        match &self.test {
            Test::Present => value.is_some(),
            Test::Equal(want) => value.as_ref() == Some(want),
            Test::NotEqual(want) => value.as_ref() != Some(want),
            Test::Matches(regex) => value.is_some_and(|value| regex.is_match(&value)),
        }
    }
}

/// The text of a field; a yes is the empty text.
fn value(record: &UsageRecord, field: &str) -> Option<String> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let yes = |yes: bool| yes.then(String::new);
    match field {
        "id" => text(&record.id),
        "parents" => text(&record.parents.join(";")),
        "description" => text(&record.description),
        "type" => text(record.record_type.as_str()),
        "inuse" => yes(record.in_use),
        "mutable" => yes(record.mutable),
        "immutable" => yes(!record.mutable),
        "shared" => yes(record.shared),
        "private" => yes(!record.shared),
        _ => None,
    }
}

fn parse_one(text: &str) -> Result<Vec<Selector>> {
    let mut parser = Parser { text, at: 0 };
    let mut selectors = Vec::new();
    if text.is_empty() {
        return Ok(selectors);
    }
    loop {
        selectors.push(parser.selector()?);
        match parser.next() {
            None => return Ok(selectors),
            Some(',') => {}
            Some(c) => return Err(parser.error(format!("unexpected {c:?}, expected `,`"))),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn selector(&mut self) -> Result<Selector> {
        let mut field = self.field()?;
        while self.peek() == Some('.') {
            self.next();
            field.push('.');
            field.push_str(&self.field()?);
        }
        let operator = match self.peek() {
            None | Some(',') => return Ok(Selector { field, test: Test::Present }),
            Some(_) => self.take_while(|c| matches!(c, '=' | '!' | '~')),
        };
        let test = match operator.as_str() {
            "==" => Test::Equal(self.value()?),
            "!=" => Test::NotEqual(self.value()?),
            "~=" => {
                let pattern = self.value()?;
                Test::Matches(regex::Regex::new(&pattern).map_err(|e| self.error(e.to_string()))?)
            }
            other => return Err(self.error(format!("unsupported operator {other:?}"))),
        };
        Ok(Selector { field, test })
    }

    fn field(&mut self) -> Result<String> {
        if matches!(self.peek(), Some('"' | '`')) {
            return self.quoted();
        }
        let field = self.take_while(|c| c.is_alphanumeric() || c == '_');
        if field.is_empty() {
            return Err(self.error("expected a field or a quoted text".into()));
        }
        Ok(field)
    }

    fn value(&mut self) -> Result<String> {
        match self.peek() {
            Some('"' | '`' | '/' | '|') => self.quoted(),
            _ => {
                let value = self.take_while(|c| c != ',');
                if value.is_empty() {
                    Err(self.error("expected a value or a quoted text".into()))
                } else {
                    Ok(value)
                }
            }
        }
    }

    /// Between `"`, with escapes, or as it stands between `` ` ``, `/` or `|`.
    fn quoted(&mut self) -> Result<String> {
        let quote = self.next().unwrap_or_default();
        let mut out = String::new();
        loop {
            match self.next() {
                None => return Err(self.error("the quote does not end".into())),
                Some(c) if c == quote => return Ok(out),
                Some('\\') if quote != '`' => match self.next() {
                    Some('n') if quote == '"' => out.push('\n'),
                    Some('t') if quote == '"' => out.push('\t'),
                    Some(c) if c == quote || (quote == '"' && matches!(c, '\\' | '\'')) => out.push(c),
                    Some(c) if quote != '"' => out.extend(['\\', c]),
                    _ => return Err(self.error("unknown escape".into())),
                },
                Some(c) => out.push(c),
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let rest = &self.text[self.at..];
        let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    fn error(&self, what: String) -> Error {
        Error::user(format!("failed to parse filter `{}`: {what} at {}", self.text, self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RecordType;

    fn record() -> UsageRecord {
        UsageRecord {
            id: "abc".into(),
            mutable: false,
            in_use: true,
            size: 1,
            parents: vec!["p".into(), "q".into()],
            created_at: jiff::Timestamp::UNIX_EPOCH,
            last_used_at: None,
            usage_count: 0,
            description: "pulled from x, y".into(),
            record_type: RecordType::Regular,
            shared: false,
        }
    }

    fn check(texts: &[&str], want: bool) {
        assert_eq!(Filter::parse(texts).unwrap().matches(&record()), want, "{texts:?}");
    }

    #[test]
    fn filters() {
        check(&[], true);
        check(&[""], true);
        check(&["id==abc"], true);
        check(&["id==ab"], false);
        check(&["id~=^a"], true);
        check(&["id!=x,inuse"], true);
        check(&["mutable"], false);
        check(&["mutable", "immutable"], true);
        check(&["type==regular,private"], true);
        check(&["shared"], false);
        check(&["parents==p;q"], true);
        check(&["description==\"pulled from x, y\""], true);
        check(&["description~=/from [xz]/,id==abc"], true);
        check(&["unknown"], false);
        check(&["unknown!=x"], true);
    }

    #[test]
    fn what_is_no_filter() {
        for text in ["=", "id=abc", "id==", "id==\"a", "id~=(", ",", "id==a,", "id abc"] {
            assert!(Filter::parse(&[text]).is_err(), "{text}");
        }
    }
}
