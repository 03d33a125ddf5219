//! A world of text ops around a core.
//!
//! One vertex a line, inputs first: `name[!] [@key[,key..]] [=value] [<- input..]`. `!` ignores the cache. The key is
//! the name unless `@` says otherwise; several are parts. The value is `key(values of inputs)` unless `=` says
//! otherwise. An input is `[~]name[.output][/selector]`; `~` asks for its content key.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use errdefs::Error;
use jiff::Timestamp;
use oci::Digest;

use super::super::*;
use crate::keys::{KeyId, KeyStore, Link};
use crate::memory::MemoryKeys;
use crate::remote::{CacheId, Remote, RemoteKeys};
use crate::results::{Record, ResultId};

#[derive(Debug, Clone)]
pub struct Def {
    pub name: String,
    pub ignore_cache: bool,
    pub keys: Vec<String>,
    pub value: Option<String>,
    pub inputs: Vec<Input>,
    /// Names everything below as well.
    pub identity: String,
}

#[derive(Debug, Clone)]
pub struct Input {
    pub at: usize,
    pub output: usize,
    pub content: bool,
    pub selector: Option<String>,
}

/// A task that was asked for and has not ended.
#[derive(Debug, Clone)]
pub enum Todo {
    Map(usize),
    Hash(usize, String),
    /// From the own store, or from the cache at this place.
    Load(ResultId, Option<CacheId>),
    Exec(Vec<String>),
    Save(String),
}

/// What another world has built. Its keys of ops with inputs are known nowhere else.
#[derive(Clone)]
pub struct Elsewhere {
    pub id: CacheId,
    keys: Arc<MemoryKeys>,
    results: Arc<Mutex<HashMap<ResultId, String>>>,
}

impl Elsewhere {
    fn name(&self) -> String {
        self.id.0.to_string()
    }

    /// The key as this world knows it.
    fn own(&self, key: &KeyId) -> Option<KeyId> {
        match key.is_foreign() {
            true => key.as_str().strip_prefix(&format!("cache:{}/", self.name())).map(KeyId::from_stored),
            false => key.as_str().starts_with("sha256:").then(|| key.clone()),
        }
    }

    fn shown(&self, key: KeyId) -> KeyId {
        if key.as_str().starts_with("sha256:") { key } else { KeyId::foreign(&self.name(), key.as_str()) }
    }
}

impl RemoteKeys for Elsewhere {
    fn contains(&self, key: &KeyId) -> bool {
        self.own(key).is_some_and(|key| self.keys.contains(&key).unwrap())
    }

    fn targets(&self, from: &KeyId, link: &Link) -> Vec<KeyId> {
        let targets = self.own(from).map(|from| self.keys.targets(&from, link).unwrap());
        targets.into_iter().flatten().map(|key| self.shown(key)).collect()
    }

    fn records(&self, key: &KeyId) -> Vec<Record> {
        self.own(key).map(|key| self.keys.records(&key).unwrap()).unwrap_or_default()
    }
}

pub type Outcome = Result<String, String>;

pub struct Sim {
    pub core: Core<String>,
    pub keys: Arc<MemoryKeys>,
    pub results: Arc<Mutex<HashMap<ResultId, String>>>,
    pub defs: HashMap<VertexId, Def>,
    pub todo: BTreeMap<TaskId, (VertexId, Def, Todo)>,
    /// Cancelled, and yet to end.
    pub late: BTreeMap<TaskId, (VertexId, Def, Todo)>,
    pub replies: HashMap<RequestId, Outcome>,
    pub log: Vec<String>,
    /// Vertices whose op fails when it runs; with `map:` in front, whose cache map fails, with `hash:`, whose inputs
    /// cannot be hashed; `load` and `save` stand for the store of results.
    pub failing: HashSet<String>,
    /// Caches of others that all builds look into.
    pub caches: Vec<Elsewhere>,
    pub commands: usize,
    clock: i64,
    next: u64,
}

