//! `--explain`: where each attribute of a target came from.

use std::fmt::Write as _;

use errdefs::{Error, Result};
use serde_json::Value as Json;

use crate::definition::Definition;
use crate::diagnostic::Span;
use crate::module::Source;
use crate::origin::Origin;
use crate::print;
use crate::resolve::Resolved;

/// Attributes that have a line for each key.
const MAPS: [&str; 4] = ["args", "contexts", "extra-hosts", "labels"];

impl Definition {
    /// The attributes of a target of `resolved`, each with its value and under it the places that had a say.
    ///
    /// # Errors
    /// If there is no such target.
    pub fn explain(&self, resolved: &Resolved, name: &str) -> Result<String> {
        let target = resolved
            .targets
            .get(name)
            .ok_or_else(|| Error::not_found(format!("failed to find target {name}")))?;
        let mut out = format!("target {name}\n");
        for (attribute, value) in print::target(target).0 {
            match value {
                Json::Object(map) if MAPS.contains(&attribute) => {
                    for (key, value) in map {
                        let attribute = format!("{attribute}.{key}");
                        self.line(&mut out, &attribute, &value, target.origins.of(&attribute));
                    }
                }
                value => self.line(&mut out, attribute, &value, target.origins.of(attribute)),
            }
        }
        Ok(out)
    }

    fn line<'o>(
        &self,
        out: &mut String,
        name: &str,
        value: &Json,
        origins: impl Iterator<Item = &'o Origin>,
    ) {
        let _ = writeln!(out, "  {name} = {value}");
        let mut any = false;
        for origin in origins {
            let _ = writeln!(out, "      {}", self.origin(origin));
            any = true;
        }
        if !any {
            let _ = writeln!(out, "      default");
        }
    }

    fn origin(&self, origin: &Origin) -> String {
        match origin {
            Origin::File { span, target, uses } => {
                let uses: Vec<String> = uses.iter().filter_map(|name| self.variable_source(name)).collect();
                let with =
                    if uses.is_empty() { String::new() } else { format!(", with {}", uses.join(", ")) };
                format!("{} in target {target}{with}", self.place(*span))
            }
            Origin::Service { file, service } => {
                let file = self.files.get(usize::from(*file)).map(|f| f.name.as_str()).unwrap_or_default();
                format!("{file} in service {service}")
            }
            Origin::Flag(flag) => format!("--set {flag}"),
            Origin::Implied(by) => format!("follows from {by}"),
        }
    }

    /// `None` for a name that is no variable, as those of a matrix.
    fn variable_source(&self, name: &str) -> Option<String> {
        let variable = self.variables.iter().find(|v| v.name == name)?;
        Some(match variable.source {
            Source::Flag => format!("{name} from --var"),
            Source::Environment => format!("{name} from the environment"),
            Source::Default(span) => format!("{name} from {}", self.place(span)),
        })
    }

    fn place(&self, span: Span) -> String {
        match self.files.get(usize::from(span.file)) {
            Some(file) => format!("{}:{}", file.name, file.position(span.start).0),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::{Context, Definition, File, Given};

    #[test]
    fn every_attribute_tells_where_it_came_from() {
        let text = r#"variable "TAG" { default = "1" }
target "base" {
  args = { A = "a", B = "b" }
  platforms = ["linux/amd64"]
}
target "app" {
  inherits = ["base"]
  args = { B = TAG }
  annotations = ["x=1"]
  network = "host"
}
"#;
        let given = Given {
            environment: [("TAG".to_owned(), "2".to_owned())].into(),
            vars: BTreeMap::new(),
            built_in: BTreeMap::new(),
            dotenv: None,
            read: Box::new(|_| Err(std::io::ErrorKind::NotFound.into())),
            file_relative: false,
            remote: None,
            clock: Context::new(0, "/", |bytes| bytes.fill(0)),
        };
        let definition = Definition::load(vec![File::new("a.hcl", text)], given).unwrap();
        let flags = ["app.platform=linux/arm64".to_owned(), "app.annotations=y=2".to_owned()];
        let resolved = definition.resolve(&["app".to_owned()], &flags).unwrap();
        assert_eq!(
            definition.explain(&resolved, "app").unwrap(),
            r#"target app
  annotations = ["x=1","y=2"]
      a.hcl:9 in target app
      --set app.annotations=y=2
  context = "."
      default
  dockerfile = "Dockerfile"
      default
  args.A = "a"
      a.hcl:3 in target base
  args.B = "2"
      a.hcl:8 in target app, with TAG from the environment
  platforms = ["linux/arm64"]
      --set app.platform=linux/arm64
  network = "host"
      a.hcl:10 in target app
  entitlements = ["network.host"]
      follows from network = "host"
"#
        );
        assert!(definition.explain(&resolved, "nope").is_err());
    }
}
