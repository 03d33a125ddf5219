//! Names in a file: stages and variables, where they are made and where they are used.

use std::collections::HashMap;
use std::ops::Range;

use dockerfile::syntax::{Statement, Syntax};
use errdefs::{Position, Range as Place};

use crate::variables;

#[derive(Debug)]
pub(crate) struct Model {
    pub syntax: Syntax,
    pub stages: Vec<Stage>,
    /// Every name, in the order of the file.
    pub mentions: Vec<Mention>,
}

/// A stage, named or not.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The mention that makes it: its name, or FROM where it has none.
    pub mention: usize,
    /// The statement that begins it.
    pub from: usize,
    /// The stage that it goes on from.
    pub base: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Stage,
    /// Made by ARG.
    Arg,
    /// Made by ENV.
    Env,
    /// A use.
    Variable,
}

/// One place where a name stands.
#[derive(Debug)]
pub(crate) struct Mention {
    pub what: What,
    pub name: String,
    pub place: Place,
    pub statement: usize,
    /// The stage around it; nothing in front of the first one, and in FROM.
    pub stage: Option<usize>,
    pub makes: bool,
    /// The mention where its value, or the stage, comes from.
    pub target: Option<usize>,
    /// The first mention of all that mean the same.
    pub home: Option<usize>,
}

impl Model {
    pub fn of(text: &str) -> Model {
        let syntax = Syntax::of(text);
        let mut reader = Reader {
            lines: text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').collect(),
            escape: syntax.escape,
            stages: Vec::new(),
            mentions: Vec::new(),
            made: HashMap::new(),
        };
        for (index, statement) in syntax.statements.iter().enumerate() {
            reader.statement(index, statement);
        }
        let Reader { stages, mut mentions, .. } = reader;
        // Targets are indices, so the order of the file is made by a map of old to new.
        let mut order: Vec<usize> = (0..mentions.len()).collect();
        order.sort_by_key(|&index| mentions[index].place.start);
        let mut new = vec![0; mentions.len()];
        order.iter().enumerate().for_each(|(to, &from)| new[from] = to);
        for mention in &mut mentions {
            mention.target = mention.target.map(|index| new[index]);
            mention.home = mention.home.map(|index| new[index]);
        }
        let stages = stages.into_iter().map(|s| Stage { mention: new[s.mention], ..s }).collect();
        mentions.sort_by_key(|mention| mention.place.start);
        Model { syntax, stages, mentions }
    }

    /// What stands at a position, or ends there.
    pub fn at(&self, position: Position) -> Option<usize> {
        self.mentions.iter().position(|m| {
            m.place.start.line == position.line
                && (m.place.start.character..=m.place.end.character).contains(&position.character)
        })
    }

    /// All mentions that mean the same as this one, itself too.
    pub fn same(&self, index: usize) -> impl Iterator<Item = &Mention> {
        let known = &self.mentions[index];
        let is_stage = |m: &Mention| m.what == What::Stage;
        self.mentions.iter().filter(move |m| {
            is_stage(m) == is_stage(known)
                && m.home == known.home
                && (m.home.is_some() || m.name == known.name)
        })
    }

    /// The stage that a statement belongs to; for FROM the one in front of it.
    pub fn stage_before(&self, statement: usize) -> Option<usize> {
        self.stages.partition_point(|stage| stage.from < statement).checked_sub(1)
    }

    /// Variables that have a value in a statement, by the mention that gave it last.
    pub fn visible(&self, statement: usize) -> Vec<&Mention> {
        let is_from = self.syntax.statements.get(statement).is_some_and(|s| s.name() == "FROM");
        let mut scope = if is_from { None } else { self.stage_before(statement) };
        let mut found: Vec<&Mention> = Vec::new();
        let mut own = true;
        loop {
            for mention in self.mentions.iter().rev() {
                let belongs = mention.makes && mention.stage == scope && mention.statement < statement;
                let is_kind = mention.what == What::Env || own && mention.what == What::Arg;
                if belongs && is_kind && found.iter().all(|known| known.name != mention.name) {
                    found.push(mention);
                }
            }
            own = false;
            match scope.and_then(|stage| self.stages[stage].base) {
                Some(base) => scope = Some(base),
                None => return found,
            }
        }
    }