pub fn parse(text: &str) -> Vec<Def> {
    let mut defs: Vec<Def> = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (head, inputs) = line.split_once("<-").unwrap_or((line, ""));
        let mut words = head.split_whitespace();
        let name = words.next().expect("a line names its vertex");
        let ignore_cache = name.ends_with('!');
        let name = name.trim_end_matches('!').to_owned();
        let mut def = Def {
            keys: vec![name.clone()],
            name,
            ignore_cache,
            value: None,
            inputs: Vec::new(),
            identity: String::new(),
        };
        for word in words {
            match word.split_at(1) {
                ("@", keys) => def.keys = keys.split(',').map(str::to_owned).collect(),
                ("=", value) => def.value = Some(value.to_owned()),
                _ => panic!("what is `{word}`?"),
            }
        }
        def.inputs = inputs.split_whitespace().map(|word| parse_input(word, &defs)).collect();
        let below: Vec<&str> = def.inputs.iter().map(|i| defs[i.at].identity.as_str()).collect();
        def.identity = Digest::of(format!("{}|{inputs}|{below:?}", head.replace('!', ""))).to_string();
        defs.push(def);
    }
    defs
}

fn parse_input(word: &str, defs: &[Def]) -> Input {
    let (word, content) = word.strip_prefix('~').map_or((word, false), |w| (w, true));
    let (word, selector) = word.split_once('/').map_or((word, None), |(w, s)| (w, Some(s.to_owned())));
    let (name, output) = word.split_once('.').unwrap_or((word, "0"));
    let at = defs.iter().position(|d| d.name == name).unwrap_or_else(|| panic!("no vertex `{name}`"));
    Input { at, output: output.parse().expect("outputs are numbers"), content, selector }
}

pub fn value_of(def: &Def, inputs: &[String]) -> String {
    let value = def.value.clone().unwrap_or_else(|| match inputs {
        [] => def.keys[0].clone(),
        _ => format!("{}({})", def.keys[0], inputs.join(",")),
    });
    if value.len() > 60 { Digest::of(value).hex()[..12].to_owned() } else { value }
}

impl Sim {
    pub fn new() -> Self {
        let keys = Arc::new(MemoryKeys::default());
        let results = Arc::new(Mutex::new(HashMap::new()));
        let known = results.clone();
        Sim {
            core: Core::new(keys.clone(), move |id| known.lock().unwrap().contains_key(id)),
            keys,
            results,
            defs: HashMap::new(),
            todo: BTreeMap::new(),
            late: BTreeMap::new(),
            replies: HashMap::new(),
            log: Vec::new(),
            failing: HashSet::new(),
            caches: Vec::new(),
            commands: 0,
            clock: 0,
            next: 0,
        }
    }

    pub fn job(&mut self) -> JobId {
        self.next += 1;
        JobId(self.next)
    }

    /// Asks for `target`, as `name` or `name.output`.
    pub fn want(&mut self, job: JobId, defs: &[Def], target: &str) -> RequestId {
        self.ask(Asker::Job(job), defs, target)
    }

    pub fn ask(&mut self, asker: Asker, defs: &[Def], target: &str) -> RequestId {
        let Input { at, output, .. } = parse_input(target, defs);
        let needed = below(defs, at);
        let graph = needed.iter().map(|&n| spec(&defs[n], &needed)).collect();
        self.next += 1;
        let request = RequestId(self.next);
        let defs: Vec<Def> = needed.iter().map(|&n| defs[n].clone()).collect();
        let caches = self.caches.iter().map(|cache| Remote { id: cache.id, keys: Arc::new(cache.clone()) });
        let caches = caches.collect();
        self.step(Event::Build { request, asker, graph, output, caches }, &defs);
        request
    }

    pub fn withdraw(&mut self, request: RequestId) {
        self.step(Event::Withdraw(request), &[]);
    }

    pub fn release(&mut self, job: JobId) {
        self.step(Event::Release(job), &[]);
    }

