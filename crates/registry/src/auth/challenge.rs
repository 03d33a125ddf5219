//! `WWW-Authenticate` (RFC 9110, 11.6.1).

use http::header::{HeaderMap, WWW_AUTHENTICATE};

/// One way to log in that a server offers.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    /// In lower case.
    pub scheme: String,
    params: Vec<(String, String)>,
}

impl Challenge {
    /// All offers, bearer first.
    pub fn all(headers: &HeaderMap) -> Vec<Challenge> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        let mut list: Vec<_> = texts.filter_map(Self::parse).collect();
        list.sort_by_key(|c| c.scheme != "bearer");
        list
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn parse(text: &str) -> Option<Challenge> {
        let text = text.trim();
        let (scheme, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut params = Vec::new();
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = value(after)?;
            params.push((name.trim().trim_start_matches(',').trim().to_lowercase(), value));
            rest = after;
        }
        (!scheme.is_empty()).then(|| Challenge { scheme: scheme.to_lowercase(), params })
    }
}

/// A word or a quoted text, and what follows.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut out = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &quoted[at + 1..])),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let told = match Challenge::parse(text) {
            None => "nothing".into(),
            Some(c) => c.params.iter().fold(c.scheme.clone(), |t, (n, v)| format!("{t} {n}={v}")),
        };
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn challenges_are_read() {
        check("Basic realm=\"x\"", "basic realm=x");
        check(
            r#"Bearer realm="https://a/t",service="s", scope="repository:a:pull,push",error="insufficient_scope""#,
            "bearer realm=https://a/t service=s scope=repository:a:pull,push error=insufficient_scope",
        );
        check("Bearer realm=https://a/t,service=s", "bearer realm=https://a/t service=s");
        check(r#"Bearer realm="a\"b""#, "bearer realm=a\"b");
        check(r#"Bearer realm="a"#, "nothing");
        check("Negotiate", "negotiate");
        check("", "nothing");
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_to_its_end(text in "\\PC{0,60}") {
            let _ = Challenge::parse(&text);
        }
    }
}
