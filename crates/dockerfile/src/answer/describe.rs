use serde::{Deserialize, Serialize};

use super::{VERSION, form, table};

/// The answer to `frontend.subrequests.describe`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Questions(Vec<Question>);

/// A question that a frontend answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Question {
    name: String,
    version: String,
    #[serde(rename = "type")]
    kind: String,
    description: String,
    opts: Option<Vec<Named>>,
    #[serde(with = "form::null_list")]
    inputs: Vec<Named>,
    #[serde(with = "form::null_list")]
    metadata: Vec<Named>,
    #[serde(with = "form::null_list")]
    refs: Vec<Named>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    description: String,
}

fn named(name: &str, description: &str) -> Named {
    Named { name: name.to_owned(), description: description.to_owned() }
}

/// The questions that the built-in frontend answers. Lint is one more, but BuildKit does not list it.
pub fn questions() -> Questions {
    let question = |name: &str, description: &str, opts| Question {
        name: format!("frontend.{name}"),
        version: VERSION.to_owned(),
        kind: "rpc".to_owned(),
        description: description.to_owned(),
        opts,
        metadata: vec![named("result.json", ""), named("result.txt", "")],
        ..Question::default()
    };
    let target = vec![named("target", "Target build stage")];
    Questions(vec![
        question("outline", "List all parameters current build target supports", Some(target)),
        question("targets", "List all targets current build supports", Some(Vec::new())),
        question("subrequests.describe", "List available subrequest types", None),
    ])
}

impl Questions {
    pub fn text(&self) -> String {
        let mut rows = vec![["NAME", "VERSION", "DESCRIPTION"]];
        rows.extend(self.0.iter().map(|q| {
            let name = q.name.strip_prefix("frontend.").unwrap_or(&q.name);
            [name, q.version.as_str(), q.description.as_str()]
        }));
        table(1, &rows)
    }
}