    pub fn step(&mut self, event: Event<String>, defs: &[Def]) {
        for command in self.core.step(event) {
            self.commands += 1;
            let (task, vertex, todo) = match command {
                Command::Add { vertex, position } => {
                    assert!(self.defs.insert(vertex, defs[position].clone()).is_none(), "added twice");
                    continue;
                }
                Command::Drop { vertex } => {
                    assert!(self.defs.remove(&vertex).is_some(), "dropped twice");
                    continue;
                }
                Command::Follow { follower, leader } => {
                    self.log
                        .push(format!("{} follows {}", self.defs[&follower].name, self.defs[&leader].name));
                    continue;
                }
                Command::Reply { request, result } => {
                    let outcome = result.map_err(|e| e.to_string());
                    assert!(self.replies.insert(request, outcome).is_none(), "answered twice");
                    continue;
                }
                Command::Cancel { task } => {
                    let cancelled = self.todo.remove(&task).expect("only running tasks are cancelled");
                    self.log.push(format!("cancel {}", cancelled.1.name));
                    self.late.insert(task, cancelled);
                    continue;
                }
                Command::Join { .. } | Command::Leave { .. } | Command::Show { .. } => continue,
                Command::Map { task, vertex, part } => (task, vertex, Todo::Map(part)),
                Command::Hash { task, vertex, dep, input } => (task, vertex, Todo::Hash(dep, input)),
                Command::Load { task, vertex, record, cache } => {
                    (task, vertex, Todo::Load(record.result, cache))
                }
                Command::Exec { task, vertex, inputs } => (task, vertex, Todo::Exec(inputs)),
                Command::Save { task, vertex, value } => (task, vertex, Todo::Save(value)),
            };
            let def = self.defs[&vertex].clone();
            match &todo {
                Todo::Map(_) => self.log.push(format!("map {}", def.name)),
                Todo::Hash(dep, _) => self.log.push(format!("hash {}/{dep}", def.name)),
                Todo::Load(_, None) => self.log.push(format!("load {}", def.name)),
                Todo::Load(_, Some(_)) => self.log.push(format!("fetch {}", def.name)),
                Todo::Exec(_) => self.log.push(format!("run {}", def.name)),
                Todo::Save(_) => {}
            }
            self.todo.insert(task, (vertex, def, todo));
        }
    }

    /// Ends a task as its op would.
    pub fn finish(&mut self, task: TaskId) {
        let (_, def, todo) =
            self.todo.remove(&task).or_else(|| self.late.remove(&task)).expect("a task under way");
        let event = self.outcome(task, &def, todo);
        self.step(event, &[]);
    }

    fn outcome(&mut self, task: TaskId, def: &Def, todo: Todo) -> Event<String> {
        match todo {
            Todo::Map(_) if self.failing.contains(&format!("map:{}", def.name)) => {
                Event::Mapped { task, part: Err(Error::user(format!("no key for {}", def.name))) }
            }
            Todo::Map(part) => Event::Mapped { task, part: Ok(part_of(def, part)) },
            Todo::Hash(..) if self.failing.contains(&format!("hash:{}", def.name)) => {
                Event::Hashed { task, content: Err(Error::user(format!("no hash for {}", def.name))) }
            }
            Todo::Hash(_, input) => Event::Hashed { task, content: Ok(Some(Digest::of(input))) },
            Todo::Load(..) if self.failing.contains("load") => Event::Loaded {
                task,
                value: Err(Error::environment("the store of results is away")),
                kept: None,
            },
            Todo::Load(result, Some(cache)) => self.fetch(task, &result, cache),
            Todo::Load(result, None) => Event::Loaded {
                task,
                value: Ok(self.results.lock().unwrap().get(&result).cloned()),
                kept: None,
            },
            Todo::Exec(_) if self.failing.contains(&def.name) => {
                Event::Executed { task, values: Err(Error::user(format!("{} failed", def.name))) }
            }
            Todo::Exec(inputs) => {
                let value = value_of(def, &inputs);
                let values = vec![Some(value.clone()), Some(format!("{value}.1")), None];
                Event::Executed { task, values: Ok(values) }
            }
            Todo::Save(_) if self.failing.contains("save") => {
                Event::Saved { task, record: Err(Error::environment("the store of results is full")) }
            }
            Todo::Save(value) => Event::Saved { task, record: Ok(self.keep(value)) },
        }
    }

