//! Who asked for what.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use frontend::{BuildResult, Ref, Refs};
use llb::Definition;
use oci::Digest;
use provenance::{Capture, ImageSource, NamedRequest};

use super::producers::{Producers, head};

/// A request to a frontend, or that of a client which is its own.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    frontend: String,
    opts: BTreeMap<String, String>,
    /// The results of the graphs that were given along.
    inputs: BTreeMap<String, Digest>,
}

/// One frontend at work, or the whole build.
pub struct Frame {
    /// Nothing for a client that is its own frontend: its graphs come from nowhere.
    asked: Option<Asked>,
    /// What the client had asked.
    root: Arc<Asked>,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    refs: Vec<Ref>,
    images: Vec<(ImageSource, Digest)>,
    /// Frontends that were asked and have answered.
    frames: Vec<Arc<Frame>>,
}

impl Asked {
    pub fn new(
        frontend: &str,
        opts: &BTreeMap<String, String>,
        inputs: &BTreeMap<String, Definition>,
    ) -> Self {
        let heads = inputs.iter().filter_map(|(name, definition)| Some((name.clone(), head(definition)?)));
        Asked { frontend: frontend.to_owned(), opts: opts.clone(), inputs: heads.collect() }
    }

    fn is_empty(&self) -> bool {
        self.frontend.is_empty() && self.opts.is_empty() && self.inputs.is_empty()
    }

    fn named(&self, used: &Capture, producers: &Producers) -> NamedRequest {
        let known = |(name, head): (&String, &Digest)| Some((name.clone(), producers.of(head)?));
        NamedRequest::new(&self.frontend, &self.opts, self.inputs.iter().filter_map(known).collect(), used)
    }
}

impl Frame {
    /// That of a build.
    pub fn root(asked: Asked) -> Arc<Self> {
        Arc::new(Frame { asked: None, root: Arc::new(asked), made: Mutex::default() })
    }

    /// That of a frontend which this one asks.
    pub fn inner(&self, asked: Asked) -> Arc<Self> {
        let root = match &self.asked {
            Some(asked) if self.root.is_empty() => Arc::new(asked.clone()),
            _ => Arc::clone(&self.root),
        };
        Arc::new(Frame { asked: Some(asked), root, made: Mutex::default() })
    }

    pub fn add_ref(&self, reference: &Ref) {
        if !reference.id.is_empty() {
            self.made().refs.push(reference.clone());
        }
    }

    pub fn add_image(&self, image: ImageSource, digest: Digest) {
        self.made().images.push((image, digest));
    }

    /// A frontend has answered.
    pub fn adopt(&self, frame: Arc<Frame>, result: &BuildResult) {
        each_ref(result).for_each(|reference| frame.add_ref(reference));
        self.made().frames.push(frame);
    }

    /// The frame that has made a ref: the innermost.
    pub fn find(self: &Arc<Self>, id: &str) -> Option<Arc<Self>> {
        let made = self.made();
        let inside = made.frames.iter().find_map(|frame| frame.find(id));
        inside.or_else(|| made.refs.iter().any(|r| r.id == id).then(|| Arc::clone(self)))
    }

    /// All refs that were made here and further in, with doubles.
    pub fn refs(&self) -> Vec<Ref> {
        let made = self.made();
        let inside = made.frames.iter().flat_map(|frame| frame.refs());
        made.refs.iter().cloned().chain(inside).collect()
    }

    /// All images that were looked at here and further in.
    pub fn images(&self) -> Vec<(ImageSource, Digest)> {
        let made = self.made();
        let inside = made.frames.iter().flat_map(|frame| frame.images());
        made.images.iter().cloned().chain(inside).collect()
    }

    /// What was asked, as it is told of.
    pub fn named(&self, used: &Capture, producers: &Producers) -> NamedRequest {
        let Some(asked) = &self.asked else { return NamedRequest::default() };
        let mut named = asked.named(used, producers);
        let root = self.root.named(used, producers);
        if !root.is_empty() && root != named {
            named.request.root = Some(Box::new(root));
        }
        named
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refs of a result, without those of attestations.
pub fn each_ref(result: &BuildResult) -> impl Iterator<Item = &Ref> {
    let (one, map) = match &result.refs {
        Refs::None => (None, None),
        Refs::Single(one) => (Some(one), None),
        Refs::Map(map) => (None, Some(map)),
    };
    one.into_iter().chain(map.into_iter().flat_map(BTreeMap::values))
}