    /// Names of stages in front of the one that a statement is in.
    pub fn stages_before(&self, statement: usize) -> impl Iterator<Item = &Mention> {
        let own = self.stages.partition_point(|stage| stage.from <= statement).saturating_sub(1);
        let named = self.stages[..own].iter().map(|stage| &self.mentions[stage.mention]);
        named.filter(|mention| !mention.name.is_empty())
    }
}

/// Goes through a file once.
struct Reader<'a> {
    lines: Vec<&'a str>,
    escape: char,
    stages: Vec<Stage>,
    mentions: Vec<Mention>,
    /// Mentions that make a variable, by stage and name.
    made: HashMap<(Option<usize>, String), Vec<usize>>,
}

impl Reader<'_> {
    fn statement(&mut self, index: usize, statement: &Statement) {
        match statement.name().as_str() {
            // What it makes is made in another build.
            _ if statement.onbuild.is_some() => {}
            "FROM" => return self.from(index, statement),
            "ARG" => {
                for word in &statement.words {
                    self.uses(index, statement, word.clone());
                    let name = name_of(statement, word);
                    self.make(What::Arg, index, statement, name, statement.text(word.clone()).contains('='));
                }
                return;
            }
            "ENV" => {
                self.uses(index, statement, statement.keyword.end..statement.place.text().len());
                let is_old =
                    statement.words.first().is_some_and(|w| !statement.text(w.clone()).contains('='));
                for word in statement.words.iter().take(if is_old { 1 } else { usize::MAX }) {
                    self.make(What::Env, index, statement, name_of(statement, word), true);
                }
                return;
            }
            "COPY" | "ADD" | "RUN" => self.sources(index, statement),
            _ => {}
        }
        self.uses(index, statement, statement.keyword.end..statement.place.text().len());
        self.heredocs(index, statement);
    }

    fn from(&mut self, index: usize, statement: &Statement) {
        let text = |word: &Range<usize>| statement.text(word.clone());
        let base = statement.words.first().and_then(|word| {
            let stage = self.find(text(word))?;
            self.use_stage(index, statement, word.clone(), stage);
            Some(stage)
        });
        let name = match statement.words.as_slice() {
            [_, keyword, name] if text(keyword).eq_ignore_ascii_case("as") => Some(name.clone()),
            _ => None,
        };
        let all = statement.keyword.end..statement.place.text().len();
        self.uses_in(None, index, statement, all);
        let is_named = name.is_some();
        let part = name.unwrap_or(statement.keyword.clone());
        let at = self.mention(What::Stage, index, statement, part, None);
        let mention = &mut self.mentions[at];
        if !is_named {
            mention.name.clear();
        }
        mention.makes = true;
        mention.target = Some(at);
        mention.home = Some(at);
        self.stages.push(Stage { mention: at, from: index, base });
    }

    /// The stage of that name so far; of several the last one.
    fn find(&self, name: &str) -> Option<usize> {
        if name.is_empty() {
            return None;
        }
        self.stages.iter().rposition(|stage| self.mentions[stage.mention].name.eq_ignore_ascii_case(name))
    }

    fn use_stage(&mut self, index: usize, statement: &Statement, part: Range<usize>, stage: usize) {
        let target = self.stages[stage].mention;
        self.mention(What::Stage, index, statement, part, Some(target));
    }

    /// Stages behind `--from=` and `--mount=from=`.
    fn sources(&mut self, index: usize, statement: &Statement) {
        for flag in &statement.flags {
            let (name, Some(value)) = statement.flag(flag) else { continue };
            let part = match statement.text(name) {
                "from" => Some(value),
                "mount" => fields(statement, value)
                    .find(|field| statement.text(field.clone()).starts_with("from="))
                    .map(|field| field.start + "from=".len()..field.end),
                _ => None,
            };
            let Some(part) = part else { continue };
            let text = statement.text(part.clone());
            let by_number = text.parse::<usize>().ok().filter(|&n| n < self.stages.len());
            if let Some(stage) = by_number.or_else(|| self.find(text)) {
                self.use_stage(index, statement, part, stage);
            }
        }
    }

    fn uses(&mut self, index: usize, statement: &Statement, part: Range<usize>) {
        self.uses_in(self.stages.len().checked_sub(1), index, statement, part);
    }

    fn uses_in(&mut self, stage: Option<usize>, index: usize, statement: &Statement, part: Range<usize>) {
        let text = statement.text(part.clone());
        for name in variables::used(text, self.escape, statement.is_command()) {
            let target = self.value(stage, &text[name.clone()]);
            let name = part.start + name.start..part.start + name.end;
            let at = self.mention(What::Variable, index, statement, name, target);
            self.mentions[at].stage = stage;
        }
    }

    /// Variables in the texts of heredocs.
    fn heredocs(&mut self, index: usize, statement: &Statement) {
        let place = &statement.place;
        if !place.text().contains("<<") || place.first_line() == place.last_line() {
            return;
        }
        let is_literal = |word: &Range<usize>| {
            let word = statement.text(word.clone());
            word.contains("<<") && word.contains(['\'', '"'])
        };
        if !statement.is_command() && statement.words.iter().any(is_literal) {
            return;
        }
        let has_code = |line: &u32| place.offset_at(Position { line: *line, character: 0 }).is_some();
        let lines = place.first_line()..=place.last_line();
        let Some(last) = lines.rev().find(has_code) else { return };
        let stage = self.stages.len().checked_sub(1);
        for line in last + 1..place.last_line() {
            let Some(&text) = self.lines.get(line as usize - 1) else { return };
            for name in variables::used(text, '\\', true) {
                let column = |byte: usize| text[..byte].chars().count() as u32;
                let at = |byte| Position { line, character: column(byte) };
                let place = Place { start: at(name.start), end: at(name.end) };
                let name = text[name].to_owned();
                let target = self.value(stage, &name);
                let home = target.and_then(|target| self.mentions[target].home);
                let what = What::Variable;
                self.mentions.push(Mention {
                    what,
                    name,
                    place,
                    statement: index,
                    stage,
                    makes: false,
                    target,
                    home,
                });
            }
        }
    }

    /// Where a variable has its value from.
    fn value(&self, stage: Option<usize>, name: &str) -> Option<usize> {
        let made = |stage| self.made.get(&(stage, name.to_owned())).map(Vec::as_slice).unwrap_or_default();
        if let Some(&last) = made(stage).last() {
            return Some(last);
        }
        let mut base = stage.and_then(|stage| self.stages[stage].base);
        while let Some(stage) = base {
            let last = made(Some(stage)).iter().rev().find(|&&m| self.mentions[m].what == What::Env);
            if let Some(&last) = last {
                return Some(last);
            }
            base = self.stages[stage].base;
        }
        None
    }

    /// A variable gets a value, or is declared.
    fn make(&mut self, what: What, index: usize, statement: &Statement, part: Range<usize>, has_value: bool) {
        let stage = self.stages.len().checked_sub(1);
        let name = statement.text(part.clone()).to_owned();
        if name.is_empty() {
            return;
        }
        let global = || self.made.get(&(None, name.clone())).and_then(|made| made.last().copied());
        let before = self.value(stage, &name).or_else(|| if what == What::Arg { global() } else { None });
        let at = self.mention(what, index, statement, part, before);
        let mention = &mut self.mentions[at];
        mention.makes = true;
        if has_value || before.is_none() {
            mention.target = Some(at);
        }
        mention.home.get_or_insert(at);
        self.made.entry((stage, name)).or_default().push(at);
    }

    /// Notes a name and gives the index of the mention.
    fn mention(
        &mut self,
        what: What,
        statement: usize,
        written: &Statement,
        part: Range<usize>,
        target: Option<usize>,
    ) -> usize {
        let first = written.place.first_line();
        self.mentions.push(Mention {
            what,
            name: written.text(part.clone()).to_owned(),
            place: written.place.range(part).unwrap_or(Place::lines(first, first)),
            statement,
            stage: self.stages.len().checked_sub(1),
            makes: false,
            target,
            home: target.and_then(|target| self.mentions[target].home),
        });
        self.mentions.len() - 1
    }
}

/// The part in front of the `=`.
fn name_of(statement: &Statement, word: &Range<usize>) -> Range<usize> {
    let text = statement.text(word.clone());
    word.start..word.start + text.find('=').unwrap_or(text.len())
}

/// The comma-separated parts of a value.
pub(crate) fn fields(statement: &Statement, value: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut start = value.start;
    statement.text(value).split(',').map(move |field| {
        let range = start..start + field.len();
        start = range.end + 1;
        range
    })
}