    /// Loads a result of a cache of others, and saves it here.
    fn fetch(&mut self, task: TaskId, result: &ResultId, cache: CacheId) -> Event<String> {
        let cache = self.caches.iter().find(|c| c.id == cache).expect("a cache that was given along");
        let value = cache.results.lock().unwrap().get(result).cloned();
        let kept = value.clone().map(|value| self.keep(value));
        Event::Loaded { task, value: Ok(value), kept }
    }

    fn keep(&mut self, value: String) -> Record {
        self.clock += 1;
        let result = ResultId(format!("r{}", self.clock));
        self.results.lock().unwrap().insert(result.clone(), value);
        Record { result, created_at: Timestamp::from_second(self.clock).unwrap() }
    }

    /// What this world has built, as a cache for another.
    pub fn as_cache(&self, id: u64) -> Elsewhere {
        Elsewhere { id: CacheId(id), keys: self.keys.clone(), results: self.results.clone() }
    }

    /// Ends tasks, oldest first, until there are none.
    pub fn run(&mut self) {
        while let Some((&task, _)) = self.todo.first_key_value() {
            self.finish(task);
        }
    }

    /// Ends all tasks but those of one vertex.
    pub fn run_but(&mut self, name: &str) {
        while let Some((&task, _)) = self.todo.iter().find(|(_, (_, def, _))| def.name != name) {
            self.finish(task);
        }
    }

    /// Ends tasks, oldest first, until the log has this entry.
    pub fn run_until(&mut self, entry: &str) {
        while !self.log.iter().any(|l| l == entry) {
            let (&task, _) = self.todo.first_key_value().unwrap_or_else(|| panic!("never came to `{entry}`"));
            self.finish(task);
        }
    }

    /// Builds in a job of its own and gives the value or the error, and what was done for it.
    pub fn build(&mut self, text: &str, target: &str) -> (String, String) {
        self.log.clear();
        let job = self.job();
        let request = self.want(job, &parse(text), target);
        self.run();
        let outcome = self.replies.remove(&request).expect("every request is answered");
        self.release(job);
        assert!(self.core.is_idle());
        (outcome.unwrap_or_else(|e| e), self.done())
    }

    /// What was done since this was last asked, sorted.
    pub fn done(&mut self) -> String {
        let mut log = std::mem::take(&mut self.log);
        log.sort();
        log.join(", ")
    }

    pub fn lose_results(&mut self) {
        self.results.lock().unwrap().clear();
    }

    pub fn key_count(&self) -> usize {
        self.keys.results().unwrap().len()
    }
}

fn part_of(def: &Def, part: usize) -> Part {
    let dep = |i: &Input| PartDep { selector: i.selector.as_ref().map(Digest::of), content: i.content };
    Part {
        digest: Digest::of(&def.keys[part]),
        transient: false,
        deps: def.inputs.iter().map(dep).collect(),
        ingredients: vec![("key".into(), def.keys[part].clone())],
        done: part + 1 == def.keys.len(),
    }
}

/// Positions of `at` and all below it, in order.
fn below(defs: &[Def], at: usize) -> Vec<usize> {
    let mut needed = vec![false; defs.len()];
    needed[at] = true;
    for n in (0..=at).rev() {
        if needed[n] {
            defs[n].inputs.iter().for_each(|i| needed[i.at] = true);
        }
    }
    (0..=at).filter(|&n| needed[n]).collect()
}

fn spec(def: &Def, needed: &[usize]) -> Spec {
    let position = |at: usize| needed.binary_search(&at).expect("inputs are needed too");
    Spec {
        digest: Digest::of(&def.identity),
        name: def.name.as_str().into(),
        inputs: def.inputs.iter().map(|i| (position(i.at), i.output)).collect(),
        ignore_cache: def.ignore_cache,
    }
}
