//! Paragraphs of fields, as in Debian's control files (deb822) and in mail headers.

/// The fields of one paragraph, in their order.
#[derive(Debug, Default)]
pub struct Paragraph<'a>(Vec<(&'a str, String)>);

impl Paragraph<'_> {
    /// The first field of a name, in whatever case; empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        let same = move |(key, _): &&(&str, String)| key.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|(_, value)| value.as_str())
    }
}

/// Splits a text at its empty lines. Lines that begin with a space go on with a field; those without a colon are nothing.
pub fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        while lines.next_if(|line| line.trim().is_empty()).is_some() {}
        lines.peek()?;
        let mut fields: Vec<(&str, String)> = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.trim().is_empty()) {
            match line.starts_with([' ', '\t']) {
                true => {
                    if let Some((_, value)) = fields.last_mut() {
                        value.push('\n');
                        value.push_str(line.trim());
                    }
                }
                false => {
                    if let Some((key, value)) = line.split_once(':') {
                        fields.push((key, value.trim().to_owned()));
                    }
                }
            }
        }
        Some(Paragraph(fields))
    })
}
