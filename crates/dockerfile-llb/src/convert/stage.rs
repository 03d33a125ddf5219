//! Stages on their way from text to tree.

use std::collections::{BTreeSet, HashMap};

use dockerfile::instruction::ArgDefinition;
use dockerfile::{Instruction, Place, Stage};
use errdefs::Range;
use oci::{ImageConfig, Platform};

use super::outline::Wants;
use crate::draft::Port;
use crate::frontend::{LocalContext, NamedContext};
use crate::image;
use crate::state::State;

/// How far a stage has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Progress {
    /// Its base was not asked for.
    #[default]
    Waiting,
    /// Its base is known.
    Based,
    /// Its tree is known.
    Dispatched,
}

/// One stage, or an image or context that an instruction names without one.
#[derive(Debug)]
pub(super) struct StageState {
    /// The base as it was resolved; the instructions are in `commands`.
    pub stage: Stage,
    /// The earlier stage that this one goes on from.
    pub base: Option<usize>,
    /// What the client gave in place of the whole stage.
    pub replaced_by: Option<NamedContext>,
    pub platform: Option<Platform>,
    pub state: State,
    pub image: ImageConfig,
    /// The config of the image at the bottom, as it was.
    pub base_image: Option<ImageConfig>,
    pub progress: Progress,
    pub commands: Vec<Command>,
    /// Stages that instructions take files from, with the place of one such instruction.
    pub needs: Vec<(usize, Place)>,
    /// Triggers of the base stage were taken over.
    pub triggers_taken: bool,
    /// ARGs, those of the base stage included.
    pub args: Vec<ArgDefinition>,
    pub ignore_cache: bool,
    /// Not in the file as a stage.
    pub implicit: bool,
    /// The name in front of steps.
    pub label: String,
    pub step: usize,
    pub steps: usize,
    pub in_trigger: bool,
    /// Where in [`Stages::paths`] the paths that others use of this tree are noted.
    pub paths: usize,
    /// Paths of the build context that this stage uses.
    pub context_paths: BTreeSet<String>,
    pub workdir_set: bool,
    /// Instructions of which only the last counts, CMD, ENTRYPOINT and HEALTHCHECK, and where they stood last.
    pub seen: HashMap<&'static str, Vec<Range>>,
    pub wants: Wants,
}

impl Default for StageState {
    fn default() -> Self {
        StageState {
            stage: Stage::default(),
            base: None,
            replaced_by: None,
            platform: None,
            state: State::new(None),
            image: ImageConfig::default(),
            base_image: None,
            progress: Progress::Waiting,
            commands: Vec::new(),
            needs: Vec::new(),
            triggers_taken: false,
            args: Vec::new(),
            ignore_cache: false,
            implicit: false,
            label: String::new(),
            step: 0,
            steps: 0,
            in_trigger: false,
            paths: 0,
            context_paths: BTreeSet::new(),
            workdir_set: false,
            seen: HashMap::new(),
            wants: Wants::default(),
        }
    }
}

/// An instruction with the stages that it takes files from: COPY one, RUN one for each mount.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub instruction: Instruction,
    pub sources: Vec<usize>,
    pub is_trigger: bool,
}

/// All stages, those of the file first.
#[derive(Debug, Default)]
pub(super) struct Stages {
    pub list: Vec<StageState>,
    by_name: HashMap<String, usize>,
    /// Used paths of trees. Stages that go on from each other share a set.
    pub paths: Vec<BTreeSet<String>>,
    /// Folders of the client that stand in for stages or images: stage, open source, where it comes from.
    pub locals: Vec<(usize, Port, LocalContext)>,
}

impl Stages {
    /// Adds a stage; its base is an earlier stage where the name is one's.
    pub fn add(&mut self, mut stage: StageState) -> usize {
        let at = self.list.len();
        stage.base = self.by_name.get(&stage.stage.base).copied().filter(|_| stage.replaced_by.is_none());
        stage.paths = match stage.base {
            Some(base) => {
                stage.wants = self.list[base].wants.clone();
                self.list[base].paths
            }
            None => {
                self.paths.push(BTreeSet::new());
                self.paths.len() - 1
            }
        };
        if !stage.stage.name.is_empty() {
            self.by_name.insert(stage.stage.name.clone(), at);
        }
        self.list.push(stage);
        at
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    /// The stage that an instruction means by `name`. For an image or a context a new one is made each time: each use
    /// needs paths of its own.
    pub fn find_or_add(&mut self, name: &str, place: &Place) -> usize {
        self.find(name).unwrap_or_else(|| {
            let stage = Stage { base: name.to_owned(), place: place.clone(), ..Stage::default() };
            self.add(StageState { stage, implicit: true, ..StageState::default() })
        })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|s| s.label.as_str()).filter(|label| !label.is_empty())
    }

    /// The stages that `target` needs, itself included.
    pub fn reachable(&self, target: usize) -> Vec<bool> {
        let mut reachable = vec![false; self.list.len()];
        let mut open = vec![target];
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut reachable[at], true) {
                let stage = &self.list[at];
                open.extend(stage.base.iter().chain(stage.needs.iter().map(|(need, _)| need)));
            }
        }
        reachable
    }

    /// Goes on from where the base stage has come to.
    pub fn take_over(&mut self, at: usize) {
        let Some(base) = self.list[at].base else { return };
        let base = &self.list[base];
        let (state, platform) = (base.state.clone(), base.platform.clone());
        let (mut image, base_image) = (base.image.clone(), base.base_image.clone());
        let (workdir_set, args) = (base.workdir_set, base.args.clone());
        image.config.on_build.clear();
        let stage = &mut self.list[at];
        stage.state = state;
        stage.platform = platform;
        stage.image = image;
        stage.base_image = base_image;
        stage.workdir_set = workdir_set;
        stage.args.extend(args);
    }
}

impl StageState {
    /// Goes on to the next step, where steps are counted.
    pub fn count_step(&mut self) {
        self.step += usize::from(self.steps > 0);
    }

    pub fn is_scratch(&self) -> bool {
        self.stage.base == image::SCRATCH && self.replaced_by.is_none()
    }
}
