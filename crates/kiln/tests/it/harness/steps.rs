use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// The steps of a build, as `--progress=rawjson` tells them.
pub struct Steps(Vec<Step>);

#[derive(Clone)]
struct Step {
    name: String,
    started: Option<String>,
    completed: Option<String>,
    cached: bool,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ran,
    Cached,
    /// It was not needed.
    Untouched,
}

impl Steps {
    pub fn read(text: &str) -> Self {
        let mut steps: BTreeMap<String, Step> = BTreeMap::new();
        let mut order = Vec::new();
        for line in text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
            for vertex in line["vertexes"].as_array().into_iter().flatten() {
                let text = |key: &str| vertex[key].as_str().map(str::to_owned);
                let digest = text("digest").expect("each vertex has one");
                if !steps.contains_key(&digest) {
                    order.push(digest.clone());
                }
                let name = text("name").unwrap_or_default();
                let step = Step {
                    name,
                    started: text("started"),
                    completed: text("completed"),
                    cached: vertex["cached"] == true,
                };
                steps.insert(digest, step);
            }
        }
        Steps(order.iter().map(|d| steps[d].clone()).collect())
    }

    fn find(&self, part: &str) -> Option<&Step> {
        self.0.iter().find(|s| s.name.contains(part))
    }

    /// How the step ended whose name has this part.
    pub fn state(&self, part: &str) -> State {
        match self.find(part) {
            Some(Step { cached: true, .. }) => State::Cached,
            Some(Step { completed: Some(_), .. }) => State::Ran,
            _ => State::Untouched,
        }
    }

    /// The instructions that ran, apart from FROM.
    pub fn ran(&self) -> Vec<String> {
        let is_instruction = |s: &&Step| {
            let number = s.name.strip_prefix('[').and_then(|rest| rest.split_once("] "));
            number.is_some_and(|(number, rest)| number.contains('/') && !rest.starts_with("FROM "))
        };
        let ran = self.0.iter().filter(is_instruction).filter(|s| s.completed.is_some() && !s.cached);
        ran.map(|s| s.name.clone()).collect()
    }

    /// Checks how steps ended, by parts of their names.
    #[track_caller]
    pub fn assert(&self, expect: &[(&str, State)]) {
        let told: Vec<_> = expect.iter().map(|(part, _)| (*part, self.state(part))).collect();
        assert_eq!(told, expect, "\n{self:?}");
    }

    /// Whether two steps ran at the same time.
    pub fn overlap(&self, a: &str, b: &str) -> bool {
        let times = |part: &str| {
            let step = self.find(part).unwrap_or_else(|| panic!("no step `{part}` in\n{self:?}"));
            let time = |t: &Option<String>| t.as_deref().expect("it ran").trim_end_matches('Z').to_owned();
            (time(&step.started), time(&step.completed))
        };
        let (a, b) = (times(a), times(b));
        // RFC 3339 in UTC: texts are in the order of time.
        a.0 < b.1 && b.0 < a.1
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |t: &Option<String>| t.clone().unwrap_or_else(|| "-".into());
        self.0.iter().try_for_each(|s| {
            let cached = if s.cached { "CACHED " } else { "" };
            writeln!(f, "{} .. {} {cached}{}", time(&s.started), time(&s.completed), s.name)
        })
    }
}
